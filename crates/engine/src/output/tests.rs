//! What holds for every format: nothing is lost, cuts don't matter, examples are calls, and no text breaks anything.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::sample::Rng;

/// The tools that tests call.
pub(super) fn tools() -> Arc<[Tool]> {
    let number = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    let say = json!({"properties": {"text": {"type": "string"}, "deep": {"type": "array"}}});
    [("add", number), ("say", say), ("now", Value::Null)]
        .map(|(name, parameters)| Tool { name: name.into(), parameters })
        .into()
}

/// What was told, put together: texts in quotes, thoughts behind `~`, calls as `name#id{...}`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    parts: Vec<String>,
    /// Texts, thoughts, markup and the raw text of calls, in order.
    raw: String,
}

fn read(format: &'static Format, options: &Options, pieces: &[&str]) -> Told {
    let mut told = Told::default();
    let (mut call, mut open) = (String::new(), ' ');
    let mut arguments = String::new();
    let mut on = |part: Part<'_>| {
        let (kind, text) = match part {
            Part::Text(text) => ('"', text),
            Part::Reasoning(text) => ('~', text),
            Part::Markup(text) => return told.raw.push_str(text),
            Part::CallBegin { id, name } => {
                call = id.map_or_else(|| name.to_owned(), |id| format!("{name}#{id}"));
                arguments.clear();
                return;
            }
            Part::Arguments(json) => return arguments.push_str(json),
            Part::CallEnd { raw } => {
                assert!(
                    serde_json::from_str::<Value>(&arguments).is_ok_and(|a| a.is_object()),
                    "{arguments}"
                );
                told.raw.push_str(raw);
                told.parts.push(std::mem::take(&mut call) + &arguments);
                open = ' ';
                return;
            }
            Part::CallFailed => {
                assert_eq!(options.delivery, Delivery::Early);
                call.clear();
                return;
            }
        };
        assert_eq!(call, "", "text within a call");
        told.raw.push_str(text);
        match told.parts.last_mut() {
            Some(last) if open == kind => last.push_str(text),
            _ => told.parts.push(text.to_owned()),
        }
        if open != kind {
            let last = told.parts.last_mut().unwrap();
            last.insert(0, kind);
            open = kind;
        }
    };
    let mut answer = Parser::new(format, options.clone());
    pieces.iter().for_each(|piece| answer.push(piece, &mut on));
    answer.finish(&mut on);
    assert_eq!(call, "", "a call that does not end");
    told
}

/// Reads `text` whole and cut at every place, early and proven: what is told must be the same, and all of the text.
fn told_from(format: &'static Format, inside: Option<&'static Reasoning>, text: &str) -> String {
    let options = Options { tools: tools(), inside, delivery: Delivery::Proven };
    let early = Options { delivery: Delivery::Early, ..options.clone() };
    let whole = read(format, &options, &[text]);
    assert_eq!(whole.raw, text, "{}", format.name);
    assert_eq!(read(format, &early, &[text]), whole);
    for (at, c) in text.char_indices() {
        let cut = at + c.len_utf8();
        assert_eq!(
            read(format, &options, &[&text[..cut], &text[cut..]]),
            whole,
            "{} cut at {cut}",
            format.name
        );
    }
    let characters: Vec<&str> = text.split("").collect();
    assert_eq!(read(format, &early, &characters), whole, "{}", format.name);
    whole.parts.join(" | ")
}

pub(super) fn told(format: &'static Format, text: &str) -> String {
    told_from(format, None, text)
}

pub(super) fn told_inside(format: &'static Format, text: &str) -> String {
    told_from(format, format.reasoning.first(), text)
}

#[test]
fn each_example_is_a_call() {
    for format in FORMATS.iter().filter(|format| !format.example.is_empty()) {
        let call = told(format, format.example);
        let arguments = call.strip_prefix("add").unwrap_or_else(|| panic!("{}: {call}", format.name));
        assert_eq!(serde_json::from_str::<Value>(arguments).unwrap(), json!({"a": 1}), "{}", format.name);
    }
}

#[test]
fn thoughts_come_first_and_are_kept_apart() {
    for format in FORMATS {
        for Reasoning { open, close } in format.reasoning {
            let text = format!("{open}\nWhy?\n\nSo. <b\n{close}\n\n{}", format.example);
            let call = told(format, format.example);
            let both = ["~Why?\n\nSo. <b", &call].into_iter().filter(|part| !part.is_empty());
            assert_eq!(told(format, &text), both.collect::<Vec<_>>().join(" | "), "{}", format.name);
            assert_eq!(told(format, &format!("{open}Why")), "~Why", "{}", format.name);
        }
        let close = format.reasoning[0].close;
        let inside = told_inside(format, &format!("\nWhy?{close}\n\nYes."));
        assert_eq!(inside, "~Why? | \"Yes.", "{}", format.name);
    }
}

#[test]
fn a_call_stands_between_texts() {
    for format in FORMATS.iter().filter(|format| !format.bare && !format.example.is_empty()) {
        let call = told(format, format.example);
        let text = format!("Let me see.\n\n{}\nDone.", format.example);
        assert_eq!(told(format, &text), format!("\"Let me see. | {call} | \"\nDone."), "{}", format.name);
        let twice = format!("{0}\n{0}\n", format.example);
        assert_eq!(told(format, &twice), format!("{call} | {call}"), "{}", format.name);
    }
}

#[test]
fn a_call_to_no_tool_is_text() {
    for format in FORMATS.iter().filter(|format| !format.example.is_empty()) {
        let text = format.example.replace("add", "subtract");
        assert!(told(format, &text).starts_with(['"']), "{}", format.name);
        assert!(!told(format, &text).contains(" | "), "{}", format.name);
    }
}

#[test]
fn a_call_that_breaks_off_is_text() {
    for format in FORMATS.iter().filter(|format| !format.example.is_empty()) {
        let n = format.example.chars().count();
        let complete = (0..=n).map(|n| format.example.chars().take(n).collect::<String>());
        let kinds: Vec<bool> = complete.map(|text| told(format, &text).starts_with("add")).collect();
        // Once it is a call it stays one: closing markers may be missing.
        let first = kinds.iter().position(|is_call| *is_call).unwrap();
        assert!(kinds[first..].iter().all(|is_call| *is_call), "{}", format.name);
        assert!(first > n / 3, "{}", format.name);
    }
}

#[test]
fn only_what_may_become_a_marker_is_held_back() {
    for format in FORMATS {
        for text in ["a", "plain text, 1 < 2", "Ä {x} [y] ", "so\n"] {
            let options = Options { tools: tools(), inside: None, delivery: Delivery::Proven };
            let mut answer = Parser::new(format, options);
            let mut shown = String::new();
            answer.push(text, |part| match part {
                Part::Text(text) => shown.push_str(text),
                other => panic!("{other:?}"),
            });
            let held = text.strip_prefix(&shown).unwrap();
            let may_begin = |end: &str| {
                let end = end.trim_start();
                format.openers.iter().any(|opener| opener.starts_with(end))
            };
            let expected = (0..text.len()).find(|&i| text.is_char_boundary(i) && may_begin(&text[i..]));
            let expected = expected.map_or("", |i| &text[i..]);
            // Whitespace at the end may be the answer's end as well.
            let space = &text[text.trim_end().len()..];
            let expected = if expected.len() > space.len() { expected } else { space };
            assert!(held.len() <= expected.len(), "{}: {held:?} held of {text:?}", format.name);
        }
    }
}

#[test]
fn no_opener_begins_another() {
    for format in FORMATS {
        for (i, a) in format.openers.iter().enumerate() {
            assert!(!a.is_empty() && !a.starts_with([' ', '\n']), "{}", format.name);
            assert!(
                format.openers[..i].iter().all(|b| !a.starts_with(b) && !b.starts_with(a)),
                "{}",
                format.name
            );
        }
    }
}

#[test]
fn names_differ() {
    for (i, format) in FORMATS.iter().enumerate() {
        assert!(FORMATS[..i].iter().all(|other| other.name != format.name));
    }
}

/// Pieces of examples, markers and junk, put together at random.
#[test]
fn whatever_comes_is_told_and_nothing_is_lost() {
    let mut rng = Rng::new(11);
    let junk = [
        "{", "}", "[", "]", "\"", "\\", "\\u12", "é", "\n", " ", "add", "say", "1e9", ",", ":", "(", ")", "=",
    ];
    for format in FORMATS {
        let mut pieces: Vec<String> = junk.iter().map(|s| (*s).to_owned()).collect();
        pieces.extend(format.markers().map(str::to_owned));
        pieces.push(format.example.to_owned());
        let half = format.example.char_indices().nth(format.example.chars().count() / 2);
        pieces.push(format.example[..half.map_or(0, |(at, _)| at)].to_owned());
        for _ in 0..400 {
            let n = 1 + rng.below(8);
            let parts: Vec<&str> =
                (0..n).map(|_| pieces[rng.below(pieces.len() as u64) as usize].as_str()).collect();
            let text = parts.concat();
            let inside = format.reasoning.first().filter(|_| rng.below(4) == 0);
            let options = Options { tools: tools(), inside, delivery: Delivery::Proven };
            let whole = read(format, &options, &[&text]);
            assert_eq!(whole.raw, text);
            assert_eq!(read(format, &options, &parts), whole);
            let early = Options { delivery: Delivery::Early, ..options };
            let characters: Vec<&str> = text.split("").collect();
            assert_eq!(read(format, &early, &characters), whole, "{}: {text:?}", format.name);
        }
    }
}

#[test]
fn a_template_says_which_format_it_speaks() {
    let cases = [
        ("{{ '<tool_call>\\n{\"name\": ' }}", "hermes"),
        ("<tool_call>\\n<function=example>\\n<parameter=p>", "qwen3-coder"),
        ("<|start_header_id|> {\"name\": f, \"parameters\": p}", "llama3"),
        ("[TOOL_CALLS] [ARGS]", "mistral"),
        ("<|tool|>' + tools + '<|/tool|>", "phi4"),
        ("<start_function_call>call:", "gemma"),
        ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "deepseek"),
        ("<|start_of_role|> respond with <|tool_call|>", "granite"),
        ("<|tool_list_start|>[", "lfm2"),
        ("<|channel|>analysis<|message|>", "harmony"),
        ("{{ messages }}", "plain"),
    ];
    for (template, name) in cases {
        assert_eq!(detect(template).name, name, "{template}");
    }
    assert_eq!(cases.len(), FORMATS.len());
}

#[test]
fn a_prompt_says_whether_thoughts_are_open() {
    let hermes = detect("<tool_call>");
    assert_eq!(hermes.opened_by("assistant\n<think>\n"), Some(&THINK));
    assert_eq!(hermes.opened_by("assistant\n<think>\n\n</think>\n\n"), None);
    assert_eq!(detect("[TOOL_CALLS]").opened_by("[THINK]").unwrap().close, "[/THINK]");
}

#[test]
fn too_deep_and_too_long_is_text() {
    let hermes = detect("<tool_call>");
    let call = |value: &str| {
        format!("<tool_call>{{\"name\": \"add\", \"arguments\": {{\"a\": {value}}}}}</tool_call>")
    };
    let nested = |n: usize| call(&("[".repeat(n) + &"]".repeat(n)));
    let options = Options { tools: tools(), inside: None, delivery: Delivery::Early };
    let is_call = |text: &str| {
        let told = read(hermes, &options, &[text]);
        assert_eq!(told.raw, text);
        told.parts[0].starts_with("add")
    };
    assert!(is_call(&nested(reader::DEPTH_MAX)));
    assert!(!is_call(&nested(reader::DEPTH_MAX + 1)));
    assert!(!is_call(&nested(100_000)));
    assert!(is_call(&call(&format!("\"{}\"", "x".repeat(reader::CALL_BYTES_MAX / 2)))));
    assert!(!is_call(&call(&format!("\"{}\"", "x".repeat(reader::CALL_BYTES_MAX)))));
}

#[test]
fn an_answer_of_failing_calls_takes_linear_time() {
    let text = "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": \"".repeat(20_000);
    let options = Options { tools: tools(), inside: None, delivery: Delivery::Proven };
    assert_eq!(read(detect("<tool_call>"), &options, &[&text]).raw, text);
}
