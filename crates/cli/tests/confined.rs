//! What a program may do that looks at a stranger's model: the limits that `ingle update` puts on its children, on the real program
//! and against what breaks them.

#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
#[expect(dead_code, reason = "the store's tests use the rest")]
#[path = "../../store/tests/hub/mod.rs"]
mod hub;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{Dir, Outcome, tiny};
use hub::Hub;

const GIB: u64 = 1 << 30;

/// The program with limits: memory, processor seconds, and what it may read.
fn confined(dir: &Dir, memory: u64, seconds: u64, args: &[&str]) -> (Option<i32>, Outcome) {
    let limits =
        format!("--confined={memory}:{}:{seconds}:{}", memory + 8 * GIB, dir.path("release").display());
    let mut command = dir.ingle(&[&[limits.as_str()], args].concat()).env("INGLE_LEDGER", "off").command;
    let out = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = out.status.code().unwrap_or(-1);
    (out.status.signal(), Outcome { code, stdout: text(out.stdout), stderr: text(out.stderr) })
}

/// A folder with a release, and the path of its model.
fn release() -> (Dir, String) {
    let dir = Dir::new();
    let model = dir.file("release/m.gguf", fs::read(tiny()).unwrap());
    (dir, model)
}

#[test]
fn a_good_model_is_looked_at_as_without_limits() {
    let (dir, model) = release();
    let text = dir.file("release/probe.txt", "abcdefghijklmno".repeat(20));
    for args in [
        &["show", &model, "--json"][..],
        &["run", &model, "ab", "--max-tokens", "3", "--temperature", "0"],
        &["perplexity", &model, "--file", &text, "--ctx", "64", "--json"],
        &["bench", "-m", &model, "-p", "0", "-n", "8", "-r", "1", "-o", "json"],
    ] {
        let (signal, out) = confined(&dir, 4 * GIB, 60, args);
        assert_eq!((signal, out.code), (None, 0), "{args:?}: {out:?}");
    }
}

/// Whether this kernel keeps files back; the other layers are everywhere.
fn has_landlock(dir: &Dir, model: &str) -> bool {
    let (_, out) = confined(dir, 4 * GIB, 60, &["show", model]);
    let has = !out.stderr.contains("Landlock");
    if !has {
        eprintln!("files that may be read are not tested: {}", out.stderr);
    }
    has
}

#[test]
fn nothing_is_written_and_nothing_read_but_the_release() {
    let (dir, model) = release();
    if !has_landlock(&dir, &model) {
        return;
    }
    let secret = dir.file("secret.gguf", fs::read(tiny()).unwrap());
    let (_, out) = confined(&dir, 4 * GIB, 60, &["show", &secret]);
    assert!(out.code != 0 && out.stderr.contains("Permission denied"), "{out:?}");
    for to in ["release/copy.gguf", "copy.gguf"] {
        let to = dir.path(to);
        let (_, out) = confined(&dir, 4 * GIB, 60, &["quantize", &model, to.to_str().unwrap(), "q8_0"]);
        assert!(out.code != 0 && out.stderr.contains("denied"), "{out:?}");
        assert!(!to.exists());
    }
}

#[test]
fn nobody_is_reached() {
    let (dir, _) = release();
    let hub = Hub::start();
    hub.add_plain("/m.gguf", &fs::read(tiny()).unwrap());
    let url = format!("{}/m.gguf", hub.url);
    let (_, out) = confined(&dir, 4 * GIB, 60, &["pull", &url, "--yes"]);
    assert!(out.code != 0, "{out:?}");
    let (_, out) = confined(&dir, 4 * GIB, 60, &["serve", "demo", "--port", "0"]);
    assert!(out.code != 0 && out.stderr.contains("not permitted"), "{out:?}");
    assert!(hub.seen().is_empty());
}

/// What takes more memory than it may is ended by the limit: keys and values of 8192 tokens do not fit 24 MiB.
#[test]
fn memory_ends_where_the_limit_is() {
    let dir = Dir::new();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/demo.gguf");
    let model = dir.file("release/m.gguf", fs::read(demo).unwrap());
    let run = ["run", &model, "hi", "--threads", "1", "--ctx", "8192", "--kv", "f32", "--max-tokens", "1"];
    let (signal, out) = confined(&dir, 24 << 20, 60, &run);
    assert!(signal == Some(6) && out.stderr.contains("memory allocation of"), "{signal:?} {out:?}");
    let (signal, out) = confined(&dir, GIB, 60, &run);
    assert_eq!((signal, out.code), (None, 0), "{out:?}");
}

#[test]
fn what_goes_on_for_ever_is_ended_by_the_system() {
    let (dir, model) = release();
    let start = Instant::now();
    let (signal, out) =
        confined(&dir, 4 * GIB, 1, &["bench", "-m", &model, "-p", "0", "-n", "32", "-r", "100000000"]);
    assert_eq!(signal, Some(24), "{out:?}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn what_can_not_be_understood_confines_nothing_and_opens_nothing() {
    let (dir, model) = release();
    for limits in ["--confined=", "--confined=1:2", "--confined=1:2:x:/"] {
        dir.ingle(&[limits, "show", &model]).fails(2, &["MEMORY:ADDRESSES:SECONDS:FOLDER"]);
    }
}
