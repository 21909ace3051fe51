//! Messages in OpenAI's words, which are nearly those of chat templates.
//!
//! A message is taken apart field by field and written anew, so that a field that is not known is refused with its place. What a
//! server's answer has, clients send back as they got it: that is taken, whether or not a template has a place for it.

use serde_json::{Value as Json, json};

use crate::fields::Fields;
use crate::refusal::Refusal;

/// What answers of OpenAI's have beside what was said, and what its clients make of that: it says nothing to a model.
pub static OF_ANSWERS: &[&str] = &["annotations", "logprobs", "parsed"];
/// The same of calls.
pub static OF_CALLS: &[&str] = &["index", "parsed_arguments"];

/// Takes `messages` as templates know them: contents are texts, arguments of calls are objects.
pub fn take_messages(fields: &mut Fields) -> Result<Json, Refusal> {
    let messages = fields.objects("messages")?.unwrap_or_default();
    if messages.is_empty() {
        return Err(fields.refused("messages", "none given, expected at least one"));
    }
    messages.into_iter().map(message_of).collect()
}

fn message_of(mut message: Fields) -> Result<Json, Refusal> {
    let role = message.needed_text("role")?;
    let mut told = match role.as_str() {
        "system" | "developer" => json!({ "role": "system" }),
        "user" | "assistant" | "tool" => json!({ "role": role }),
        other => return Err(message.refused("role", format_args!("{other:?} is not known"))),
    };
    let content = take_content(&mut message)?;
    if role == "assistant" {
        // What a model would not say is what it said.
        told["content"] = content.or(message.text("refusal")?).into();
        for name in ["audio", "function_call"] {
            message.unsupported(name, &[])?;
        }
        if let Some(thoughts) = message.text("reasoning_content")? {
            told["reasoning_content"] = thoughts.into();
        }
        let calls = message.objects("tool_calls")?.unwrap_or_default();
        let calls = calls.into_iter().map(call_of).collect::<Result<Vec<_>, _>>()?;
        if !calls.is_empty() {
            told["tool_calls"] = calls.into();
        }
        message.harmless(OF_ANSWERS);
    } else {
        told["content"] = content.ok_or_else(|| message.refused("content", "none given"))?.into();
    }
    let names: &[&str] = if role == "tool" { &["tool_call_id", "name"] } else { &["name"] };
    for name in names {
        if let Some(text) = message.text(name)? {
            told[*name] = text.into();
        }
    }
    message.end()?;
    Ok(told)
}

/// A call that was made, in templates' words.
pub fn call_of(mut call: Fields) -> Result<Json, Refusal> {
    if let Some(kind) = call.text("type")?.filter(|kind| kind != "function") {
        return Err(call.refused("type", format_args!("{kind:?} is not known, only \"function\"")));
    }
    let id = call.text("id")?;
    let function = call.object("function")?;
    let mut function = function.ok_or_else(|| call.refused("function", "none given"))?;
    call.harmless(OF_CALLS);
    function.harmless(OF_CALLS);
    call.end()?;
    let name = function.needed_text("name")?;
    let arguments = match function.take("arguments") {
        None => json!({}),
        Some(Json::String(text)) if text.trim().is_empty() => json!({}),
        // What is no JSON stays what it is: a call that was cut short.
        Some(Json::String(text)) => serde_json::from_str(&text).unwrap_or_else(|_| text.into()),
        Some(arguments @ Json::Object(_)) => arguments,
        Some(_) => return Err(function.refused("arguments", "expected a text, or an object")),
    };
    function.end()?;
    let mut told = json!({ "type": "function", "function": { "name": name, "arguments": arguments } });
    if let Some(id) = id {
        told["id"] = id.into();
    }
    Ok(told)
}

/// Takes `content`: a text, or the texts of its parts.
fn take_content(message: &mut Fields) -> Result<Option<String>, Refusal> {
    match message.get("content") {
        Some(Json::Array(_)) => {
            let parts = message.objects("content")?.unwrap_or_default();
            parts.into_iter().map(text_of).collect::<Result<_, _>>().map(Some)
        }
        _ => message.text("content"),
    }
}

fn text_of(mut part: Fields) -> Result<String, Refusal> {
    let text = match part.needed_text("type")?.as_str() {
        "text" | "input_text" | "output_text" => part.needed_text("text")?,
        "refusal" => part.needed_text("refusal")?,
        other => {
            return Err(part.refused("type", format_args!("{other:?} is not understood here, only \"text\"")));
        }
    };
    part.harmless(OF_ANSWERS);
    part.end()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(messages: &Json) -> Result<Json, Refusal> {
        take_messages(&mut Fields::parse(json!({ "messages": messages }).to_string().as_bytes()).unwrap())
    }

    #[test]
    fn contents_become_texts_and_arguments_objects() {
        let call = |arguments: Json| json!({ "id": "1", "type": "function", "function": { "name": "f", "arguments": arguments } });
        let given = json!([
            { "role": "developer", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
            { "role": "assistant", "content": null, "tool_calls": [call(json!("{\"a\": 1}")), call(json!("")), call(json!("{\"a"))] },
            { "role": "tool", "content": "c", "tool_call_id": "1", "name": "f" },
        ]);
        let messages = taken(&given).unwrap();
        assert_eq!(messages[0], json!({ "role": "system", "content": "ab" }));
        let arguments = |i: usize| &messages[1]["tool_calls"][i]["function"]["arguments"];
        assert_eq!([0, 1, 2].map(arguments), [&json!({ "a": 1 }), &json!({}), &json!("{\"a")]);
        assert_eq!(messages[2], given[2]);
    }

    #[test]
    fn an_answer_may_come_back_as_it_was_told() {
        let call = json!({ "index": 0, "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}", "parsed_arguments": {} } });
        let given = json!([
            { "role": "assistant", "content": "a", "refusal": null, "annotations": [], "parsed": null, "audio": null, "function_call": null,
              "tool_calls": null, "reasoning_content": "hm" },
            { "role": "assistant", "content": null, "tool_calls": [call] },
            { "role": "assistant", "content": null, "refusal": "no" },
        ]);
        let messages = taken(&given).unwrap();
        assert_eq!(messages[0], json!({ "role": "assistant", "content": "a", "reasoning_content": "hm" }));
        assert_eq!((&messages[1]["content"], &messages[2]["content"]), (&Json::Null, &json!("no")));
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_place() {
        let user = |more: Json| {
            let mut message = json!({ "role": "user", "content": "x" });
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([{ "role": "user", "content": "a" }, message])
        };
        let part = |part: Json| user(json!({ "content": [{ "type": "text", "text": "a" }, part] }));
        let call = |call: Json| json!([{ "role": "assistant", "content": "", "tool_calls": [call] }]);
        for (messages, path) in [
            (json!("x"), "messages: expected"),
            (json!([]), "messages: none given"),
            (json!([1]), "messages[0]: expected an object"),
            (json!([{ "content": "" }]), "messages[0].role"),
            (json!([{ "role": "oracle", "content": "" }]), "messages[0].role: \"oracle\""),
            (json!([{ "role": "user" }]), "messages[0].content"),
            (user(json!({ "content": 7 })), "messages[1].content"),
            (user(json!({ "colour": 1 })), "messages[1].colour"),
            (user(json!({ "tool_calls": [] })), "messages[1].tool_calls"),
            (user(json!({ "tool_call_id": "1" })), "messages[1].tool_call_id"),
            (part(json!({ "type": "image_url" })), "messages[1].content[1].type: \"image_url\""),
            (part(json!({ "type": "text", "text": "b", "foo": 1 })), "messages[1].content[1].foo"),
            (call(json!({})), "messages[0].tool_calls[0].function"),
            (call(json!({ "function": {} })), "messages[0].tool_calls[0].function.name"),
            (call(json!({ "function": { "name": "f" }, "foo": 1 })), "messages[0].tool_calls[0].foo"),
            (
                call(json!({ "function": { "name": "f", "foo": 1 } })),
                "messages[0].tool_calls[0].function.foo",
            ),
            (call(json!({ "type": "custom" })), "messages[0].tool_calls[0].type: \"custom\""),
            (
                call(json!({ "function": { "name": "f", "arguments": 1 } })),
                "tool_calls[0].function.arguments",
            ),
            (json!([{ "role": "assistant", "audio": { "id": "x" } }]), "messages[0].audio"),
            (json!([{ "role": "assistant", "function_call": { "name": "f" } }]), "messages[0].function_call"),
        ] {
            let error = taken(&messages).unwrap_err().to_string();
            assert!(error.contains(path), "{messages}: {error}");
        }
    }
}
