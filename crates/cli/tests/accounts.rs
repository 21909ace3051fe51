//! What the server's answers took, through the real binary: rows, their sum, and what holds answers back.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
mod server;

use std::io::Read;

use harness::Dir;
use serde_json::{Value as Json, json};
use server::{Server, chat, events, rows};

const CHAT: &str = "/v1/chat/completions";
const STORY: &str = "Tell me a story.";

/// Microjoules of a response.
fn microjoules(ingle: &Json) -> u64 {
    (ingle["joules"]["value"].as_f64().unwrap_or_else(|| panic!("{ingle}")) * 1e6).round() as u64
}

#[test]
fn every_answer_is_a_row_and_the_rows_add_up_to_what_was_measured() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["demo", "--parallel", "4"]);
    let told: Vec<Json> = std::thread::scope(|scope| {
        let chats = (0..3).map(|i| {
            let server = &server;
            scope.spawn(move || {
                server.post(CHAT, &chat(STORY, &json!({ "max_tokens": 20 + 90 * i }))).json()["ingle"].clone()
            })
        });
        let two = scope.spawn(|| server.post(CHAT, &chat(STORY, &json!({ "n": 2 }))).json()["ingle"].clone());
        let anthropic = scope.spawn(|| {
            let reply = server.post("/v1/messages", &chat(STORY, &json!({ "stream": true })));
            let told: Vec<Json> = events(&reply.body);
            told.iter().find(|event| event["type"] == "message_delta").unwrap()["ingle"].clone()
        });
        let ollama = scope.spawn(|| {
            let body = json!({ "model": "demo", "prompt": STORY, "options": { "num_predict": 9 } });
            let reply = server.post("/api/generate", &body);
            serde_json::from_str::<Json>(reply.body.lines().last().unwrap()).unwrap()["ingle"].clone()
        });
        let responses = scope.spawn(|| {
            let body = json!({ "input": STORY, "max_output_tokens": 9, "temperature": 0 });
            server.post("/v1/responses", &body).json()["ingle"].clone()
        });
        let all = chats.collect::<Vec<_>>().into_iter().chain([two, anthropic, ollama, responses]);
        all.map(|told| told.join().unwrap()).collect()
    });
    assert!(told.iter().all(|ingle| ingle["route"] == "here"), "{told:?}");
    // One that hangs up, and vectors: what they took is somebody's too.
    let mut gone = server.open(
        "POST",
        CHAT,
        "",
        &chat(STORY, &json!({ "stream": true, "max_tokens": 9999 })).to_string(),
    );
    gone.read_exact(&mut [0; 400]).unwrap();
    drop(gone);
    assert_eq!(server.post("/v1/embeddings", &json!({ "input": "abc" })).status, 200);
    let rows = rows(&dir, told.len() + 2);
    let uj = |row: &Json| row["energy"]["uj"][1].as_u64().unwrap_or_else(|| panic!("{row}"));
    for told in &told {
        assert!(rows.iter().any(|row| uj(row) == microjoules(told)), "{told} is in {rows:?}");
    }
    assert!(rows.iter().all(|row| row["by"] == "ingle serve" && row["place"] == "here"), "{rows:?}");
    assert!(
        rows.iter().any(|row| row["tokens_out"] == 0 && row["tokens_in"].as_u64() > Some(0)),
        "the vectors"
    );
    let text = serde_json::to_string(&rows).unwrap();
    assert!(!text.contains("story") && !text.contains("abc\""), "{text}");
    let measured = server.metrics("ingle_energy_joules_total{");
    for (bound, at) in [("low", 0), ("value", 1), ("high", 2)] {
        let measured: u64 = measured
            .iter()
            .filter(|(name, _)| name.contains(&format!("bound={bound:?}")))
            .map(|(_, joules)| (joules * 1e6).round() as u64)
            .sum();
        let sum: u64 = rows.iter().map(|row| row["energy"]["uj"][at].as_u64().unwrap()).sum();
        assert_eq!(sum, measured, "{bound}: {rows:?}");
    }
    let report = dir.ingle(&["ledger", "--json"]).json();
    assert_eq!(report["places"][0]["n"], rows.len());
}

#[test]
fn rows_name_who_asked_and_nobody_keeps_them_who_does_not_want_to() {
    let dir = Dir::new();
    let keys = dir.file("keys", "mail: sk-one\nsk-two\n");
    let server = Server::start(&dir, &["demo", "--api-key-file", &keys]);
    let body = chat(STORY, &json!({})).to_string();
    for key in ["sk-one", "sk-two"] {
        let reply = server.ask("POST", CHAT, &format!("Authorization: Bearer {key}\r\n"), &body);
        assert!(reply.status == 200 && reply.head.contains("x-ingle-route: here"), "{reply:?}");
    }
    assert_eq!(server.ask("POST", CHAT, "Authorization: Bearer mail:\r\n", &body).status, 401);
    let rows = rows(&dir, 2);
    assert_eq!((&rows[0]["by"], &rows[1]["by"]), (&"mail".into(), &"ingle serve".into()));
    let page = |query: &str, key: &str| server.ask("GET", &format!("/ledger{query}"), key, "");
    let key = "Authorization: Bearer sk-two\r\n";
    let whole = page("", key);
    assert!(
        whole.status == 200 && whole.body.contains("<svg") && whole.body.contains("Answered here: 2 of 2"),
        "{whole:?}"
    );
    assert!(whole.head.contains("default-src 'none'"), "{whole:?}");
    assert_eq!(page("", "").status, 401);
    assert!(page("?since=1h", key).status == 200 && page("?since=2090-01-01", key).body.contains("0 of 0"));
    assert!(page("?since=soon", key).body.contains("expected a day") && page("?x=1", key).status == 400);
    let dir = Dir::new();
    let server = Server::start(&dir, &["demo", "--ledger=false"]);
    let told = server.post(CHAT, &chat(STORY, &json!({}))).json();
    assert_eq!(told["ingle"]["joules"]["method"], "MODELLED", "{told}");
    server.post(CHAT, &chat(STORY, &json!({})));
    assert!(!dir.path("state/ingle/ledger.jsonl").exists());
}

#[test]
fn a_power_limit_holds_answers_back_and_changes_none() {
    let dir = Dir::new();
    let free = Server::start(&dir, &["demo", "--threads", "2"]);
    let said = |server: &Server| server.post(CHAT, &chat(STORY, &json!({ "max_tokens": 60 }))).json();
    let told = said(&free);
    assert!(told["ingle"]["held_back_by"].is_null() && free.metrics("ingle_governor").is_empty());
    let held = Server::start(&dir, &["demo", "--threads", "2", "--power-limit", "20%"]);
    let slow = said(&held);
    assert_eq!(slow["choices"], told["choices"]);
    let held_back = slow["ingle"]["held_back_by"].as_array().unwrap();
    assert!(held_back.contains(&"power limit".into()), "{held_back:?}");
    assert_eq!(held.metrics("ingle_governor_share ")[0].1, 0.2);
    assert!(held.metrics("ingle_held_back{").iter().any(|(row, _)| row.contains("reason=\"power limit\"")));
    // What was rested is four times what was computed.
    let rested = held.metrics("ingle_rested_seconds_total ")[0].1;
    let computed =
        held.metrics("ingle_model_seconds_total{")[0].1 + held.metrics("ingle_choosing_seconds_total{")[0].1;
    assert!(rested > 3.5 * computed && rested < 4.5 * computed, "{rested} {computed}");
}
