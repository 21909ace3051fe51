//! Answers that must call: what is drawn under each format's grammar is read back by that format as calls whose arguments the
//! tools' schemas accept. With markers that are tokens and with markers that are text; behind thoughts, too.

mod words;

use std::path::Path;
use std::sync::Arc;

use ingle_engine::constrain::{Constraint, Otherwise, Vocabulary};
use ingle_engine::model_file::ModelFile;
use ingle_engine::output::{Calls, Delivery, FORMATS, Format, Options, Parser, Part, Tool};
use ingle_engine::sample::Rng;
use ingle_model::token::{Kind, Parse, Tokenizer};
use serde_json::{Value as Json, json};

/// Tokens of an answer before it is given up.
const TOKENS_MAX: usize = 300;

/// Schemas of arguments, of the kinds that tools have.
fn schemas() -> Vec<Json> {
    vec![
        json!({ "type": "object", "properties": { "city": { "type": "string", "maxLength": 12 },
            "unit": { "enum": ["c", "f"] } }, "required": ["city"], "additionalProperties": false }),
        json!({ "type": "object", "properties": { "n": { "type": "integer", "minimum": -5, "maximum": 500 },
            "x": { "type": "number" }, "on": { "type": "boolean" }, "none": { "type": "null" } },
            "required": ["n", "on"], "additionalProperties": false }),
        json!({ "type": "object", "properties": { "tags": { "type": "array", "items": { "type": "string", "maxLength": 5 },
            "maxItems": 3 }, "at": { "type": "object", "properties": { "lat": { "type": "number" } },
            "required": ["lat"], "additionalProperties": false } }, "required": ["tags", "at"], "additionalProperties": false }),
        json!({ "type": "object", "properties": { "who": { "$ref": "#/$defs/name" }, "kind": { "const": "a \"b\"" } },
            "required": ["who", "kind"], "$defs": { "name": { "type": "string", "pattern": "^[A-Z][a-z]{1,6}$" } },
            "additionalProperties": false }),
        json!({ "type": "object", "properties": { "q": { "type": ["string", "null"], "maxLength": 6 },
            "mode": { "enum": ["fast", 2, null] } }, "additionalProperties": false }),
        json!({ "type": "object", "properties": {}, "additionalProperties": false }),
        Json::Null,
    ]
}

fn tools() -> Vec<Tool> {
    let tool = |(i, parameters)| Tool { name: format!("tool_{i}"), parameters };
    schemas().into_iter().enumerate().map(tool).collect()
}

fn ids(tokenizer: &Tokenizer, text: &str, parse: Parse) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, parse, &mut ids).unwrap();
    ids
}

/// A draw under a mask, each token with the same chance but for those that close something.
struct Draw<'a> {
    tokenizer: &'a Tokenizer,
    rng: Rng,
}

impl Draw<'_> {
    /// The text of an answer, with the names of tokens that are structure; `None` where it did not end.
    fn answer(&mut self, format: &Format, constraint: &Constraint) -> Option<String> {
        self.answer_that_begins("", format, constraint)
    }

    /// The same for an answer whose beginning is given, which has to be allowed.
    fn answer_that_begins(
        &mut self,
        begin: &str,
        format: &Format,
        constraint: &Constraint,
    ) -> Option<String> {
        let (mut constraint, mut bytes) = (constraint.clone(), begin.as_bytes().to_vec());
        for id in ids(self.tokenizer, begin, Parse::Special) {
            let allowed = words::allowed(self.tokenizer, &mut constraint);
            assert!(allowed.contains(&id), "{}: {begin:?}", format.name);
            constraint.accept(id).unwrap();
        }
        for n in 0..TOKENS_MAX {
            let allowed = words::allowed(self.tokenizer, &mut constraint);
            assert!(!allowed.is_empty(), "{}", String::from_utf8_lossy(&bytes));
            let closes = |id: &&u32| {
                let kind = self.tokenizer.kind(**id);
                let closing: [&[u8]; 10] = [b"\"", b"}", b"]", b")", b",", b"0", b"\n", b"<", b"</", b"<|"];
                kind == Some(Kind::Control)
                    || closing.contains(&self.tokenizer.token_bytes(**id).unwrap_or_default())
            };
            let closing: Vec<u32> = allowed.iter().filter(closes).copied().collect();
            let few = !closing.is_empty() && self.rng.below(10) < 3 + n as u64 / 20;
            let choose = if few { &closing } else { &allowed };
            let id = choose[self.rng.below(choose.len() as u64) as usize];
            let structure = self.tokenizer.kind(id) == Some(Kind::Control);
            let text = if structure { self.tokenizer.token_name(id) } else { self.tokenizer.token_bytes(id) };
            let text = text.unwrap_or_default();
            let is_end = self.tokenizer.is_eog(id);
            // What ends a call may end the answer by itself; anything else that does is no text.
            if !is_end || format.markers().any(|marker| marker.as_bytes() == text) {
                bytes.extend_from_slice(text);
            }
            if is_end {
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            constraint.accept(id).unwrap();
        }
        None
    }
}

/// The text beside calls, and calls with their arguments.
fn read(format: &'static Format, tools: &[Tool], text: &str) -> (String, Vec<(String, Json)>) {
    let options = Options { tools: Arc::from(tools), inside: None, delivery: Delivery::Proven };
    let (mut said, mut calls, mut arguments) = (String::new(), Vec::new(), String::new());
    let mut on = |part: Part<'_>| match part {
        Part::Text(text) => said.push_str(text),
        Part::CallBegin { name, .. } => calls.push((name.to_owned(), Json::Null)),
        Part::Arguments(json) => arguments.push_str(json),
        Part::CallEnd { .. } => {
            calls.last_mut().unwrap().1 = serde_json::from_str(&std::mem::take(&mut arguments)).unwrap();
        }
        Part::Reasoning(_) | Part::Markup(_) => {}
        Part::CallFailed => unreachable!("calls are proven"),
    };
    let mut parser = Parser::new(format, options);
    parser.push(text, &mut on);
    parser.finish(&mut on);
    (said, calls)
}

/// Draws answers that may call, each up to what opens a call, and reads them back; returns how many came to their end.
fn check_of_their_own_accord(tokenizer: &Tokenizer, n_answers: usize) -> usize {
    let vocabulary = Arc::new(Vocabulary::new(tokenizer).unwrap());
    let mut draw = Draw { tokenizer, rng: Rng::new(7) };
    let mut n_ended = 0;
    for format in FORMATS.iter().filter(|format| !format.example.is_empty()) {
        let compile =
            |tools: &[Tool]| vocabulary.compile_calls(format, tools, Calls::Many, "[ARGS]", Otherwise::Text);
        let opens = |marker: &&str| format.example.starts_with(marker);
        let opener = format.markers().filter(opens).max_by_key(|marker| marker.len()).unwrap_or_default();
        let said_first = format!("Let me see.\n{opener}");
        // What stands before a text, and how calls begin.
        let (before, begins) = match format.name {
            "llama3" => ("", ["{\"name", "{"]),
            "harmony" => (
                "<|channel|>final<|message|>",
                [
                    "<|channel|>commentary to=",
                    "<|channel|>commentary<|message|>Hm.<|end|><|start|>assistant to=",
                ],
            ),
            _ => ("", [opener, &said_first]),
        };
        for tool in &tools() {
            let constraint =
                compile(std::slice::from_ref(tool)).unwrap_or_else(|e| panic!("{}: {e}", format.name));
            // Any text may be the answer.
            let mut text = constraint.clone();
            let said = ids(tokenizer, "Let me see: 1e999 \"is large.\n", Parse::Text);
            for id in ids(tokenizer, before, Parse::Special).into_iter().chain(said) {
                assert!(words::allowed(tokenizer, &mut text).contains(&id), "{}", format.name);
                text.accept(id).unwrap();
            }
            assert!(text.may_end(), "{}", format.name);
            for begin in begins {
                for _ in 0..n_answers {
                    let Some(text) = draw.answer_that_begins(begin, format, &constraint) else { continue };
                    n_ended += 1;
                    let (_, called) = read(format, std::slice::from_ref(tool), &text);
                    assert!(!called.is_empty(), "{}: {text}", format.name);
                    for (_, arguments) in &called {
                        let schema =
                            if tool.parameters.is_null() { json!({}) } else { tool.parameters.clone() };
                        let judge = jsonschema::validator_for(&schema).unwrap();
                        let fits = judge.is_valid(arguments) || !format.holds(&schema);
                        assert!(fits, "{}: {text}: {arguments} for {schema}", format.name);
                    }
                }
            }
        }
    }
    n_ended
}

/// Whether the format's grammar holds all that `schema` asks. Where texts are written bare, only those that are listed are held,
/// and what has no one type is any value.
fn holds(format: &Format, schema: &Json) -> bool {
    let schema = schema.to_string();
    let is_bare = ["gemma", "qwen3-coder"].contains(&format.name);
    !is_bare || !["maxLength", "pattern", "$ref"].iter().any(|keyword| schema.contains(keyword))
}

/// Draws answers of every format with this vocabulary and reads them back; returns how many came to their end.
fn check(tokenizer: &Tokenizer, n_answers: usize) -> usize {
    let vocabulary = Arc::new(Vocabulary::new(tokenizer).unwrap());
    let tools = tools();
    // Of thoughts whose end is not one token, nothing drawn finds the end.
    let thinks = tokenizer.id_of("</think>").is_some();
    let mut draw = Draw { tokenizer, rng: Rng::new(5) };
    let mut n_ended = 0;
    for format in FORMATS.iter().filter(|format| !format.example.is_empty()) {
        for (i, tool) in tools.iter().enumerate() {
            // Each tool alone, and all of them.
            let one = std::slice::from_ref(tool);
            for (choice, calls) in [(one, Calls::One), (&tools[..], Calls::Many)] {
                let template = ["", "[ARGS] ```json <start_function_call>"][i % 2];
                let constraint = vocabulary
                    .compile_calls(format, choice, calls, template, Otherwise::Nothing)
                    .unwrap_or_else(|e| panic!("{}: {}: {e}", format.name, tool.parameters));
                let constraint = if thinks { constraint.after_thoughts(format, None) } else { constraint };
                for _ in 0..n_answers {
                    let Some(text) = draw.answer(format, &constraint) else { continue };
                    n_ended += 1;
                    let (said, called) = read(format, choice, &text);
                    assert_eq!(said, "", "{}: {text}", format.name);
                    assert!(
                        !called.is_empty() && (calls == Calls::Many || called.len() == 1),
                        "{}: {text}",
                        format.name
                    );
                    for (name, arguments) in &called {
                        let tool = choice.iter().find(|tool| tool.name == *name).unwrap();
                        let schema =
                            if tool.parameters.is_null() { json!({}) } else { tool.parameters.clone() };
                        if !holds(format, &schema) {
                            continue;
                        }
                        let judge = jsonschema::validator_for(&schema).unwrap();
                        assert!(
                            judge.is_valid(arguments),
                            "{}: {text}: {arguments} for {schema}",
                            format.name
                        );
                    }
                }
            }
        }
    }
    n_ended
}

fn with_markers() -> Tokenizer {
    let mut markers: Vec<&str> = FORMATS.iter().flat_map(|format| format.markers()).collect();
    // Two of them are written with what follows.
    markers.retain(|marker| marker.ends_with(['>', ']']) && !marker.contains("analysis"));
    markers.sort_unstable();
    markers.dedup();
    words::tokenizer(&["\",", "\"}", "tool_"], &markers)
}

#[test]
fn what_is_drawn_is_read_back_with_markers_as_tokens() {
    let n_ended = check(&with_markers(), 3);
    assert!(n_ended > 100, "{n_ended} came to their end");
}

#[test]
fn calls_of_the_models_own_accord_are_held_with_markers_as_tokens() {
    let tokenizer = with_markers();
    let n_ended = check_of_their_own_accord(&tokenizer, 2);
    assert!(n_ended > 50, "{n_ended} came to their end");
    // What opens a call can't be spelled to get around the grammar.
    let vocabulary = Arc::new(Vocabulary::new(&tokenizer).unwrap());
    let hermes = FORMATS.iter().find(|format| format.name == "hermes").unwrap();
    let mut constraint =
        vocabulary.compile_calls(hermes, &tools(), Calls::Many, "", Otherwise::Text).unwrap();
    let spelled = ids(&tokenizer, "So: <tool_call>", Parse::Text);
    let (last, before) = spelled.split_last().unwrap();
    before.iter().for_each(|&id| constraint.accept(id).unwrap());
    assert!(!words::allowed(&tokenizer, &mut constraint).contains(last));
}

#[test]
fn calls_of_the_models_own_accord_are_held_with_markers_as_text() {
    let n_ended = check_of_their_own_accord(&words::tokenizer(&["\",", "\"}", "</", ">\n", "<|"], &[]), 2);
    assert!(n_ended > 25, "{n_ended} came to their end");
}

#[test]
fn what_is_drawn_is_read_back_with_markers_as_text() {
    let n_ended = check(&words::tokenizer(&["\",", "\"}", "</", ">\n", "<|"], &[]), 2);
    assert!(n_ended > 50, "{n_ended} came to their end");
}

#[test]
fn what_is_drawn_is_read_back_with_a_large_vocabulary() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/tokenizers/ggml-vocab-qwen2.gguf");
    if !file.exists() {
        eprintln!("skipped: no reference data at ../shared/golden/tokenizers");
        return;
    }
    let n_ended = check(&ModelFile::open(&file).unwrap().tokenizer().unwrap(), 1);
    assert!(n_ended > 40, "{n_ended} came to their end");
}
