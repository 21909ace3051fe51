//! What is said of answers: every API's answers have a name, and whoever asked can say by it how they were.

use std::sync::Arc;

use ingle_route::confidence::Signal;
use serde_json::{Value as Json, json};

use crate::served::{CHAT, Heard, STORY, Server, chat};

const FEEDBACK: &str = "/v1/ingle/feedback";

fn id(answer: &Json) -> String {
    answer["ingle"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn answers_of_every_api_can_be_spoken_of() {
    let heard = Arc::<Heard>::default();
    let server = Server::hearing(heard.clone());
    let whole = server.fine(CHAT, &chat(STORY, json!({})));
    let (_, _, stream) =
        server.ask("POST", CHAT, "", chat(STORY, json!({ "stream": true })).to_string().as_bytes());
    let last = stream.lines().filter_map(|line| line.strip_prefix("data: {")).next_back().unwrap();
    let stream: Json = serde_json::from_str(&format!("{{{last}")).unwrap();
    let anthropic = server.fine("/v1/messages", &chat(STORY, json!({})));
    let options = json!({ "num_predict": 24, "temperature": 0 });
    let body = json!({ "model": "demo", "prompt": STORY, "stream": false, "options": options });
    let ollama = server.fine("/api/generate", &body);
    let body = json!({ "input": STORY, "max_output_tokens": 24, "temperature": 0 });
    let responses = server.fine("/v1/responses", &body);
    let ids = [&whole, &stream, &anthropic, &ollama, &responses].map(id);
    for id in &ids {
        let said = server.fine(FEEDBACK, &json!({ "id": id, "signal": "down" }));
        assert_eq!(said, json!({ "id": id, "signal": "down" }));
    }
    server.fine(FEEDBACK, &json!({ "id": ids[0], "signal": "up" }));
    let rows = heard.0.lock().unwrap();
    assert_eq!(rows.len(), 6);
    // The same prompt and settings give the same numbers, whatever the API; an answer's rows have one number of its own.
    assert!(rows.iter().all(|row| row.features == rows[0].features), "{rows:?}");
    assert!(rows[5].answer == rows[0].answer && rows[5].signal == Signal::Up);
    assert!(rows[1..5].iter().all(|row| row.answer != rows[0].answer));
    assert!(rows.iter().all(|row| row.model.is_some() && row.model == rows[0].model), "{rows:?}");
    // 24 tokens, cut there.
    assert_eq!(rows[0].features[8..], [25f32.ln(), 0.0]);
}

#[test]
fn what_can_t_be_spoken_of_has_no_name_and_is_told() {
    let server = Server::hearing(Arc::default());
    let several = server.fine(CHAT, &chat(STORY, json!({ "n": 2 })));
    assert!(several["ingle"]["id"].is_null(), "{several}");
    let text = server.fine("/v1/completions", &json!({ "prompt": STORY, "max_tokens": 2 }));
    assert!(text["ingle"]["id"].is_null(), "{text}");
    let id = id(&server.fine(CHAT, &chat(STORY, json!({}))));
    for (body, status, words) in [
        (json!({ "id": "answer-of-none", "signal": "up" }), 404, &["\"answer-of-none\"", "the last 256"][..]),
        (json!({ "id": id, "signal": "meh" }), 400, &["\"meh\"", "\"up\", \"down\"", "\"withdrawn\""]),
        (json!({ "id": id }), 400, &["signal", "none given"]),
        (json!({ "id": 7, "signal": "up" }), 400, &["id", "expected a text"]),
        (json!({ "id": id, "signal": "up", "why": "secret" }), 400, &["why"]),
    ] {
        server.refused(FEEDBACK, &body, status, words);
    }
    let deaf = Server::start(1, 8, &[]);
    let answer = deaf.fine(CHAT, &chat(STORY, json!({})));
    assert!(answer["ingle"].is_null(), "{answer}");
    deaf.refused(FEEDBACK, &json!({ "id": id, "signal": "up" }), 404, &["keeps nothing"]);
}

#[test]
fn an_answer_is_spoken_of_with_the_key_that_it_was_asked_with() {
    let heard = Arc::<Heard>::default();
    let server = Server::hearing_with_keys(heard.clone(), &["sk-one", "sk-two"]);
    let ask = |key: &str, path: &str, body: &Json| {
        let key = format!("Authorization: Bearer {key}\r\n");
        let (status, _, text) = server.ask("POST", path, &key, body.to_string().as_bytes());
        (status, serde_json::from_str::<Json>(&text).unwrap())
    };
    let id = id(&ask("sk-one", CHAT, &chat(STORY, json!({}))).1);
    let body = json!({ "id": id, "signal": "up" });
    assert_eq!(ask("sk-two", FEEDBACK, &body).0, 404);
    assert_eq!(ask("sk-one", FEEDBACK, &body).0, 200);
    assert_eq!(ask("sk-three", FEEDBACK, &body).0, 401);
    assert_eq!(heard.0.lock().unwrap().len(), 1);
}
