//! Here and there through the server: another of our own servers plays the cloud, over real connections.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
mod server;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;

use harness::{Dir, tiny};
use serde_json::{Value as Json, json};
use server::{Server, chat, events, rows};

const CHAT: &str = "/v1/chat/completions";
const STORY: &str = "Tell me a story.";
const CARD: &str = "Is 4111 1111 1111 1111 a good number?";

/// A policy with these endpoints, of a name and an address each, and more.
fn policy(dir: &Dir, endpoints: &[(&str, &str)], more: &str) {
    let mut text = String::new();
    for (name, address) in endpoints {
        let rest = "model = \"demo\"\nctx = 4096\nright = 0.95\n";
        write!(text, "[[endpoint]]\nname = \"{name}\"\nurl = \"{address}/v1\"\n{rest}").unwrap();
    }
    dir.file("config/ingle/route.toml", text + more);
}

/// What an answer of Chat Completions says.
fn said(answer: &Json) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// What a stream of Chat Completions says.
fn streamed(events: &[Json]) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

#[test]
fn every_api_is_answered_from_elsewhere_when_it_asks_for_that() {
    let dir = Dir::new();
    let cloud = Server::start(&Dir::new(), &["demo"]);
    policy(&dir, &[("workstation", &cloud.address)], "");
    let server = Server::start(&dir, &["demo"]);
    let here = server.post(CHAT, &chat(STORY, &json!({ "route": "local" })));
    assert_eq!((here.status, &here.json()["ingle"]["route"]), (200, &"here".into()), "{here:?}");
    assert_eq!(cloud.metrics("ingle_answers_total")[0].1, 0.0);
    let there = server.post(CHAT, &chat(STORY, &json!({ "route": "cloud" })));
    assert!(there.status == 200 && there.head.contains("x-ingle-route: there"), "{there:?}");
    let (there, here) = (there.json(), here.json());
    assert_eq!(said(&there), said(&here));
    let ingle = &there["ingle"];
    assert_eq!((&ingle["route"], &ingle["by"]), (&"there".into(), &"workstation".into()), "{ingle}");
    assert_eq!(ingle["joules"]["method"], "ESTIMATED");
    assert_eq!(there["usage"]["completion_tokens"], 16);
    let stream = server.post(CHAT, &chat(STORY, &json!({ "route": "cloud", "stream": true })));
    let stream = events(&stream.body);
    assert_eq!(streamed(&stream), said(&here));
    assert_eq!(stream.last().unwrap()["ingle"]["by"], "workstation");
    // A story of 16 tokens was cut there, and every API that is asked says so.
    assert_eq!(ingle["finish"], "length");
    assert_eq!(there["choices"][0]["finish_reason"], "length");
    let finish = stream.iter().find_map(|event| event["choices"][0]["finish_reason"].as_str());
    assert_eq!(finish, Some("length"));
    let header = "X-Ingle-Route: cloud\r\n";
    let anthropic = server.ask("POST", "/v1/messages", header, &chat(STORY, &json!({})).to_string()).json();
    assert_eq!(
        (&anthropic["content"][0]["text"], &anthropic["ingle"]["route"]),
        (&said(&here).into(), &"there".into())
    );
    assert_eq!(anthropic["stop_reason"], "max_tokens");
    let body = json!({ "model": "demo", "prompt": STORY, "options": { "num_predict": 16, "temperature": 0 }, "route": "cloud" });
    let ollama = server.post("/api/generate", &body);
    let lines: Vec<Json> = ollama.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text: String = lines.iter().filter_map(|line| line["response"].as_str()).collect();
    assert_eq!((text.as_str(), &lines.last().unwrap()["ingle"]["route"]), (said(&here), &"there".into()));
    assert_eq!(lines.last().unwrap()["done_reason"], "length");
    let body = json!({ "input": STORY, "max_output_tokens": 16, "temperature": 0, "route": "cloud" });
    let responses = server.post("/v1/responses", &body).json();
    assert_eq!(responses["output"][0]["content"][0]["text"], said(&here), "{responses}");
    assert_eq!(responses["ingle"]["route"], "there");
    assert_eq!(responses["incomplete_details"]["reason"], "max_output_tokens");
    // Each has its row, its line in the log, and nothing else was sent.
    let rows = rows(&dir, 6);
    let there: Vec<&Json> = rows.iter().filter(|row| row["place"] == "there").collect();
    assert!(there.len() == 5 && there.iter().all(|row| row["by"] == "ingle serve"), "{rows:?}");
    assert_eq!(dir.ingle(&["privacy", "log", "--json"]).json()["n"], 5);
    assert_eq!(cloud.metrics("ingle_answers_total")[0].1, 5.0);
}

#[test]
fn what_a_rule_keeps_is_refused_in_each_apis_words_or_answered_here() {
    let dir = Dir::new();
    let cloud = Server::start(&Dir::new(), &["demo"]);
    policy(&dir, &[("workstation", &cloud.address)], "");
    let server = Server::start(&dir, &["demo"]);
    let refused = server.post(CHAT, &chat(CARD, &json!({ "route": "cloud" })));
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["type"]), (403, &"permission_error".into()), "{refused:?}");
    let words = "stays on the device: rule \"secrets, money and identities stay\"";
    assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    assert!(refused.body.contains("CREDIT_CARD") && !refused.body.contains("4111"), "{refused:?}");
    // A stream is refused before it begins.
    assert_eq!(server.post(CHAT, &chat(CARD, &json!({ "route": "cloud", "stream": true }))).status, 403);
    let anthropic = server.post("/v1/messages", &chat(CARD, &json!({ "route": "cloud" })));
    let error = anthropic.json();
    assert_eq!(
        (anthropic.status, &error["type"], &error["error"]["type"]),
        (403, &"error".into(), &"permission_error".into())
    );
    let ollama = server.post("/api/generate", &json!({ "model": "demo", "prompt": CARD, "route": "cloud" }));
    assert!(ollama.status == 403 && ollama.json()["error"].as_str().unwrap().contains(words), "{ollama:?}");
    // Who leaves it open is answered here.
    let auto = server.post(CHAT, &chat(CARD, &json!({ "route": "auto" })));
    assert_eq!((auto.status, &auto.json()["ingle"]["route"]), (200, &"here".into()));
    let redacted = server.post(CHAT, &chat("Write to anna.berg@example.org", &json!({ "route": "cloud" })));
    assert_eq!(redacted.json()["ingle"]["route"], "redacted", "{redacted:?}");
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": {} } });
    let tools = server.post(CHAT, &chat(STORY, &json!({ "route": "cloud", "tools": [tool] })));
    assert!(tools.status == 400 && tools.json()["error"]["param"] == "route", "{tools:?}");
    let wrong = server.post(CHAT, &chat(STORY, &json!({ "route": "moon" })));
    assert!(wrong.status == 400 && wrong.body.contains("expected \\\"auto\\\""), "{wrong:?}");
    // Four were refused, and nothing else that was asked.
    let ledger = dir.ingle(&["ledger"]).ok();
    assert!(
        ledger.contains("refused              4 requests, to be answered elsewhere, and kept"),
        "{ledger}"
    );
    let alone = Server::start(&Dir::new(), &["demo"]);
    let refused = alone.post(CHAT, &chat(STORY, &json!({ "route": "cloud" })));
    assert!(refused.status == 403 && refused.body.contains("no endpoint is configured"), "{refused:?}");
    assert_eq!(dir.ingle(&["privacy", "log", "--json"]).json()["n"], 1);
}

#[test]
fn the_strictest_of_server_key_and_request_holds() {
    let dir = Dir::new();
    let cloud = Server::start(&Dir::new(), &["demo"]);
    policy(
        &dir,
        &[("workstation", &cloud.address)],
        "[[rule]]\nname = \"mail stays\"\nwhen = { app = [\"mail\"] }\nthen = \"local\"\n",
    );
    let keys = dir.file("keys", "home: sk-home route=local\naway: sk-away route=cloud\nmail: sk-mail\n");
    let server = Server::start(&dir, &["demo", "--api-key-file", &keys]);
    let ask = |server: &Server, key: &str, route: &str| {
        let headers = format!("Authorization: Bearer {key}\r\nX-Ingle-Route: {route}\r\n");
        let reply = server.ask("POST", CHAT, &headers, &chat(STORY, &json!({})).to_string());
        (reply.status, reply.json()["ingle"]["route"].as_str().map(str::to_owned))
    };
    let told = |status, route: &str| (status, Some(route.to_owned()));
    assert_eq!(ask(&server, "sk-home", "cloud"), told(200, "here"));
    assert_eq!(ask(&server, "sk-away", "auto"), told(200, "there"));
    assert_eq!(ask(&server, "sk-away", "local"), told(200, "here"));
    // A rule about an app is a rule about a key.
    assert_eq!(ask(&server, "sk-mail", "cloud"), (403, None));
    let local = Server::start(&dir, &["demo", "--api-key-file", &keys, "--route", "local"]);
    assert_eq!(ask(&local, "sk-away", "cloud"), told(200, "here"));
    let mut told: Vec<String> =
        rows(&dir, 5).iter().map(|row| format!("{} {}", row["by"], row["place"])).collect();
    told.sort();
    let expected = ["away here", "away here", "away there", "home here", "mail refused"];
    assert_eq!(told, expected.map(|row| format!("\"{}\"", row.replace(' ', "\" \""))));
}

#[test]
fn an_unsure_answer_is_replaced_and_the_stream_says_by_whom() {
    let dir = Dir::new();
    let cloud = Server::start(&Dir::new(), &["demo"]);
    // Random weights are sure of nothing, and a right answer is worth a lot.
    policy(&dir, &[("workstation", &cloud.address)], "[worth]\nright = 10.0\n");
    let tiny = tiny();
    let server = Server::start(&dir, &[&tiny, "--model-name", "tiny"]);
    let whole = server.post(CHAT, &chat("abc", &json!({}))).json();
    let direct = cloud.post(CHAT, &chat("abc", &json!({}))).json();
    assert_eq!((said(&whole), &whole["ingle"]["by"]), (said(&direct), &"workstation".into()), "{whole}");
    assert_eq!(whole["ingle"]["replaced"]["joules"]["scope"], "package", "{whole}");
    let stream = events(&server.post(CHAT, &chat("abc", &json!({ "stream": true }))).body);
    let at =
        stream.iter().position(|event| !event["ingle"]["replaced_by"].is_null()).expect("it is replaced");
    assert_eq!(stream[at]["ingle"]["replaced_by"], "workstation");
    assert!(!streamed(&stream[..at]).is_empty(), "{stream:?}");
    assert!(streamed(&stream[at..=at]).contains("from workstation, replaces it"), "{}", stream[at]);
    assert_eq!(streamed(&stream[at + 1..]), said(&direct));
    let told = events(&server.post("/v1/messages", &chat("abc", &json!({ "stream": true }))).body);
    let text: String = told.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert!(text.contains("from workstation, replaces it") && text.ends_with(said(&direct)), "{text}");
    // Either attempt has its row.
    let places: Vec<Json> = rows(&dir, 6).iter().map(|row| row["place"].clone()).collect();
    assert_eq!(places.iter().filter(|place| **place == "here").count(), 3);
    // The attempts are in the sums, and no answers.
    let report = dir.ingle(&["ledger", "--json"]).json();
    let here = &report["places"][0];
    assert_eq!(
        (&here["n"], &here["n_void"], &report["energy"][0]["uj"]["n"]),
        (&3.into(), &3.into(), &3.into()),
        "{report}"
    );
    let ledger = dir.ingle(&["ledger"]).ok();
    assert!(
        ledger.starts_with("3 requests from ") && ledger.contains("answered here        0 of 3 (0.0 %)"),
        "{ledger}"
    );
    // Nobody there: what is here stands.
    policy(&dir, &[("workstation", "http://127.0.0.1:9")], "[worth]\nright = 10.0\n");
    let server = Server::start(&dir, &[&tiny, "--model-name", "tiny"]);
    let stands = server.post(CHAT, &chat("abc", &json!({}))).json();
    assert_eq!(stands["ingle"]["route"], "here", "{stands}");
    let nobody = server.post(CHAT, &chat("abc", &json!({ "route": "cloud" })));
    assert!(
        nobody.status == 502 && nobody.body.contains("no answer from elsewhere: workstation"),
        "{nobody:?}"
    );
}

#[test]
fn an_answer_that_breaks_off_elsewhere_is_void_and_another_comes() {
    let dir = Dir::new();
    let cloud = Server::start(&Dir::new(), &["demo"]);
    let cutter = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", cutter.local_addr().unwrap());
    // It begins an answer, whoever asks, and hangs up.
    std::thread::spawn(move || {
        for stream in cutter.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let event = "data: {\"choices\":[{\"delta\":{\"content\":\"Half of \"}}]}\n\n";
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n{event}"
            );
        }
    });
    policy(&dir, &[("cutter", &address), ("workstation", &cloud.address)], "");
    let server = Server::start(&dir, &["demo"]);
    let direct = cloud.post(CHAT, &chat(STORY, &json!({}))).json();
    let stream = events(&server.post(CHAT, &chat(STORY, &json!({ "route": "cloud", "stream": true }))).body);
    let text = streamed(&stream);
    assert!(text.starts_with("Half of ") && text.ends_with(said(&direct)), "{text}");
    let by: Vec<&Json> =
        stream.iter().map(|event| &event["ingle"]["replaced_by"]).filter(|by| !by.is_null()).collect();
    assert_eq!(by.last(), Some(&&"workstation".into()), "{stream:?}");
    let whole = server.post(CHAT, &chat(STORY, &json!({ "route": "cloud" }))).json();
    assert_eq!(said(&whole), said(&direct));
    // Nobody else: what came is no answer, and the stream's last word says whose it was.
    let lonely = Dir::new();
    policy(&lonely, &[("cutter", &address)], "");
    let server = Server::start(&lonely, &["demo"]);
    let stream = events(&server.post(CHAT, &chat(STORY, &json!({ "route": "cloud", "stream": true }))).body);
    let last = stream.last().unwrap();
    assert!(
        last["error"]["message"].as_str().unwrap().contains("no answer from elsewhere: cutter: "),
        "{last}"
    );
    assert_eq!(last["ingle"], json!({ "route": "there", "by": "cutter", "finish": "cut" }));
    assert!(stream.iter().all(|event| event["choices"][0]["finish_reason"].is_null()), "{stream:?}");
    let ledger = lonely.ingle(&["ledger"]).ok();
    assert!(
        ledger.starts_with("0 requests")
            && ledger.contains("there                1 answer (1 that never came)"),
        "{ledger}"
    );
    // An answer is charged once, however many attempts it took.
    assert_eq!(rows(&dir, 2).iter().filter(|row| row["tokens_out"] == 16).count(), 2);
}

#[test]
fn why_an_answer_ended_elsewhere_is_told_as_it_was() {
    let dir = Dir::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    // It speaks Anthropic's words, and ends in the way that the question names.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut asked, mut part) = (String::new(), [0; 8192]);
            // A body is a JSON document, and comes behind its head.
            while !asked.ends_with('}') {
                let n = stream.read(&mut part).unwrap();
                asked += &String::from_utf8_lossy(&part[..n]);
            }
            let reason = ["refusal", "max_tokens", "stop_sequence", "model_context_window_exceeded"]
                .into_iter()
                .find(|reason| asked.contains(&format!("Say {reason}")))
                .unwrap_or("end_turn");
            let delta = json!({ "stop_reason": reason, "stop_sequence": (reason == "stop_sequence").then_some("END") });
            let events = [
                json!({ "type": "content_block_delta", "delta": { "type": "text_delta", "text": "Said." } }),
                json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 2 } }),
                json!({ "type": "message_stop" }),
            ];
            let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    let endpoint = format!(
        "[[endpoint]]\nname = \"other\"\nurl = \"{address}/v1\"\napi = \"anthropic\"\nmodel = \"m\"\n"
    );
    dir.file("config/ingle/route.toml", endpoint);
    let server = Server::start(&dir, &["demo"]);
    for (reason, openai, anthropic, told) in [
        ("end_turn", "stop", "end_turn", "stop"),
        ("max_tokens", "length", "max_tokens", "length"),
        ("stop_sequence", "stop", "stop_sequence", "stop"),
        ("model_context_window_exceeded", "length", "model_context_window_exceeded", "context"),
        ("refusal", "length", "max_tokens", "refusal"),
    ] {
        let more = json!({ "route": "cloud", "stop": ["NO", "END"] });
        let answer = server.post(CHAT, &chat(&format!("Say {reason}"), &more)).json();
        assert_eq!(answer["choices"][0]["finish_reason"], openai, "{reason}: {answer}");
        assert_eq!(answer["ingle"]["finish"], told, "{reason}: {answer}");
        let more = json!({ "route": "cloud", "stop_sequences": ["NO", "END"] });
        let answer = server.post("/v1/messages", &chat(&format!("Say {reason}"), &more)).json();
        assert_eq!(answer["stop_reason"], anthropic, "{reason}: {answer}");
        let stop = if reason == "stop_sequence" { "END".into() } else { Json::Null };
        assert_eq!(answer["stop_sequence"], stop, "{reason}: {answer}");
    }
    // At the terminal.
    let cut = dir.ingle(&["run", "demo", "Say refusal", "--route", "cloud"]).run();
    assert!(cut.code == 0 && cut.stderr.contains("other says that it is not complete: refusal"), "{cut:?}");
    let json = dir.ingle(&["run", "demo", "Say max_tokens", "--route", "cloud", "--json"]).json();
    assert_eq!(json["finish"], "length");
}

#[test]
fn a_stream_that_gets_too_unsure_breaks_off_and_says_who_answers() {
    let dir = Dir::new();
    let cloud = Server::start(&Dir::new(), &["demo"]);
    let abort = "[worth]\nright = 10.0\n[abort]\nafter_tokens = 4\npart = 0.5\nbelow_nats = 1000.0\n";
    policy(&dir, &[("workstation", &cloud.address)], abort);
    let tiny = tiny();
    let server = Server::start(&dir, &[&tiny, "--model-name", "tiny"]);
    let direct = cloud.post(CHAT, &chat("abc", &json!({}))).json();
    let stream = events(&server.post(CHAT, &chat("abc", &json!({ "stream": true }))).body);
    let at =
        stream.iter().position(|event| !event["ingle"]["replaced_by"].is_null()).expect("it is replaced");
    assert_eq!(stream[at]["ingle"]["replaced_by"], "workstation");
    assert_eq!(streamed(&stream[at + 1..]), said(&direct));
    let replaced = &stream.last().unwrap()["ingle"]["replaced"];
    let n_tokens = replaced["tokens"].as_u64().unwrap();
    assert!((4..8).contains(&n_tokens), "of 16 tokens: {replaced}");
    let whole = server.post(CHAT, &chat("abc", &json!({}))).json();
    assert_eq!((said(&whole), &whole["ingle"]["by"]), (said(&direct), &"workstation".into()), "{whole}");
    // Where nobody else answers, this device does, to the end.
    let lost = Dir::new();
    policy(&lost, &[("nobody", "http://127.0.0.1:9")], abort);
    let server = Server::start(&lost, &[&tiny, "--model-name", "tiny"]);
    let here = server.post(CHAT, &chat("abc", &json!({ "route": "local" }))).json();
    let stands = server.post(CHAT, &chat("abc", &json!({}))).json();
    assert_eq!((said(&stands), &stands["ingle"]["route"]), (said(&here), &"here".into()), "{stands}");
    let stream = events(&server.post(CHAT, &chat("abc", &json!({ "stream": true }))).body);
    let at = stream.iter().position(|event| event["ingle"]["replaced_by"] == "this device").unwrap();
    assert_eq!(streamed(&stream[at + 1..]), said(&here));
}
