//! Ollama's API as a client meets it: real sockets, the built-in model.

use serde_json::{Value as Json, json};

use crate::served::{STORY, Server, with};

const CHAT: &str = "/api/chat";
const GENERATE: &str = "/api/generate";

fn chat(text: &str, more: Json) -> Json {
    let messages = json!([{ "role": "user", "content": text }]);
    let options = json!({ "temperature": 0, "num_predict": 24 });
    with(json!({ "model": "demo", "messages": messages, "stream": false, "options": options }), &more)
}

fn generate(text: &str, more: Json) -> Json {
    let options = json!({ "temperature": 0, "num_predict": 24 });
    with(json!({ "model": "demo", "prompt": text, "stream": false, "options": options }), &more)
}

/// The lines of a stream, which is what comes where nothing is said of it.
fn lines(server: &Server, path: &str, mut asked: Json) -> Vec<Json> {
    asked.as_object_mut().unwrap().shift_remove("stream");
    let (status, head, text) = server.ask("POST", path, "", asked.to_string().as_bytes());
    assert!(status == 200 && head.to_lowercase().contains("application/x-ndjson"), "{head}\n{text}");
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, rest) = lines.split_last().unwrap();
    assert!(last["done"] == true && rest.iter().all(|line| line["done"] == false), "{text}");
    lines
}

#[test]
fn streamed_lines_are_the_whole_answer() {
    let server = Server::start(1, 8, &[]);
    let (status, whole) = server.post(CHAT, &chat(STORY, json!({})));
    assert_eq!(status, 200, "{whole}");
    let text = whole["message"]["content"].as_str().unwrap();
    assert!(text.len() > 40 && whole["message"]["role"] == "assistant", "{whole}");
    assert_eq!((&whole["done"], &whole["done_reason"]), (&json!(true), &json!("length")));
    let told = lines(&server, CHAT, chat(STORY, json!({ "model": "demo:latest", "keep_alive": "5m" })));
    let joined: String = told.iter().map(|line| line["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(joined, text);
    let last = told.last().unwrap();
    assert_eq!((&last["eval_count"], &last["prompt_eval_count"]), (&json!(24), &whole["prompt_eval_count"]));
    let durations =
        ["prompt_eval_duration", "eval_duration", "total_duration"].map(|name| last[name].as_u64().unwrap());
    assert!(durations[0] > 0 && durations[2] == durations[0] + durations[1], "{last}");
    assert!(last["created_at"].as_str().unwrap().ends_with('Z') && last["load_duration"] == 0);

    // The same prompt by the other route.
    let (_, generated) = server.post(GENERATE, &generate(STORY, json!({})));
    assert_eq!(generated["response"], whole["message"]["content"]);
    let told = lines(&server, GENERATE, generate(STORY, json!({})));
    let joined: String = told.iter().map(|line| line["response"].as_str().unwrap()).collect();
    assert_eq!(joined, text);
}

#[test]
fn a_raw_prompt_is_gone_on_with() {
    let server = Server::start(1, 8, &[]);
    let (_, whole) = server.post(GENERATE, &generate("Once upon", json!({ "raw": true })));
    assert!(whole["response"].as_str().unwrap().starts_with(" a time"), "{whole}");
    let more = json!({ "options": { "temperature": 0, "num_predict": -1, "stop": ["."] }, "raw": true });
    let (_, stopped) = server.post(GENERATE, &generate("Once upon", more));
    assert_eq!(stopped["done_reason"], "stop");
    assert!(!stopped["response"].as_str().unwrap().contains('.'));
}

#[test]
fn where_nothing_is_asked_the_model_is_there() {
    let server = Server::start(1, 8, &[]);
    for (path, asked) in
        [(GENERATE, json!({ "model": "demo" })), (CHAT, json!({ "model": "demo", "messages": [] }))]
    {
        let (status, loaded) = server.post(path, &with(asked.clone(), &json!({ "stream": false })));
        assert_eq!((status, &loaded["done_reason"]), (200, &json!("load")), "{loaded}");
        assert_eq!(lines(&server, path, asked).len(), 1);
    }
    assert_eq!(server.metric("ingle_steps_total"), 0, "nothing was computed");
}

#[test]
fn calls_have_objects_for_arguments() {
    let server = Server::start(1, 8, &[]);
    let parameters = json!({ "type": "object", "properties": { "city": { "enum": ["Oslo", "Rome"] } },
                             "required": ["city"], "additionalProperties": false });
    let tool = json!({ "type": "function", "function": { "name": "weather", "parameters": parameters } });
    let options = json!({ "temperature": 0, "num_predict": 100 });
    let more = json!({ "tools": [tool], "tool_choice": "required", "parallel_tool_calls": false, "options": options });
    let (status, whole) = server.post(CHAT, &chat(STORY, more.clone()));
    let call = &whole["message"]["tool_calls"][0]["function"];
    assert_eq!(
        (status, &call["name"], &whole["done_reason"]),
        (200, &json!("weather"), &json!("stop")),
        "{whole}"
    );
    assert!(call["arguments"]["city"].is_string(), "{call}");
    let told = lines(&server, CHAT, chat(STORY, more.clone()));
    let calls: Vec<&Json> = told.iter().filter(|line| line["message"]["tool_calls"].is_array()).collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["message"]["tool_calls"][0]["function"], *call);

    // What the end cuts short is text, told once.
    let mut n_cut = 0;
    for n in 28..50 {
        let options = json!({ "options": { "temperature": 0, "num_predict": n } });
        let asked = chat(STORY, with(more.clone(), &options));
        let (_, cut) = server.post(CHAT, &asked);
        let text = cut["message"]["content"].as_str().unwrap();
        let told = lines(&server, CHAT, asked);
        let joined: String = told.iter().map(|line| line["message"]["content"].as_str().unwrap()).collect();
        assert_eq!(joined, text);
        let n_calls = told.iter().filter(|line| line["message"]["tool_calls"].is_array()).count();
        assert_eq!(n_calls, usize::from(cut["message"]["tool_calls"].is_array()), "{cut}");
        if text.starts_with("{\"name\"") {
            assert!(
                n_calls == 0 && cut["done_reason"] == "length" && text.matches("weather").count() == 1,
                "{cut}"
            );
            n_cut += 1;
        }
    }
    assert!(n_cut > 2, "the answer ends within the arguments");

    let said = json!([
        { "role": "user", "content": STORY }, whole["message"],
        { "role": "tool", "tool_name": "weather", "content": "rain" },
    ]);
    let (status, next) = server.post(CHAT, &chat("", json!({ "messages": said, "tools": [tool] })));
    assert_eq!(status, 200, "{next}");
}

#[test]
fn a_format_is_held_and_log_probabilities_come_with_it() {
    let server = Server::start(1, 8, &[]);
    let schema = json!({ "type": "object", "properties": { "age": { "type": "integer", "minimum": 0, "maximum": 120 } },
                         "required": ["age"], "additionalProperties": false });
    let options = json!({ "temperature": 1, "seed": 4, "num_predict": 60 });
    let more = json!({ "format": schema, "options": options, "logprobs": true, "top_logprobs": 2 });
    for (path, asked) in [(CHAT, chat(STORY, more.clone())), (GENERATE, generate(STORY, more.clone()))] {
        let (status, whole) = server.post(path, &asked);
        let text = whole["message"]["content"].as_str().or_else(|| whole["response"].as_str()).unwrap();
        let person: Json = serde_json::from_str(text).unwrap();
        assert!(status == 200 && person["age"].as_u64().unwrap() <= 120, "{whole}");
        assert_eq!(whole["logprobs"][0]["top_logprobs"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn what_is_served_is_listed_and_shown() {
    let server = Server::start(1, 8, &[]);
    let get = |path: &str| -> Json { serde_json::from_str(&server.ask("GET", path, "", b"").2).unwrap() };
    assert!(get("/api/version")["version"].is_string());
    let (tags, ps) = (get("/api/tags"), get("/api/ps"));
    let tag = &tags["models"][0];
    assert_eq!((&tag["model"], tag["digest"].as_str().unwrap().len()), (&json!("demo"), 64), "{tags}");
    assert!(tag["size"].as_u64().unwrap() > 1_000_000 && tag["details"]["format"] == "gguf", "{tag}");
    assert_eq!(
        (&ps["models"][0]["context_length"], &ps["models"][0]["digest"]),
        (&json!(512), &tag["digest"])
    );
    let (status, shown) = server.post("/api/show", &json!({ "model": "demo:latest" }));
    assert_eq!(status, 200, "{shown}");
    assert_eq!(shown["capabilities"], json!(["completion", "tools"]));
    assert_eq!(shown["model_info"]["general.architecture"], shown["details"]["family"]);
    assert!(shown["model_info"]["tokenizer.ggml.tokens"].is_null(), "only where all is wanted");
    let (_, all) = server.post("/api/show", &json!({ "model": "demo", "verbose": true }));
    assert!(all["model_info"]["tokenizer.ggml.tokens"].as_array().unwrap().len() > 100);
    assert_eq!(server.ask("HEAD", "/", "", b"").0, 200);
}

#[test]
fn a_prompt_that_is_cut_says_so() {
    let server = Server::start(1, 8, &[]);
    let long = "word ".repeat(2000);
    for (path, asked) in [
        (CHAT, chat(&long, json!({ "truncate": true }))),
        (GENERATE, generate(&long, json!({ "truncate": true }))),
    ] {
        let (status, whole) = server.post(path, &asked);
        let n_dropped = whole["dropped_tokens"].as_u64();
        assert!(status == 200 && n_dropped.is_some_and(|n| n > 1000), "{whole}");
        assert_eq!(lines(&server, path, asked).last().unwrap()["dropped_tokens"].as_u64(), n_dropped);
    }
}

#[test]
fn what_is_not_understood_is_refused_in_ollamas_words() {
    let server = Server::start(1, 8, &[]);
    let refused = |path: &str, body: Json, status: u16, word: &str| {
        let (found, error) = server.post(path, &body);
        let message = error["error"].as_str().unwrap();
        assert!(found == status && message.contains(word), "{body}: {found} {message}");
    };
    refused(CHAT, chat("x", json!({ "model": "other" })), 404, "other");
    refused(
        CHAT,
        chat("x", json!({ "messages": [{ "role": "user", "content": "x", "images": ["a"] }] })),
        400,
        "images",
    );
    refused(CHAT, chat("x", json!({ "options": { "num_ctx": 4096 } })), 400, "num_ctx");
    refused(CHAT, chat("x", json!({ "options": { "tempreature": 1 } })), 400, "tempreature");
    refused(CHAT, chat("x", json!({ "think": true })), 400, "think");
    refused(CHAT, chat("x", json!({ "format": "yaml" })), 400, "format");
    refused(CHAT, chat(&"word ".repeat(2000), json!({})), 400, "512");
    refused(GENERATE, generate("x", json!({ "suffix": "y" })), 400, "suffix");
    refused(GENERATE, generate("x", json!({ "context": [1] })), 400, "context");
    refused(GENERATE, generate("x", json!({ "template": "{{ .Prompt }}" })), 400, "template");
    refused(GENERATE, generate("x", json!({ "raw": true, "system": "y" })), 400, "system");
    refused("/api/show", json!({}), 400, "model");
    refused("/api/nothing", json!({}), 404, "/api/nothing");
}

#[test]
fn a_last_message_of_the_assistants_is_gone_on_from() {
    let server = Server::start(1, 8, &[]);
    let content = |messages: Json| {
        let (status, line) = server
            .post(CHAT, &with(chat(STORY, json!({ "stream": false })), &json!({ "messages": messages })));
        assert_eq!(status, 200, "{line}");
        line["message"]["content"].as_str().unwrap().to_owned()
    };
    let user = json!({ "role": "user", "content": STORY });
    let whole = content(json!([user]));
    let (begin, rest) = whole.split_at(whole.match_indices(' ').nth(4).unwrap().0);
    assert!(content(json!([user, { "role": "assistant", "content": begin }])).starts_with(rest));
}

#[test]
fn a_server_without_a_store_says_who_has_it() {
    let server = Server::start(1, 8, &[]);
    for (method, path, word) in [
        ("POST", "/api/pull", "ingle pull x"),
        ("DELETE", "/api/delete", "ingle rm x"),
        ("POST", "/api/create", "ingle quantize"),
        ("POST", "/api/copy", "--as NAME"),
        ("POST", "/api/push", "not published"),
        ("POST", "/api/blobs/sha256:00", "ingle pull PATH"),
    ] {
        let (status, _, text) = server.ask(method, path, "", b"{\"model\": \"x:latest\"}");
        assert!(status == 501 && text.contains(word), "{path}: {status} {text}");
    }
    assert_eq!(server.ask("HEAD", "/api/blobs/sha256:00", "", b"").0, 501);
}
