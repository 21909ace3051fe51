//! Messages in Anthropic's words become those of chat templates.
//!
//! A message's blocks may be several messages there: each result of a call is one. Texts that follow each other in a user's turns become
//! one text, a block to a line; the assistant's are put together as it wrote them, and a last one of its begins the answer. Thoughts are told back to the model where its
//! template has a place for them; redacted ones nobody here can read.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use crate::dialogue::take_begun;
use crate::fields::Fields;
use crate::refusal::Refusal;

/// Takes `system` and `messages` as templates know them, and what a last message of the assistant's begins the answer with.
pub fn take_messages(fields: &mut Fields) -> Result<(Json, String), Refusal> {
    let mut turns = Turns::default();
    if let Some(text) = take_texts(fields, "system")? {
        turns.told.push(json!({ "role": "system", "content": text }));
    }
    let messages = fields.objects("messages")?.unwrap_or_default();
    if messages.is_empty() {
        return Err(fields.refused("messages", "none given, expected at least one"));
    }
    messages.into_iter().try_for_each(|message| turns.take(message))?;
    let begun = take_begun(&mut turns.told)?;
    Ok((Json::Array(turns.told), begun))
}

/// What was told so far.
#[derive(Debug, Default)]
struct Turns {
    told: Vec<Json>,
    /// Names of tools by the ids of their calls.
    tools: HashMap<String, String>,
}

impl Turns {
    fn take(&mut self, mut message: Fields) -> Result<(), Refusal> {
        let role = message.needed_text("role")?;
        match role.as_str() {
            "system" => {
                let text = take_texts(&mut message, "content")?;
                let text = text.ok_or_else(|| message.refused("content", "none given"))?;
                self.told.push(json!({ "role": role, "content": text }));
            }
            "user" | "assistant" => {
                let blocks = take_blocks(&mut message, "content")?;
                // The assistant's last message may be there for what is to come.
                let blocks = blocks.filter(|blocks| role == "assistant" || !blocks.is_empty());
                let blocks = blocks.ok_or_else(|| message.refused("content", "none given"))?;
                blocks.into_iter().try_for_each(|block| self.block(&role, block))?;
            }
            other => return Err(message.refused("role", format_args!("{other:?} is not known"))),
        }
        message.end()
    }

    fn block(&mut self, role: &str, mut block: Fields) -> Result<(), Refusal> {
        let kind = block.needed_text("type")?;
        match (role, kind.as_str()) {
            ("user", "text") => self.user(&take_text(&mut block)?),
            ("user", "tool_result") => self.result(&mut block)?,
            ("assistant", "text") => self.add("content", &take_text(&mut block)?),
            ("assistant", "thinking") => {
                self.add("reasoning_content", &block.needed_text("thinking")?);
                block.harmless(&["signature"]);
            }
            ("assistant", "redacted_thinking") => block.harmless(&["data"]),
            ("assistant", "tool_use") => self.call(&mut block)?,
            (_, other) => {
                let why = format!("blocks of type {other:?} are not understood in {role} messages");
                return Err(block.refused("type", why));
            }
        }
        block.harmless(&["cache_control"]);
        block.end()
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

    fn call(&mut self, block: &mut Fields) -> Result<(), Refusal> {
        let (id, name) = (block.needed_text("id")?, block.needed_text("name")?);
        let input = block.take("input").filter(Json::is_object);
        let input = input.ok_or_else(|| block.refused("input", "expected an object"))?;
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

    fn result(&mut self, block: &mut Fields) -> Result<(), Refusal> {
        let id = block.needed_text("tool_use_id")?;
        let Some(name) = self.tools.get(&id) else {
            return Err(
                block.refused("tool_use_id", format_args!("{id:?}, an id that no call before it has"))
            );
        };
        let text = take_texts(block, "content")?.unwrap_or_default();
        // Templates know no such flag, but models read.
        let error = if block.flag("is_error")?.unwrap_or(false) { "Error: " } else { "" };
        let content = format!("{error}{text}");
        self.told.push(json!({ "role": "tool", "tool_call_id": id, "name": name, "content": content }));
        Ok(())
    }
}

/// Takes content as blocks; a text is a block of it.
fn take_blocks(fields: &mut Fields, name: &str) -> Result<Option<Vec<Fields>>, Refusal> {
    if let Some(Json::String(text)) = fields.get(name) {
        let block = json!([{ "type": "text", "text": text }]);
        fields.put(name, block);
    }
    fields.objects(name)
}

/// Takes the text of a block of it.
fn take_text(block: &mut Fields) -> Result<String, Refusal> {
    // Where an earlier answer found what it says: none was told here.
    block.unsupported("citations", &[json!([])])?;
    block.needed_text("text")
}

/// Takes the text of content that may be nothing else, a block to a line.
fn take_texts(fields: &mut Fields, name: &str) -> Result<Option<String>, Refusal> {
    let Some(blocks) = take_blocks(fields, name)? else { return Ok(None) };
    let one = |mut block: Fields| {
        let kind = block.needed_text("type")?;
        if kind != "text" {
            return Err(block.refused("type", format_args!("{kind:?} is not understood here, only \"text\"")));
        }
        let text = take_text(&mut block)?;
        block.harmless(&["cache_control"]);
        block.end().map(|()| text)
    };
    let lines = blocks.into_iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &Json) -> Result<(Json, String), Refusal> {
        take_messages(&mut Fields::parse(body.to_string().as_bytes()).unwrap())
    }

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
        assert_eq!(
            taken(&json!({ "system": system, "messages": given })).unwrap(),
            (expected, String::new())
        );
    }

    #[test]
    fn a_last_message_of_the_assistants_begins_the_answer() {
        let ends = |last: Json| {
            let user = json!({ "role": "user", "content": "a" });
            taken(&json!({ "messages": [user, { "role": "assistant", "content": last }] }))
        };
        let user = json!([{ "role": "user", "content": "a" }]);
        assert_eq!(ends(json!("b ")).unwrap(), (user.clone(), "b ".to_owned()));
        let texts = json!([{ "type": "text", "text": "b" }, { "type": "text", "text": "c" }]);
        assert_eq!(ends(texts).unwrap(), (user.clone(), "bc".to_owned()));
        assert_eq!(ends(json!([])).unwrap(), (user, String::new()));
        let thought = json!({ "type": "thinking", "thinking": "hm", "signature": "" });
        let call = json!({ "type": "tool_use", "id": "1", "name": "f", "input": {} });
        for more in [thought, call] {
            let error = ends(json!([more, { "type": "text", "text": "b" }])).unwrap_err().to_string();
            assert!(error.contains("only a text"), "{error}");
        }
        let alone = json!({ "messages": [{ "role": "assistant", "content": "b" }] });
        assert!(taken(&alone).unwrap_err().to_string().contains("before it"));
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_place() {
        let image =
            json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "" } });
        let call = json!({ "type": "tool_use", "id": "1", "name": "f", "input": {} });
        let called = json!({ "role": "assistant", "content": [call] });
        let result = json!({ "type": "tool_result", "tool_use_id": "2" });
        for (messages, word) in [
            (
                json!([called, { "role": "user", "content": [result] }]),
                "messages[1].content[0].tool_use_id: \"2\"",
            ),
            (json!([{ "role": "user", "content": [] }]), "messages[0].content: none"),
            (json!("x"), "array"),
            (json!([]), "one"),
            (json!([7]), "messages[0]"),
            (json!([{ "role": "robot", "content": "x" }]), "robot"),
            (json!([{ "role": "user" }]), "content"),
            (
                json!([{ "role": "user", "content": [image] }]),
                "messages[0].content[0].type: blocks of type \"image\"",
            ),
            (
                json!([called, { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "1", "content": [image] }] }]),
                "messages[1].content[0].content[0].type: \"image\"",
            ),
            (
                json!([{ "role": "user", "content": [{ "type": "text", "text": "a", "colour": 1 }] }]),
                "messages[0].content[0].colour",
            ),
        ] {
            let error = taken(&json!({ "messages": messages })).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
