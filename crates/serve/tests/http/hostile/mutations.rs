//! Requests that were valid once: bodies of every route, flipped, cut, doubled and swollen, the same ones each time.
//!
//! `INGLE_MUTATIONS=N` makes N of them instead of a few seconds' worth.

use std::fmt::Write;
use std::io::{Read, Write as _};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{connect, is_well};
use crate::served::{CHAT, Server, chat};

/// Routes that take a body, and bodies that they take.
pub static ROUTES: &[(&str, &[&str])] = &[
    (
        CHAT,
        &[
            r#"{"model": "demo", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me a story."}], "max_tokens": 3, "temperature": 0, "route": "auto"}"#,
            r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "Grüße 👋"}]}], "max_completion_tokens": 2, "stream": true, "stream_options": {"include_usage": true}, "stop": ["a", "b"], "n": 2, "seed": 7}"#,
            r#"{"messages": [{"role": "user", "content": "x"}], "max_tokens": 2, "logprobs": true, "top_logprobs": 3, "logit_bias": {"5": -100, "6": 3.5}, "presence_penalty": 0.5, "frequency_penalty": -0.5, "top_k": 40, "min_p": 0.1, "mirostat": 2, "dry_multiplier": 0.8}"#,
            r#"{"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": {"type": "object", "properties": {"a": {"type": "string", "pattern": "^[a-z]{1,9}$"}, "b": {"enum": [1, null, "x"]}}, "required": ["a"], "additionalProperties": false}}}}"#,
            r#"{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]}, {"role": "tool", "tool_call_id": "c", "content": "7"}], "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}], "tool_choice": "required", "parallel_tool_calls": false, "max_tokens": 3, "stream": true}"#,
            r#"{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "refusal": null, "annotations": [], "audio": null, "reasoning_content": "z"}, {"role": "user", "content": "x", "name": "n"}], "tools": [{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"], "additionalProperties": false}}}], "max_tokens": 3, "user": "u", "service_tier": "auto"}"#,
            r#"{"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "grammar": "root ::= \"a\" b{2,5} [0-9]+\nb ::= \"x\" | (\"y\" b)?", "chat_template_kwargs": {"enable_thinking": false}}"#,
            r#"{"messages": [{"role": "user", "content": "Who?"}], "max_tokens": 2, "documents": [{"name": "a.md", "text": "Anna lives here.\n\nBen lives there."}, {"text": "x"}], "passage": 16}"#,
        ],
    ),
    (
        "/v1/completions",
        &[
            r#"{"prompt": "Once upon a time", "max_tokens": 3, "echo": true, "logprobs": 2, "stream": false, "user": "u"}"#,
            r#"{"prompt": [5, 6, 7, 8], "max_tokens": 2, "stream": true, "typical_p": 0.9, "samplers": "penalties;dry;top-k;typical;temperature"}"#,
        ],
    ),
    (
        "/tokenize",
        &[
            r#"{"content": "Hello <|im_end|> wörld", "add_special": true, "parse_special": true, "with_pieces": true}"#,
        ],
    ),
    (
        "/v1/responses",
        &[
            r#"{"input": "Tell me a story.", "max_output_tokens": 3, "instructions": "Be brief.", "store": false, "stream": true, "metadata": {"a": "b"}}"#,
            r#"{"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "7"}], "max_output_tokens": 3, "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}], "text": {"format": {"type": "json_object"}}, "tool_choice": "none"}"#,
        ],
    ),
    (
        "/v1/messages",
        &[
            r#"{"model": "demo", "max_tokens": 3, "system": [{"type": "text", "text": "Be brief."}], "messages": [{"role": "user", "content": "Tell me a story."}], "stream": true, "stop_sequences": ["x"]}"#,
            r#"{"model": "demo", "max_tokens": 3, "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [{"type": "text", "text": "Once <tool_call>"}]}], "tools": [{"name": "f", "strict": true, "input_schema": {"type": "object", "properties": {"a": {"enum": ["b", 1]}}, "required": ["a"], "additionalProperties": false}}], "metadata": {"user_id": "u"}}"#,
            r#"{"model": "demo", "max_tokens": 3, "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "7"}]}], "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}], "tool_choice": {"type": "auto"}, "temperature": 0.5}"#,
        ],
    ),
    (
        "/v1/messages/count_tokens",
        &[
            r#"{"model": "demo", "messages": [{"role": "user", "content": "Tell me a story."}], "system": "s"}"#,
        ],
    ),
    (
        "/api/chat",
        &[
            r#"{"model": "demo", "messages": [{"role": "user", "content": "Tell me a story."}], "options": {"num_predict": 3, "temperature": 0.5, "stop": ["x"]}, "keep_alive": "5m", "route": "local"}"#,
            r#"{"model": "demo:latest", "messages": [{"role": "user", "content": "x"}], "stream": false, "format": {"type": "object"}, "options": {"num_predict": 3}}"#,
        ],
    ),
    (
        "/api/generate",
        &[
            r#"{"model": "demo", "prompt": "Once", "raw": true, "options": {"num_predict": 3, "seed": 1}, "think": false}"#,
        ],
    ),
    ("/api/show", &[r#"{"model": "demo", "verbose": false}"#]),
    (
        "/v1/embeddings",
        &[
            r#"{"model": "demo", "input": ["a", "b"], "dimensions": 8, "encoding_format": "base64", "truncate": true}"#,
        ],
    ),
    (
        "/api/embed",
        &[r#"{"model": "demo", "input": ["a", "b"], "truncate": true, "options": {"num_ctx": 64}}"#],
    ),
    // The name of an answer that the server gave is put in.
    ("/v1/ingle/feedback", &[r#"{"id": "ANSWER", "signal": "down"}"#]),
    ("/detokenize", &[r#"{"tokens": [1, 2, 3, 40, 500]}"#]),
    (
        "/apply-template",
        &[
            r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}, {"role": "user", "content": "b"}], "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}"#,
        ],
    ),
];

/// Xorshift: the same numbers everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let (a, b) = (self.below(len + 1), self.below(len + 1));
        a.min(b)..a.max(b)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// What values become.
const VALUES: &[&str] = &[
    "null",
    "true",
    "-1",
    "0",
    "1e400",
    "-1e308",
    "0.0",
    "1e-320",
    "18446744073709551616",
    "9007199254740993",
    "-9223372036854775809",
    "4294967295",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud83d\\ude00\"",
    "[]",
    "{}",
    "[[]]",
    "[null]",
    "{\"\":{}}",
    "\"{% for i in range(999999999) %}x{% endfor %}\"",
    "\"{{ ''.__class__ }}\"",
    "\"<|im_start|>\"",
    "\"(a+)+$\"",
    "\"root ::= root\"",
    "\"root ::= (root root)*\"",
    "{\"$ref\": \"#\"}",
    "{\"type\": \"string\", \"maxLength\": 4294967295}",
    "{\"anyOf\": []}",
    "{\"enum\": []}",
];

/// A body that has suffered.
fn mutated(chance: &mut Chance, body: &str, other: &str) -> Vec<u8> {
    let mut bytes = body.as_bytes().to_vec();
    for _ in 0..=chance.below(4) / 2 {
        let len = bytes.len();
        match chance.below(24) {
            0 if len > 0 => bytes[chance.below(len)] ^= 1 << chance.below(8),
            1 => _ = bytes.drain(chance.range(len)),
            2 => {
                let doubled = bytes[chance.range(len)].to_vec();
                let at = chance.below(len + 1);
                bytes.splice(at..at, doubled);
            }
            3 => {
                let (theirs, ours) = (chance.range(other.len()), chance.range(len));
                bytes.splice(ours, other.as_bytes()[theirs].to_vec());
            }
            4 => {
                let n = 1 + chance.below(300);
                let of = chance.one(&["[", "{\"a\":", "(", "\"", "{\"not\":", "{\"items\":", "\\"]);
                let at = chance.below(len + 1);
                bytes.splice(at..at, of.repeat(n).into_bytes());
            }
            5 => {
                let at = chance.below(len + 1);
                bytes.insert(at, chance.one(b"\0\xff\xc3\x80\n\"\\{}[],:e-"));
            }
            _ => {
                if let Ok(mut json) = serde_json::from_slice::<Json>(&bytes) {
                    let at = chance.below(n_values(&json));
                    let value = change(chance, &mut json, at);
                    // Numbers that no reader of JSON keeps are put in as texts are.
                    bytes = json.to_string().replace(&format!("\"{MARK}\""), value).into_bytes();
                }
            }
        }
    }
    bytes
}

const MARK: &str = "put-here";

fn n_values(json: &Json) -> usize {
    1 + match json {
        Json::Array(of) => of.iter().map(n_values).sum(),
        Json::Object(of) => of.values().map(n_values).sum::<usize>(),
        _ => 0,
    }
}

/// The value that is `at` steps on.
fn value_at(json: &mut Json, mut at: usize) -> &mut Json {
    if at == 0 {
        return json;
    }
    at -= 1;
    let parts: Vec<&mut Json> = match json {
        Json::Array(of) => of.iter_mut().collect(),
        Json::Object(of) => of.values_mut().collect(),
        _ => unreachable!("it has no parts"),
    };
    for part in parts {
        let n = n_values(part);
        if at < n {
            return value_at(part, at);
        }
        at -= n;
    }
    unreachable!("it has so many values")
}

/// Marks the value that is `at` steps on, or a new one beside it; what is to stand at the mark.
fn change(chance: &mut Chance, json: &mut Json, at: usize) -> &'static str {
    let json = value_at(json, at);
    let kind = |json: &Json| std::mem::discriminant(json);
    let alike =
        |value: &&str| serde_json::from_str(value).map_or(json.is_number(), |v| kind(&v) == kind(json));
    let alike: Vec<&str> = VALUES.iter().copied().filter(alike).collect();
    let value =
        if chance.below(5) > 0 && !alike.is_empty() { chance.one(&alike) } else { chance.one(VALUES) };
    match json {
        Json::Object(of) if chance.below(2) == 0 => {
            let name = of.keys().nth(chance.below(of.len())).cloned().unwrap_or_default();
            match chance.below(3) {
                0 => _ = of.remove(&name),
                1 => _ = of.insert(value.to_owned(), MARK.into()),
                _ => _ = of.insert(name, MARK.into()),
            }
        }
        Json::Array(of) if chance.below(2) == 0 => of.extend(std::iter::repeat_n(Json::from(MARK), 40)),
        json => *json = MARK.into(),
    }
    value
}

/// The status of a response of which all is there and fits together.
fn well_formed(answer: &[u8]) -> Result<u16, String> {
    let text = std::str::from_utf8(answer).map_err(|e| e.to_string())?;
    let (head, mut body) = text.split_once("\r\n\r\n").ok_or("no head")?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).ok_or(first)?;
    let fields: Vec<(String, &str)> = lines
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value)).ok_or(line))
        .collect::<Result<_, _>>()?;
    let field = |name: &str| fields.iter().find(|(of, _)| of == name).map(|(_, value)| *value);
    let mut whole = String::new();
    if field("transfer-encoding") == Some("chunked") {
        loop {
            let (size, rest) = body.split_once("\r\n").ok_or("a chunk without its size")?;
            let n = usize::from_str_radix(size, 16).map_err(|e| e.to_string())?;
            whole.push_str(rest.get(..n).ok_or("a chunk that is cut")?);
            body = rest[n..].strip_prefix("\r\n").ok_or("a chunk without its end")?;
            if n == 0 {
                break;
            }
        }
    } else {
        let n: usize = field("content-length").and_then(|n| n.parse().ok()).ok_or("no length")?;
        (whole, body) = (body.get(..n).ok_or("a body that is cut")?.to_owned(), &body[n..]);
    }
    if !body.is_empty() {
        return Err("more than a body".into());
    }
    let json = |text: &str| serde_json::from_str::<Json>(text).map_err(|e| e.to_string());
    let ends = match field("content-type") {
        Some("application/json") => json(&whole).map(|_| true)?,
        Some("application/x-ndjson") => {
            let lines = whole.lines().map(json).collect::<Result<Vec<_>, _>>()?;
            lines.last().is_some_and(|last| last["done"] == true || last["error"].is_string())
        }
        _ => {
            let data = whole.lines().filter_map(|line| line.strip_prefix("data: "));
            let data: Vec<Json> =
                data.filter(|data| *data != "[DONE]").map(json).collect::<Result<_, _>>()?;
            let kind = data.last().and_then(|last| last["type"].as_str()).unwrap_or_default();
            let is_last =
                ["message_stop", "error", "response.completed", "response.incomplete", "response.failed"];
            whole.ends_with("data: [DONE]\n\n") || is_last.contains(&kind)
        }
    };
    if ends { Ok(status) } else { Err("a stream without its end".into()) }
}

/// Sends `n` mutations of every route's bodies, drawn from `seed`; what went wrong.
fn attack(server: &Server, answer: &str, seed: u64, n: usize) -> (Vec<String>, [usize; 6]) {
    let (mut wrong, mut statuses) = (Vec::new(), [0; 6]);
    let mut chance = Chance(seed);
    for i in 0..n {
        let (path, bodies) = ROUTES[i % ROUTES.len()];
        let (_, others) = chance.one(ROUTES);
        let (body, other) = (chance.one(bodies), chance.one(others));
        let body = mutated(&mut chance, &body.replace("ANSWER", answer), other);
        let mut request = String::new();
        let _ = write!(request, "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let _ = write!(request, "Content-Length: {}\r\n\r\n", body.len());
        let mut stream = connect(server);
        stream.write_all(&[request.as_bytes(), &body].concat()).unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).map_err(|e| e.to_string());
        match read.and_then(|_| well_formed(&answer)) {
            Ok(status) if status < 500 || status == 503 => statuses[usize::from(status / 100)] += 1,
            other => {
                let (body, answer) = (String::from_utf8_lossy(&body), String::from_utf8_lossy(&answer));
                wrong.push(format!("{path} {other:?}\n  asked: {body}\n  answered: {answer}"));
            }
        }
    }
    (wrong, statuses)
}

#[test]
fn broken_requests_are_answered_and_break_nothing() {
    let n = std::env::var("INGLE_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000_usize);
    let server = Server::hearing(Arc::default());
    let answer = server.fine(CHAT, &chat("x", json!({})))["ingle"]["id"].as_str().unwrap().to_owned();
    for (path, bodies) in ROUTES {
        for body in *bodies {
            let body = body.replace("ANSWER", &answer);
            let (status, _, text) = server.ask("POST", path, "", body.as_bytes());
            assert_eq!(status, 200, "{path}: {text}");
        }
    }
    let found = std::thread::scope(|scope| {
        let (server, answer) = (&server, &answer);
        let threads = (1..=4)
            .map(|seed: u64| scope.spawn(move || attack(server, answer, seed << 40 | 0x9e37_79b9, n / 4)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let sum = |i: usize| found.iter().map(|(_, statuses)| statuses[i]).sum::<usize>();
    println!("{n} requests: {} answered, {} refused, {} told to come again", sum(2), sum(4), sum(5));
    let wrong: Vec<&String> = found.iter().flat_map(|(wrong, _)| wrong).collect();
    assert!(wrong.is_empty(), "{} wrong, such as\n{}", wrong.len(), wrong[0]);
    assert!(sum(2) > n / 20 && sum(4) > n / 4, "they are neither all refused nor all answered");
    is_well(&server);
}
