//! Tools for chat templates that know of none: told, called and answered in plain text, as Hermes models have it.
//!
//! Tools become a paragraph of the system message, calls a part of the assistant's text and results a user's message, which every
//! template can write. How well a model that was not trained for it does so is another matter; a demanded call is held by a
//! grammar ([`crate::output::Format::grammar`]).

use serde_json::{Value as Json, json};

const BEFORE: &str = "You can call these functions. Each line between the tags describes one as JSON, with a schema of \
                      its arguments:\n<tools>\n";
const BEHIND: &str = "</tools>\nTo call one, write this, once for every call, with the function's name and arguments in \
                      place:\n<tool_call>\n{\"name\": \"NAME\", \"arguments\": {}}\n</tool_call>\nResults come back \
                      between <tool_response> tags.";

/// `messages` with `tools`, calls and results as text. Messages without any are as they were.
pub fn written_out(messages: &Json, tools: Option<&Json>) -> Json {
    let mut out: Vec<Json> = Vec::new();
    if let Some(tools) = tools.and_then(Json::as_array).filter(|tools| !tools.is_empty()) {
        let lines: String = tools.iter().map(|tool| format!("{tool}\n")).collect();
        out.push(json!({ "role": "system", "content": format!("{BEFORE}{lines}{BEHIND}") }));
    }
    for message in messages.as_array().map_or(&[][..], Vec::as_slice) {
        let text = message["content"].as_str().unwrap_or_default();
        match message["role"].as_str() {
            Some("system") if out.len() == 1 && out[0]["role"] == "system" => {
                let told = out[0]["content"].as_str().unwrap_or_default();
                out[0]["content"] = format!("{text}\n\n{told}").into();
            }
            Some("tool") => {
                let result = format!("<tool_response>\n{text}\n</tool_response>");
                match out.last_mut().filter(|last| last["tool_results"] == true) {
                    Some(last) => {
                        let before = last["content"].as_str().unwrap_or_default();
                        last["content"] = format!("{before}\n{result}").into();
                    }
                    None => {
                        out.push(json!({ "role": "user", "content": result, "tool_results": true }));
                    }
                }
            }
            Some("assistant") if message["tool_calls"].is_array() => {
                let mut text = text.to_owned();
                for call in message["tool_calls"].as_array().into_iter().flatten() {
                    let call = json!({
                        "name": call["function"]["name"], "arguments": call["function"]["arguments"],
                    });
                    let gap = if text.is_empty() { "" } else { "\n" };
                    text += &format!("{gap}<tool_call>\n{call}\n</tool_call>");
                }
                let mut message = message.clone();
                message["content"] = text.into();
                if let Some(fields) = message.as_object_mut() {
                    fields.shift_remove("tool_calls");
                }
                out.push(message);
            }
            _ => out.push(message.clone()),
        }
    }
    Json::Array(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_calls_and_results_become_text_and_the_rest_stays() {
        let call =
            json!({ "id": "1", "type": "function", "function": { "name": "add", "arguments": { "a": 1 } } });
        let messages = json!([
            { "role": "system", "content": "Be kind." },
            { "role": "user", "content": "Add." },
            { "role": "assistant", "content": null, "tool_calls": [call] },
            { "role": "tool", "content": "2" },
            { "role": "tool", "content": "3" },
            { "role": "assistant", "content": "Done." },
        ]);
        let tools = json!([{ "type": "function", "function": { "name": "add" } }]);
        let out = written_out(&messages, Some(&tools));
        let system = out[0]["content"].as_str().unwrap();
        assert!(system.starts_with("Be kind.\n\nYou can call") && system.contains(&tools[0].to_string()));
        assert_eq!(
            out[2]["content"],
            "<tool_call>\n{\"name\":\"add\",\"arguments\":{\"a\":1}}\n</tool_call>"
        );
        assert_eq!(out[2].get("tool_calls"), None);
        let results = "<tool_response>\n2\n</tool_response>\n<tool_response>\n3\n</tool_response>";
        assert_eq!((&out[3]["role"], &out[3]["content"]), (&json!("user"), &json!(results)));
        assert_eq!((out.as_array().unwrap().len(), &out[4]), (5, &messages[5]));
        assert_eq!(written_out(&json!([messages[1]]), None), json!([messages[1]]));
    }
}
