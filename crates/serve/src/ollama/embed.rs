//! `POST /api/embed` and the older `/api/embeddings`: Ollama's.
//!
//! As Ollama has it, texts that are too long are cut unless the request forbids it; here the answer says which were
//! (`truncated`).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ingle_engine::embed::{EmbedOptions, Input, Truncate};
use serde_json::json;

use super::keep_alive;
use super::options::OF_THE_SERVER;
use crate::app::App;
use crate::embeddings::openai::take_dim;
use crate::embeddings::{Given, TEXTS_MAX, Wish, inputs, take_truncate, with_array, write_vector};
use crate::fields::Fields;
use crate::reader::{Pass, Reader, Task};
use crate::refusal::Refusal;

/// Options that say how tokens are chosen, or what is kept of a prompt, of which a vector knows nothing.
const OF_ANSWERS: &[&str] = &[
    "frequency_penalty",
    "min_p",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_keep",
    "num_predict",
    "penalize_newline",
    "presence_penalty",
    "repeat_last_n",
    "repeat_penalty",
    "seed",
    "stop",
    "temperature",
    "tfs_z",
    "top_k",
    "top_p",
    "typical_p",
];

/// Vectors of some texts, in Ollama's words.
#[derive(Debug)]
pub struct Embed {
    texts: Vec<Given>,
    options: EmbedOptions,
    start: Instant,
}

/// The vector of one text, in Ollama's older words.
#[derive(Debug)]
pub struct Embedding {
    text: String,
    options: EmbedOptions,
}

impl Wish for Embed {
    fn read(app: &App, mut fields: Fields) -> Result<(Arc<Reader>, Self), Refusal> {
        let start = Instant::now();
        let reader = model(app, &mut fields)?;
        let mut texts = fields.texts("input")?;
        if texts.len() > TEXTS_MAX {
            return Err(Refusal::field("input", format!("input: expected up to {TEXTS_MAX} texts")));
        }
        if let [text] = texts.as_slice()
            && text.is_empty()
        {
            texts.clear();
        }
        let dim = take_dim(&mut fields, &reader)?;
        let truncate = take_truncate(&mut fields, Truncate::ToModel)?;
        let truncate = take_options(&mut fields, truncate)?;
        if let Some(time) = keep_alive::take(&mut fields)? {
            app.keep(&reader.name, time);
        }
        fields.end()?;
        let texts = texts.into_iter().map(Given::Text).collect();
        Ok((reader, Self { texts, options: EmbedOptions { truncate, dim, ..EmbedOptions::MODEL }, start }))
    }

    fn answer(self, reader: &Reader, pass: &Pass, cancel: &AtomicBool) -> Result<String, Refusal> {
        let made = reader.embed(pass, &inputs(&self.texts), &self.options, cancel)?;
        let mut embeddings = String::from("[");
        for (i, vector) in made.vectors.iter().enumerate() {
            embeddings.push_str(if i > 0 { "," } else { "" });
            write_vector(&mut embeddings, vector);
        }
        embeddings.push(']');
        let n_tokens: usize = made.n_tokens.iter().sum();
        let mut rest = json!({
            "model": reader.name, "total_duration": self.start.elapsed().as_nanos() as u64, "load_duration": 0,
            "prompt_eval_count": n_tokens,
        });
        if !made.cut.is_empty() {
            rest["truncated"] = made.cut.into();
        }
        Ok(with_array("embeddings", &embeddings, &rest))
    }
}

impl Wish for Embedding {
    fn read(app: &App, mut fields: Fields) -> Result<(Arc<Reader>, Self), Refusal> {
        let reader = model(app, &mut fields)?;
        let text = fields.text("prompt")?.unwrap_or_default();
        let truncate = take_options(&mut fields, Truncate::ToModel)?;
        if let Some(time) = keep_alive::take(&mut fields)? {
            app.keep(&reader.name, time);
        }
        fields.end()?;
        Ok((reader, Self { text, options: EmbedOptions { truncate, ..EmbedOptions::MODEL } }))
    }

    fn answer(self, reader: &Reader, pass: &Pass, cancel: &AtomicBool) -> Result<String, Refusal> {
        if self.text.is_empty() {
            return Ok(json!({ "embedding": [] }).to_string());
        }
        let mut made = reader.embed(pass, &[Input::Text(&self.text)], &self.options, cancel)?;
        let mut embedding = String::new();
        write_vector(&mut embedding, &made.vectors.pop().unwrap_or_default());
        Ok(with_array("embedding", &embedding, &json!({ "truncated": !made.cut.is_empty() })))
    }
}

/// The model that is asked, which has to be named.
fn model(app: &App, fields: &mut Fields) -> Result<Arc<Reader>, Refusal> {
    app.reader(Some(&fields.needed_text("model")?), Task::Vectors)
}

/// Takes `options`, of which `num_ctx` says how long a text may be.
fn take_options(fields: &mut Fields, truncate: Truncate) -> Result<Truncate, Refusal> {
    let Some(mut options) = fields.object("options")? else { return Ok(truncate) };
    options.unsupported("embedding_only", &[json!(true)])?;
    options.unsupported("vocab_only", &[json!(false)])?;
    options.harmless(OF_THE_SERVER);
    options.harmless(OF_ANSWERS);
    let n_tokens = options.count("num_ctx", usize::MAX)?.filter(|&n| n > 0);
    options.end()?;
    Ok(match (truncate, n_tokens) {
        (Truncate::ToModel, Some(n)) => Truncate::To(n),
        _ => truncate,
    })
}
