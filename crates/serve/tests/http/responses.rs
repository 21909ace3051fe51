//! The Responses API as a client meets it: real sockets, the built-in model.

use crate::served::{Server, with};
use serde_json::{Value as Json, json};

const PATH: &str = "/v1/responses";
const STORY: &str = "Tell me a story.";
/// What makes a model think that was never taught to.
const THINKS: &str = "root ::= \"<think>\" \"hm, let me see\" \"</think>\" \"Once.\"";

fn asked(input: impl Into<Json>, more: Json) -> Json {
    with(json!({ "input": input.into(), "temperature": 0, "max_output_tokens": 24 }), &more)
}

fn post(server: &Server, input: impl Into<Json>, more: Json) -> Json {
    let asked = asked(input, more);
    let (status, response) = server.post(PATH, &asked);
    assert_eq!(status, 200, "{asked}: {response}");
    response
}

fn get(server: &Server, path: &str) -> (u16, Json) {
    let (status, _, text) = server.ask("GET", &format!("{PATH}/{path}"), "", b"");
    (status, serde_json::from_str(&text).unwrap())
}

fn id(response: &Json) -> &str {
    response["id"].as_str().unwrap()
}

fn text(response: &Json) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap()
}

fn n_cached(response: &Json) -> u64 {
    response["usage"]["input_tokens_details"]["cached_tokens"].as_u64().unwrap()
}

/// The events of a streamed response, whose names, numbers and places must be right.
fn events(server: &Server, input: impl Into<Json>, more: &Json) -> Vec<Json> {
    let asked = asked(input, with(json!({ "stream": true }), more));
    let (status, _, text) = server.ask("POST", PATH, "", asked.to_string().as_bytes());
    assert_eq!(status, 200, "{text}");
    let mut events: Vec<Json> = Vec::new();
    for event in text.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':')) {
        let (name, data) = event.split_once("\ndata: ").unwrap();
        let data: Json = serde_json::from_str(data).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        assert_eq!(data["sequence_number"], events.len());
        events.push(data);
    }
    events
}

fn names(events: &[Json]) -> Vec<&str> {
    let mut names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    names.dedup();
    names
}

fn deltas(events: &[Json], name: &str) -> String {
    let of = events.iter().filter(|event| event["type"] == name);
    of.map(|event| event["delta"].as_str().unwrap()).collect()
}

/// `response` without what differs between two that are the same.
fn timeless(response: &Json) -> Json {
    let mut response = response.clone();
    for name in ["id", "created_at", "completed_at", "timings", "usage"] {
        response[name].take();
    }
    for item in response["output"].as_array_mut().unwrap() {
        item["id"].take();
        if item["type"] == "function_call" {
            item["call_id"].take();
        }
    }
    response
}

fn tool(name: &str) -> Json {
    let parameters = json!({
        "type": "object", "properties": { "city": { "enum": ["Oslo", "Rome"] }, "days": { "type": "integer", "maximum": 9 } },
        "required": ["city", "days"], "additionalProperties": false,
    });
    json!({ "type": "function", "name": name, "parameters": parameters, "strict": true })
}

#[test]
fn a_response_says_what_was_said_and_how_it_was_asked() {
    let server = Server::start(1, 8, &[]);
    let more = json!({ "metadata": { "a": "b" }, "top_p": 0.9, "user": "me", "model": "demo" });
    let response = post(&server, STORY, more);
    assert_eq!((&response["object"], &response["status"]), (&json!("response"), &json!("incomplete")));
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
    assert!(id(&response).starts_with("resp_") && text(&response).len() > 40, "{response}");
    let item = &response["output"][0];
    assert!(item["id"].as_str().unwrap().starts_with("msg_") && item["status"] == "incomplete", "{item}");
    assert_eq!((&response["metadata"]["a"], &response["user"]), (&json!("b"), &json!("me")));
    let usage = &response["usage"];
    assert_eq!(usage["output_tokens"], 24);
    let sum = usage["input_tokens"].as_u64().unwrap() + 24;
    assert_eq!((usage["total_tokens"].as_u64(), &response["top_p"]), (Some(sum), &json!(0.9)));
    let chat = json!({ "messages": [{ "role": "user", "content": STORY }], "temperature": 0, "max_tokens": 24, "top_p": 0.9 });
    let (_, chat) = server.post("/v1/chat/completions", &chat);
    assert_eq!(chat["choices"][0]["message"]["content"], text(&response));
    let whole = post(&server, STORY, json!({ "max_output_tokens": 400, "stop": "." }));
    assert!(whole["status"] == "completed" && whole["completed_at"].is_u64(), "{whole}");
    assert_eq!(whole["output"][0]["status"], "completed");
}

#[test]
fn a_streamed_response_is_the_whole_one() {
    let server = Server::start(1, 8, &[]);
    let more = json!({ "include": ["message.output_text.logprobs"], "top_logprobs": 2 });
    let whole = post(&server, STORY, more.clone());
    let events = events(&server, STORY, &more);
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ];
    assert_eq!(names(&events), expected);
    let last = &events.last().unwrap()["response"];
    assert_eq!(timeless(last), timeless(&whole));
    assert_eq!(deltas(&events, expected[4]), text(&whole));
    let at = |name: &str| events.iter().find(|event| event["type"] == name).unwrap();
    assert_eq!(
        (&at(expected[0])["response"]["id"], at(expected[5])["text"].as_str()),
        (&last["id"], Some(text(last)))
    );
    assert_eq!(at(expected[7])["item"], last["output"][0]);
    assert_eq!(at(expected[6])["part"], last["output"][0]["content"][0]);
    assert!(events[2..8].iter().all(|event| {
        let id = if event["item"].is_object() { &event["item"]["id"] } else { &event["item_id"] };
        *id == last["output"][0]["id"] && event["output_index"] == 0
    }));
    let told: Vec<&Json> = events
        .iter()
        .filter(|e| e["type"] == expected[4])
        .flat_map(|e| e["logprobs"].as_array().unwrap())
        .collect();
    let all = whole["output"][0]["content"][0]["logprobs"].as_array().unwrap();
    assert!(told.iter().copied().eq(all) && all[0]["top_logprobs"].as_array().unwrap().len() == 2);
    assert_eq!(get(&server, id(last)), (200, last.clone()), "it is kept before its end is told");
}

#[test]
fn thoughts_are_items_of_their_own() {
    let server = Server::start(1, 8, &[]);
    for (summary, list, name) in [
        (json!(null), "content", "response.reasoning_text.delta"),
        (json!("auto"), "summary", "response.reasoning_summary_text.delta"),
    ] {
        let more =
            json!({ "grammar": THINKS, "max_output_tokens": 100, "reasoning": { "summary": summary } });
        let whole = post(&server, STORY, more.clone());
        let (thought, said) = (&whole["output"][0], &whole["output"][1]);
        assert_eq!(thought[list][0]["text"], "hm, let me see", "{whole}");
        assert!(thought["type"] == "reasoning" && thought["id"].as_str().unwrap().starts_with("rs_"));
        assert_eq!(said["content"][0]["text"], "Once.");
        let n_thought = whole["usage"]["output_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
        let n_all = whole["usage"]["output_tokens"].as_u64().unwrap();
        assert!(n_thought > 4 && n_thought < n_all, "{n_thought} of {n_all}");
        let events = events(&server, STORY, &more);
        assert_eq!(deltas(&events, name), "hm, let me see");
        assert_eq!(deltas(&events, "response.output_text.delta"), "Once.");
        let last = events.last().unwrap();
        assert_eq!(
            (&last["type"], timeless(&last["response"])),
            (&json!("response.completed"), timeless(&whole))
        );
        let next = post(&server, "And then?", json!({ "previous_response_id": id(&whole) }));
        assert!(!text(&next).is_empty());
    }
}

#[test]
fn a_conversation_goes_on_from_what_is_stored() {
    let server = Server::start(1, 8, &[]);
    let first = post(&server, STORY, json!({ "instructions": "Be brief.", "max_output_tokens": 12 }));
    let more = json!({ "previous_response_id": id(&first), "instructions": "Be brief." });
    let second = post(&server, "And then?", more);
    assert_eq!(second["previous_response_id"], first["id"]);
    // The same conversation, told in full.
    let told = json!([
        { "role": "system", "content": "Be brief." }, { "role": "user", "content": STORY },
        { "role": "assistant", "content": text(&first) }, { "role": "user", "content": "And then?" },
    ]);
    assert_eq!(text(&second), text(&post(&server, told, json!({ "store": false }))));
    // Instructions are not carried over.
    let told = json!([
        { "role": "user", "content": STORY }, { "role": "assistant", "content": text(&first) },
        { "role": "user", "content": "And then?" },
    ]);
    let without = post(&server, "And then?", json!({ "previous_response_id": id(&first) }));
    assert_eq!(text(&without), text(&post(&server, told, json!({}))));

    // What was computed once is not computed again: all before is there, but for what closes the answer.
    let mut last = post(&server, STORY, json!({}));
    for _ in 0..3 {
        let n_before = ["input_tokens", "output_tokens"].map(|name| last["usage"][name].as_u64().unwrap());
        let next = post(&server, "And then?", json!({ "previous_response_id": id(&last) }));
        assert!(n_cached(&next) + 2 >= n_before.iter().sum(), "{n_before:?} before {next}");
        last = next;
    }
}

#[test]
fn input_items_come_in_pages() {
    let server = Server::start(1, 8, &[]);
    let first = post(&server, STORY, json!({ "instructions": "Be brief." }));
    let input = json!([{ "role": "user", "content": "And then?" }, { "role": "user", "content": "Well?" }]);
    let second = post(&server, input, json!({ "previous_response_id": id(&first) }));
    let items = |query: &str| get(&server, &format!("{}/input_items{query}", id(&second))).1;
    let all = items("?order=asc");
    assert_eq!(all["data"][0]["content"][0], json!({ "type": "input_text", "text": STORY }));
    assert_eq!((&all["data"][1], &all["has_more"]), (&first["output"][0], &json!(false)));
    assert_eq!(all["data"][3]["content"][0]["text"], "Well?");
    let mut backwards = items("")["data"].as_array().unwrap().clone();
    backwards.reverse();
    assert_eq!(json!(backwards), all["data"]);
    let page = items("?order=asc&limit=3");
    assert!(page["has_more"] == true && page["data"].as_array().unwrap().len() == 3);
    let rest = items(&format!("?order=asc&limit=3&after={}", page["last_id"].as_str().unwrap()));
    assert_eq!((&rest["data"][0], rest["data"].as_array().unwrap().len()), (&all["data"][3], 1));
    assert_eq!((&rest["first_id"], &rest["last_id"]), (&all["data"][3]["id"], &all["last_id"]));
    for (query, name) in [("?limit=0", "limit"), ("?order=up", "order"), ("?after=x", "after"), ("?x=1", "x")]
    {
        assert_eq!(items(query)["error"]["param"], name);
    }
}

#[test]
fn what_is_not_stored_is_not_found_and_says_so() {
    let server = Server::start(1, 8, &[]);
    let kept = post(&server, STORY, json!({}));
    let other = post(&server, STORY, json!({ "store": false }));
    assert_eq!(other["store"], false);
    let go_on = |id: &str| server.post(PATH, &asked("x", json!({ "previous_response_id": id })));
    assert_eq!((get(&server, id(&kept)), get(&server, id(&other)).0), ((200, kept.clone()), 404));
    let (status, refused) = go_on(id(&other));
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(
        status == 404 && message.contains("previous_response_id") && message.contains(id(&other)),
        "{message}"
    );
    let item = |response: &Json| json!([{ "type": "item_reference", "id": response["output"][0]["id"] }]);
    assert_eq!(server.post(PATH, &asked(item(&kept), json!({}))).0, 200);
    assert_eq!(server.post(PATH, &asked(item(&other), json!({}))).0, 404);

    let path = format!("{PATH}/{}", id(&kept));
    let (status, _, text) = server.ask("POST", &format!("{path}/cancel"), "", b"");
    assert!(status == 400 && text.contains("background"), "{text}");
    assert_eq!(server.ask("GET", &format!("{path}?stream=true"), "", b"").0, 400);
    let (status, _, text) = server.ask("DELETE", &path, "", b"");
    assert_eq!(
        (status, serde_json::from_str::<Json>(&text).unwrap()["deleted"].as_bool()),
        (200, Some(true))
    );
    assert_eq!((server.ask("DELETE", &path, "", b"").0, get(&server, id(&kept)).0), (404, 404));
    assert_eq!((go_on(id(&kept)).0, get(&server, &format!("{}/input_items", id(&kept))).0), (404, 404));
}

#[test]
fn calls_are_items_and_their_results_go_on() {
    let server = Server::start(1, 8, &[]);
    let tools = json!([tool("weather"), tool("climate")]);
    let more = json!({
        "tools": tools, "tool_choice": { "type": "function", "name": "climate" }, "parallel_tool_calls": false,
        "temperature": 1.0, "seed": 3, "max_output_tokens": 200,
    });
    let whole = post(&server, STORY, more.clone());
    let call = &whole["output"][0];
    assert_eq!(
        (&whole["status"], &call["type"], &call["name"]),
        (&json!("completed"), &json!("function_call"), &json!("climate"))
    );
    assert_eq!((&whole["tools"], &whole["tool_choice"]), (&tools, &more["tool_choice"]));
    let arguments: Json = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["days"].as_i64().unwrap() <= 9 && arguments["city"].is_string(), "{arguments}");
    let events = events(&server, STORY, &more);
    assert_eq!(
        deltas(&events, "response.function_call_arguments.delta"),
        call["arguments"].as_str().unwrap()
    );
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names(&events), expected);
    assert_eq!(timeless(&events.last().unwrap()["response"]), timeless(&whole));

    let result = |id: &Json| json!([{ "type": "function_call_output", "call_id": id, "output": "rain" }]);
    let more = json!({ "previous_response_id": id(&whole), "tools": tools });
    let next = post(&server, result(&call["call_id"]), more.clone());
    let told = json!([
        { "role": "user", "content": STORY }, call,
        { "type": "function_call_output", "call_id": call["call_id"], "output": "rain" },
    ]);
    assert_eq!(
        timeless(&next)["output"],
        timeless(&post(&server, told, json!({ "tools": tools })))["output"]
    );
    let (status, refused) = server.post(PATH, &asked(result(&json!("call_x")), more));
    assert!(status == 400 && refused["error"]["message"].as_str().unwrap().contains("call_x"), "{refused}");
}

#[test]
fn a_response_has_the_form_that_was_asked_for() {
    let server = Server::start(1, 8, &[]);
    let schema = json!({ "type": "object", "properties": { "age": { "type": "integer", "minimum": 3, "maximum": 12 } },
                         "required": ["age"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "name": "person", "schema": schema, "strict": true });
    let response = post(
        &server,
        STORY,
        json!({ "text": { "format": format }, "temperature": 1, "seed": 1, "max_output_tokens": 200 }),
    );
    let person: Json = serde_json::from_str(text(&response)).unwrap();
    assert!((3..=12).contains(&person["age"].as_i64().unwrap()), "{person}");
    assert_eq!(response["text"]["format"], format);
}

#[test]
fn an_input_that_is_too_long_is_refused_or_cut_as_asked() {
    let server = Server::start(1, 8, &[]);
    let long = "word ".repeat(2000);
    let (status, refused) = server.post(PATH, &asked(long.clone(), json!({})));
    assert!(status == 400 && refused["error"]["message"].as_str().unwrap().contains("512"), "{refused}");
    let cut = post(&server, long, json!({ "truncation": "auto" }));
    assert!(cut["truncation"] == "auto" && cut["dropped_tokens"].as_u64().unwrap() > 1000, "{cut}");
}

#[test]
fn what_is_stored_for_one_key_is_not_there_for_another() {
    let server = Server::start(1, 8, &["mine", "yours"]);
    let ask = |key: &str, method: &str, path: &str, body: &Json| {
        let key = format!("Authorization: Bearer {key}\r\n");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, _, text) = server.ask(method, &format!("{PATH}{path}"), &key, body.as_bytes());
        (status, serde_json::from_str::<Json>(&text).unwrap())
    };
    let (_, first) = ask("mine", "POST", "", &asked(STORY, json!({ "max_output_tokens": 2 })));
    let path = format!("/{}", id(&first));
    let item = json!([{ "type": "item_reference", "id": first["output"][0]["id"] }, { "role": "user", "content": "x" }]);
    let on = asked("And then?", json!({ "previous_response_id": id(&first), "max_output_tokens": 2 }));
    for (key, found) in [("yours", 404), ("mine", 200)] {
        assert_eq!(ask(key, "GET", &path, &Json::Null).0, found, "{key}");
        assert_eq!(ask(key, "GET", &format!("{path}/input_items"), &Json::Null).0, found, "{key}");
        assert_eq!(ask(key, "POST", "", &on).0, found, "{key}");
        assert_eq!(
            ask(key, "POST", "", &asked(item.clone(), json!({ "max_output_tokens": 2 }))).0,
            found,
            "{key}"
        );
        assert_eq!(ask(key, "DELETE", &path, &Json::Null).0, found, "{key}");
    }
    let (_, absent) = ask("yours", "GET", &path, &Json::Null);
    let (_, unknown) = ask("yours", "GET", "/resp_none", &Json::Null);
    let message =
        |refused: &Json| refused["error"]["message"].as_str().unwrap().replace(id(&first), "resp_none");
    assert_eq!(message(&absent), message(&unknown), "it does not tell that there is one");
}
