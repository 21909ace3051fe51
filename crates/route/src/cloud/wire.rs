//! What is said to an endpoint, and what it says: the two APIs, as far as text goes.
//!
//! Answers are asked for as server-sent events. An endpoint that sends one document instead is understood too. A stream is whole when it
//! has said that it ended, and mostly why ([`Finish`]); one that stops before that was cut, whatever came.

use serde_json::{Value, json};

use crate::gate::{Outgoing, Role};
use crate::policy::{Endpoint, Wire};

/// The most tokens that an endpoint is believed to have counted.
const TOKENS_MAX: u64 = 1 << 32;
/// The longest line of a stream.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// The version of Anthropic's API that is spoken.
const ANTHROPIC_VERSION: &str = "2023-06-01";
/// Tokens of an answer where nobody says, for the API that wants to know.
const MAX_TOKENS: u32 = 4096;
/// The longest word for why an answer ended, and the longest text that ended one, in characters.
const REASON_CHARS_MAX: usize = 40;
const STOP_CHARS_MAX: usize = 1024;

/// Why an answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Finish {
    /// It was done; also where the endpoint does not say.
    #[default]
    Itself,
    /// This text would have come, which was to end it.
    Stop(String),
    /// As many tokens as were wanted.
    Length,
    /// There was no room for more.
    Context,
    /// For a reason of the endpoint's own, in its word: a filter, for one. The answer is not complete.
    Other(String),
}

impl Finish {
    /// From the endpoint's word, and the text that ended the answer where it says which.
    fn of(word: &str, stop: Option<&str>) -> Self {
        match (word, stop) {
            ("stop" | "end_turn" | "stop_sequence", Some(stop)) => {
                Self::Stop(stop.chars().take(STOP_CHARS_MAX).collect())
            }
            ("stop" | "end_turn" | "stop_sequence", None) => Self::Itself,
            ("length" | "max_tokens", _) => Self::Length,
            ("model_context_window_exceeded", _) => Self::Context,
            (word, _) => {
                Self::Other(word.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect())
            }
        }
    }

    /// In a word.
    pub fn name(&self) -> &str {
        match self {
            Self::Itself | Self::Stop(_) => "stop",
            Self::Length => "length",
            Self::Context => "context",
            Self::Other(word) => word,
        }
    }
}

/// The path that is added to the endpoint's address.
pub fn path(api: Wire) -> &'static str {
    match api {
        Wire::OpenAi => "/chat/completions",
        Wire::Anthropic => "/messages",
    }
}

/// Headers of a request.
pub fn headers(api: Wire, key: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("Accept", "text/event-stream, application/json".to_owned())];
    match (api, key) {
        (Wire::OpenAi, Some(key)) => headers.push(("Authorization", format!("Bearer {key}"))),
        (Wire::Anthropic, Some(key)) => headers.push(("x-api-key", key.to_owned())),
        (_, None) => {}
    }
    if api == Wire::Anthropic {
        headers.push(("anthropic-version", ANTHROPIC_VERSION.to_owned()));
    }
    headers
}

/// The body of a request.
pub fn body(outgoing: &Outgoing, endpoint: &Endpoint) -> Vec<u8> {
    let wanted = outgoing.wanted();
    let message = |role: Role, text: &str| json!({ "role": role.name(), "content": text });
    let mut body = json!({ "model": endpoint.model, "stream": true });
    if let Some(temperature) = wanted.temperature {
        body["temperature"] = json!(temperature);
    }
    match endpoint.api {
        Wire::OpenAi => {
            let all = outgoing.messages().iter().map(|m| message(m.role, &m.text));
            body["messages"] = all.collect();
            body["stream_options"] = json!({ "include_usage": true });
            if let Some(n) = wanted.max_tokens {
                body["max_tokens"] = json!(n);
            }
            if !wanted.stop.is_empty() {
                body["stop"] = json!(wanted.stop);
            }
        }
        Wire::Anthropic => {
            let (system, said): (Vec<_>, Vec<_>) =
                outgoing.messages().iter().partition(|m| m.role == Role::System);
            body["messages"] = said.iter().map(|m| message(m.role, &m.text)).collect();
            if !system.is_empty() {
                let texts: Vec<&str> = system.iter().map(|m| m.text.as_str()).collect();
                body["system"] = json!(texts.join("\n\n"));
            }
            body["max_tokens"] = json!(wanted.max_tokens.unwrap_or(MAX_TOKENS));
            if !wanted.stop.is_empty() {
                body["stop_sequences"] = json!(wanted.stop);
            }
        }
    }
    body.to_string().into_bytes()
}

/// An answer as it comes in.
#[derive(Debug, Default)]
pub struct Incoming {
    /// Whether it has said that it ended.
    pub ended: bool,
    /// Whether nothing comes any more that matters, though the connection may stay open.
    pub is_done: bool,
    /// Why, as far as it has said.
    pub finish: Finish,
    /// Tokens of the prompt, as the endpoint counts them.
    pub tokens_in: Option<u64>,
    /// Tokens of the answer, as the endpoint counts them.
    pub tokens_out: Option<u64>,
    /// Bytes of a line that has not ended.
    line: Vec<u8>,
    /// Whether events came: then this is a stream.
    is_stream: bool,
    /// A document in place of a stream.
    document: Vec<u8>,
}

impl Incoming {
    /// Takes the next bytes and gives what they add to the text.
    ///
    /// # Errors
    /// With what the endpoint said instead of an answer, or what is wrong with its stream.
    pub fn push(&mut self, bytes: &[u8]) -> Result<String, String> {
        let mut text = String::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > LINE_BYTES_MAX {
                    return Err(format!("a line of more than {LINE_BYTES_MAX} bytes"));
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.take_line(&line, &mut text)?;
            if self.is_done {
                break;
            }
        }
        Ok(text)
    }

    /// The stream is over; gives what was still held.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self) -> Result<String, String> {
        let (line, mut text) = (std::mem::take(&mut self.line), String::new());
        if self.is_stream {
            // What ends within a line was cut there.
            return Ok(text);
        }
        self.take_line(&line, &mut text)?;
        if !self.document.is_empty() {
            let document = std::mem::take(&mut self.document);
            let value =
                serde_json::from_slice(&document).map_err(|_| "neither events nor a document".to_owned())?;
            self.document_of(&value, &mut text)?;
        }
        Ok(text)
    }

    fn take_line(&mut self, line: &[u8], text: &mut String) -> Result<(), String> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(data) = line.strip_prefix(b"data:") {
            let data = data.trim_ascii();
            self.is_stream = true;
            if data == b"[DONE]" {
                (self.ended, self.is_done) = (true, true);
                return Ok(());
            }
            let value: Value =
                serde_json::from_slice(data).map_err(|_| "an event that is no JSON".to_owned())?;
            return self.event(&value, text);
        }
        let is_field = [&b"event:"[..], b"id:", b"retry:", b":"].iter().any(|name| line.starts_with(name));
        if !line.is_empty() && !is_field {
            self.document.extend_from_slice(line);
            self.document.push(b'\n');
            if self.document.len() > LINE_BYTES_MAX {
                return Err(format!("a document of more than {LINE_BYTES_MAX} bytes"));
            }
        }
        Ok(())
    }

    /// An event of either API: their fields don't meet.
    fn event(&mut self, value: &Value, text: &mut String) -> Result<(), String> {
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(words(error));
        }
        let choice = &value["choices"][0];
        text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        self.is_done |= value["type"] == "message_stop";
        self.ended |= choice["finish_reason"].is_string() || self.is_done;
        self.reason(&choice["finish_reason"], &Value::Null);
        self.reason(&value["delta"]["stop_reason"], &value["delta"]["stop_sequence"]);
        if value["type"] == "content_block_delta" {
            text.push_str(value["delta"]["text"].as_str().unwrap_or_default());
        }
        self.usage(&value["usage"]);
        self.usage(&value["message"]["usage"]);
        Ok(())
    }

    fn document_of(&mut self, value: &Value, text: &mut String) -> Result<(), String> {
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(words(error));
        }
        let choice = &value["choices"][0];
        text.push_str(choice["message"]["content"].as_str().unwrap_or_default());
        for part in value["content"].as_array().into_iter().flatten() {
            text.push_str(part["text"].as_str().unwrap_or_default());
        }
        self.ended |= choice["finish_reason"].is_string() || value["stop_reason"].is_string();
        self.reason(&choice["finish_reason"], &Value::Null);
        self.reason(&value["stop_reason"], &value["stop_sequence"]);
        self.usage(&value["usage"]);
        Ok(())
    }

    fn reason(&mut self, word: &Value, stop: &Value) {
        if let Some(word) = word.as_str() {
            self.finish = Finish::of(word, stop.as_str());
        }
    }

    fn usage(&mut self, usage: &Value) {
        let is_credible = |n: &u64| *n <= TOKENS_MAX;
        let number =
            |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64()).filter(is_credible);
        self.tokens_in = number(["prompt_tokens", "input_tokens"]).or(self.tokens_in);
        self.tokens_out = number(["completion_tokens", "output_tokens"]).or(self.tokens_out);
    }
}

/// What an endpoint says of an error, on one line of bounded length.
pub fn words(error: &Value) -> String {
    let said = error.get("message").and_then(Value::as_str).or(error.as_str());
    let said = said.map_or_else(|| error.to_string(), str::to_owned);
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, step: usize) -> (Result<String, String>, Incoming) {
        let mut incoming = Incoming::default();
        let mut all = String::new();
        for part in text.as_bytes().chunks(step) {
            match incoming.push(part) {
                Ok(text) => all += &text,
                Err(e) => return (Err(e), incoming),
            }
        }
        let rest = incoming.finish();
        (rest.map(|rest| all + &rest), incoming)
    }

    const OPENAI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Grüß \"}}]}\r\n\r\n\
        : a comment\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"Gott\"},\"finish_reason\":null}]}\n\n\
        data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    const ANTHROPIC: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
        {\"input_tokens\":7,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\
        \"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Grüß Gott\"}}\n\n\
        data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n\
        data: {\"type\":\"message_stop\"}\n\n";
    const DOCUMENT: &str = "{\n \"choices\": [{\"message\": {\"content\": \"Grüß Gott\"}, \"finish_reason\": \"stop\"}],\n\
        \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 2}}\n";

    #[test]
    fn both_apis_and_documents_are_understood_wherever_they_are_cut() {
        for text in [OPENAI, ANTHROPIC, DOCUMENT] {
            for step in [1, 2, 7, 4096] {
                let (said, incoming) = read(text, step);
                assert_eq!(said.as_deref(), Ok("Grüß Gott"));
                assert!(incoming.ended);
                assert_eq!((incoming.tokens_in, incoming.tokens_out), (Some(7), Some(2)));
            }
        }
    }

    #[test]
    fn why_it_ended_is_what_the_endpoint_says() {
        let events = |reason: &str| {
            format!(
                "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}},\"finish_reason\":\"{reason}\"}}]}}\n\ndata: [DONE]\n\n"
            )
        };
        let blocks = |reason: &str| {
            format!(
                "data: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":{reason}}}}}\n\ndata: {{\"type\":\"message_stop\"}}\n\n"
            )
        };
        let document = "{\"content\": [{\"text\": \"a\"}], \"stop_reason\": \"max_tokens\"}\n".to_owned();
        let other = |word: &str| Finish::Other(word.to_owned());
        for (text, finish, name) in [
            (events("stop"), Finish::Itself, "stop"),
            (events("length"), Finish::Length, "length"),
            (events("content_filter"), other("content_filter"), "content_filter"),
            (events(&"x".repeat(99)), other(&"x".repeat(40)), &"x".repeat(40)),
            (blocks("\"end_turn\""), Finish::Itself, "stop"),
            (blocks("\"stop_sequence\",\"stop_sequence\":\"END\""), Finish::Stop("END".into()), "stop"),
            (blocks("\"max_tokens\",\"stop_sequence\":null"), Finish::Length, "length"),
            (blocks("\"model_context_window_exceeded\""), Finish::Context, "context"),
            (blocks("\"refusal\""), other("refusal"), "refusal"),
            (document, Finish::Length, "length"),
            (
                "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n".into(),
                Finish::Itself,
                "stop",
            ),
        ] {
            let (said, incoming) = read(&text, 7);
            assert!(said.is_ok() && incoming.ended, "{text}");
            assert_eq!((incoming.finish.name(), &incoming.finish), (name, &finish), "{text}");
        }
    }

    #[test]
    fn a_cut_stream_has_not_ended_and_errors_are_words() {
        let (said, incoming) = read(&OPENAI[..70], 5);
        assert_eq!((said.as_deref(), incoming.ended), (Ok("Grüß "), false));
        let (said, _) = read("data: {\"error\":{\"message\":\"over\\nloaded\"}}\n\n", 9);
        assert_eq!(said, Err("over loaded".to_owned()));
        let (_, incoming) =
            read("data: {\"usage\":{\"prompt_tokens\":18446744073709551615,\"completion_tokens\":2}}\n", 9);
        assert_eq!((incoming.tokens_in, incoming.tokens_out), (None, Some(2)));
        for bad in ["data: nonsense\n", "<html>\n", "{\"error\":\"no\"}"] {
            assert!(read(bad, 3).0.is_err(), "{bad}");
        }
    }
}
