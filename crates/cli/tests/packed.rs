//! Weights that are kept packed, as a user meets them: a server writes them, the next one maps them, `du` counts and `gc` clears them.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
#[expect(dead_code, reason = "each test uses a part of it")]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::Dir;
use serde_json::{Value, json};
use server::Server;

fn demo(dir: &Dir) -> String {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/demo.gguf");
    dir.file("m.gguf", fs::read(demo).unwrap())
}

fn packed(dir: &Dir) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.path("cache/ingle/packed")).into_iter().flatten();
    let files = files.map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "packed")).collect()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn port(server: &Server) -> &str {
    server.address.rsplit(':').next().unwrap()
}

/// What `ingle ps` says of the model `m`.
fn ps(dir: &Dir, server: &Server) -> Value {
    let told = dir.ingle(&["ps", "--port", port(server), "--json"]).json();
    let models = told["models"].as_array().unwrap();
    models.iter().find(|model| model["name"] == "m").map(|model| model["memory"].clone()).unwrap_or_default()
}

fn answer(server: &Server) -> String {
    let asked = json!({ "model": "m", "prompt": "Once", "max_tokens": 40, "temperature": 0 });
    let reply = server.post("/v1/completions", &asked);
    assert_eq!(reply.status, 200);
    reply.json()["choices"][0]["text"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_keeps_packed_weights_for_the_next_one() {
    let dir = Dir::new();
    let model = demo(&dir);
    let off = Server::start(&dir, &[&model, "--pack", "off"]);
    let expected = answer(&off);
    drop(off);

    // Alone it packs in memory, and two at once write one file.
    let [first, second] = [(); 2].map(|()| Server::start(&dir, &[&model, "--pack", "on"]));
    assert!(answer(&first) == expected && answer(&second) == expected);
    let memory = ps(&dir, &first);
    assert!(memory["bytes"]["packed"].as_u64() > Some(0) && memory["bytes"]["weights"] == 0, "{memory}");
    wait_for("a file of packed weights", || packed(&dir).len() == 1);
    std::thread::sleep(Duration::from_secs(1));
    let n_bytes = fs::metadata(&packed(&dir)[0]).unwrap().len();
    drop((first, second));

    // The next one has them from the start, mapped: they can leave, and come back.
    let server = Server::start(&dir, &[&model, "--pack", "on", "--memory-budget", "2GiB"]);
    let memory = ps(&dir, &server);
    assert!(memory["bytes"]["packed"] == 0 && memory["bytes"]["weights"].as_u64() > Some(0), "{memory}");
    assert_eq!(memory["packed_in_files"], n_bytes);
    assert_eq!(answer(&server), expected);
    let shown = dir.ingle(&["ps", "--port", port(&server)]).ok();
    assert!(shown.contains("mapped packed"), "{shown}");
    let du = dir.ingle(&["du"]).ok();
    assert!(du.contains("packed weights"), "{du}");
    assert_eq!(dir.ingle(&["gc", "--yes", "--json"]).json()["bytes_freed"], 0, "it is in use");
    dir.ingle(&["stop", "m", "--port", port(&server)]).run();
    assert_eq!(answer(&server), expected, "it comes back");
    assert_eq!(ps(&dir, &server)["packed_in_files"], n_bytes);
    drop(server);

    // One that is not what was written is made again.
    let file = packed(&dir).remove(0);
    let whole = fs::read(&file).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(&file, changed).unwrap();
    let server = Server::start(&dir, &[&model, "--pack", "on"]);
    assert_eq!(ps(&dir, &server)["packed_in_files"], 0);
    assert_eq!(answer(&server), expected);
    wait_for("a new file", || fs::read(&file).is_ok_and(|bytes| bytes == whole));
    drop(server);
    assert_eq!(dir.ingle(&["gc", "--yes", "--json"]).json()["bytes_freed"], n_bytes);
    assert!(packed(&dir).is_empty());
}

/// Where several models share the memory none is packed in memory of our own, and each is once a file has it so.
#[test]
fn models_that_share_memory_come_to_be_mapped_packed_while_they_run() {
    let dir = Dir::new();
    let model = demo(&dir);
    let server = Server::start(&dir, &[&model, "demo", "--memory-budget", "2GiB"]);
    let expected = answer(&server);
    wait_for("packed weights that are mapped", || ps(&dir, &server)["packed_in_files"].as_u64() > Some(0));
    let memory = ps(&dir, &server);
    assert_eq!(memory["bytes"]["packed"], 0, "{memory}");
    for _ in 0..3 {
        assert_eq!(answer(&server), expected);
    }
    let told = server.ask("GET", "/metrics", "", "").body;
    assert!(told.contains("ingle_model_packed_file_bytes{model=\"m\"}"), "{told}");
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be() {
    let dir = Dir::new();
    let model = demo(&dir);
    let server = Server::start(&dir, &[&model, "--pack", "on", "--packed-cache", "off"]);
    answer(&server);
    std::thread::sleep(Duration::from_secs(5));
    assert!(!dir.path("cache/ingle/packed").exists());
    dir.ingle(&["serve", &model, "--packed-cache", "much"]).fails(2, &["6GiB", "or off"]);
}

/// A disk that is full before the file is whole: here no file may be longer than a part of it.
#[cfg(unix)]
#[test]
fn a_disk_that_fills_while_weights_are_packed_leaves_nothing_behind_and_the_answers_whole() {
    let dir = Dir::new();
    let model = demo(&dir);
    let plain = Server::command(&dir, &[&model, "--pack", "on"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\""]).arg(plain.get_program());
    limited.args(plain.get_args()).current_dir(plain.get_current_dir().unwrap());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let server = Server::of(limited);
    let expected = answer(&server);
    wait_for("it says so", || server.said.lock().unwrap().contains("not kept packed"));
    let said = server.said.lock().unwrap().clone();
    assert!(said.contains("packed/") && said.matches("not kept packed").count() == 1, "{said}");
    assert_eq!(fs::read_dir(dir.path("cache/ingle/packed")).unwrap().count(), 0, "no part of a file is left");
    assert_eq!(answer(&server), expected);
    assert!(ps(&dir, &server)["bytes"]["packed"].as_u64() > Some(0), "packed in memory");
}
