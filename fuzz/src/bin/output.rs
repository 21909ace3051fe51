//! A model's answer: told apart by every format, whole and in pieces, early and proven. Whatever it says, what is told is the
//! same, puts the answer together again, and holds calls of known tools with objects for arguments.
//!
//! An input's first byte says the format and whether the answer begins inside thoughts; pieces end behind a zero byte, which
//! is part of the text.
// libFuzzer: -max_len=400
#![no_main]

use std::sync::{Arc, LazyLock};

use ingle_engine::output::{Delivery, FORMATS, Format, Options, Parser, Part, Tool};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

static TOOLS: LazyLock<Arc<[Tool]>> = LazyLock::new(|| {
    let typed = json!({"properties": {"a": {"type": "integer"}, "s": {"type": "string"}, "e": {"enum": ["x", 1]}, "any": {}}});
    [("f", typed), ("get.it", Value::Null)]
        .map(|(name, parameters)| Tool { name: name.into(), parameters })
        .into()
});

#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    raw: String,
    /// What each byte of `raw` was told as.
    kinds: Vec<u8>,
    calls: Vec<String>,
}

impl Told {
    fn add(&mut self, kind: u8, text: &str) {
        assert!(!text.is_empty(), "an empty part");
        self.raw.push_str(text);
        self.kinds.resize(self.raw.len(), kind);
    }
}

fn read<'a>(format: &'static Format, options: &Options, pieces: impl Iterator<Item = &'a str>) -> Told {
    let mut told = Told::default();
    let mut open: Option<String> = None;
    let mut arguments = String::new();
    let mut on = |part: Part<'_>| match part {
        Part::Text(text) => told.add(0, text),
        Part::Reasoning(text) => told.add(1, text),
        Part::Markup(text) => told.add(2, text),
        Part::CallBegin { id, name } => {
            assert!(open.is_none() && TOOLS.iter().any(|tool| tool.name == name), "{name}");
            open = Some(format!("{name} {id:?} "));
            arguments.clear();
        }
        Part::Arguments(json) => arguments.push_str(json),
        Part::CallEnd { raw } => {
            serde_json::from_str::<Map<String, Value>>(&arguments).expect("arguments are an object");
            told.add(3, raw);
            told.calls.push(open.take().expect("it began") + &arguments);
        }
        Part::CallFailed => {
            assert!(options.delivery == Delivery::Early && open.take().is_some());
        }
    };
    let mut answer = Parser::new(format, options.clone());
    pieces.for_each(|piece| answer.push(piece, &mut on));
    answer.finish(&mut on);
    assert!(open.is_none(), "a call without an end");
    told
}

fuzz_target!(|input: &[u8]| {
    let Some((&first, text)) = input.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let format = FORMATS[usize::from(first & 15) % FORMATS.len()];
    let inside = format.reasoning.get(usize::from(first >> 4));
    let proven = Options { tools: TOOLS.clone(), inside, delivery: Delivery::Proven };
    let early = Options { delivery: Delivery::Early, ..proven.clone() };
    let whole = read(format, &proven, std::iter::once(text));
    assert_eq!(whole.raw, text, "all is told, in order");
    assert_eq!(read(format, &early, text.split_inclusive('\0')), whole, "pieces do not matter");
    assert_eq!(read(format, &proven, text.split("").filter(|c| !c.is_empty())), whole, "nor do characters");
});
