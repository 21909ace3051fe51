//! The absences of ARCHITECTURE.md, checked by reading the sources and manifests.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Rust files under `dir`, with their text up to the unit tests at their foot; without files that are unit tests.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let is_tests = path.ends_with("tests.rs");
            let text = if is_tests { String::new() } else { fs::read_to_string(&path).unwrap() };
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let code = code.lines().filter(|l| !l.trim_start().starts_with("//"));
            out.push((path, code.collect::<Vec<_>>().join("\n")));
        }
    }
    assert!(!out.is_empty(), "{}", dir.display());
    out
}

fn refuse(dirs: &[&str], words: &[&str], except: &[&str]) {
    for dir in dirs {
        for (path, text) in sources(&root().join(dir)) {
            let name = path.display().to_string();
            if except.iter().any(|e| name.ends_with(e)) {
                continue;
            }
            for word in words {
                assert!(!text.contains(word), "{name} names {word:?}");
            }
        }
    }
}

const KERNEL: &str = "crates/kernel/src";
const MODEL: &str = "crates/model/src";
const ENGINE: &str = "crates/engine/src";
const COMPRESS: &str = "crates/compress/src";
const DEMO: &str = "demo/src";
const NET: &str = "crates/net/src";
const STORE: &str = "crates/store/src";
const ROUTE: &str = "crates/route/src";
const ASSIST: &str = "crates/assist/src";
const SERVE: &str = "crates/serve/src";
const CLI: &str = "crates/cli/src";

#[test]
fn nothing_but_net_opens_a_connection() {
    let words =
        ["std::net", "TcpStream", "TcpListener", "UdpSocket", "UnixStream", "reqwest", "ureq", "rustls"];
    refuse(&[KERNEL, MODEL, ENGINE, COMPRESS, DEMO, STORE, ROUTE, ASSIST], &words, &[]);
    // The server listens, and the program tells it where.
    refuse(&[CLI], &words, &["verbs/serve.rs"]);
    refuse(
        &[SERVE, CLI],
        &words
            .map(|word| if word.contains("std::net") || word == "TcpListener" { "UdpSocket" } else { word }),
        &[],
    );
    refuse(&[SERVE], &[".connect(", "::connect(", "client::"], &[]);
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    for dir in crates.chain([root().join("demo")]) {
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        // hyper's half that serves is the server's; with its other half one could ask.
        let served = ["hyper = ", "hyper-util = "];
        let manifest: Vec<&str> = manifest
            .lines()
            .filter(|line| {
                let serves = dir.ends_with("serve") && served.iter().any(|name| line.starts_with(name));
                assert!(!serves || (line.contains("default-features = false") && !line.contains("client")));
                !serves
            })
            .collect();
        let manifest = manifest.join("\n");
        for word in ["ureq", "rustls", "reqwest", "hyper", "socket2", "native-tls"] {
            assert!(!manifest.contains(word) || dir.ends_with("net"), "{} names {word}", dir.display());
        }
    }
}

#[test]
fn every_request_of_the_one_client_asks_the_policy_first() {
    let (_, client) = sources(&root().join(NET)).into_iter().find(|(p, _)| p.ends_with("client.rs")).unwrap();
    assert_eq!(client.matches(".call()").count(), 1, "one place sends");
    assert_eq!(client.matches("self.send(").count(), 1, "one place calls it");
    let asks = client.find("self.options.policy.check(").unwrap();
    assert!(asks < client.find("self.send(").unwrap());
    // What has a body goes one way too.
    let post = &client[client.find("pub fn post(").unwrap()..];
    assert_eq!(client.matches(".send(post.body)").count(), 1);
    assert!(post.find("self.options.policy.check(").unwrap() < post.find(".send(post.body)").unwrap());
}

#[test]
fn text_leaves_only_as_the_gate_made_it() {
    // One file sends bodies elsewhere, and it takes nothing but what the gate made; nobody else makes that. A server on this
    // machine is told what to let go of, after it was seen that it is on this machine.
    let (_, local) = sources(&root().join(NET)).into_iter().find(|(p, _)| p.ends_with("local.rs")).unwrap();
    let refuses = local.find("if !at.ip().is_loopback() {").unwrap();
    assert!(refuses < local.find("Client::new(").unwrap() && local.matches("Client::new(").count() == 1);
    refuse(&[NET], &["Post {", ".post(&"], &["client.rs", "local.rs"]);
    let sends = ["Post {", ".post(&"];
    refuse(&[ENGINE, STORE, ASSIST, SERVE, CLI, COMPRESS], &sends, &[]);
    refuse(&[ROUTE], &sends, &["cloud/mod.rs"]);
    refuse(&[ROUTE, ASSIST, SERVE, CLI], &["Outgoing {"], &["route/src/gate.rs"]);
    let (_, cloud) =
        sources(&root().join(ROUTE)).into_iter().find(|(p, _)| p.ends_with("cloud/mod.rs")).unwrap();
    assert_eq!(cloud.matches("body: &body").count(), 1);
    assert!(cloud.contains("let body = wire::body(outgoing, endpoint);"));
    let (_, gate) =
        sources(&root().join(ROUTE)).into_iter().find(|(p, _)| p.ends_with("src/gate.rs")).unwrap();
    let (_, fields) = gate.split_once("pub struct Outgoing {").unwrap();
    assert!(!fields[..fields.find('}').unwrap()].contains("pub "), "its fields are the gate's alone");
}

#[test]
fn nothing_below_the_program_reads_the_environment_prints_or_exits() {
    let words = ["std::env", "println!", "eprintln!", "print!(", "process::exit"];
    // The demo's code to fill in is text that prints.
    refuse(
        &[KERNEL, MODEL, ENGINE, COMPRESS, DEMO, NET, STORE, ROUTE, ASSIST, SERVE],
        &words,
        &["demo/src/kind/fim.rs"],
    );
}

#[test]
fn the_model_does_no_io_and_starts_no_thread() {
    refuse(&[MODEL], &["std::fs", "std::io::std", "File::open", "std::time", "std::thread", "unsafe {"], &[]);
    refuse(&[KERNEL], &["std::fs", "std::io", "std::time"], &[]);
    refuse(&[COMPRESS], &["std::time", "std::thread"], &[]);
    refuse(&[ROUTE], &["SystemTime", "Instant::now", "std::thread"], &[]);
    refuse(&[ASSIST], &["std::fs", "std::io", "std::time", "std::thread", "Desk", "Router"], &[]);
}

#[test]
fn the_stores_async_code_is_in_one_module() {
    refuse(&[STORE], &["async ", ".await", "tokio", "block_on"], &["release/refresh.rs"]);
}

#[test]
fn unsafe_code_is_where_the_architecture_says() {
    refuse(
        &[MODEL, COMPRESS, DEMO, NET, STORE, ROUTE, ASSIST, SERVE, CLI],
        &["unsafe {", "unsafe fn", "unsafe impl"],
        &[],
    );
    refuse(&[ENGINE], &["unsafe {", "unsafe fn", "unsafe impl"], &["mmap.rs"]);
    let in_kernel = [
        "par.rs",
        "acts.rs",
        "dense.rs",
        "gemm.rs",
        "mat.rs",
        "attn/mod.rs",
        "attn/pages.rs",
        "attn/tile.rs",
        "scan/delta.rs",
        "scan/ssm.rs",
        "scan/selective.rs",
        "simd/floats.rs",
        "simd/lanes.rs",
        "simd/ops.rs",
        "simd/peak.rs",
        "simd/amx.rs",
        "avx2/floats.rs",
        "avx2/lanes.rs",
        "avx512/floats.rs",
        "avx512/lanes.rs",
        "neon/floats.rs",
        "neon/lanes.rs",
        "neon/pairs.rs",
    ];
    refuse(&[KERNEL], &["unsafe {", "unsafe fn", "unsafe impl"], &in_kernel);
}

#[test]
fn crates_depend_only_downwards() {
    let allowed: [(&str, &[&str]); 10] = [
        ("crates/kernel", &[]),
        ("crates/model", &["ingle-kernel"]),
        ("crates/engine", &["ingle-kernel", "ingle-model"]),
        ("crates/compress", &["ingle-kernel", "ingle-model"]),
        ("demo", &[]),
        ("crates/net", &[]),
        ("crates/store", &["ingle-net"]),
        ("crates/route", &["ingle-net"]),
        ("crates/assist", &["ingle-route"]),
        ("crates/serve", &["ingle-assist", "ingle-engine", "ingle-model", "ingle-route"]),
    ];
    for (dir, allowed) in allowed {
        let manifest = fs::read_to_string(root().join(dir).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
        for line in dependencies.lines().filter(|l| l.starts_with("ingle-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            assert!(allowed.contains(&name), "{dir} depends on {name}");
        }
    }
}
