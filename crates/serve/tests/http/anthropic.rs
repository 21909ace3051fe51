//! Anthropic's API as a client meets it: real sockets, the built-in model.

use ingle_kernel::bytes::Bytes;
use ingle_model::file::gguf::parse;
use ingle_model::file::gguf_write::{Header, Writer};
use ingle_serve::Limits;
use serde_json::{Value as Json, json};

use crate::served::{STORY, Server, with};

const MESSAGES: &str = "/v1/messages";

fn ask(text: &str, more: Json) -> Json {
    let messages = json!([{ "role": "user", "content": text }]);
    with(json!({ "model": "demo", "messages": messages, "temperature": 0, "max_tokens": 24 }), &more)
}

/// The events of a stream: each is called what its type is.
fn events(server: &Server, asked: Json) -> Vec<Json> {
    let asked = with(asked, &json!({ "stream": true })).to_string();
    let (status, head, text) = server.ask("POST", MESSAGES, "", asked.as_bytes());
    assert!(status == 200 && head.to_lowercase().contains("text/event-stream"), "{head}\n{text}");
    let event = |event: &str| {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let json: Json = serde_json::from_str(data).unwrap();
        assert_eq!(json["type"], name);
        json
    };
    text.split_terminator("\n\n").map(event).collect()
}

/// The message that events tell of, put together as Anthropic's own clients do it.
fn put_together(events: &[Json]) -> Json {
    assert_eq!((&events[0]["type"], &events[1]["type"]), (&json!("message_start"), &json!("ping")));
    assert_eq!(events.last().unwrap()["type"], "message_stop");
    let mut message = events[0]["message"].clone();
    let mut open: Option<usize> = None;
    let mut arguments = String::new();
    let append = |to: &mut Json, more: &Json| {
        *to = format!("{}{}", to.as_str().unwrap(), more.as_str().unwrap()).into();
    };
    for event in events {
        let blocks = message["content"].as_array_mut().unwrap();
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!((open, event["index"].as_u64()), (None, Some(blocks.len() as u64)));
                open = Some(blocks.len());
                arguments.clear();
                blocks.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                assert_eq!(event["index"].as_u64(), open.map(|i| i as u64));
                let (block, delta) = (&mut blocks[open.unwrap()], &event["delta"]);
                match delta["type"].as_str().unwrap() {
                    "text_delta" => append(&mut block["text"], &delta["text"]),
                    "thinking_delta" => append(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "input_json_delta" => {
                        arguments += delta["partial_json"].as_str().unwrap();
                        block["input"] = serde_json::from_str(&arguments).unwrap_or_default();
                    }
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" => assert_eq!(event["index"].as_u64(), open.take().map(|i| i as u64)),
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["stop_sequence"] = event["delta"]["stop_sequence"].clone();
                message["usage"] = event["usage"].clone();
            }
            _ => {}
        }
    }
    assert_eq!(open, None);
    message
}

/// A message without what may differ: its name, its speed, the names of its calls, and where its prompt was found.
fn settled(mut message: Json) -> Json {
    for name in ["id", "timings", "usage"] {
        message.as_object_mut().unwrap().shift_remove(name);
    }
    for block in message["content"].as_array_mut().unwrap() {
        block.as_object_mut().unwrap().shift_remove("id");
    }
    message
}

#[test]
fn a_streamed_message_is_the_whole_one() {
    let server = Server::start(1, 8, &[]);
    let (status, whole) = server.post(MESSAGES, &ask(STORY, json!({ "system": "Be kind." })));
    assert_eq!(status, 200, "{whole}");
    let text = whole["content"][0]["text"].as_str().unwrap();
    assert!(text.len() > 40 && whole["id"].as_str().unwrap().starts_with("msg_"), "{whole}");
    assert_eq!((&whole["type"], &whole["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!((&whole["stop_reason"], &whole["stop_sequence"]), (&json!("max_tokens"), &Json::Null));
    let blocks = json!([{ "type": "text", "text": "Be kind.", "cache_control": { "type": "ephemeral" } }]);
    let streamed = put_together(&events(&server, ask(STORY, json!({ "system": blocks }))));
    let usage = |message: &Json, name: &str| message["usage"][name].as_u64().unwrap();
    assert_eq!(usage(&streamed, "output_tokens"), 24);
    assert_eq!(settled(streamed.clone()), settled(whole.clone()));
    // The prompt is the same, and most of it was there already.
    let all = |message| usage(message, "input_tokens") + usage(message, "cache_read_input_tokens");
    assert_eq!(all(&streamed), all(&whole));
    assert!(usage(&streamed, "cache_read_input_tokens") > usage(&streamed, "input_tokens"), "{streamed}");
    let counted =
        json!({ "model": "demo", "system": blocks, "messages": [{ "role": "user", "content": STORY }] });
    let (status, counted) = server.post("/v1/messages/count_tokens", &counted);
    assert_eq!((status, counted["input_tokens"].as_u64()), (200, Some(all(&whole))));
}

#[test]
fn a_text_that_ends_the_answer_is_told() {
    let server = Server::start(1, 8, &[]);
    let asked = ask(STORY, json!({ "stop_sequences": ["?!", "."], "max_tokens": 200 }));
    let (_, whole) = server.post(MESSAGES, &asked);
    assert_eq!((&whole["stop_reason"], &whole["stop_sequence"]), (&json!("stop_sequence"), &json!(".")));
    assert!(!whole["content"][0]["text"].as_str().unwrap().contains('.'));
    let (_, none) = server.post(MESSAGES, &ask(STORY, json!({ "max_tokens": 0 })));
    assert_eq!((&none["content"], &none["usage"]["output_tokens"]), (&json!([]), &json!(0)), "{none}");
}

#[test]
fn a_last_message_of_the_assistants_is_gone_on_from() {
    let server = Server::start(1, 8, &[]);
    let (_, whole) = server.post(MESSAGES, &ask(STORY, json!({})));
    let text = whole["content"][0]["text"].as_str().unwrap();
    // Cut at the end of a word, so that the tokens are those that the model wrote.
    let (begin, rest) = text.split_at(text.match_indices(' ').nth(4).unwrap().0);
    let begun = |last: Json| json!({ "messages": [{ "role": "user", "content": STORY }, { "role": "assistant", "content": last }] });
    let blocks = json!([{ "type": "text", "text": begin }]);
    for last in [json!(begin), blocks] {
        let asked = ask(STORY, begun(last.clone()));
        let (status, next) = server.post(MESSAGES, &asked);
        assert_eq!((status, next["usage"]["output_tokens"].as_u64()), (200, Some(24)), "{next}");
        assert!(next["content"][0]["text"].as_str().unwrap().starts_with(rest), "{begin:?}: {next}");
        assert_eq!(settled(put_together(&events(&server, asked))), settled(next), "{last}");
    }
    // An empty one begins nothing.
    let (_, same) = server.post(MESSAGES, &ask(STORY, begun(json!(""))));
    assert_eq!(same["content"], whole["content"]);
    let counted =
        |messages: Json| server.post("/v1/messages/count_tokens", &messages).1["input_tokens"].as_u64();
    assert!(counted(begun(json!(begin))) > counted(begun(json!(""))));
    let form = json!({ "format": { "type": "json_schema", "schema": { "type": "object" } } });
    let choice = json!({ "type": "any" });
    for (more, word) in [
        (json!({ "output_config": form }), "output_config"),
        (json!({ "tools": [tool("f")], "tool_choice": choice }), "tool_choice"),
    ] {
        let (status, refused) = server.post(MESSAGES, &with(ask(STORY, begun(json!(begin))), &more));
        assert!(status == 400 && refused["error"]["message"].as_str().unwrap().contains(word), "{refused}");
    }
}

fn tool(name: &str) -> Json {
    let schema = json!({
        "type": "object", "properties": { "city": { "enum": ["Oslo", "Rome"] }, "days": { "type": "integer", "maximum": 9 } },
        "required": ["city", "days"], "additionalProperties": false,
    });
    json!({ "name": name, "input_schema": schema })
}

#[test]
fn a_call_that_is_demanded_comes_and_fits_its_schema() {
    let server = Server::start(1, 8, &[]);
    for (choice, name) in
        [(json!({ "type": "any" }), None), (json!({ "type": "tool", "name": "climate" }), Some("climate"))]
    {
        let choice = with(choice, &json!({ "disable_parallel_tool_use": true }));
        let more = json!({
            "tools": [tool("weather"), tool("climate")], "tool_choice": choice, "temperature": 1, "seed": 3,
            "max_tokens": 200,
        });
        let (status, whole) = server.post(MESSAGES, &ask(STORY, more.clone()));
        assert_eq!((status, &whole["stop_reason"]), (200, &json!("tool_use")), "{whole}");
        let [call] = &whole["content"].as_array().unwrap()[..] else { panic!("{whole}") };
        assert!(name.is_none_or(|name| call["name"] == name) && call["type"] == "tool_use", "{call}");
        assert!(call["input"]["city"].is_string() && call["input"]["days"].as_i64().unwrap() <= 9, "{call}");
        assert_eq!(settled(put_together(&events(&server, ask(STORY, more)))), settled(whole.clone()));

        // The call and its result go on as a conversation.
        let result = json!({ "type": "tool_result", "tool_use_id": call["id"], "content": "rain" });
        let said = json!([
            { "role": "user", "content": STORY }, { "role": "assistant", "content": whole["content"] },
            { "role": "user", "content": [result] },
        ]);
        let (status, next) =
            server.post(MESSAGES, &json!({ "messages": said, "tools": [tool("weather")], "max_tokens": 4 }));
        assert_eq!(status, 200, "{next}");
    }
}

#[test]
fn a_call_that_is_cut_short_is_not_lost() {
    let server = Server::start(1, 8, &[]);
    let choice = json!({ "type": "tool", "name": "weather" });
    let asked = ask(STORY, json!({ "tools": [tool("weather")], "tool_choice": choice, "max_tokens": 24 }));
    // Where it is cut depends on the model's tokens; somewhere it is within the arguments.
    let cut = (8..40).find_map(|n| {
        let (_, whole) = server.post(MESSAGES, &with(asked.clone(), &json!({ "max_tokens": n })));
        let block = whole["content"][0].clone();
        (whole["stop_reason"] == "max_tokens" && block["partial_json"] != "" && block["type"] == "tool_use")
            .then_some(block)
    });
    let cut = cut.unwrap();
    assert!(cut["input"] == json!({}) && cut["partial_json"].as_str().unwrap().starts_with('{'), "{cut}");
}

/// The built-in model with a template that makes it think.
fn thinker() -> Bytes {
    let contents = parse(Bytes::new(ingle_demo::GGUF)).unwrap();
    let template = contents.str("tokenizer.chat_template").unwrap().unwrap();
    let begin = "<|im_start|>assistant\\n";
    let opens = "<|im_start|>assistant\\n' + ('' if enable_thinking is false else '<think>\\n') + '";
    let template = template.replace(begin, opens);
    let mut header = Header::like(&contents);
    header.set("tokenizer.chat_template", template.as_str()).unwrap();
    for tensor in contents.tensors() {
        header.add(&tensor.name, &tensor.shape, tensor.format).unwrap();
    }
    let mut writer = Writer::begin(Vec::new(), &header).unwrap();
    for tensor in contents.tensors() {
        writer.write(&tensor.bytes()).unwrap();
    }
    Bytes::new(writer.finish().unwrap())
}

#[test]
fn thoughts_are_blocks_of_their_own() {
    let server = Server::of(thinker(), 1, 8, &[], Limits::usual());
    let enabled = json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } });
    let (status, whole) = server.post(MESSAGES, &ask(STORY, enabled.clone()));
    let block = &whole["content"][0];
    assert_eq!((status, &block["type"]), (200, &json!("thinking")), "{whole}");
    assert!(block["thinking"].as_str().unwrap().len() > 40 && block["signature"] != "", "{block}");
    let streamed = events(&server, ask(STORY, enabled));
    assert_eq!(settled(put_together(&streamed)), settled(whole));
    let omitted = json!({ "thinking": { "type": "adaptive", "display": "omitted" } });
    let message = put_together(&events(&server, ask(STORY, omitted)));
    assert_eq!(
        (&message["content"][0]["type"], &message["content"][0]["thinking"]),
        (&json!("thinking"), &json!(""))
    );
    let (_, spoken) = server.post(MESSAGES, &ask(STORY, json!({ "thinking": { "type": "disabled" } })));
    assert_eq!(spoken["content"][0]["type"], "text", "{spoken}");
    // A form is held behind the thoughts, and thoughts go back with what was said.
    let said = json!([
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": [{ "type": "thinking", "thinking": "b", "signature": "" }, { "type": "text", "text": "c" }] },
        { "role": "user", "content": "d" },
    ]);
    assert_eq!(server.post(MESSAGES, &json!({ "messages": said, "max_tokens": 2 })).0, 200);
}

#[test]
fn an_answer_has_the_form_that_was_asked_for() {
    let server = Server::start(1, 8, &[]);
    let schema = json!({ "type": "object", "properties": { "age": { "type": "integer", "minimum": 0, "maximum": 120 } },
                         "required": ["age"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "schema": schema });
    let more = json!({ "output_config": { "format": format, "effort": "low" }, "max_tokens": 60, "temperature": 1, "seed": 4 });
    let (status, whole) = server.post(MESSAGES, &ask(STORY, more));
    assert_eq!((status, &whole["stop_reason"]), (200, &json!("end_turn")), "{whole}");
    let person: Json = serde_json::from_str(whole["content"][0]["text"].as_str().unwrap()).unwrap();
    assert!(person["age"].as_u64().unwrap() <= 120);
}

#[test]
fn a_prompt_that_is_cut_says_so() {
    let server = Server::start(1, 8, &[]);
    let asked = ask(&"word ".repeat(2000), json!({ "overflow": "drop-oldest", "max_tokens": 4 }));
    let (status, whole) = server.post(MESSAGES, &asked);
    let n_dropped = whole["dropped_tokens"].as_u64();
    assert!(status == 200 && n_dropped.is_some_and(|n| n > 1000), "{whole}");
    let told = events(&server, asked).into_iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(told["dropped_tokens"].as_u64(), n_dropped);
    let long = json!({ "messages": [{ "role": "user", "content": "word ".repeat(2000) }] });
    assert!(server.post("/v1/messages/count_tokens", &long).1["input_tokens"].as_u64().unwrap() > 1000);
}

#[test]
fn what_is_not_understood_is_refused_in_anthropics_words() {
    let server = Server::start(1, 8, &[]);
    let refused = |body: Json, status: u16, kind: &str, word: &str| {
        let (found, error) = server.post(MESSAGES, &body);
        let message = error["error"]["message"].as_str().unwrap();
        assert!(found == status && message.contains(word), "{body}: {found} {message}");
        assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!(kind)));
    };
    let image = json!([{ "role": "user", "content": [{ "type": "image", "source": {} }] }]);
    let invalid = "invalid_request_error";
    refused(json!({ "messages": [{ "role": "user", "content": "x" }] }), 400, invalid, "max_tokens");
    refused(json!({ "messages": image, "max_tokens": 1 }), 400, invalid, "image");
    refused(ask("x", json!({ "container": "c" })), 400, invalid, "container");
    refused(ask("x", json!({ "stop": ["."] })), 400, invalid, "stop");
    refused(
        ask("x", json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } })),
        400,
        invalid,
        "think",
    );
    refused(ask("x", json!({ "tool_choice": { "type": "any" } })), 400, invalid, "tool_choice");
    refused(ask(&"word ".repeat(2000), json!({})), 400, invalid, "512");
    refused(ask("x", json!({ "model": "claude-9" })), 404, "not_found_error", "claude-9");
    let (status, _, text) = server.ask("POST", MESSAGES, "Content-Length: 9000000\r\n", b"");
    assert!(status == 413 && text.contains("request_too_large"), "{status} {text}");
}
