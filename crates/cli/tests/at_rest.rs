//! Private files through the real binary: sealed once there is a key, whoever keeps it; read by nobody without it.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use harness::{Dir, TestCommand, tiny};

const WORD: &str = "correct horse battery";
const MAGIC: &[u8] = b"ingleSF1";

/// `ingle` of a user with a passphrase.
fn ingle(dir: &Dir, args: &[&str]) -> TestCommand {
    dir.ingle(args).env("INGLE_PASSPHRASE", WORD)
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn adapter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/adapters/c.gguf")
}

fn logits(dir: &Dir, adapter: &str) -> Vec<u8> {
    let (ids, out) = (dir.file("ids.txt", "1 2 3 4 5"), dir.path("out.f32").display().to_string());
    ingle(dir, &["logits", &tiny(), "--tokens-file", &ids, "--out", &out, "--adapter", adapter]).ok();
    fs::read(out).unwrap()
}

#[test]
fn a_key_is_made_once_kept_another_way_and_forgotten() {
    let dir = Dir::new();
    let key = dir.path("data/ingle/key.json");
    assert!(dir.ingle(&["key"]).ok().starts_with("no key"));
    dir.ingle(&["key", "new", "--by", "passphrase"]).fails(6, &["INGLE_NEW_PASSPHRASE"]);
    dir.ingle(&["key", "new", "--by", "passphrase"])
        .env("INGLE_PASSPHRASE", "short")
        .fails(2, &["8 characters"]);
    assert!(!key.exists());
    ingle(&dir, &["key", "new", "--by", "passphrase"]).ok();
    ingle(&dir, &["key", "new", "--by", "passphrase"]).fails(2, &["there is a key already"]);
    let status = dir.ingle(&["key", "--json"]).json();
    assert_eq!(status["key"]["kept_by"], "passphrase");
    assert_eq!(status["key"]["argon2id"]["memory_kib"], 65536);

    // A file that was sealed before is opened after: a new passphrase touches the key file alone.
    let secret = dir.file("secret.txt", "what nobody else reads");
    ingle(&dir, &["key", "seal", &secret]).ok();
    let sealed = fs::read(&secret).unwrap();
    assert!(sealed.starts_with(MAGIC) && !sealed.windows(6).any(|w| w == b"nobody"));
    ingle(&dir, &["key", "seal", &secret]).fails(2, &["sealed already"]);
    dir.ingle(&["key", "keep", "--by", "passphrase"])
        .env("INGLE_PASSPHRASE", "not that one")
        .env("INGLE_NEW_PASSPHRASE", "another word")
        .fails(5, &["not the key's passphrase"]);
    ingle(&dir, &["key", "keep"]).env("INGLE_NEW_PASSPHRASE", "another word").ok();
    ingle(&dir, &["key", "unseal", &secret]).fails(5, &["not the key's passphrase"]);
    dir.ingle(&["key", "unseal", &secret]).fails(6, &["INGLE_PASSPHRASE"]);
    let out = dir.path("open.txt");
    dir.ingle(&["key", "unseal", &secret, "-o", out.to_str().unwrap()])
        .env("INGLE_PASSPHRASE", "another word")
        .ok();
    assert_eq!(fs::read_to_string(&out).unwrap(), "what nobody else reads");
    assert_eq!(fs::read(&secret).unwrap(), sealed);

    // In an open file, which is said.
    dir.ingle(&["key", "keep", "--by", "file"]).env("INGLE_PASSPHRASE", "another word").ok();
    assert!(dir.ingle(&["key"]).ok().contains("who has that file reads what was sealed"));
    dir.ingle(&["key", "unseal", &secret]).ok();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "what nobody else reads");
    dir.ingle(&["key", "forget"]).fails(2, &["--yes"]);
    dir.ingle(&["key", "forget", "--yes"]).ok();
    assert!(!key.exists());
    dir.ingle(&["key", "seal", &secret]).fails(3, &["there is no key"]);
    if !cfg!(any(target_os = "macos", windows, feature = "secret-service")) {
        dir.ingle(&["key", "new", "--by", "keystore"]).fails(1, &["knows no keystore", "--by file"]);
    }
}

#[test]
fn a_sealed_adapter_gives_the_same_numbers_and_nothing_when_it_was_changed() {
    let dir = Dir::new();
    ingle(&dir, &["key", "new", "--by", "passphrase"]).ok();
    let path = dir.file("mine.gguf", fs::read(adapter()).unwrap());
    let expected = logits(&dir, &path);
    ingle(&dir, &["key", "seal", &path]).ok();
    assert!(fs::read(&path).unwrap().starts_with(MAGIC));
    assert!(logits(&dir, &path) == expected);
    let mut changed = fs::read(&path).unwrap();
    changed[500] ^= 1;
    let changed = dir.file("changed.gguf", changed);
    let run = |adapter: &str| dir.ingle(&["run", &tiny(), "a", "--adapter", adapter]);
    run(&changed)
        .env("INGLE_PASSPHRASE", WORD)
        .fails(5, &["changed.gguf: frame 0 is not what was sealed there"]);
    run(&path).fails(6, &["INGLE_PASSPHRASE"]);
    ingle(&dir, &["key", "unseal", &changed]).fails(5, &["frame 0"]);
    ingle(&dir, &["key", "forget", "--yes"]).ok();
    run(&path).fails(5, &["mine.gguf: it is sealed, and there is no key here"]);
}

#[test]
fn a_sealed_folder_of_peft_gives_the_same_numbers_and_nothing_when_it_was_changed() {
    let dir = Dir::new();
    ingle(&dir, &["key", "new", "--by", "passphrase"]).ok();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests");
    let model = tests.join("folders/llama.gguf").display().to_string();
    let parts = ["adapter_config.json", "adapter_model.safetensors"];
    let from = tests.join("peft/llama-all");
    let put = |folder: &str| {
        parts.map(|part| dir.file(&format!("{folder}/{part}"), fs::read(from.join(part)).unwrap()))
    };
    let [config, weights] = put("mine");
    let folder = dir.path("mine").display().to_string();
    let logits = |adapter: &str| {
        let (ids, out) = (dir.file("ids.txt", "1 2 3 60 5"), dir.path("out.f32").display().to_string());
        ingle(&dir, &["logits", &model, "--tokens-file", &ids, "--out", &out, "--adapter", adapter]).ok();
        fs::read(out).unwrap()
    };
    let expected = logits(&folder);
    ingle(&dir, &["key", "seal", &folder]).ok();
    for part in [&config, &weights] {
        assert!(fs::read(part).unwrap().starts_with(MAGIC), "{part}");
    }
    assert!(logits(&folder) == expected && logits(&weights) == expected);
    assert!(logits(&format!("{folder}:0")) != expected);
    ingle(&dir, &["key", "seal", &folder]).fails(2, &["sealed already"]);
    let ids = dir.path("ids.txt").display().to_string();
    let run = |adapter: &str| {
        dir.ingle(&["logits", &model, "--tokens-file", &ids, "--out", "y", "--adapter", adapter])
    };
    run(&folder).fails(6, &["INGLE_PASSPHRASE"]);

    let out = dir.path("open").display().to_string();
    ingle(&dir, &["key", "unseal", &folder, "-o", &out]).ok();
    for part in parts {
        assert!(fs::read(dir.path("open").join(part)).unwrap() == fs::read(from.join(part)).unwrap());
    }
    // One that was sealed in part is used, sealed and unsealed like a whole one.
    let [config, _] = put("half");
    let half = dir.path("half").display().to_string();
    ingle(&dir, &["key", "seal", &config]).ok();
    assert!(logits(&half) == expected);
    ingle(&dir, &["key", "seal", &half]).ok();
    assert!(logits(&half) == expected);
    ingle(&dir, &["key", "unseal", &half]).ok();
    assert!(logits(&half) == expected && !fs::read(&config).unwrap().starts_with(MAGIC));
    ingle(&dir, &["key", "unseal", &half]).fails(5, &["nothing in it is sealed"]);

    let mut changed = fs::read(&weights).unwrap();
    changed[500] ^= 1;
    fs::write(&weights, changed).unwrap();
    run(&folder)
        .env("INGLE_PASSPHRASE", WORD)
        .fails(5, &["adapter_model.safetensors: frame 0 is not what was sealed there"]);
    fs::create_dir(dir.path("empty")).unwrap();
    let empty = dir.path("empty").display().to_string();
    ingle(&dir, &["key", "seal", &empty]).fails(3, &["adapter_config.json: no such file"]);
}

#[test]
fn an_adapter_is_found_by_the_name_it_was_given() {
    let dir = Dir::new();
    let expected = logits(&dir, &adapter().display().to_string());
    dir.ingle(&["pull", &adapter().display().to_string(), "--as", "tone"]).ok();
    assert!(logits(&dir, "tone") == expected);
    assert!(logits(&dir, "tone:1") == expected);
    assert!(logits(&dir, "tone:0.5") != expected);
}

/// Words of answers are kept open without a key; with one the same file is sealed, and still known.
#[test]
fn words_that_were_kept_open_are_sealed_once_there_is_a_key() {
    let dir = Dir::new();
    let run = [
        "run",
        "demo",
        "Tell me a story.",
        "--temperature",
        "0",
        "--max-tokens",
        "40",
        "--speculate",
        "words",
    ];
    let words = dir.path("state/ingle/words");
    let said = dir.ingle(&run).ok();
    let open = files_below(&words);
    assert!(open.len() == 1 && fs::read(&open[0]).unwrap().starts_with(b"ingleNG1"));
    dir.ingle(&[&run[..], &["--at-rest", "sealed"]].concat()).fails(6, &["there is no key"]);

    ingle(&dir, &["key", "new", "--by", "passphrase"]).ok();
    let out = ingle(&dir, &[&run[..], &["--stats"]].concat()).run();
    assert_eq!((out.code, &out.stdout), (0, &said));
    assert!(out.stderr.contains("was open and is sealed now"), "{}", out.stderr);
    assert!(out.stderr.contains("tokens accepted (words "), "it still knew them: {}", out.stderr);
    assert_eq!(files_below(&words), open);
    let sealed = fs::read(&open[0]).unwrap();
    assert!(sealed.starts_with(MAGIC) && !sealed.windows(8).any(|w| w == b"ingleNG1"));

    dir.ingle(&run).fails(6, &["INGLE_PASSPHRASE"]);
    dir.ingle(&[&run[..], &["--at-rest", "plain"]].concat()).fails(5, &["it is sealed"]);
    let mut changed = sealed;
    changed[100] ^= 1;
    fs::write(&open[0], &changed).unwrap();
    ingle(&dir, &run).fails(1, &["frame 0 is not what was sealed there"]);
    assert_eq!(fs::read(&open[0]).unwrap(), changed, "it is left where it is");
}

/// A server that is ended with the test.
struct Server(Child, String);

impl Server {
    fn start(dir: &Dir, kv: &Path) -> Self {
        let args = ["serve", "demo", "--port", "0", "--kv-cache-dir", kv.to_str().unwrap()];
        let mut child =
            ingle(dir, &args).command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let line = lines.find(|line| line.contains("http://")).expect("the server says where it is");
        let address = line.split("http://").nth(1).unwrap().split([' ', '/']).next().unwrap().to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Self(child, address)
    }

    /// The answer to a long prompt, and how many of its tokens were known.
    fn ask(&self) -> (String, u64) {
        let story = "Once there was a fox who lived by a river. ".repeat(20);
        let body = serde_json::json!({
            "model": "demo", "temperature": 0, "max_tokens": 12,
            "messages": [{ "role": "user", "content": story }],
        });
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.1).unwrap();
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.1);
        write!(
            stream,
            "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let said: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let known = said["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        (said["choices"][0]["message"]["content"].as_str().unwrap().to_owned(), known)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_server_has_been_through_is_sealed_and_there_after_a_restart() {
    let (dir, kv) = (Dir::new(), Dir::new());
    let kv = kv.path("kv");
    ingle(&dir, &["key", "new", "--by", "passphrase"]).ok();
    let first = Server::start(&dir, &kv);
    let (said, known) = first.ask();
    assert_eq!(known, 0);
    let start = Instant::now();
    // They are written after the answer.
    let kept = || files_below(&kv).into_iter().filter(|file| file.extension().is_some_and(|e| e == "kv"));
    while kept().count() < 2 && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(200));
    drop(first);
    assert!(kept().count() >= 2 && kept().all(|file| fs::read(file).unwrap().starts_with(MAGIC)));
    let second = Server::start(&dir, &kv);
    let (again, known) = second.ask();
    assert_eq!(again, said);
    assert!(known >= 64, "{known} tokens were known");
    drop(second);
    fs::remove_dir_all(kv).unwrap();
}
