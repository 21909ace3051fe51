//! `pull`, `list`, `rm` and models by name, against a hub on the loopback.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
#[expect(dead_code, reason = "the store's tests use the rest")]
#[path = "../../store/tests/hub/mod.rs"]
mod hub;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use harness::{Dir, TestCommand, tiny};
use hub::{Fault, Hub, resolve, sha256};

const FILE: &str = "tiny-Q8_0.gguf";
const REPO: &str = "someone/tiny-GGUF";

/// A hub that has the tiny model.
fn hub_with_tiny() -> Hub {
    let hub = Hub::start();
    hub.add(REPO, "README.md", b"hello");
    hub.add(REPO, FILE, &fs::read(tiny()).unwrap());
    hub
}

/// `ingle` with that hub.
fn ingle(dir: &Dir, hub: &Hub, args: &[&str]) -> TestCommand {
    dir.ingle(args).env("HF_ENDPOINT", &hub.url)
}

#[test]
fn a_model_is_pulled_listed_run_by_name_and_removed() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    let missing = ["`ingle pull someone/tiny-GGUF`", "not here yet"];
    ingle(&dir, &hub, &["run", REPO, "ab"]).fails(3, &missing);
    assert!(hub.seen().is_empty(), "run asks nobody on its own");

    let out = ingle(&dir, &hub, &["pull", REPO]).run();
    assert_eq!(out.code, 0, "{out:?}");
    assert!(
        out.stderr.contains("licence: mit") && out.stderr.contains("ingle run someone/tiny-GGUF:Q8_0"),
        "{out:?}"
    );
    let path = out.stdout.trim_end();
    assert!(path.starts_with(dir.path("cache/huggingface/hub").to_str().unwrap()), "{path}");
    assert_eq!(fs::read(path).unwrap(), fs::read(tiny()).unwrap());

    let n = hub.seen().len();
    for name in [
        REPO,
        "someone/tiny-GGUF:q8_0",
        "hf.co/someone/tiny-GGUF",
        "https://huggingface.co/someone/tiny-GGUF",
    ] {
        let args = ["run", name, "ab", "--temperature", "0", "--max-tokens", "5"];
        assert_eq!(ingle(&dir, &hub, &args).ok().trim().len(), 5, "{name}");
    }
    assert_eq!(ingle(&dir, &hub, &["show", REPO, "--json"]).json()["family"], "llama");
    assert_eq!(ingle(&dir, &hub, &["tokenize", REPO, "abc", "--offline"]).ok(), "1 2 3\n");
    assert_eq!(hub.seen().len(), n, "nothing but pull speaks to the hub");

    let rows = ingle(&dir, &hub, &["list", "--json"]).json();
    assert_eq!(rows[0]["name"], "someone/tiny-GGUF:Q8_0");
    assert_eq!((&rows[0]["family"], &rows[0]["format"]), (&"llama".into(), &"Q8_0".into()));
    assert_eq!(rows[0]["bytes"], fs::metadata(tiny()).unwrap().len());
    let table = ingle(&dir, &hub, &["list"]).ok();
    assert!(table.starts_with("NAME") && table.contains("Q8_0") && table.contains("now"), "{table}");

    ingle(&dir, &hub, &["rm", REPO]).fails(2, &["--yes"]);
    let removed = ingle(&dir, &hub, &["rm", "someone/tiny-GGUF:Q8_0", "--yes", "--json"]).json();
    assert_eq!(removed["bytes_freed"], fs::metadata(tiny()).unwrap().len());
    ingle(&dir, &hub, &["rm", REPO, "--yes"]).fails(3, &["no such model", "ingle list"]);
    assert_eq!(ingle(&dir, &hub, &["list", "--json"]).json(), serde_json::json!([]));
}

#[test]
fn a_pull_reports_hashes_and_connections() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    let json = ingle(&dir, &hub, &["pull", "someone/tiny-GGUF:Q8_0", "--json"]).json();
    let bytes = fs::read(tiny()).unwrap();
    assert_eq!(json["files"][0]["hash"], sha256(&bytes).as_str());
    assert_eq!(json["bytes"], bytes.len());
    let connections = json["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 2);
    for connection in connections {
        assert_eq!(connection["to"], hub.url.as_str());
        assert!(connection["bytes_in"].as_u64() > Some(0) && connection["bytes_out"].as_u64() > Some(0));
    }
    assert!(connections[1]["bytes_in"].as_u64() > Some(bytes.len() as u64));
}

#[test]
fn names_are_given_and_forgotten() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    ingle(&dir, &hub, &["pull", REPO, "--as", "mine"]).ok();
    let own = dir.file("own.gguf", fs::read(tiny()).unwrap());
    assert_eq!(
        ingle(&dir, &hub, &["pull", "own.gguf"]).ok().trim_end(),
        fs::canonicalize(&own).unwrap().to_str().unwrap()
    );
    for name in ["mine", "own"] {
        assert_eq!(ingle(&dir, &hub, &["tokenize", name, "abc"]).ok(), "1 2 3\n", "{name}");
    }
    for bad in ["demo", "qwen3", "a/b", "x.gguf"] {
        ingle(&dir, &hub, &["pull", "own.gguf", "--as", bad]).fails(2, &[bad]);
    }
    assert!(ingle(&dir, &hub, &["rm", "own"]).ok().contains("removed own"));
    assert!(fs::metadata(&own).is_ok(), "a file of the user's stays");
    ingle(&dir, &hub, &["rm", "mine"]).ok();
    ingle(&dir, &hub, &["tokenize", "mine", "abc"]).fails(3, &["no model called mine"]);
    assert_eq!(ingle(&dir, &hub, &["tokenize", REPO, "abc"]).ok(), "1 2 3\n", "only the name is gone");
    ingle(&dir, &hub, &["pull", "nothing.gguf"]).fails(3, &["nothing.gguf"]);
    ingle(&dir, &hub, &["pull", "demo"]).fails(2, &["built in"]);
    ingle(&dir, &hub, &["pull", "no-such-name"]).fails(3, &["no-such-name", "user/repo"]);
}

#[test]
fn a_short_name_stands_for_its_repository() {
    let (dir, hub) = (Dir::new(), Hub::start());
    hub.add("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf", &fs::read(tiny()).unwrap());
    ingle(&dir, &hub, &["run", "qwen3:0.6b", "ab"])
        .fails(3, &["`ingle pull qwen3:0.6b`", "Qwen/Qwen3-0.6B-GGUF"]);
    let out = ingle(&dir, &hub, &["pull", "qwen3"]).run();
    assert!(
        out.code == 0 && out.stderr.contains("Apache-2.0") && out.stderr.contains("qwen3:0.6b"),
        "{out:?}"
    );
    assert_eq!(ingle(&dir, &hub, &["tokenize", "qwen3:0.6b", "abc"]).ok(), "1 2 3\n");
    assert_eq!(ingle(&dir, &hub, &["list", "--json"]).json()[0]["name"], "qwen3:0.6b");
    ingle(&dir, &hub, &["run", "qwen3:9b", "ab"]).fails(3, &["qwen3:8b"]);
    ingle(&dir, &hub, &["rm", "qwen3:0.6b", "--yes"]).ok();
}

#[test]
fn offline_is_6_whoever_asks_for_it() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    ingle(&dir, &hub, &["pull", REPO, "--offline"]).fails(6, &["--offline", "blocked by policy"]);
    ingle(&dir, &hub, &["pull", REPO]).env("INGLE_OFFLINE", "1").fails(6, &["INGLE_OFFLINE"]);
    ingle(&dir, &hub, &["pull", REPO]).env("HF_HUB_OFFLINE", "1").fails(6, &["HF_HUB_OFFLINE"]);
    dir.file("config/ingle/config.toml", "offline = true\n");
    ingle(&dir, &hub, &["pull", REPO]).fails(6, &["config.toml"]);
    assert!(hub.seen().is_empty());
    ingle(&dir, &hub, &["pull", REPO, "--offline=false"]).ok();
    ingle(&dir, &hub, &["pull", REPO, "--offline=maybe"]).fails(2, &["--offline"]);
}

#[test]
fn failures_have_their_codes() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    ingle(&dir, &hub, &["pull", "someone/else"]).fails(3, &["someone/else", "no such model"]);
    ingle(&dir, &hub, &["pull", "someone/tiny-GGUF:Q2_K"]).fails(3, &["it has Q8_0"]);
    ingle(&dir, &hub, &["pull", "https://hf.co/x"]).fails(2, &["https://hf.co/user/repo"]);
    ingle(&dir, &hub, &["pull", REPO, "--sha256", "00"]).fails(2, &["--sha256"]);
    ingle(&dir, &hub, &["pull", REPO]).env("HF_ENDPOINT", "ftp://x").fails(2, &["HF_ENDPOINT"]);
    ingle(&dir, &hub, &["pull", REPO]).env("HF_TOKEN", "a b").fails(2, &["token"]);
    ingle(&dir, &hub, &["pull", REPO]).env("HTTP_PROXY", "socks5://x:1").fails(2, &["SOCKS"]);
    ingle(&dir, &hub, &["pull", REPO]).env("SSL_CERT_FILE", "/dev/null").fails(2, &["SSL_CERT_FILE"]);
    hub.fail(&resolve(REPO, FILE), [Fault::WrongBytes]);
    ingle(&dir, &hub, &["pull", REPO]).fails(5, &["sha256", "deleted"]);
    // An address without TLS that nobody named.
    let plain = format!("{}/a.gguf", hub.url.replace("127.0.0.1", "localhost"));
    ingle(&dir, &hub, &["pull", &plain]).fails(6, &["https"]);
    hub.require_token("hf_mine");
    ingle(&dir, &hub, &["pull", REPO]).fails(3, &["HF_TOKEN"]);
    dir.file("cache/huggingface/token", "hf_mine\n");
    ingle(&dir, &hub, &["pull", REPO]).ok();
}

#[test]
fn a_hub_that_is_not_there_is_7() {
    let dir = Dir::new();
    // A port that no other test is ever given, as one that was just given back would be.
    let out = dir.ingle(&["pull", REPO]).env("HF_ENDPOINT", "http://127.0.0.1:1").run();
    assert_eq!(out.code, 7, "{out:?}");
    assert!(out.stderr.contains("refused") && out.stderr.contains("trying again"), "{out:?}");
}

#[test]
fn a_proxy_is_used_where_the_environment_says_so() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    // The hub does not speak CONNECT, so going through it fails; being excepted from it works.
    let through = |except: &str| {
        ingle(&dir, &hub, &["pull", REPO]).env("HTTP_PROXY", &hub.url).env("NO_PROXY", except).run().code
    };
    assert_eq!(through("elsewhere"), 7);
    assert!(hub.seen().iter().any(|s| s.target.starts_with("127.0.0.1:")), "{:?}", hub.seen());
    assert_eq!(through("127.0.0.1"), 0);
}

#[test]
fn a_file_from_an_address_is_a_model() {
    let (dir, hub) = (Dir::new(), Hub::start());
    let bytes = fs::read(tiny()).unwrap();
    hub.add_plain("/models/a.gguf", &bytes);
    let url = format!("{}/models/a.gguf", hub.url);
    ingle(&dir, &hub, &["pull", &url, "--sha256", &sha256(b"other")]).fails(5, &["a.gguf", "sha256"]);
    let pinned = format!("{url}#sha256={}", sha256(&bytes));
    ingle(&dir, &hub, &["pull", &pinned, "--sha256", &sha256(b"other")]).fails(2, &["another hash"]);
    ingle(&dir, &hub, &["pull", &format!("{url}#sha256=12")]).fails(2, &["#sha256="]);
    ingle(&dir, &hub, &["pull", &pinned]).ok();
    let n = hub.seen().len();
    ingle(&dir, &hub, &["pull", &pinned]).ok();
    assert_eq!(hub.seen().len(), n, "what is here is not fetched again");
    assert_eq!(ingle(&dir, &hub, &["tokenize", &pinned, "abc"]).ok(), "1 2 3\n");
    let path = ingle(&dir, &hub, &["pull", &url, "--sha256", &sha256(&bytes), "--as", "a"]).ok();
    assert!(path.trim_end().ends_with("models/127.0.0.1/models/a.gguf"), "{path}");
    for name in ["a", &url] {
        assert_eq!(ingle(&dir, &hub, &["tokenize", name, "abc"]).ok(), "1 2 3\n", "{name}");
    }
    assert!(ingle(&dir, &hub, &["list"]).ok().contains("llama"));
    ingle(&dir, &hub, &["rm", "a", "--yes"]).ok();
    assert!(fs::metadata(path.trim_end()).is_err());
    ingle(&dir, &hub, &["tokenize", &url, "abc"]).fails(3, &["`ingle pull"]);
}

#[test]
#[cfg(unix)]
fn ctrl_c_keeps_what_came_and_the_next_pull_goes_on() {
    let (dir, hub) = (Dir::new(), Hub::start());
    let mut model = fs::read(tiny()).unwrap();
    model.resize(3 << 20, 0);
    hub.add(REPO, FILE, &model);
    let at = resolve(REPO, FILE);
    hub.fail(&at, [Fault::Stall(1 << 20, Duration::from_secs(25))]);
    let mut command = ingle(&dir, &hub, &["pull", REPO]);
    let child = command.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let partial = dir
        .path("cache/huggingface/hub/models--someone--tiny-GGUF/blobs")
        .join(format!("{}.incomplete", sha256(&model)));
    let kept = || fs::metadata(&partial).map_or(0, |m| m.len());
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while kept() < 1 << 20 && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted") && said.contains("are kept"), "{said}");
    assert_eq!(kept(), 1 << 20);
    let again = ingle(&dir, &hub, &["pull", REPO]).run();
    assert!(again.code == 0 && again.stderr.contains("2.0 MiB of 3.0 MiB to fetch"), "{again:?}");
    assert_eq!(hub.seen_at(&at)[1].header("range"), Some("bytes=1048576-"));
    assert_eq!(fs::read(again.stdout.trim_end()).unwrap(), model);
}

#[test]
fn a_revision_may_be_pinned_and_is_removed_alone() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    let old = "f".repeat(40);
    hub.add_at(REPO, &old, FILE, &fs::read(tiny()).unwrap());
    hub.name_commit(REPO, "v1", &old);
    let pinned = "someone/tiny-GGUF@v1";
    ingle(&dir, &hub, &["pull", REPO]).ok();
    ingle(&dir, &hub, &["tokenize", pinned, "abc"]).fails(3, &["not here yet", "@v1"]);
    let path = ingle(&dir, &hub, &["pull", pinned, "--as", "old"]).ok();
    assert!(path.contains(&old), "{path}");
    let by_commit = format!("{REPO}@{old}:Q8_0");
    for name in [pinned, "old", &by_commit] {
        assert_eq!(ingle(&dir, &hub, &["tokenize", name, "abc"]).ok(), "1 2 3\n", "{name}");
    }
    ingle(&dir, &hub, &["pull", "someone/tiny-GGUF@v2"]).fails(3, &["@v2", "no such model"]);
    ingle(&dir, &hub, &["pull", "someone/tiny-GGUF@../v2"]).fails(3, &["no short name"]);
    ingle(&dir, &hub, &["rm", pinned, "--yes"]).ok();
    ingle(&dir, &hub, &["tokenize", pinned, "abc"]).fails(3, &["not here yet"]);
    assert_eq!(ingle(&dir, &hub, &["tokenize", REPO, "abc"]).ok(), "1 2 3\n", "the other snapshot stays");
}

#[test]
fn what_a_program_uses_is_not_removed() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    let path = ingle(&dir, &hub, &["pull", REPO]).ok();
    let user = fs::File::open(path.trim_end()).unwrap();
    user.lock_shared().unwrap();
    for name in [REPO, "someone/tiny-GGUF:Q8_0"] {
        ingle(&dir, &hub, &["rm", name, "--yes"]).fails(1, &["in use by a running program"]);
    }
    assert_eq!(ingle(&dir, &hub, &["tokenize", REPO, "abc"]).ok(), "1 2 3\n");
    drop(user);
    ingle(&dir, &hub, &["rm", REPO, "--yes"]).ok();
}

#[test]
fn models_are_verified_and_a_spoiled_one_is_5() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    let path = ingle(&dir, &hub, &["pull", REPO]).ok();
    let own = dir.file("own.gguf", fs::read(tiny()).unwrap());
    let hash = sha256(&fs::read(tiny()).unwrap());
    ingle(&dir, &hub, &["pull", "own.gguf"]).ok();
    ingle(&dir, &hub, &["pull", "own.gguf", "--as", "sure", "--sha256", &hash]).ok();
    ingle(&dir, &hub, &["pull", "own.gguf", "--as", "wrong", "--sha256", &sha256(b"x")])
        .fails(5, &["sha256", &hash]);
    let rows = ingle(&dir, &hub, &["verify", "--json"]).json();
    let states: Vec<_> = rows.as_array().unwrap().iter().map(|r| r["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["unknown", "good"], "own and sure are one file: {rows}");
    assert!(ingle(&dir, &hub, &["verify", "own"]).ok().contains("no hash is known"));
    assert!(ingle(&dir, &hub, &["verify", "sure"]).ok().starts_with("good"));
    let mut bytes = fs::read(&own).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    for file in [path.trim_end(), &own] {
        let file = fs::canonicalize(file).unwrap();
        fs::write(file, &bytes).unwrap();
    }
    for name in [REPO, "sure"] {
        let out = ingle(&dir, &hub, &["verify", name]).run();
        assert_eq!(out.code, 5, "{out:?}");
        assert!(out.stdout.starts_with("wrong") && out.stdout.contains(&hash), "{out:?}");
    }
    ingle(&dir, &hub, &["verify", "nothing"]).fails(3, &["nothing", "ingle list"]);
    ingle(&dir, &hub, &["verify", "demo"]).fails(2, &["built in"]);
}

#[test]
fn what_is_of_no_use_is_shown_and_removed_when_it_is_old() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    ingle(&dir, &hub, &["pull", REPO]).ok();
    let blobs = dir.path("cache/huggingface/hub/models--someone--tiny-GGUF/blobs");
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    for (name, is_old) in [
        ("aa.incomplete", true),
        ("aa.incomplete.16777216", true),
        ("bb.12345678.incomplete", true),
        ("cc", true),
        ("dd", false),
    ] {
        fs::write(blobs.join(name), [0; 1000]).unwrap();
        if is_old {
            fs::File::options().write(true).open(blobs.join(name)).unwrap().set_modified(old).unwrap();
        }
    }
    let hold = fs::File::create(blobs.join("ee.incomplete")).unwrap();
    hold.set_modified(old).unwrap();
    let locks = dir.path("cache/huggingface/hub/.locks/models--someone--tiny-GGUF");
    let lock = fs::File::create(locks.join("ee.lock")).unwrap();
    lock.lock().unwrap();
    let du = ingle(&dir, &hub, &["du", "--json"]).json();
    assert_eq!(du["parts"][0]["what"], REPO);
    assert_eq!(
        du["bytes"],
        fs::metadata(tiny()).unwrap().len() + 5000 + 40,
        "and the commit that refs/main holds"
    );
    assert_eq!(du["leftover_bytes"], 5000);
    assert!(du["free_bytes"].as_u64() > Some(0));
    let dry = ingle(&dir, &hub, &["gc", "--dry-run", "--json"]).json();
    assert_eq!((&dry["bytes_planned"], &dry["bytes_freed"]), (&4000.into(), &0.into()));
    ingle(&dir, &hub, &["gc"]).fails(2, &["--yes"]);
    assert_eq!(ingle(&dir, &hub, &["gc", "--yes", "--json"]).json()["bytes_freed"], 4000);
    assert!(blobs.join("dd").exists() && blobs.join("ee.incomplete").exists());
    assert_eq!(ingle(&dir, &hub, &["gc", "--yes", "--json"]).json()["bytes_freed"], 0);
    assert_eq!(ingle(&dir, &hub, &["tokenize", REPO, "abc"]).ok(), "1 2 3\n");
}

#[test]
fn images_of_registries_run_by_name() {
    let (dir, hub) = (Dir::new(), Hub::start());
    let model = fs::read(tiny()).unwrap();
    let layer = |kind: &str, bytes: &[u8]| {
        let digest = hub.add_blob("library/tiny", bytes);
        serde_json::json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    };
    let layers = [
        layer("application/vnd.ollama.image.model", &model),
        layer("application/vnd.ollama.image.license", b"MIT"),
    ];
    hub.add_manifest("library/tiny", "1b", &serde_json::json!({ "layers": layers }));
    let more = [
        layer("application/vnd.ollama.image.params", br#"{"temperature": 0, "num_predict": 3, "x": 1}"#),
        layer("application/vnd.ollama.image.template", b"{{ .Prompt }}"),
    ];
    let all = [&layers[..], &more[..]].concat();
    hub.add_manifest("library/tiny", "set", &serde_json::json!({ "layers": all }));
    let with = |args: &[&str]| ingle(&dir, &hub, args).env("INGLE_OLLAMA_REGISTRY", &hub.url);
    with(&["run", "ollama:tiny:1b", "ab"]).fails(3, &["`ingle pull ollama:tiny:1b`"]);
    let path = with(&["pull", "ollama:tiny:1b"]).ok();
    assert!(path.contains("data/ingle/registry/snapshots"), "{path}");
    assert_eq!(with(&["tokenize", "ollama:tiny:1b", "abc"]).ok(), "1 2 3\n");
    assert_eq!(with(&["list", "--json"]).json()[0]["name"], "ollama:tiny:1b");
    let oci = format!("oci:{}/library/tiny:1b", hub.url);
    with(&["pull", &oci, "--as", "second"]).ok();
    assert_eq!(with(&["tokenize", "second", "abc"]).ok(), "1 2 3\n");
    assert!(with(&["verify", "second"]).ok().contains("good"));
    assert_eq!(
        with(&["rm", "ollama:tiny:1b", "--yes", "--json"]).json()["bytes_freed"],
        0,
        "it has another name"
    );
    assert_eq!(with(&["tokenize", "second", "abc"]).ok(), "1 2 3\n");
    let freed = with(&["rm", &oci, "--yes", "--json"]).json();
    assert_eq!(freed["bytes_freed"], model.len() + 3);
    // What an image says of its answers is the default, below what the user says.
    with(&["pull", "ollama:tiny:set"]).ok();
    let out = with(&["run", "ollama:tiny:set", "ab"]).run();
    assert_eq!((out.code, out.stdout.trim().len()), (0, 3), "{out:?}");
    assert!(out.stderr.contains("setting x") && out.stderr.contains("no family that is known"), "{out:?}");
    assert_eq!(with(&["run", "ollama:tiny:set", "ab", "--max-tokens", "5"]).ok().trim().len(), 5);
    // Its template: one in Jinja is used, one in Go's language stands for its family's.
    let messages = dir.file("messages.json", r#"[{"role": "user", "content": "ab"}]"#);
    let prompt = |tag: &str, layers: &[serde_json::Value]| {
        hub.add_manifest("library/tiny", tag, &serde_json::json!({ "layers": layers }));
        let name = format!("ollama:tiny:{tag}");
        with(&["pull", &name]).ok();
        with(&["template", &name, "--messages", &messages]).run()
    };
    let go = layer("application/vnd.ollama.image.template", b"<|im_start|>user\n{{ .Prompt }}<|im_end|>\n");
    let out = prompt("go", &[layers[0].clone(), go.clone()]);
    assert_eq!(out.stdout, "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n", "{out:?}");
    assert!(out.stderr.contains("by its markers it is ChatML's"), "{out:?}");
    let jinja = layer("application/vnd.docker.ai.chat.template.jinja", b"A{{ messages[0].content }}Z");
    let out = prompt("jinja", &[layers[0].clone(), go, jinja]);
    assert_eq!((out.stdout.trim(), out.stderr.as_str()), ("AabZ", ""), "{out:?}");
    with(&["pull", "ollama:tiny:2b"]).fails(3, &["ollama:tiny:2b", "no such model"]);
    with(&["pull", "ollama:.."]).fails(2, &["ollama:NAME"]);
}

/// A program that keeps logins is asked where a registry wants one, and never before.
#[cfg(unix)]
#[test]
fn a_program_that_keeps_logins_is_asked_for_what_not_everybody_is_given() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, hub) = (Dir::new(), Hub::start());
    let model = fs::read(tiny()).unwrap();
    let digest = hub.add_blob("library/tiny", &model);
    let layer = serde_json::json!({ "mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": model.len() });
    hub.add_manifest("library/tiny", "1b", &serde_json::json!({ "layers": [layer] }));
    let host = hub.url.strip_prefix("http://").unwrap().to_owned();
    let config = |json: serde_json::Value| drop(dir.file("home/.docker/config.json", json.to_string()));
    let helper = |name: &str, script: &str| {
        let path = dir.file(&format!("bin/docker-credential-{name}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let asked = dir.path("asked");
    let good = format!(
        r#"[ "$1" = get ] || exit 9
server=$(cat)
echo "$server" >> {}
[ "$server" = {host} ] || {{ echo "credentials not found in native keychain"; exit 1; }}
echo '{{"ServerURL": "x", "Username": "name", "Secret": "secret"}}'"#,
        asked.display()
    );
    helper("good", &good);
    helper("empty", "cat > /dev/null; echo 'credentials not found in native keychain'; exit 1");
    helper("locked", "echo 'the keychain is locked'; exit 1");
    helper("odd", "echo hidden");
    let path = format!("{}:{}", dir.path("bin").display(), std::env::var("PATH").unwrap());
    let image = format!("oci:{}/library/tiny:1b", hub.url);
    let pull = || ingle(&dir, &hub, &["pull", &image]).env("PATH", &path);

    // Everybody is given it: nobody is asked.
    config(serde_json::json!({ "credHelpers": { host.as_str(): "good" } }));
    pull().ok();
    assert!(!asked.exists());
    ingle(&dir, &hub, &["rm", &image, "--yes"]).ok();

    hub.require_login("bmFtZTpzZWNyZXQ=", "Basic");
    for (name, code, said) in [
        ("empty", 3, "does not give it to everybody"),
        ("locked", 2, "the keychain is locked"),
        ("odd", 2, "its answer is none"),
        ("absent", 2, "no such program is installed"),
    ] {
        config(serde_json::json!({ "credsStore": name }));
        let out = pull().run();
        assert!(out.code == code && out.stderr.contains(said), "{name}: {out:?}");
        assert!(!out.stderr.contains("hidden"), "{out:?}");
    }
    for kept in [
        serde_json::json!({ "credHelpers": { host.as_str(): "good" } }),
        serde_json::json!({ "auths": { host.as_str(): {} }, "credsStore": "good" }),
    ] {
        config(kept);
        pull().ok();
        ingle(&dir, &hub, &["rm", &image, "--yes"]).ok();
    }
    assert_eq!(fs::read_to_string(&asked).unwrap(), format!("{host}\n{host}\n"));
}

#[test]
fn memory_and_disk_are_looked_at_before_a_download() {
    let (dir, hub) = (Dir::new(), Hub::start());
    let mut model = fs::read(tiny()).unwrap();
    model.resize(9 << 20, 0);
    hub.add(REPO, FILE, &model);
    let out = ingle(&dir, &hub, &["pull", REPO, "--json"]).run();
    assert_eq!(out.code, 0, "{out:?}");
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(json["memory"]["ctx"], 64, "what the file's beginning says: {json}");
    assert!(json["memory"]["needed_bytes"].as_u64().unwrap() < 9 << 20, "{json}");
    assert!(json["memory"]["fits"] == true && out.stderr.contains("for a context of 64"), "{out:?}");
    assert_eq!(hub.sent(&resolve(REPO, FILE)), 9 << 20, "the beginning came once");
    let listing = format!(
        r#"{{"sha": "{}", "siblings": [{{"rfilename": "{FILE}", "lfs": {{"size": 4611686018427387904, "sha256": "{}"}}}}]}}"#,
        hub::COMMIT,
        "ab".repeat(32)
    );
    hub.add_plain("/api/models/u/huge/revision/main", listing.as_bytes());
    ingle(&dir, &hub, &["pull", "u/huge"]).fails(1, &["nothing was fetched"]);
    assert!(hub.seen_at(&resolve("u/huge", FILE)).is_empty());
}

/// `serve` with that hub, and what it says of itself on stderr; ended when it goes.
struct Served(Child, String);

impl Served {
    fn start(dir: &Dir, hub: &Hub, args: &[&str]) -> Self {
        let all = [&["serve", "demo", "--port", "0"], args].concat();
        let mut child = ingle(dir, hub, &all).command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        Self(child, address)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.1).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.1);
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn clients_of_a_server_fetch_and_remove_models_where_they_may() {
    let (dir, hub) = (Dir::new(), hub_with_tiny());
    let asked = r#"{"model": "someone/tiny-GGUF:latest"}"#;
    let whole = r#"{"model": "someone/tiny-GGUF", "stream": false}"#;
    let shut = Served::start(&dir, &hub, &[]);
    for (method, path) in [("POST", "/api/pull"), ("DELETE", "/api/delete")] {
        let answer = shut.ask(method, path, asked);
        assert!(answer.starts_with("HTTP/1.1 501") && answer.contains("--manage"), "{answer}");
    }
    assert!(hub.seen().is_empty(), "nobody asked for it");
    drop(shut);

    let open = Served::start(&dir, &hub, &["--manage"]);
    let pulled = open.ask("POST", "/api/pull", asked);
    assert!(pulled.starts_with("HTTP/1.1 200") && pulled.contains("\"total\":"), "{pulled}");
    assert!(pulled.contains("{\"status\":\"success\"}"), "{pulled}");
    let here = || ingle(&dir, &hub, &["list", "--json"]).json();
    assert_eq!(here()[0]["name"], "someone/tiny-GGUF:Q8_0");
    assert!(open.ask("POST", "/api/pull", whole).contains("{\"status\":\"success\"}"), "it is here already");
    assert!(open.ask("DELETE", "/api/delete", asked).starts_with("HTTP/1.1 200"));
    assert_eq!(here(), serde_json::json!([]));
    for (body, status) in [
        (r#"{"model": "someone/other", "stream": false}"#, 404),
        (r#"{"model": "http://127.0.0.1:1/x.gguf", "stream": false}"#, 400),
        (r#"{"model": "https://127.0.0.1:1/x.gguf", "stream": false}"#, 400),
    ] {
        let answer = open.ask("POST", "/api/pull", body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{body}: {answer}");
    }
    // What comes can be asked without starting anew, by any of its names, and by no path.
    assert!(open.ask("POST", "/api/pull", whole).contains("{\"status\":\"success\"}"));
    assert!(open.ask("GET", "/api/tags", "").contains("\"name\":\"someone/tiny-GGUF:Q8_0\""));
    let chat = |model: &str| {
        let messages = serde_json::json!([{ "role": "user", "content": "ab" }]);
        let asked = serde_json::json!({ "model": model, "messages": messages, "stream": false, "options": { "num_predict": 2 } });
        open.ask("POST", "/api/chat", &asked.to_string())
    };
    for name in ["someone/tiny-GGUF:latest", "someone/tiny-GGUF:Q8_0", "someone/tiny-GGUF"] {
        let answer = chat(name);
        let told = "\"model\":\"someone/tiny-GGUF\"";
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(told), "{name}: {answer}");
    }
    let models = open.ask("GET", "/v1/models", "");
    assert_eq!(models.matches("\"object\":\"model\"").count(), 2, "it is loaded once: {models}");
    for name in [&*tiny(), "../tiny.gguf", "someone/other"] {
        let answer = chat(name);
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("no model"), "{name}: {answer}");
    }
    for name in ["someone/tiny-GGUF", "someone/tiny-GGUF:Q8_0"] {
        let answer = open.ask("DELETE", "/api/delete", &format!("{{\"model\": \"{name}\"}}"));
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("being served"), "{name}: {answer}");
    }
    let served = open.ask("DELETE", "/api/delete", r#"{"model": "demo"}"#);
    assert!(served.starts_with("HTTP/1.1 400") && served.contains("being served"), "{served}");
    drop(open);

    let offline = Served::start(&dir, &hub, &["--manage", "--offline"]);
    let n = hub.seen().len();
    let refused = offline.ask("POST", "/api/pull", whole);
    assert!(refused.starts_with("HTTP/1.1 403") && hub.seen().len() == n, "{refused}");
}
