//! Messages and tools in OpenAI's words, which are nearly those of chat templates.

use serde_json::{Value as Json, json};

use crate::dialogue::{ToolChoice, Tools};
use crate::fields::Fields;
use crate::refusal::Refusal;

/// Messages as templates know them: contents are texts, arguments of calls are objects.
pub fn messages_of(messages: Json) -> Result<Json, Refusal> {
    let Json::Array(messages) = messages else {
        return Err(Refusal::field("messages", "messages: expected an array"));
    };
    if messages.is_empty() {
        return Err(Refusal::field("messages", "messages: expected at least one"));
    }
    messages.into_iter().enumerate().map(message_of).collect()
}

fn message_of((i, mut message): (usize, Json)) -> Result<Json, Refusal> {
    let wrong = |what: &str| Refusal::field("messages", format!("messages[{i}]: {what}"));
    if !message.is_object() {
        return Err(wrong("expected an object"));
    }
    let role = message["role"].as_str().ok_or_else(|| wrong("expected a role"))?;
    match role {
        "system" | "user" | "assistant" | "tool" => {}
        "developer" => message["role"] = "system".into(),
        other => return Err(wrong(&format!("the role {other:?} is not known"))),
    }
    let content = match message["content"].take() {
        Json::Null if message["role"] == "assistant" => Json::Null,
        content => text_of(content)
            .ok_or_else(|| {
                wrong("content: expected a text or parts of type text; others are not understood")
            })?
            .into(),
    };
    message["content"] = content;
    match message.get_mut("tool_calls") {
        None | Some(Json::Null) => {}
        Some(Json::Array(calls)) => {
            let mut functions = calls.iter_mut().map(|call| call.get_mut("function"));
            let fine = functions.all(|function| {
                let Some(function) = function.filter(|f| f["name"].is_string()) else { return false };
                let arguments = function["arguments"].take();
                let parsed = arguments.as_str().and_then(|text| serde_json::from_str(text).ok());
                function["arguments"] = parsed.unwrap_or(arguments);
                true
            });
            if !fine {
                return Err(wrong("tool_calls: expected functions with names"));
            }
        }
        Some(_) => return Err(wrong("tool_calls: expected an array")),
    }
    Ok(message)
}

/// A text, or the texts of its parts; none when there are others.
pub fn text_of(content: Json) -> Option<String> {
    match content {
        Json::String(text) => Some(text),
        Json::Array(parts) => {
            let text = |part: &Json| match part["type"].as_str() {
                Some("text" | "input_text" | "output_text") => part["text"].as_str().map(str::to_owned),
                Some("refusal") => part["refusal"].as_str().map(str::to_owned),
                _ => None,
            };
            parts.iter().map(text).collect()
        }
        _ => None,
    }
}

/// Takes `tools`, `tool_choice` and `parallel_tool_calls`.
pub fn take_tools(fields: &mut Fields) -> Result<Tools, Refusal> {
    let mut tools = Tools::default();
    if let Some(given) = fields.take("tools") {
        let Json::Array(given) = given else {
            return Err(Refusal::field("tools", "tools: expected an array"));
        };
        given.into_iter().enumerate().try_for_each(|tool| push(&mut tools, tool))?;
    }
    if let Some(choice) = fields.take("tool_choice") {
        choose(&mut tools, choice)?;
    }
    tools.parallel = fields.flag("parallel_tool_calls")?.unwrap_or(true);
    Ok(tools)
}

/// One tool: what says it is under `function`, or beside the type as the Responses API has it.
fn push(tools: &mut Tools, (i, tool): (usize, Json)) -> Result<(), Refusal> {
    let wrong = |what: &str| Refusal::field("tools", format!("tools[{i}]: {what}"));
    if tool["type"] != "function" {
        let only = format!("only tools of type \"function\" are known, not {}", tool["type"]);
        return Err(wrong(&only));
    }
    let function = if tool["function"].is_object() { &tool["function"] } else { &tool };
    let name = function["name"].as_str().filter(|name| is_name(name));
    let name =
        name.ok_or_else(|| wrong("expected a name of 1 to 64 letters, digits, \"_\", \"-\" or \".\""))?;
    let parameters = match &function["parameters"] {
        Json::Null => json!({ "type": "object", "properties": {} }),
        Json::Object(_) => function["parameters"].clone(),
        _ => return Err(wrong("parameters: expected a JSON Schema")),
    };
    tools.push(name, function["description"].as_str(), parameters);
    Ok(())
}

/// Whether a tool may be called so.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn choose(tools: &mut Tools, choice: Json) -> Result<(), Refusal> {
    let wrong = || {
        Refusal::field(
            "tool_choice",
            "tool_choice: expected \"none\", \"auto\", \"required\", a function or a list of allowed tools",
        )
    };
    let by_word = |word: &str| match word {
        "none" => Some(ToolChoice::None),
        "auto" => Some(ToolChoice::Auto),
        "required" => Some(ToolChoice::Required),
        _ => None,
    };
    tools.choice = match (&choice, choice["type"].as_str()) {
        (Json::String(word), _) => by_word(word).ok_or_else(wrong)?,
        (_, Some("function")) => {
            let name = choice["function"]["name"].as_str().or_else(|| choice["name"].as_str());
            ToolChoice::Named(name.ok_or_else(wrong)?.to_owned())
        }
        (_, Some("allowed_tools")) => {
            let allowed =
                if choice["allowed_tools"].is_object() { &choice["allowed_tools"] } else { &choice };
            let name = |tool: &Json| {
                tool["function"]["name"].as_str().or_else(|| tool["name"].as_str()).map(str::to_owned)
            };
            let names: Option<Vec<String>> =
                allowed["tools"].as_array().ok_or_else(wrong)?.iter().map(name).collect();
            tools.keep(&names.ok_or_else(wrong)?);
            by_word(allowed["mode"].as_str().unwrap_or("auto")).ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_become_texts_and_arguments_objects() {
        let call =
            json!({ "id": "1", "type": "function", "function": { "name": "f", "arguments": "{\"a\": 1}" } });
        let given = json!([
            { "role": "developer", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
            { "role": "assistant", "content": null, "tool_calls": [call] },
        ]);
        let messages = messages_of(given).unwrap();
        assert_eq!(messages[0], json!({ "role": "system", "content": "ab" }));
        assert_eq!(messages[1]["tool_calls"][0]["function"]["arguments"], json!({ "a": 1 }));
        for wrong in [
            json!("x"),
            json!([]),
            json!([1]),
            json!([{ "role": "oracle", "content": "" }]),
            json!([{ "role": "user" }]),
            json!([{ "role": "user", "content": [{ "type": "image_url" }] }]),
            json!([{ "role": "assistant", "content": "", "tool_calls": [{}] }]),
        ] {
            assert!(messages_of(wrong.clone()).unwrap_err().to_string().contains("messages"), "{wrong}");
        }
    }

    #[test]
    fn tools_are_named_and_chosen() {
        let tool = |name: &str| json!({ "type": "function", "function": { "name": name } });
        let take = |choice: Json| {
            let body = json!({ "tools": [tool("a"), tool("b")], "tool_choice": choice });
            take_tools(&mut Fields::parse(body.to_string().as_bytes()).unwrap())
        };
        assert_eq!(take(json!("required")).unwrap().choice, ToolChoice::Required);
        let named = json!({ "type": "function", "function": { "name": "b" } });
        assert_eq!(take(named).unwrap().choice, ToolChoice::Named("b".into()));
        let allowed =
            json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [tool("b")] } });
        let tools = take(allowed).unwrap();
        assert_eq!((tools.list.len(), tools.list[0].0.name.as_str()), (1, "b"));
        assert!(take(json!("always")).is_err() && take(json!({ "type": "x" })).is_err());
        let bad = json!({ "tools": [tool("no spaces")] });
        assert!(take_tools(&mut Fields::parse(bad.to_string().as_bytes()).unwrap()).is_err());
    }
}
