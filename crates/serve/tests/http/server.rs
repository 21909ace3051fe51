//! The server as a client meets it: real sockets, the built-in model.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::served::{CHAT, STORY, Server, chat, with};

/// The JSON of each event of a stream, whose end must be there.
fn events(text: &str) -> Vec<Json> {
    let mut data: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(data.pop(), Some("[DONE]"), "{text}");
    data.into_iter().map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn a_streamed_answer_is_the_whole_one() {
    let server = Server::start(2, 8, &[]);
    let (status, whole) = server.post(CHAT, &chat(STORY, json!({})));
    assert_eq!(status, 200);
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.len() > 40 && whole["usage"]["completion_tokens"] == 24, "{whole}");
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    let asked = chat(STORY, json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let (_, head, streamed) = server.ask("POST", CHAT, "", asked.to_string().as_bytes());
    assert!(head.to_lowercase().contains("text/event-stream"));
    let events = events(&streamed);
    let pieces: String =
        events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(pieces, text);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let last = events.last().unwrap();
    assert_eq!((&last["usage"]["completion_tokens"], &last["choices"]), (&json!(24), &json!([])));
    let n_cached = last["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    assert!(n_cached > 0, "it was there already");
}

#[test]
fn several_answers_have_seeds_of_their_own_and_the_same_seed_gives_the_same() {
    let server = Server::start(3, 8, &[]);
    let asked = chat(STORY, json!({ "n": 3, "temperature": 1.0, "seed": 5 }));
    let texts = |body: &Json| -> Vec<String> {
        let choices = body["choices"].as_array().unwrap();
        choices.iter().map(|choice| choice["message"]["content"].as_str().unwrap().to_owned()).collect()
    };
    let first = texts(&server.post(CHAT, &asked).1);
    assert_eq!(first.len(), 3);
    assert!(first[0] != first[1] && first[1] != first[2], "{first:?}");
    assert_eq!(first, texts(&server.post(CHAT, &asked).1));
}

#[test]
fn completions_go_on_with_a_text_or_with_ids() {
    let server = Server::start(1, 8, &[]);
    let (_, ids) = server.post("/tokenize", &json!({ "content": "Once upon", "add_special": true }));
    let ask = |prompt: &Json| {
        let asked = json!({ "prompt": prompt, "temperature": 0, "max_tokens": 8, "logprobs": 2 });
        server.post("/v1/completions", &asked).1
    };
    let (by_text, by_ids) = (ask(&json!("Once upon")), ask(&ids["tokens"]));
    assert_eq!(by_text["choices"], by_ids["choices"]);
    assert_eq!(by_text["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len(), 8);
    let text = by_text["choices"][0]["text"].as_str().unwrap();
    assert!(text.starts_with(" a time"), "{text}");
    let (_, back) = server.post("/detokenize", &ids);
    assert!(back["content"].as_str().unwrap().ends_with("Once upon"));
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let server = Server::start(1, 8, &[]);
    let refused = |path: &str, body: Json, status: u16, word: &str| {
        let (found, error) = server.post(path, &body);
        let message = error["error"]["message"].as_str().unwrap();
        assert!(found == status && message.contains(word), "{path} {body}: {found} {message}");
    };
    let image = json!([{ "role": "user", "content": [{ "type": "image_url" }] }]);
    refused(CHAT, chat("x", json!({ "tempreature": 1 })), 400, "tempreature");
    refused(CHAT, chat("x", json!({ "temperature": -1 })), 400, "temperature");
    refused(CHAT, chat("x", json!({ "response_format": { "type": "yaml" } })), 400, "response_format");
    refused(CHAT, chat("x", json!({ "json_schema": { "type": "strnig" } })), 400, "json_schema");
    refused(CHAT, chat("x", json!({ "grammar": "root ::= nothing" })), 400, "grammar");
    refused(CHAT, chat("x", json!({ "tools": [{ "type": "function" }] })), 400, "tools");
    refused(CHAT, chat("x", json!({ "top_logprobs": 2 })), 400, "logprobs");
    refused(CHAT, chat("x", json!({ "model": "gpt-9" })), 404, "gpt-9");
    refused(CHAT, chat(&"word ".repeat(2000), json!({})), 400, "512");
    refused(CHAT, json!({ "messages": [] }), 400, "messages");
    refused(CHAT, json!({ "messages": image }), 400, "text");
    refused(CHAT, json!({ "messages": [{ "role": "robot", "content": "x" }] }), 400, "robot");
    refused("/v1/completions", json!({ "prompt": [] }), 400, "prompt");
    refused("/detokenize", json!({ "tokens": [99_999_999] }), 400, "99999999");
    refused("/v1/nothing", json!({}), 404, "/v1/nothing");
    for body in [&b"{\"messages\": \"\xff\"}"[..], &[b'['; 5000][..], b""] {
        let (status, _, text) = server.ask("POST", CHAT, "", body);
        assert!(status == 400 && text.contains("no JSON"), "{status} {text}");
    }
    let (status, _, _) = server.ask("GET", CHAT, "", b"");
    assert_eq!(status, 405);
    // Its head says how large it is, so it is refused before it is read.
    let (status, _, text) = server.ask("POST", CHAT, "Content-Length: 9000000\r\n", b"");
    assert!(status == 413 && text.contains("most"), "{status} {text}");
    assert_eq!(server.post(CHAT, &chat("Hello", json!({}))).0, 200, "nobody else was harmed");
}

#[test]
fn a_server_with_keys_asks_for_one_and_pages_of_others_may_not_ask() {
    let server = Server::start(1, 8, &["secret"]);
    let models = |headers: &str| server.ask("GET", "/v1/models", headers, b"").0;
    assert_eq!(models(""), 401);
    assert_eq!(models("Authorization: Bearer wrong\r\n"), 401);
    assert_eq!(models("Authorization: Bearer secret\r\n"), 200);
    assert_eq!(models("Authorization: Bearer secret\r\nOrigin: https://evil.example\r\n"), 403);
    assert_eq!(models("Authorization: Bearer secret\r\nOrigin: https://friend.example\r\n"), 200);
    let (status, head, _) = server.ask("OPTIONS", CHAT, "Origin: https://friend.example\r\n", b"");
    let allows = "access-control-allow-origin: https://friend.example";
    assert!(status == 204 && head.to_lowercase().contains(allows), "{head}");
    let (status, head, page) = server.ask("GET", "/", "", b"");
    assert!(
        status == 200 && head.to_lowercase().contains("content-security-policy") && page.contains("<html")
    );
}

#[test]
fn a_prompt_that_is_cut_says_so_on_every_route() {
    let server = Server::start(1, 8, &[]);
    let long = "word ".repeat(2000);
    let more = json!({ "overflow": "drop-oldest", "max_tokens": 4 });
    let asked =
        [(CHAT, chat(&long, more.clone())), ("/v1/completions", with(json!({ "prompt": long }), &more))];
    for (path, asked) in asked {
        let (status, whole) = server.post(path, &asked);
        let n_dropped = whole["dropped_tokens"].as_u64();
        assert!(status == 200 && n_dropped.is_some_and(|n| n > 1000), "{path}: {whole}");
        let streamed = with(asked, &json!({ "stream": true })).to_string();
        let (_, _, text) = server.ask("POST", path, "", streamed.as_bytes());
        assert!(
            events(&text).iter().any(|event| event["dropped_tokens"].as_u64() == n_dropped),
            "{path}: {text}"
        );
    }
    assert_eq!(server.post(CHAT, &chat("x", json!({ "store": true }))).0, 400, "nothing is stored");
}

#[test]
fn an_answer_has_the_form_that_was_asked_for() {
    let server = Server::start(3, 8, &[]);
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["name", "age"],
        "properties": { "name": { "type": "string", "maxLength": 12 }, "age": { "type": "integer", "minimum": 0, "maximum": 120 } },
    });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "person", "schema": schema } });
    let asked = chat(
        STORY,
        json!({ "response_format": format, "n": 3, "temperature": 1, "max_tokens": 200, "seed": 1 }),
    );
    let (status, body) = server.post(CHAT, &asked);
    assert_eq!(status, 200, "{body}");
    for choice in body["choices"].as_array().unwrap() {
        let text = choice["message"]["content"].as_str().unwrap();
        let person: Json = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert!(
            person["age"].as_u64().unwrap() <= 120 && person["name"].as_str().unwrap().chars().count() <= 12
        );
        assert_eq!((person.as_object().unwrap().len(), &choice["finish_reason"]), (2, &json!("stop")));
    }
    let (_, body) = server.post(CHAT, &chat(STORY, json!({ "grammar": "root ::= \"yes\" | \"no\"" })));
    assert!(["yes", "no"].contains(&body["choices"][0]["message"]["content"].as_str().unwrap()));
}

#[test]
fn a_client_that_goes_ends_its_answer() {
    let server = Server::start(1, 8, &[]);
    let asked = server.endless();
    let mut stream = server.open("POST", CHAT, "", asked.to_string().as_bytes());
    let mut some = [0; 2000];
    stream.read_exact(&mut some).unwrap();
    assert_eq!(server.metric("ingle_running"), 1);
    drop(stream);
    let begin = Instant::now();
    while server.metric("ingle_running") > 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it goes on for nobody");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.post(CHAT, &chat("Hello", json!({}))).0, 200);
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let server = Server::start(1, 1, &[]);
    let asked = chat(STORY, json!({ "stream": true, "max_tokens": 400, "temperature": 1 })).to_string();
    let held: Vec<TcpStream> = (0..8).map(|_| server.open("POST", CHAT, "", asked.as_bytes())).collect();
    let read = |mut stream: TcpStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let answers: Vec<String> = held.into_iter().map(read).collect();
    let is_busy = |text: &&String| text.starts_with("HTTP/1.1 503");
    let busy: Vec<&String> = answers.iter().filter(is_busy).collect();
    assert!(!busy.is_empty() && busy.len() < 8, "{} of 8 were refused", busy.len());
    assert!(busy.iter().all(|text| text.to_lowercase().contains("retry-after: ")));
    assert!(answers.iter().all(|text| is_busy(&text) || text.contains("[DONE]")));
}

fn tool(name: &str) -> Json {
    let parameters = json!({
        "type": "object", "properties": { "city": { "enum": ["Oslo", "Rome"] }, "days": { "type": "integer", "maximum": 9 } },
        "required": ["city", "days"], "additionalProperties": false,
    });
    json!({ "type": "function", "function": { "name": name, "parameters": parameters } })
}

#[test]
fn a_call_that_is_demanded_comes_and_fits_its_schema() {
    let server = Server::start(2, 8, &[]);
    let named = json!({ "type": "function", "function": { "name": "climate" } });
    for (choice, name) in [(json!("required"), None), (named, Some("climate"))] {
        let more = json!({
            "tools": [tool("weather"), tool("climate")], "tool_choice": choice, "parallel_tool_calls": false,
            "temperature": 1.0, "seed": 3, "max_tokens": 200,
        });
        let (status, whole) = server.post(CHAT, &chat(STORY, more.clone()));
        assert_eq!(status, 200, "{whole}");
        let answer = &whole["choices"][0];
        let call = &answer["message"]["tool_calls"][0];
        let function = &call["function"];
        assert_eq!(answer["finish_reason"], "tool_calls", "{whole}");
        assert!(answer["message"]["content"].is_null() && call["id"].as_str().unwrap().starts_with("call_"));
        assert!(name.is_none_or(|name| function["name"] == name), "{whole}");
        let arguments: Json = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
        assert!(arguments["days"].as_i64().unwrap() <= 9 && arguments["city"].is_string(), "{arguments}");

        let asked = chat(STORY, with(more, &json!({ "stream": true })));
        let (_, _, streamed) = server.ask("POST", CHAT, "", asked.to_string().as_bytes());
        let (mut told, mut reasons) = (String::new(), Vec::new());
        for event in events(&streamed) {
            let choice = &event["choices"][0];
            if let Some(call) = choice["delta"]["tool_calls"][0].as_object() {
                assert_eq!(call["index"], 0);
                told += call["function"]["name"].as_str().unwrap_or_default();
                told += call["function"]["arguments"].as_str().unwrap_or_default();
            }
            reasons.extend(choice["finish_reason"].as_str().map(str::to_owned));
        }
        let expected = [&function["name"], &function["arguments"]].map(|v| v.as_str().unwrap()).concat();
        assert_eq!((told, reasons), (expected, vec!["tool_calls".to_owned()]));

        // The call and its result go on as a conversation.
        let said = json!([
            { "role": "user", "content": STORY }, answer["message"],
            { "role": "tool", "tool_call_id": call["id"], "content": "rain" },
        ]);
        let (status, next) =
            server.post(CHAT, &json!({ "messages": said, "tools": [tool("weather")], "max_tokens": 4 }));
        assert_eq!(status, 200, "{next}");
    }
}

#[test]
fn what_cannot_be_called_or_held_is_refused() {
    let server = Server::start(1, 8, &[]);
    for (more, name) in [
        (json!({ "tool_choice": "required" }), "tool_choice"),
        (json!({ "tools": [tool("a"), tool("a")] }), "tools"),
        (
            json!({ "tools": [tool("a")], "tool_choice": { "type": "function", "function": { "name": "b" } } }),
            "tool_choice",
        ),
        (json!({ "tools": [tool("a")], "grammar": "root ::= \"x\"" }), "grammar"),
    ] {
        let (status, refused) = server.post(CHAT, &chat(STORY, more.clone()));
        assert_eq!((status, &refused["error"]["param"]), (400, &json!(name)), "{more}: {refused}");
    }
}

#[test]
fn a_strict_tool_leaves_an_answer_free_that_does_not_call() {
    let server = Server::start(1, 8, &[]);
    let mut strict = tool("weather");
    strict["function"]["strict"] = true.into();
    let content = |tool: &Json, more: Json| {
        let (status, whole) = server.post(CHAT, &chat(STORY, with(json!({ "tools": [tool] }), &more)));
        assert_eq!(status, 200, "{whole}");
        whole["choices"][0]["message"]["content"].clone()
    };
    assert_eq!(content(&strict, json!({})), content(&tool("weather"), json!({})));
    // What can't be held is refused before anything is computed, as where a call is demanded.
    let odd = json!({ "type": "object", "properties": { "a": { "type": "string", "pattern": "(?=x)y" } }, "required": ["a"] });
    strict["function"]["parameters"] = odd;
    for choice in ["auto", "required"] {
        let (status, refused) =
            server.post(CHAT, &chat(STORY, json!({ "tools": [strict], "tool_choice": choice })));
        assert_eq!((status, &refused["error"]["param"]), (400, &json!("tools")), "{choice}: {refused}");
    }
    // Nobody may call it then.
    assert_eq!(server.post(CHAT, &chat(STORY, json!({ "tools": [strict], "tool_choice": "none" }))).0, 200);
}

#[test]
fn an_answer_that_may_call_has_its_form_otherwise() {
    let server = Server::start(1, 8, &[]);
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer", "maximum": 9 } },
        "required": ["n"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    let (mut n_calls, mut n_forms) = (0, 0);
    for seed in 0..24 {
        let more = json!({ "tools": [tool("weather")], "response_format": format, "temperature": 3.0, "top_k": 0,
            "top_p": 1.0, "min_p": 0.0, "seed": seed, "max_tokens": 200 });
        let (status, whole) = server.post(CHAT, &chat(STORY, more));
        assert_eq!(status, 200, "{whole}");
        let message = &whole["choices"][0]["message"];
        match message["tool_calls"].as_array() {
            Some(_) => n_calls += 1,
            None if whole["choices"][0]["finish_reason"] == "stop" => {
                let said: Json = serde_json::from_str(message["content"].as_str().unwrap()).unwrap();
                assert!(said["n"].as_i64().unwrap() <= 9, "{whole}");
                n_forms += 1;
            }
            None => {}
        }
    }
    assert!(n_calls > 0 && n_forms > 0, "{n_calls} calls, {n_forms} of the form");
}

#[test]
fn a_server_that_knows_nobody_else_answers_alone() {
    let server = Server::start(1, 4, &[]);
    server.refused(CHAT, &chat(STORY, json!({ "route": "cloud" })), 403, &["its own device alone"]);
    server.refused(CHAT, &chat(STORY, json!({ "route": 1 })), 400, &["route: expected a text"]);
    assert!(server.fine(CHAT, &chat(STORY, json!({ "route": "local" })))["ingle"].is_null());
    assert_eq!(server.ask("GET", "/ledger", "", b"").0, 404);
}
