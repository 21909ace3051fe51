//! The post-processor of a tokenizer.json: what it puts before and after a text. What it does between two texts is left out.

use serde_json::Value;

use super::part::Part;
use super::read::File;
use crate::error::{Error, Result};

const NAME: &str = "tokenizer.json: post_processor";

/// What the post-processor puts before and after a text, when it is one that does. `named` is the token of a text.
pub fn around(file: &File, named: impl Fn(&str) -> Option<u32>) -> Result<Option<(Vec<u32>, Vec<u32>)>> {
    let mut steps = Vec::new();
    read_all(&file.post_processor, &mut steps)?;
    let mut found = None;
    for part in &steps {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        match part.text("type")? {
            "ByteLevel" => continue,
            "BertProcessing" | "RobertaProcessing" => {
                before.extend(part.pair("cls")?);
                after.extend(part.pair("sep")?);
            }
            "TemplateProcessing" => {
                let single = part.get("single").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let tokens = part.get("special_tokens").and_then(Value::as_object);
                let mut seen = false;
                for piece in single {
                    if piece.get("Sequence").is_some() {
                        seen = true;
                        continue;
                    }
                    let id =
                        piece.get("SpecialToken").and_then(|token| token.get("id")).and_then(Value::as_str);
                    let id = id.ok_or_else(|| Error::malformed(NAME, piece, "Sequence or SpecialToken"))?;
                    let listed = tokens.and_then(|tokens| tokens.get(id)).and_then(|token| token.get("ids"));
                    let ids = match listed.and_then(Value::as_array) {
                        Some(ids) => {
                            ids.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect::<Vec<_>>()
                        }
                        None => named(id).into_iter().collect(),
                    };
                    if seen { after.extend(ids) } else { before.extend(ids) }
                }
            }
            other => {
                let known =
                    ["ByteLevel", "BertProcessing", "RobertaProcessing", "TemplateProcessing", "Sequence"];
                return Err(Error::unsupported(NAME, other, known));
            }
        }
        found = Some((before, after));
    }
    Ok(found)
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
