//! Models that come and go under a budget: answers are those of models that stay, what is in use stays, what has no room is refused
//! with the sum.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ingle_engine::sysfs::Tree;
use ingle_serve::{PATIENCE, Terms};
use serde_json::{Value as Json, json};

use crate::served::Server;
use crate::shapes::{Files, Folder};

/// Room beside models.
const FIXED: u64 = 1 << 20;

fn terms(stock: &Arc<Files>, budget: u64) -> Terms {
    let tree = Tree::Frame(std::collections::BTreeMap::new());
    Terms {
        budget: Some(FIXED + budget),
        fixed: Some(FIXED),
        shared: 0,
        keep_alive: None,
        patience: PATIENCE,
        tree,
        stock: stock.clone(),
    }
}

fn asked(model: &str, more: &Json) -> Json {
    let mut asked = json!({
        "model": model, "prompt": "Once upon a time there was a small house at the river", "stream": false, "raw": true,
        "options": { "num_predict": 4, "temperature": 0, "num_ctx": 512 },
    });
    for (name, value) in more.as_object().unwrap() {
        asked[name] = value.clone();
    }
    asked
}

fn answer(server: &Server, model: &str) -> String {
    server.fine("/api/generate", &asked(model, &json!({})))["response"].as_str().unwrap().to_owned()
}

/// Names and tiers of what is in memory.
fn running(server: &Server) -> Vec<(String, String)> {
    let (_, _, text) = server.ask("GET", "/api/ps", "", b"");
    let told: Json = serde_json::from_str(&text).unwrap();
    let memory = &told["memory"];
    assert!(memory["used"].as_u64() <= memory["budget"].as_u64(), "{memory}");
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    let models = told["models"].as_array().unwrap().iter();
    models.map(|one| (text(&one["name"]), text(&one["memory"]["tier"]))).collect()
}

fn names(running: &[(String, String)]) -> Vec<&str> {
    running.iter().map(|(name, _)| &**name).collect()
}

#[test]
fn models_leave_and_come_back_and_answer_the_same() {
    let folder = Folder::new("leave");
    let models = [
        ("small", folder.model("small", 2, 512)),
        ("middle", folder.model("middle", 3, 2048)),
        ("large", folder.model("large", 4, 4096)),
    ];
    let stock = Arc::new(Files::new(&models, &[], None));
    let all: u64 = models.iter().map(|(name, _)| stock.total(name)).sum();
    let free = Server::keeping(terms(&stock, all));
    let expected: Vec<String> = models.iter().map(|(name, _)| answer(&free, name)).collect();
    assert_eq!((stock.n_loads.load(Relaxed), running(&free).len()), (3, 3), "all have room");
    drop(free);
    let server = Server::keeping(terms(&stock, stock.total("large") * 11 / 10));
    for _ in 0..3 {
        for ((name, _), expected) in models.iter().zip(&expected) {
            assert_eq!(&answer(&server, name), expected, "{name}");
            let running = running(&server);
            assert!(running.contains(&((*name).to_owned(), "hot".to_owned())), "{name}: {running:?}");
        }
    }
    // All are listed, in memory or not.
    let (_, _, listed) = server.ask("GET", "/v1/models", "", b"");
    let (_, _, tags) = server.ask("GET", "/api/tags", "", b"");
    assert!(models.iter().all(|(name, _)| listed.contains(name) && tags.contains(name)), "{listed} {tags}");
    assert_eq!(
        server.fine("/v1/completions", &json!({ "prompt": "x", "max_tokens": 1 }))["model"],
        "small",
        "the first"
    );
    server.refused("/api/generate", &asked("other", &json!({})), 404, &["no model", "large"]);
    let (_, _, metrics) = server.ask("GET", "/metrics", "", b"");
    for row in [
        "ingle_memory_budget_bytes ",
        "ingle_model_hits_total ",
        "kind=\"weights\"",
        "ingle_model_swap_seconds{from=",
    ] {
        assert!(metrics.contains(row), "{row}: {metrics}");
    }
}

#[test]
fn what_has_no_room_is_refused_with_the_sum_and_pinned_models_stay() {
    let folder = Folder::new("refused");
    let models = [("kept", folder.model("kept", 2, 2048)), ("large", folder.model("large", 4, 4096))];
    let stock = Arc::new(Files::new(&models, &["kept"], None).hiding("large"));
    let server = Server::keeping(terms(&stock, stock.total("large") + (1 << 20)));
    answer(&server, "kept");
    // With smaller caches it would fit, if nothing were pinned; so it does not at all.
    server.refused(
        "/api/generate",
        &asked("large", &json!({})),
        507,
        &["large needs weights", "pinned models", "MiB"],
    );
    assert_eq!(names(&running(&server)), ["kept"]);
    server.refused("/api/stop", &json!({ "model": "nobody" }), 404, &["no model"]);
}

#[test]
fn a_model_comes_with_less_where_all_of_it_has_no_room() {
    let folder = Folder::new("less");
    let models = [("one", folder.model("one", 4, 1024))];
    let stock = Arc::new(Files::new(&models, &[], None));
    let server = Server::keeping(terms(&stock, stock.total("one") - 1));
    answer(&server, "one");
    let (_, _, text) = server.ask("GET", "/api/ps", "", b"");
    let told: Json = serde_json::from_str(&text).unwrap();
    let bytes = &told["models"][0]["memory"]["bytes"];
    assert_eq!(bytes["prefix"].as_u64().unwrap(), bytes["kv"].as_u64().unwrap() / 4, "caches first: {bytes}");
}

#[test]
fn an_answer_under_way_keeps_its_model_and_who_needs_the_room_waits() {
    let folder = Folder::new("busy");
    let models = [("a", folder.model("a", 3, 2048)), ("b", folder.model("b", 3, 2048))];
    let stock = Arc::new(Files::new(&models, &[], None));
    let server = Arc::new(Server::keeping(terms(&stock, stock.total("a") * 11 / 10)));
    let endless = server.endless().to_string();
    let mut stream = server.open("POST", "/v1/chat/completions", "", endless.as_bytes());
    let mut first = [0; 256];
    assert!(stream.read(&mut first).unwrap() > 0);
    let other = std::thread::spawn({
        let server = server.clone();
        move || answer(&server, "b")
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(names(&running(&server)), ["a"], "it is answering");
    server.refused("/api/stop", &json!({ "model": "a" }), 400, &["in use"]);
    assert!(!other.is_finished());
    drop(stream);
    other.join().unwrap();
    assert!(names(&running(&server)).contains(&"b"));
}

/// Two models, room for one: the first answers without end, somebody asks for the second, and others go on to ask for the first.
#[test]
fn a_hot_model_answers_while_another_request_waits_for_room_but_not_for_ever() {
    let folder = Folder::new("passing");
    let models = [("a", folder.model("a", 3, 2048)), ("b", folder.model("b", 3, 2048))];
    let stock = Arc::new(Files::new(&models, &[], None));
    let begin = |patience: Duration| {
        let terms = Terms { patience, ..terms(&stock, stock.total("a") * 11 / 10) };
        let server = Arc::new(Server::keeping(terms));
        let endless = server.endless().to_string();
        let mut stream = server.open("POST", "/v1/chat/completions", "", endless.as_bytes());
        assert!(stream.read(&mut [0; 256]).unwrap() > 0);
        let asks = |model: &'static str| {
            let server = server.clone();
            std::thread::spawn(move || answer(&server, model))
        };
        let other = asks("b");
        std::thread::sleep(Duration::from_millis(300));
        let first = asks("a");
        (stream, other, first)
    };
    let (stream, other, first) = begin(PATIENCE);
    assert!(!first.join().unwrap().is_empty());
    assert!(!other.is_finished(), "the first model still answers");
    drop(stream);
    other.join().unwrap();

    let (stream, other, first) = begin(Duration::ZERO);
    std::thread::sleep(Duration::from_millis(700));
    assert!(!first.is_finished() && !other.is_finished(), "it was passed by for long enough");
    drop(stream);
    other.join().unwrap();
    first.join().unwrap();
}

#[test]
fn models_leave_when_their_time_is_over_or_somebody_says_so() {
    let folder = Folder::new("time");
    let models = [("a", folder.model("a", 2, 512)), ("b", folder.model("b", 2, 512))];
    let stock = Arc::new(Files::new(&models, &[], None));
    let server = Server::keeping(terms(&stock, 1 << 30));
    answer(&server, "a");
    let kept = server.fine("/api/generate", &asked("b", &json!({ "keep_alive": "5m" })));
    assert_eq!(kept["done"], true);
    let (_, _, text) = server.ask("GET", "/api/ps", "", b"");
    let told: Json = serde_json::from_str(&text).unwrap();
    let ends = |i: usize| told["models"][i]["expires_at"].as_str().unwrap();
    assert!(ends(0).starts_with("9999") && ends(1).starts_with("20"), "{told}");
    assert_eq!(told["models"][0]["size_vram"], 0);
    server.fine("/api/generate", &asked("b", &json!({ "keep_alive": 0 })));
    let since = Instant::now();
    while names(&running(&server)).contains(&"b") {
        assert!(since.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.fine("/api/stop", &json!({ "model": "a:latest" }))["done_reason"], "unload");
    assert!(running(&server).is_empty());
    answer(&server, "b");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(names(&running(&server)), ["b"], "what a request said of its time was over with it");
}

#[test]
fn what_a_model_was_asked_before_it_left_is_taken_up_from_files() {
    let folder = Folder::new("files");
    let kv = Folder::new("files-kv");
    let models = [("a", folder.model("a", 2, 512))];
    let stock = Arc::new(Files::new(&models, &[], Some(&kv.0)));
    let server = Server::keeping(terms(&stock, 1 << 30));
    let long = "The river goes by the house and under the bridge. ".repeat(16);
    let question = asked("a", &json!({ "prompt": long }));
    let first = server.fine("/api/generate", &question);
    let n_computed = || server.metric_of("ingle_prompt_tokens_total", "a");
    let all = n_computed();
    server.fine("/api/stop", &json!({ "model": "a" }));
    let again = server.fine("/api/generate", &question);
    assert_eq!(first["response"], again["response"]);
    assert!(all > 128 && n_computed() <= 64, "{} of {all} computed again", n_computed());
}

#[test]
fn idle_models_empty_when_the_system_runs_short() {
    let (folder, system) = (Folder::new("short"), Folder::new("short-system"));
    let models = [("a", folder.model("a", 2, 512))];
    let stock = Arc::new(Files::new(&models, &[], None));
    let waited = |some: u64, full: u64| {
        let line =
            |name: &str, total: u64| format!("{name} avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n");
        std::fs::create_dir_all(system.0.join("proc/pressure")).unwrap();
        std::fs::write(system.0.join("proc/pressure/memory"), line("some", some) + &line("full", full))
            .unwrap();
    };
    waited(0, 0);
    let server = Server::keeping(Terms { tree: Tree::Folder(system.0.clone()), ..terms(&stock, 1 << 30) });
    let expected = answer(&server, "a");
    let becomes = |wanted: &[(&str, &str)]| {
        let since = Instant::now();
        loop {
            let running = running(&server);
            let told: Vec<(&str, &str)> = running.iter().map(|(name, tier)| (&**name, &**tier)).collect();
            if told == wanted {
                return;
            }
            assert!(since.elapsed() < Duration::from_secs(10), "{told:?}, expected {wanted:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    becomes(&[("a", "hot")]);
    std::thread::sleep(Duration::from_millis(1500));
    waited(60_000_000, 0);
    becomes(&[("a", "warm")]);
    assert_eq!(answer(&server, "a"), expected);
    becomes(&[("a", "hot")]);
    waited(60_000_000, 60_000_000);
    becomes(&[]);
    assert_eq!(answer(&server, "a"), expected);
}
