//! `kill -9` during a pull, at many moments: the library always loads, nothing wrong is in it, and what came is not fetched again.
#![cfg(unix)]

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
#[expect(dead_code, reason = "the store's tests use the rest")]
#[path = "../../store/tests/hub/mod.rs"]
mod hub;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use harness::{Dir, TestCommand};
use hub::{Fault, Hub, resolve};
use serde_json::json;

/// Enough for several parts.
const SIZE: usize = 72 << 20;
const PIECE: usize = 128 << 10;
/// Connections at a time, each of which loses what is on its way when the program dies: its buffers and the socket's.
const LOST_MAX: usize = 4 * (1 << 20);

fn content() -> Vec<u8> {
    (0..SIZE / 8).flat_map(|i| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes()).collect()
}

/// Kills the pull of `name` `n` times, a little later each time, and looks at the library after each.
fn kill_and_look(dir: &Dir, hub: &Hub, name: &str, n: u64) {
    let ingle = |args: &[&str]| -> TestCommand {
        dir.ingle(args).env("HF_ENDPOINT", &hub.url).env("INGLE_OLLAMA_REGISTRY", &hub.url)
    };
    let mut n_killed = 0;
    for i in 0..n {
        let mut command = ingle(&["pull", name]);
        let mut child = command.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(5 + i * 9));
        child.kill().unwrap();
        n_killed += u64::from(!child.wait().unwrap().success());
        let listed = ingle(&["list", "--json"]).json();
        let rows = ingle(&["verify", "--json"]).json();
        assert!(rows.as_array().unwrap().iter().all(|r| r["state"] == "good"), "after {i} kills: {rows}");
        if listed.as_array().unwrap().is_empty() {
            ingle(&["show", name]).fails(3, &["not here yet"]);
        }
    }
    assert!(n_killed > n / 2, "{n_killed} of {n} pulls were killed before they were done");
}

#[test]
fn a_pull_from_the_hub_may_die_at_any_moment() {
    let (dir, hub) = (Dir::new(), Hub::start());
    let (repo, file, model) = ("u/r", "m-Q8_0.gguf", content());
    hub.add(repo, file, &model);
    let at = resolve(repo, file);
    hub.fail(&at, vec![Fault::Trickle(PIECE, Duration::from_millis(8)); 2000]);
    let n = 16;
    kill_and_look(&dir, &hub, repo, n);
    hub.forget_faults();
    let path = dir.ingle(&["pull", repo]).env("HF_ENDPOINT", &hub.url).ok();
    assert!(fs::read(path.trim_end()).unwrap() == model);
    let twice = hub.sent(&at) - SIZE;
    assert!(twice < n as usize * LOST_MAX, "{twice} bytes came twice");
    let left = fs::read_dir(dir.path("cache/huggingface/hub/models--u--r/blobs")).unwrap().count();
    assert_eq!(left, 1, "no part is left");
}

#[test]
fn a_pull_from_a_registry_may_die_at_any_moment() {
    let (dir, hub) = (Dir::new(), Hub::start());
    let model = content();
    let layer = |kind: &str, bytes: &[u8]| {
        let digest = hub.add_blob("library/m", bytes);
        let slow = vec![Fault::Trickle(PIECE, Duration::from_millis(16)); 500];
        hub.fail(&format!("/v2/library/m/blobs/{digest}"), slow);
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    };
    let kinds = ["template", "system", "params"].map(|k| format!("application/vnd.ollama.image.{k}"));
    let mut layers: Vec<_> = kinds.iter().map(|kind| layer(kind, kind.as_bytes())).collect();
    layers.push(layer("application/vnd.ollama.image.model", &model[..8 << 20]));
    hub.add_manifest("library/m", "latest", &json!({ "layers": layers }));
    kill_and_look(&dir, &hub, "ollama:m", 12);
    let path = dir.ingle(&["pull", "ollama:m"]).env("INGLE_OLLAMA_REGISTRY", &hub.url).ok();
    assert!(fs::read(path.trim_end()).unwrap() == model[..8 << 20]);
}
