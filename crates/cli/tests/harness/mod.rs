//! Runs the real binary in a folder of its own, with nothing of this machine's environment that could change the outcome.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder that goes away with the test.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        static N: AtomicUsize = AtomicUsize::new(0);
        let n = N.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ingle-cli-{}-{n}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// `ingle` with these arguments.
    pub fn ingle(&self, args: &[&str]) -> TestCommand {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ingle"));
        command.args(args).current_dir(&self.0).stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            let upper = name.to_ascii_uppercase();
            let ours =
                ["INGLE_", "CLICOLOR", "NO_COLOR", "HF_", "HUGGING", "XDG_", "SSL_CERT", "REQUESTS_CA"];
            if ours.iter().any(|o| upper.starts_with(o)) || upper.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        for (name, folder) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_CACHE_HOME", "cache"),
        ] {
            command.env(name, self.path(folder));
        }
        // No test speaks to anybody it did not start itself; those that do set an endpoint of their own.
        command.env("HF_ENDPOINT", "http://127.0.0.1:9");
        TestCommand { command, stdin: None }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub struct TestCommand {
    pub command: Command,
    stdin: Option<String>,
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl TestCommand {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    pub fn run(mut self) -> Outcome {
        if self.stdin.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if let Some(text) = self.stdin {
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        }
        let out = child.wait_with_output().unwrap();
        Outcome {
            code: out.status.code().expect("ended by itself"),
            stdout: String::from_utf8(out.stdout).unwrap(),
            stderr: String::from_utf8(out.stderr).unwrap(),
        }
    }

    /// Runs and expects success; gives stdout.
    pub fn ok(self) -> String {
        let out = self.run();
        assert_eq!(out.code, 0, "{out:?}");
        out.stdout
    }

    /// Runs and expects one JSON document on stdout.
    pub fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// Runs and expects a failure: this code, nothing on stdout, and these words on stderr.
    pub fn fails(self, code: i32, words: &[&str]) {
        let out = self.run();
        assert_eq!(out.code, code, "{out:?}");
        assert_eq!(out.stdout, "", "a failure writes no data");
        for word in words {
            assert!(out.stderr.contains(word), "{word:?} is not in {out:?}");
        }
    }
}

/// A tiny model that works: 16 tokens (`<|end|>` and the letters a to o), context 64, no template.
pub fn tiny() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malicious/base.gguf").display().to_string()
}

/// A file of the folder of hostile models.
pub fn hostile(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malicious").join(name).display().to_string()
}
