//! `openapi.json` against the server: what it gives as examples is answered, in the form it says.

use serde_json::{Value as Json, json};

use crate::served::Server;

/// The schema of `content`, with all that it may refer to.
fn schema(described: &Json, content: &Json) -> Json {
    let mut schema = json!({ "allOf": [content["application/json"]["schema"]] });
    schema["components"] = described["components"].clone();
    schema
}

#[test]
fn examples_are_answered_in_the_form_that_is_described() {
    let server = Server::start(1, 8, &[]);
    let (_, _, text) = server.ask("GET", "/openapi.json", "", b"");
    let described: Json = serde_json::from_str(&text).unwrap();
    let mut n_asked = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, of) in methods.as_object().unwrap() {
            let request = &of["requestBody"]["content"]["application/json"];
            let is_plain = method == "get" && !path.contains('{');
            let content = &of["responses"]["200"]["content"];
            if !(request["example"].is_object() || is_plain) || content["application/json"].is_null() {
                continue;
            }
            let body = if is_plain { String::new() } else { request["example"].to_string() };
            if !is_plain {
                let fits = jsonschema::validate(
                    &schema(&described, &of["requestBody"]["content"]),
                    &request["example"],
                );
                assert!(fits.is_ok(), "{path}: the example: {}", fits.unwrap_err());
            }
            let (status, _, text) = server.ask(&method.to_uppercase(), path, "", body.as_bytes());
            assert_eq!(status, 200, "{path}: {text}");
            let answer: Json = serde_json::from_str(&text).unwrap();
            let fits = jsonschema::validate(&schema(&described, content), &answer);
            assert!(fits.is_ok(), "{path}: {}: {answer}", fits.unwrap_err());
            n_asked += 1;
        }
    }
    assert!(n_asked > 15, "{n_asked} were asked");
}

#[test]
fn what_is_wrong_is_refused_in_the_form_that_is_described() {
    let server = Server::start(1, 8, &[]);
    let (_, _, text) = server.ask("GET", "/openapi.json", "", b"");
    let described: Json = serde_json::from_str(&text).unwrap();
    for (path, methods) in described["paths"].as_object().unwrap() {
        let Some(of) = methods.get("post") else { continue };
        let (status, _, text) = server.ask("POST", path, "", br#"{"no such field": 1}"#);
        assert!((400..=501).contains(&status) && status != 500, "{path}: {status} {text}");
        let refused: Json = serde_json::from_str(&text).unwrap();
        let content = &of["responses"]["default"]["content"];
        let fits = jsonschema::validate(&schema(&described, content), &refused);
        assert!(fits.is_ok(), "{path}: {}: {refused}", fits.unwrap_err());
    }
}

#[test]
fn fields_that_change_nothing_are_taken_and_documented() {
    let server = Server::start(1, 8, &[]);
    let (_, _, text) = server.ask("GET", "/openapi.json", "", b"");
    let described: Json = serde_json::from_str(&text).unwrap();
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/server.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    for (name, paths) in [
        (
            "OpenAiAccepted",
            &["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"][..],
        ),
        ("AnthropicAccepted", &["/v1/messages", "/v1/messages/count_tokens"]),
    ] {
        let mut given = serde_json::Map::new();
        for (field, of) in described["components"]["schemas"][name]["properties"].as_object().unwrap() {
            assert!(docs.contains(&format!("`{field}`")), "{field} is not in docs/server.md");
            let value = if of["type"] == "string" { json!("x") } else { json!({ "x": "y" }) };
            given.insert(field.clone(), value);
        }
        for path in paths {
            let mut asked =
                described["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
                    .clone();
            asked.as_object_mut().unwrap().extend(given.clone());
            let (status, answer) = server.post(path, &asked);
            assert_eq!(status, 200, "{path}: {answer}");
        }
    }
}
