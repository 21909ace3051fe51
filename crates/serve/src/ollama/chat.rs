//! `POST /api/chat`: messages are answered.
//!
//! They are nearly those of templates. Ollama's calls may have no ids; where templates want some, calls and results are given them in
//! their order.

use serde_json::{Map, Value as Json, json};

use super::answer::{Kind, Subject};
use crate::fields::Fields;
use crate::openai::messages::{messages_of, take_tools};
use crate::refusal::Refusal;

/// Answers to messages.
#[derive(Debug)]
pub struct Chat;

impl Kind for Chat {
    fn subject(fields: &mut Fields) -> Result<Subject, Refusal> {
        let tools = take_tools(fields)?;
        let wrong = || Refusal::field("messages", "messages: expected an array");
        match fields.take("messages") {
            None => Ok(Subject::Nothing),
            Some(Json::Array(messages)) if messages.is_empty() => Ok(Subject::Nothing),
            Some(Json::Array(messages)) => Ok(Subject::Conversation(messages_of(told(messages)?)?, tools)),
            Some(_) => Err(wrong()),
        }
    }

    fn put(mut said: Map<String, Json>, line: &mut Json) {
        let mut message = json!({ "role": "assistant", "content": "" });
        for name in ["content", "thinking", "tool_calls"] {
            if let Some(value) = said.shift_remove(name) {
                message[name] = value;
            }
        }
        line["message"] = message;
    }
}

/// Messages in OpenAI's words.
fn told(messages: Vec<Json>) -> Result<Json, Refusal> {
    // Calls that have no result yet: their ids and names.
    let mut open: Vec<(String, String)> = Vec::new();
    let mut n_calls = 0;
    let mut told = Vec::new();
    for (i, message) in messages.into_iter().enumerate() {
        let wrong = |what: &str| Refusal::field("messages", format!("messages[{i}]: {what}"));
        let mut fields = Fields::of("messages", message).map_err(|_| wrong("expected an object"))?;
        fields.unsupported("images", &[json!([])])?;
        let role = fields.text("role")?.ok_or_else(|| wrong("expected a role"))?;
        let mut message = json!({ "role": role, "content": fields.text("content")?.unwrap_or_default() });
        if let Some(thoughts) = fields.text("thinking")? {
            message["reasoning_content"] = thoughts.into();
        }
        if let Some(mut calls) = fields.take("tool_calls") {
            for call in calls.as_array_mut().into_iter().flatten().filter(|call| call.is_object()) {
                let id = call["id"].as_str().map_or_else(|| format!("{n_calls:09}"), str::to_owned);
                n_calls += 1;
                open.push((id.clone(), call["function"]["name"].as_str().unwrap_or_default().to_owned()));
                call["id"] = id.into();
                call["type"] = "function".into();
            }
            message["tool_calls"] = calls;
        }
        if role == "tool" {
            let (id, name) = (fields.text("tool_call_id")?, fields.text("tool_name")?);
            let is_it = |(open_id, open_name): &(String, String)| match (&id, &name) {
                (Some(id), _) => open_id == id,
                (None, Some(name)) => open_name == name,
                (None, None) => true,
            };
            let call = open.iter().position(is_it).map(|at| open.remove(at));
            let (call_id, call_name) = call.map_or((None, None), |(id, name)| (Some(id), Some(name)));
            message["tool_call_id"] = id.or(call_id).into();
            message["name"] = name.or(call_name).into();
        }
        fields.end()?;
        told.push(message);
    }
    Ok(Json::Array(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_results_find_each_other() {
        let call = |name: &str| json!({ "function": { "name": name, "arguments": { "x": 1 } } });
        let given = json!([
            { "role": "user", "content": "a" },
            { "role": "assistant", "thinking": "hm", "tool_calls": [call("f"), call("g")] },
            { "role": "tool", "tool_name": "g", "content": "2" },
            { "role": "tool", "content": "1" },
        ]);
        let told = told(given.as_array().unwrap().clone()).unwrap();
        assert_eq!(told[1]["reasoning_content"], "hm");
        assert_eq!(told[1]["tool_calls"][1]["id"], "000000001");
        assert_eq!((&told[2]["tool_call_id"], &told[2]["name"]), (&json!("000000001"), &json!("g")));
        assert_eq!((&told[3]["tool_call_id"], &told[3]["name"]), (&json!("000000000"), &json!("f")));
    }

    #[test]
    fn images_and_unknown_fields_are_refused() {
        for (message, word) in [
            (json!({ "role": "user", "content": "a", "images": ["x"] }), "images"),
            (json!({ "role": "user", "content": "a", "colour": 1 }), "colour"),
            (json!({ "content": "a" }), "role"),
        ] {
            assert!(told(vec![message]).unwrap_err().to_string().contains(word));
        }
    }
}
