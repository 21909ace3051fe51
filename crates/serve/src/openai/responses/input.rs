//! What a request says: its items, and the messages that a conversation of items is to a chat template.
//!
//! An item is taken apart field by field and written anew, under an id of ours, so that what is kept has one form whoever sent
//! it. A thought, what is said after it and the calls that follow are one message of the assistant, as templates want it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::stored::Item;
use crate::fields::Fields;
use crate::ids;
use crate::openai::messages::{OF_ANSWERS, OF_CALLS};
use crate::refusal::Refusal;

/// Takes the items of `input`, which is a text or an array of items; `stored` finds one that was told before by its id.
///
/// # Errors
/// By the place of the item that is not understood; [`Refusal::NotFound`] for a reference to one that is not kept.
pub fn take_items(
    fields: &mut Fields,
    stored: impl Fn(&str) -> Option<Arc<Item>>,
) -> Result<Vec<Arc<Item>>, Refusal> {
    if let Some(Json::String(_)) = fields.get("input") {
        let texts = fields.texts("input")?;
        return Ok(vec![Arc::new(Item::new(&message("user", &texts)))]);
    }
    let items = fields.objects("input")?.ok_or_else(|| fields.refused("input", "none given"))?;
    items.into_iter().map(|item| item_of(item, &stored)).collect()
}

/// A message in the form that is kept.
fn message(role: &str, texts: &[String]) -> Json {
    let part = |text: &String| {
        if role == "assistant" {
            json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
        } else {
            json!({ "type": "input_text", "text": text })
        }
    };
    let content: Json = texts.iter().map(part).collect();
    json!({ "id": ids::fresh("msg_"), "type": "message", "status": "completed", "role": role, "content": content })
}

fn item_of(mut item: Fields, stored: &impl Fn(&str) -> Option<Arc<Item>>) -> Result<Arc<Item>, Refusal> {
    let kind = match item.text("type")? {
        Some(kind) => kind,
        None if item.get("role").is_some() => "message".into(),
        None => "item_reference".into(),
    };
    let told = match kind.as_str() {
        "message" => message_of(&mut item)?,
        "function_call" => call_of(&mut item)?,
        "function_call_output" => json!({
            "id": ids::fresh("fco_"), "type": kind, "status": "completed", "call_id": item.needed_text("call_id")?,
            "output": take_texts(&mut item, "output", &["input_text", "output_text"])?.concat(),
        }),
        "reasoning" => reasoning_of(&mut item)?,
        "item_reference" => {
            let id = item.needed_text("id")?;
            let missing = Refusal::NotFound(format!("{}: no item {id:?} is stored here", item.path("id")));
            item.end()?;
            return stored(&id).ok_or(missing);
        }
        other => return Err(item.refused("type", format_args!("items of type {other:?} are not known here"))),
    };
    // What it was called, and how it went, where it comes from.
    item.harmless(&["id", "status", "phase"]);
    item.end()?;
    Ok(Arc::new(Item::new(&told)))
}

fn call_of(item: &mut Fields) -> Result<Json, Refusal> {
    item.harmless(OF_CALLS);
    Ok(json!({
        "id": ids::fresh("fc_"), "type": "function_call", "status": "completed", "call_id": item.needed_text("call_id")?,
        "name": item.needed_text("name")?, "arguments": item.needed_text("arguments")?,
    }))
}

fn message_of(item: &mut Fields) -> Result<Json, Refusal> {
    let role = item.needed_text("role")?;
    let kinds: &[&str] = match role.as_str() {
        "user" | "system" | "developer" => &["input_text"],
        "assistant" => &["output_text", "refusal", "input_text"],
        other => return Err(item.refused("role", format_args!("{other:?} is not known"))),
    };
    Ok(message(&role, &take_texts(item, "content", kinds)?))
}

fn reasoning_of(item: &mut Fields) -> Result<Json, Refusal> {
    item.unsupported("encrypted_content", &[])?;
    let mut parts = |list: &str, kind: &str| -> Result<Json, Refusal> {
        if item.get(list).is_none() {
            return Ok(json!([]));
        }
        let texts = take_texts(item, list, &[kind])?;
        Ok(texts.iter().map(|text| json!({ "type": kind, "text": text })).collect())
    };
    let (summary, content) = (parts("summary", "summary_text")?, parts("content", "reasoning_text")?);
    let id = ids::fresh("rs_");
    Ok(
        json!({ "id": id, "type": "reasoning", "status": "completed", "summary": summary, "content": content }),
    )
}

/// Takes the texts of what is a text, or parts of these kinds.
fn take_texts(item: &mut Fields, name: &str, kinds: &[&str]) -> Result<Vec<String>, Refusal> {
    if let Some(Json::String(_)) = item.get(name) {
        return item.texts(name);
    }
    let parts = item.objects(name)?;
    let parts =
        parts.ok_or_else(|| item.refused(name, "none given, expected a text or an array of parts"))?;
    parts.into_iter().map(|part| text_of(part, kinds)).collect()
}

fn text_of(mut part: Fields, kinds: &[&str]) -> Result<String, Refusal> {
    let kind = part.needed_text("type")?;
    if !kinds.contains(&kind.as_str()) {
        let known = kinds.join("\" or \"");
        return Err(
            part.refused("type", format_args!("{kind:?} is not understood here, expected \"{known}\""))
        );
    }
    let text = part.needed_text(if kind == "refusal" { "refusal" } else { "text" })?;
    part.harmless(OF_ANSWERS);
    part.end()?;
    Ok(text)
}

/// A conversation in the words of chat templates.
///
/// # Errors
/// When there is nothing in it, or a result of a call that was not made.
pub fn messages_of(instructions: Option<String>, items: &[Arc<Item>]) -> Result<Json, Refusal> {
    let mut conversation = Conversation::default();
    if let Some(text) = instructions {
        conversation.messages.push(json!({ "role": "system", "content": text }));
    }
    items.iter().try_for_each(|item| conversation.add(&item.json()))?;
    let mut messages = conversation.messages;
    if messages.is_empty() {
        return Err(Refusal::field("input", "input: expected at least one item"));
    }
    for message in &mut messages {
        // Nothing but calls may stand without a word.
        if message["content"].is_null() && message.get("tool_calls").is_none() {
            message["content"] = "".into();
        }
    }
    Ok(messages.into())
}

/// Messages so far.
#[derive(Default)]
struct Conversation {
    messages: Vec<Json>,
    /// Whom calls are to, by the calls' ids.
    called: HashMap<String, Json>,
}

impl Conversation {
    fn add(&mut self, item: &Json) -> Result<(), Refusal> {
        match item["type"].as_str() {
            Some("message") if item["role"] == "assistant" => {
                append(self.assistant(), "content", &texts(&item["content"]));
            }
            Some("message") if item["role"] == "user" => {
                self.messages.push(json!({ "role": "user", "content": texts(&item["content"]) }));
            }
            Some("message") => self.system(&texts(&item["content"])),
            Some("reasoning") => {
                let given = if item["content"][0].is_null() { &item["summary"] } else { &item["content"] };
                append(self.assistant(), "reasoning_content", &texts(given));
            }
            Some("function_call") => self.call(item),
            _ => self.result(item)?,
        }
        Ok(())
    }

    /// Many templates know one system message, at the beginning.
    fn system(&mut self, text: &str) {
        match self.messages.last_mut().filter(|last| last["role"] == "system") {
            Some(last) => append(last, "content", &format!("\n\n{text}")),
            None => self.messages.push(json!({ "role": "system", "content": text })),
        }
    }

    /// A call belongs to what was said right before it.
    fn call(&mut self, item: &Json) {
        let (id, name) = (&item["call_id"], &item["name"]);
        let arguments = item["arguments"].as_str().unwrap_or_default();
        let arguments = serde_json::from_str(arguments).unwrap_or_else(|_| item["arguments"].clone());
        let function = json!({ "name": name, "arguments": arguments });
        let call = json!({ "id": id, "type": "function", "function": function });
        self.called.insert(id.as_str().unwrap_or_default().to_owned(), name.clone());
        let message = self.message_of_assistant(|_| true);
        match message["tool_calls"].as_array_mut() {
            Some(calls) => calls.push(call),
            None => message["tool_calls"] = json!([call]),
        }
    }

    fn result(&mut self, item: &Json) -> Result<(), Refusal> {
        let id = &item["call_id"];
        let missing = || {
            Refusal::field("input", format!("input: function_call_output of {id}, an id that no call has"))
        };
        let name = self.called.get(id.as_str().unwrap_or_default()).ok_or_else(missing)?;
        let result = json!({ "role": "tool", "tool_call_id": id, "name": name, "content": item["output"] });
        self.messages.push(result);
        Ok(())
    }

    /// The message that the assistant goes on with: one that has said something and calls nobody is complete.
    fn assistant(&mut self) -> &mut Json {
        self.message_of_assistant(|last| last["content"].is_null() || last["tool_calls"].is_array())
    }

    /// The last message if it is the assistant's and goes on, or else a new one.
    fn message_of_assistant(&mut self, goes_on: impl Fn(&Json) -> bool) -> &mut Json {
        let messages = &mut self.messages;
        if !messages.last().is_some_and(|last| last["role"] == "assistant" && goes_on(last)) {
            messages.push(json!({ "role": "assistant", "content": null }));
        }
        let last = messages.len() - 1;
        &mut messages[last]
    }
}

fn append(message: &mut Json, field: &str, more: &str) {
    match &mut message[field] {
        Json::String(text) => text.push_str(more),
        none => *none = more.into(),
    }
}

/// The texts of parts.
fn texts(parts: &Json) -> String {
    let parts = parts.as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter_map(|part| part["text"].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(instructions: Option<&str>, input: Json) -> Result<Json, Refusal> {
        let mut fields = Fields::parse(json!({ "input": input }).to_string().as_bytes()).unwrap();
        let items = take_items(&mut fields, |_| None)?;
        messages_of(instructions.map(str::to_owned), &items)
    }

    #[test]
    fn items_become_messages_of_templates() {
        let input = json!([
            { "role": "developer", "content": "b" },
            { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "c" }, { "type": "input_text", "text": "d" }] },
            { "type": "reasoning", "id": "rs_1", "summary": [], "content": [{ "type": "reasoning_text", "text": "hm" }] },
            { "type": "function_call", "call_id": "1", "name": "f", "arguments": "{\"x\": 1}", "status": "completed" },
            { "type": "function_call", "call_id": "2", "name": "g", "arguments": "not JSON" },
            { "type": "function_call_output", "call_id": "2", "output": [{ "type": "input_text", "text": "two" }] },
            { "type": "function_call_output", "call_id": "1", "output": "one" },
            { "role": "assistant", "content": [{ "type": "output_text", "text": "e", "annotations": [] }] },
            { "role": "assistant", "content": "f" },
        ]);
        let call = |id: &str, name: &str, arguments: Json| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
        let expected = json!([
            { "role": "system", "content": "a\n\nb" },
            { "role": "user", "content": "cd" },
            { "role": "assistant", "content": null, "reasoning_content": "hm",
              "tool_calls": [call("1", "f", json!({ "x": 1 })), call("2", "g", json!("not JSON"))] },
            { "role": "tool", "tool_call_id": "2", "name": "g", "content": "two" },
            { "role": "tool", "tool_call_id": "1", "name": "f", "content": "one" },
            { "role": "assistant", "content": "e" },
            { "role": "assistant", "content": "f" },
        ]);
        assert_eq!(messages(Some("a"), input).unwrap(), expected);
    }

    #[test]
    fn what_is_said_before_a_call_is_of_its_message() {
        let input = json!([
            { "role": "assistant", "content": "Let me see." },
            { "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}" },
        ]);
        let messages = messages(None, input).unwrap();
        assert_eq!((messages.as_array().unwrap().len(), &messages[0]["content"]), (1, &json!("Let me see.")));
        assert_eq!(messages[0]["tool_calls"][0]["id"], "1");
    }

    #[test]
    fn items_that_are_not_understood_are_named_by_their_place() {
        let part = |part: Json| json!([{ "role": "user", "content": [part] }]);
        for (input, word) in [
            (json!(3), "input"),
            (json!([]), "at least one"),
            (json!([7]), "input[0]"),
            (json!([{ "type": "web_search_call" }]), "\"web_search_call\""),
            (json!([{ "role": "oracle", "content": "" }]), "\"oracle\""),
            (json!([{ "role": "user" }]), "input[0]"),
            (json!([{ "role": "user", "content": "x", "mood": 1 }]), "input[0].mood"),
            (part(json!({ "type": "input_image", "image_url": "x" })), "\"input_image\""),
            (part(json!({ "type": "input_text" })), "input[0].content[0].text"),
            (part(json!({ "type": "input_text", "text": "x", "colour": 1 })), "input[0].content[0].colour"),
            (json!([{ "type": "function_call", "name": "f", "arguments": "{}" }]), "call_id"),
            (json!([{ "type": "function_call_output", "call_id": "9", "output": "" }]), "\"9\""),
            (json!([{ "type": "reasoning", "summary": [], "encrypted_content": "x" }]), "encrypted_content"),
            (json!([{ "type": "item_reference", "id": "msg_9" }]), "\"msg_9\""),
        ] {
            let error = messages(None, input.clone()).unwrap_err().to_string();
            assert!(error.contains(word), "{input}: {error}");
        }
    }
}
