//! `POST /api/chat`: messages are answered.
//!
//! They are nearly those of templates; a last one of the assistant's is gone on from. Ollama's calls may have no ids; where templates want some, calls and results are given them in
//! their order.

use serde_json::{Map, Value as Json, json};

use super::answer::{Kind, Subject};
use crate::fields::Fields;
use crate::openai::messages::call_of;
use crate::openai::tools::take_tools;
use crate::refusal::Refusal;

/// Answers to messages.
#[derive(Debug)]
pub struct Chat;

impl Kind for Chat {
    fn subject(fields: &mut Fields) -> Result<Subject, Refusal> {
        let tools = take_tools(fields)?;
        let messages = fields.objects("messages")?.unwrap_or_default();
        if messages.is_empty() {
            return Ok(Subject::Nothing);
        }
        Ok(Subject::Conversation(told(messages)?, tools))
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

/// Messages as templates know them.
fn told(messages: Vec<Fields>) -> Result<Vec<Json>, Refusal> {
    let mut told = Told::default();
    messages.into_iter().map(|message| told.message(message)).collect()
}

/// What the messages so far leave open.
#[derive(Debug, Default)]
struct Told {
    n_calls: usize,
    /// Calls that have no result yet: their ids and names.
    open: Vec<(String, String)>,
}

impl Told {
    fn message(&mut self, mut message: Fields) -> Result<Json, Refusal> {
        let role = message.needed_text("role")?;
        if !["system", "user", "assistant", "tool"].contains(&role.as_str()) {
            return Err(message.refused("role", format_args!("{role:?} is not known")));
        }
        let content = message.text("content")?.unwrap_or_default();
        let mut told = json!({ "role": role, "content": content });
        message.unsupported("images", &[json!([])])?;
        if role == "assistant" {
            if let Some(thoughts) = message.text("thinking")? {
                told["reasoning_content"] = thoughts.into();
            }
            let calls = message.objects("tool_calls")?.unwrap_or_default();
            let calls = calls.into_iter().map(|call| self.call(call)).collect::<Result<Vec<_>, _>>()?;
            if !calls.is_empty() {
                told["tool_calls"] = calls.into();
            }
        }
        if role == "tool" {
            let (id, name) = (message.text("tool_call_id")?, message.text("tool_name")?);
            let call = self.answered(id.as_deref(), name.as_deref());
            let (call_id, call_name) = call.unzip();
            told["tool_call_id"] = id.or(call_id).into();
            told["name"] = name.or(call_name).into();
        }
        message.end()?;
        Ok(told)
    }

    fn call(&mut self, call: Fields) -> Result<Json, Refusal> {
        let mut told = call_of(call)?;
        if told["id"].is_null() {
            told["id"] = format!("{:09}", self.n_calls).into();
        }
        self.n_calls += 1;
        let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
        self.open.push((text(&told["id"]), text(&told["function"]["name"])));
        Ok(told)
    }

    /// The call that a result is of: of this id, or else of this name, or else the first that has none.
    fn answered(&mut self, id: Option<&str>, name: Option<&str>) -> Option<(String, String)> {
        let is_it = |(open_id, open_name): &(String, String)| match (id, name) {
            (Some(id), _) => open_id == id,
            (None, Some(name)) => open_name == name,
            (None, None) => true,
        };
        let at = self.open.iter().position(is_it)?;
        Some(self.open.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(messages: &Json) -> Result<Vec<Json>, Refusal> {
        let mut fields = Fields::parse(json!({ "messages": messages }).to_string().as_bytes()).unwrap();
        told(fields.objects("messages")?.unwrap())
    }

    #[test]
    fn calls_and_results_find_each_other() {
        let call = |name: &str| json!({ "function": { "name": name, "arguments": { "x": 1 } } });
        let given = json!([
            { "role": "user", "content": "a" },
            { "role": "assistant", "thinking": "hm", "tool_calls": [call("f"), call("g")] },
            { "role": "tool", "tool_name": "g", "content": "2" },
            { "role": "tool", "content": "1" },
        ]);
        let told = of(&given).unwrap();
        assert_eq!(told[1]["reasoning_content"], "hm");
        assert_eq!(told[1]["tool_calls"][1]["id"], "000000001");
        assert_eq!((&told[2]["tool_call_id"], &told[2]["name"]), (&json!("000000001"), &json!("g")));
        assert_eq!((&told[3]["tool_call_id"], &told[3]["name"]), (&json!("000000000"), &json!("f")));
    }

    #[test]
    fn images_and_unknown_fields_are_refused() {
        for (message, word) in [
            (json!({ "role": "user", "content": "a", "images": ["x"] }), "messages[0].images"),
            (json!({ "role": "user", "content": "a", "colour": 1 }), "messages[0].colour"),
            (json!({ "role": "user", "content": "a", "thinking": "b" }), "messages[0].thinking"),
            (json!({ "role": "robot", "content": "a" }), "messages[0].role: \"robot\""),
            (json!({ "content": "a" }), "messages[0].role"),
            (
                json!({ "role": "assistant", "tool_calls": [{ "function": { "name": "f", "foo": 1 } }] }),
                "messages[0].tool_calls[0].function.foo",
            ),
        ] {
            let error = of(&json!([message])).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
