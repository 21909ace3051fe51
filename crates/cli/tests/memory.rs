//! Models of a running server as its user sees and stops them, and budgets that hold nothing.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
#[expect(dead_code, reason = "each test uses a part of it")]
mod server;

use harness::{Dir, tiny};
use serde_json::json;
use server::Server;

#[test]
fn models_of_a_server_are_shown_and_stopped() {
    let (dir, tiny) = (Dir::new(), tiny());
    let server =
        Server::start(&dir, &["demo", &tiny, "--ctx", "64", "--pin", "base", "--memory-budget", "2GiB"]);
    let port = server.address.rsplit(':').next().unwrap();
    let ps = || dir.ingle(&["ps", "--port", port, "--json"]).json();
    let names = |told: &serde_json::Value| {
        let models = told["models"].as_array().unwrap().iter();
        models.map(|model| model["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let told = ps();
    assert_eq!(names(&told), ["demo", "base"]);
    assert_eq!(told["memory"]["budget"], 2u64 << 30);
    assert!(
        told["models"][1]["memory"]["pinned"] == true && told["models"][0]["memory"]["tier"] == "hot",
        "{told}"
    );
    let shown = dir.ingle(&["ps", "--port", port]).run();
    assert!(shown.stdout.contains("hot   demo") && shown.stdout.contains("pinned"), "{shown:?}");
    assert!(shown.stderr.contains("of 2.0 GiB taken"), "{shown:?}");
    assert!(dir.ingle(&["stop", "demo", "--port", port]).run().stderr.contains("demo has left memory"));
    assert_eq!(names(&ps()), ["base"]);
    let asked = json!({ "model": "demo", "prompt": "ab", "max_tokens": 2 });
    assert_eq!(server.post("/v1/completions", &asked).status, 200, "it comes back when it is asked for");
    assert_eq!(names(&ps()), ["demo", "base"]);
    dir.ingle(&["stop", "base", "--port", port]).fails(1, &["stays"]);
    dir.ingle(&["stop", "nobody", "--port", port]).fails(3, &["nobody"]);
    drop(server);
    dir.ingle(&["ps", "--port", "9"]).fails(7, &["127.0.0.1:9"]);
    dir.ingle(&["ps", "--host", "192.0.2.7"]).fails(6, &["this machine"]);
}

#[test]
fn a_budget_that_holds_no_model_is_refused_with_the_sum() {
    let dir = Dir::new();
    dir.ingle(&["serve", "demo", "--memory-budget", "1MiB", "--port", "0"])
        .fails(4, &["demo needs", "budget 1 MiB", "there are 0 MiB"]);
    dir.ingle(&["serve", "demo", "--memory-budget", "much"]).fails(2, &["6GiB"]);
    dir.ingle(&["serve", "demo", "--keep-alive", "soon"]).fails(2, &["10m"]);
    dir.ingle(&["serve", "demo", "--pin", "other"]).fails(2, &["--pin other"]);
}
