//! What a verb may know of the world: terminals, variables, folders, settings, and whether Ctrl-C was pressed.
//!
//! Nothing else in the program reads the environment.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use ingle_store::in_use::Use;

use crate::at_rest::AtRest;
use crate::dirs::Dirs;
use crate::exit::Failure;
use crate::network::Network;
use crate::settings::Settings;

/// The world of one command.
#[derive(Debug)]
pub struct Env {
    /// Folders.
    pub dirs: Dirs,
    /// Layered settings.
    pub settings: Settings,
    /// What the environment says of hub, proxies and certificates.
    pub network: Network,
    /// A key that requests to the server need: `INGLE_API_KEY`.
    pub api_key: Option<String>,
    /// The key that private files are sealed with, once it was needed.
    pub at_rest: AtRest,
    /// Someone types.
    pub stdin_is_terminal: bool,
    /// Someone reads the data as it comes.
    pub stdout_is_terminal: bool,
    /// Someone reads the talk as it comes: progress and colour make sense.
    pub stderr_is_terminal: bool,
    /// Raised by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
    /// What is asked about came through stdin: a file's words, or another program's.
    pub is_file_piped: bool,
    /// Models that are opened now are used, not looked at.
    pub is_use: bool,
    /// Models of releases that were opened to be used, and those uses.
    pub used: Mutex<Vec<(String, Option<Use>)>>,
}

impl Env {
    /// From the process, for the command line `matches`.
    pub fn from_process(matches: &clap::ArgMatches) -> Result<Self, Failure> {
        let var = |name: &str| std::env::var(name).ok();
        let dirs = Dirs::from_vars(var);
        let path = dirs.config.join("config.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(Failure::file(&path, &e)),
        };
        let file = text.as_deref().map(|text| (path.as_path(), text));
        Ok(Self {
            settings: Settings::layer(matches, var, file).map_err(Failure::usage)?,
            network: Network::from_vars(var),
            api_key: var("INGLE_API_KEY").filter(|key| !key.is_empty()),
            at_rest: AtRest::from_vars(var),
            dirs,
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            interrupted: Arc::new(AtomicBool::new(false)),
            is_file_piped: false,
            is_use: false,
            used: Mutex::default(),
        })
    }

    /// Someone can be asked: types, and reads the question.
    pub fn can_ask(&self) -> bool {
        self.stdin_is_terminal && self.stderr_is_terminal
    }

    /// Asks for a yes or no; a bare Enter is `default`, the end of the input is no. What was typed before the question could be read is
    /// no answer to it.
    pub fn ask(&self, question: &str, default: bool) -> Result<bool, Failure> {
        let choices = if default { "[Y/n]" } else { "[y/N]" };
        let _ = write!(anstream::stderr(), "{question} {choices} ");
        #[cfg(unix)]
        let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
        let mut line = String::new();
        let n = std::io::stdin().read_line(&mut line).map_err(|e| Failure::file("stdin", &e))?;
        Ok(n > 0 && matches!((line.trim().to_lowercase().as_str(), default), ("y" | "yes", _) | ("", true)))
    }

    /// From now on the first Ctrl-C, or a request to terminate, raises [`Env::interrupted`]; a second one before the work stopped
    /// ends the process.
    pub fn catch_ctrl_c(&self) {
        let flag = self.interrupted.clone();
        // Without a handler Ctrl-C ends the process, which is the next best thing.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Relaxed) {
                std::process::exit(crate::exit::Exit::INTERRUPTED.0.into());
            }
        });
    }

    /// Threads to compute with: asked for, or one per core.
    pub fn n_threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.settings.count("threads").unwrap_or_else(cores)
    }
}

/// Says a line on stderr, for people; a stderr that is gone is no reason to stop.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Says on stderr what went wrong.
pub fn say_error(message: impl std::fmt::Display) {
    say(format_args!("\x1b[1;31merror:\x1b[0m {message}"));
}

/// A line on stderr that is overwritten by the next one; only where someone reads it.
#[derive(Debug)]
pub struct Progress {
    on: bool,
    shown: bool,
}

impl Progress {
    /// Shows something only when `env`'s stderr is a terminal.
    pub fn new(env: &Env) -> Self {
        Self { on: env.stderr_is_terminal, shown: false }
    }

    /// Replaces the line.
    pub fn show(&mut self, text: impl std::fmt::Display) {
        if self.on {
            self.shown = true;
            let _ = write!(anstream::stderr(), "\r\x1b[2m{text}\x1b[0m\x1b[K");
        }
    }

    /// Removes the line.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
