//! `POST /v1/embeddings`: OpenAI's, with one word more: `truncate` lets texts be cut that are too long, and then the answer says
//! which were.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingle_engine::embed::{EmbedOptions, Truncate};
use serde_json::json;

use super::{Given, Wish, inputs, take_inputs, take_truncate, with_array, write_vector};
use crate::app::App;
use crate::fields::Fields;
use crate::openai::ACCEPTED;
use crate::reader::{Pass, Reader, Task};
use crate::refusal::Refusal;

/// Vectors, in OpenAI's words.
#[derive(Debug)]
pub struct Vectors {
    given: Vec<Given>,
    options: EmbedOptions,
    /// Little-endian f32 in base64, instead of numbers.
    as_base64: bool,
}

impl Wish for Vectors {
    fn read(app: &App, mut fields: Fields) -> Result<(Arc<Reader>, Self), Refusal> {
        let reader = app.reader(fields.text("model")?.as_deref(), Task::Vectors)?;
        let given = take_inputs(&mut fields, "input")?.filter(|given| !given.is_empty());
        let given = given.ok_or_else(|| Refusal::field("input", "input: none given"))?;
        let as_base64 = match fields.text("encoding_format")?.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => {
                let text = "encoding_format: expected \"float\" or \"base64\"";
                return Err(Refusal::field("encoding_format", text));
            }
        };
        let dim = take_dim(&mut fields, &reader)?;
        let truncate = take_truncate(&mut fields, Truncate::No)?;
        fields.harmless(ACCEPTED);
        fields.end()?;
        Ok((
            reader,
            Self { given, options: EmbedOptions { truncate, dim, ..EmbedOptions::MODEL }, as_base64 },
        ))
    }

    fn answer(self, reader: &Reader, pass: &Pass, cancel: &AtomicBool) -> Result<String, Refusal> {
        let made = reader.embed(pass, &inputs(&self.given), &self.options, cancel)?;
        let mut data = String::from("[");
        for (i, vector) in made.vectors.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            // Writing to a text does not fail.
            let _ = write!(data, "{comma}{{\"object\":\"embedding\",\"index\":{i},\"embedding\":");
            if self.as_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                data.push('"');
                STANDARD.encode_string(bytes, &mut data);
                data.push('"');
            } else {
                write_vector(&mut data, vector);
            }
            data.push('}');
        }
        data.push(']');
        let n_tokens: usize = made.n_tokens.iter().sum();
        let usage = json!({ "prompt_tokens": n_tokens, "total_tokens": n_tokens });
        let mut rest = json!({ "object": "list", "model": reader.name, "usage": usage });
        if self.options.truncate != Truncate::No {
            rest["truncated"] = made.cut.into();
        }
        Ok(with_array("data", &data, &rest))
    }
}

/// Takes `dimensions`: how many of a vector's first values are kept.
pub fn take_dim(fields: &mut Fields, reader: &Reader) -> Result<Option<usize>, Refusal> {
    let dim = fields.count("dimensions", usize::MAX)?;
    let max = reader.embedder().dim();
    match dim {
        Some(dim) if !(1..=max).contains(&dim) => Err(Refusal::field(
            "dimensions",
            format!("dimensions: vectors of {dim} values, expected 1 to {max} of model {:?}", reader.name),
        )),
        _ => Ok(dim),
    }
}
