//! Messages in Anthropic's words become those of chat templates.
//!
//! A message's blocks may be several messages there: each result of a call is one. Texts that follow each other in a user's turns become
//! one text, a block to a line; the assistant's are put together as it wrote them. Thoughts are told back to the model where its
//! template has a place for them; redacted ones nobody here can read.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use crate::fields::Fields;
use crate::refusal::Refusal;

/// What `system` and `messages` say.
pub fn messages_of(system: Option<Json>, messages: Json) -> Result<Json, Refusal> {
    let mut turns = Turns::default();
    if let Some(system) = system {
        let text = texts_of("system", system)?;
        turns.told.push(json!({ "role": "system", "content": text }));
    }
    let Json::Array(messages) = messages else {
        return Err(Refusal::field("messages", "messages: expected an array"));
    };
    if messages.is_empty() {
        return Err(Refusal::field("messages", "messages: expected at least one"));
    }
    messages.into_iter().enumerate().try_for_each(|(i, message)| turns.take(i, message))?;
    if turns.told.last().is_some_and(|last| last["role"] == "assistant") {
        let why = "messages: the last is the assistant's; answers can't be begun for the model";
        return Err(Refusal::field("messages", why));
    }
    Ok(Json::Array(turns.told))
}

/// What was told so far.
#[derive(Debug, Default)]
struct Turns {
    told: Vec<Json>,
    /// Names of tools by the ids of their calls.
    tools: HashMap<String, String>,
}

impl Turns {
    fn take(&mut self, i: usize, message: Json) -> Result<(), Refusal> {
        let place = format!("messages[{i}]");
        let mut fields = object(&place, message)?;
        let role = fields.text("role")?.ok_or_else(|| wrong(&place, "expected a role"))?;
        let content = fields.take("content").ok_or_else(|| wrong(&place, "expected content"))?;
        fields.end()?;
        if role == "system" {
            self.told.push(json!({ "role": role, "content": texts_of(&place, content)? }));
            return Ok(());
        }
        if role != "user" && role != "assistant" {
            return Err(wrong(&place, &format!("the role {role:?} is not known")));
        }
        for (j, block) in blocks(&place, content)?.into_iter().enumerate() {
            let place = format!("{place}.content[{j}]");
            let mut block = object(&place, block)?;
            let kind = block.text("type")?.ok_or_else(|| wrong(&place, "expected a type"))?;
            match (role.as_str(), kind.as_str()) {
                ("user", "text") => self.user(&text(&place, &mut block)?),
                ("user", "tool_result") => self.result(&place, &mut block)?,
                ("assistant", "text") => self.add("content", &text(&place, &mut block)?),
                ("assistant", "thinking") => {
                    let thoughts = block.text("thinking")?;
                    block.harmless(&["signature"]);
                    self.add("reasoning_content", &thoughts.ok_or_else(|| wrong(&place, "no thinking"))?);
                }
                ("assistant", "redacted_thinking") => block.harmless(&["data"]),
                ("assistant", "tool_use") => self.call(&place, &mut block)?,
                (_, other) => {
                    let why = format!("blocks of type {other:?} are not understood in {role} messages");
                    return Err(wrong(&place, &why));
                }
            }
            block.harmless(&["cache_control"]);
            block.end()?;
        }
        Ok(())
    }

    fn user(&mut self, text: &str) {
        match self.told.last_mut().filter(|last| last["role"] == "user") {
            Some(last) => {
                let before = last["content"].as_str().unwrap_or_default();
                last["content"] = format!("{before}\n{text}").into();
            }
            None => self.told.push(json!({ "role": "user", "content": text })),
        }
    }

    /// The assistant's message that is being told.
    fn assistant(&mut self) -> &mut Json {
        if self.told.last().is_none_or(|last| last["role"] != "assistant") {
            self.told.push(json!({ "role": "assistant", "content": "" }));
        }
        let last = self.told.len() - 1;
        &mut self.told[last]
    }

    fn add(&mut self, field: &str, text: &str) {
        let message = self.assistant();
        let before = message[field].as_str().unwrap_or_default();
        message[field] = format!("{before}{text}").into();
    }

    fn call(&mut self, place: &str, block: &mut Fields) -> Result<(), Refusal> {
        let id = block.text("id")?.ok_or_else(|| wrong(place, "expected an id"))?;
        let name = block.text("name")?.ok_or_else(|| wrong(place, "expected a name"))?;
        let input = block.take("input").filter(Json::is_object);
        let input = input.ok_or_else(|| wrong(place, "input: expected an object"))?;
        block.unsupported("caller", &[json!({ "type": "direct" })])?;
        // What this server says of an answer that was cut in a call.
        block.harmless(&["partial_json"]);
        let function = json!({ "name": name, "arguments": input });
        let call = json!({ "id": id, "type": "function", "function": function });
        self.tools.insert(id, name);
        let message = self.assistant();
        match message["tool_calls"].as_array_mut() {
            Some(calls) => calls.push(call),
            None => message["tool_calls"] = json!([call]),
        }
        Ok(())
    }

    fn result(&mut self, place: &str, block: &mut Fields) -> Result<(), Refusal> {
        let id = block.text("tool_use_id")?.ok_or_else(|| wrong(place, "expected a tool_use_id"))?;
        let text = block.take("content").map(|content| texts_of(place, content)).transpose()?;
        // Templates know no such flag, but models read.
        let error = if block.flag("is_error")?.unwrap_or(false) { "Error: " } else { "" };
        let content = format!("{error}{}", text.unwrap_or_default());
        let mut message = json!({ "role": "tool", "tool_call_id": id, "content": content });
        if let Some(name) = self.tools.get(&id) {
            message["name"] = name.as_str().into();
        }
        self.told.push(message);
        Ok(())
    }
}

fn wrong(place: &str, what: &str) -> Refusal {
    Refusal::field("messages", format!("{place}: {what}"))
}

fn object(place: &str, value: Json) -> Result<Fields, Refusal> {
    Fields::of("messages", value).map_err(|_| wrong(place, "expected an object"))
}

/// Content as blocks; a text is a block of it.
fn blocks(place: &str, content: Json) -> Result<Vec<Json>, Refusal> {
    match content {
        Json::String(text) => Ok(vec![json!({ "type": "text", "text": text })]),
        Json::Array(blocks) => Ok(blocks),
        _ => Err(wrong(place, "content: expected a text or an array of blocks")),
    }
}

/// The text of a block of it.
fn text(place: &str, block: &mut Fields) -> Result<String, Refusal> {
    block.unsupported("citations", &[json!([])])?;
    block.text("text")?.ok_or_else(|| wrong(place, "expected a text"))
}

/// The text of content that may be nothing else, a block to a line.
fn texts_of(place: &str, content: Json) -> Result<String, Refusal> {
    let mut lines = Vec::new();
    for (j, block) in blocks(place, content)?.into_iter().enumerate() {
        let place = format!("{place}: block {j}");
        let mut block = object(&place, block)?;
        match block.text("type")?.as_deref() {
            Some("text") => lines.push(text(&place, &mut block)?),
            other => {
                let other = other.unwrap_or_default();
                return Err(wrong(&place, &format!("the type {other:?} is not understood, only text is")));
            }
        }
        block.harmless(&["cache_control"]);
        block.end()?;
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_messages_of_templates() {
        let system = json!([{ "type": "text", "text": "a", "cache_control": { "type": "ephemeral" } }, { "type": "text", "text": "b" }]);
        let call = json!({ "type": "tool_use", "id": "1", "name": "f", "input": { "x": 1 } });
        let failed = json!({ "type": "tool_result", "tool_use_id": "1", "is_error": true, "content": [{ "type": "text", "text": "no" }] });
        let given = json!([
            { "role": "user", "content": "c" },
            { "role": "user", "content": [{ "type": "text", "text": "d" }] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s" }, { "type": "redacted_thinking", "data": "x" },
                { "type": "text", "text": "e" }, { "type": "text", "text": "f" }, call,
            ] },
            { "role": "user", "content": [failed, { "type": "text", "text": "g" }] },
        ]);
        let function = json!({ "name": "f", "arguments": { "x": 1 } });
        let expected = json!([
            { "role": "system", "content": "a\nb" },
            { "role": "user", "content": "c\nd" },
            { "role": "assistant", "content": "ef", "reasoning_content": "hm",
              "tool_calls": [{ "id": "1", "type": "function", "function": function }] },
            { "role": "tool", "tool_call_id": "1", "content": "Error: no", "name": "f" },
            { "role": "user", "content": "g" },
        ]);
        assert_eq!(messages_of(Some(system), given).unwrap(), expected);
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_place() {
        let image =
            json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "" } });
        for (messages, word) in [
            (json!("x"), "array"),
            (json!([]), "one"),
            (json!([7]), "messages[0]"),
            (json!([{ "role": "robot", "content": "x" }]), "robot"),
            (json!([{ "role": "user" }]), "content"),
            (
                json!([{ "role": "user", "content": [image] }]),
                "messages[0].content[0]: blocks of type \"image\"",
            ),
            (
                json!([{ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "1", "content": [image] }] }]),
                "image",
            ),
            (
                json!([{ "role": "user", "content": [{ "type": "text", "text": "a", "colour": 1 }] }]),
                "colour",
            ),
            (json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }]), "begun"),
        ] {
            let error = messages_of(None, messages).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
