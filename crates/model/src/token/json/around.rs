//! The post-processor of a tokenizer.json: what it puts before and after a text, and between two. Types of segments are left out.

use serde_json::Value;

use super::part::Part;
use super::read::File;
use crate::error::{Error, Result};

const NAME: &str = "tokenizer.json: post_processor";

/// What stands around texts.
#[derive(Debug, Default)]
pub struct Around {
    /// Before a text.
    pub before: Vec<u32>,
    /// Between two.
    pub between: Vec<u32>,
    /// After a text.
    pub after: Vec<u32>,
}

/// What the post-processor puts around texts, when it is one that does. `named` is the token of a text.
pub fn around(file: &File, named: impl Fn(&str) -> Option<u32>) -> Result<Option<Around>> {
    let mut steps = Vec::new();
    read_all(&file.post_processor, &mut steps)?;
    let mut found = None;
    for part in &steps {
        let mut one = Around::default();
        match part.text("type")? {
            "ByteLevel" => continue,
            kind @ ("BertProcessing" | "RobertaProcessing") => {
                one.before.extend(part.pair("cls")?);
                one.after.extend(part.pair("sep")?);
                let n_ends = if kind == "BertProcessing" { 1 } else { 2 };
                one.between = one.after.repeat(n_ends);
            }
            "TemplateProcessing" => {
                let [before, after, ..] = stretches(part, "single", &named)?;
                let [_, between, _] = stretches(part, "pair", &named)?;
                one = Around { before, between, after };
            }
            other => {
                let known =
                    ["ByteLevel", "BertProcessing", "RobertaProcessing", "TemplateProcessing", "Sequence"];
                return Err(Error::unsupported(NAME, other, known));
            }
        }
        found = Some(one);
    }
    Ok(found)
}

/// The special tokens of a template: before its first text, behind that, and behind its second.
fn stretches(part: &Part<'_>, template: &str, named: impl Fn(&str) -> Option<u32>) -> Result<[Vec<u32>; 3]> {
    let pieces = part.get(template).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let tokens = part.get("special_tokens").and_then(Value::as_object);
    let mut stretches: [Vec<u32>; 3] = Default::default();
    let mut n_texts = 0;
    for piece in pieces {
        if piece.get("Sequence").is_some() {
            n_texts = 2.min(n_texts + 1);
            continue;
        }
        let id = piece.get("SpecialToken").and_then(|token| token.get("id")).and_then(Value::as_str);
        let id = id.ok_or_else(|| Error::malformed(NAME, piece, "Sequence or SpecialToken"))?;
        let listed = tokens.and_then(|tokens| tokens.get(id)).and_then(|token| token.get("ids"));
        match listed.and_then(Value::as_array) {
            Some(ids) => {
                let ids = ids.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok());
                stretches[n_texts].extend(ids);
            }
            None => stretches[n_texts].extend(named(id)),
        }
    }
    Ok(stretches)
}

fn read_all<'a>(value: &'a Value, out: &mut Vec<Part<'a>>) -> Result<()> {
    if value.is_null() {
        return Ok(());
    }
    let part = Part::new(NAME, value)?;
    if part.text("type")? != "Sequence" {
        out.push(part);
        return Ok(());
    }
    let list = part.get("processors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().try_for_each(|value| read_all(value, out))
}
