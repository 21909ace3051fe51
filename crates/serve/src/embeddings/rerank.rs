//! `POST /v1/rerank`: documents by how well they answer a query, in the form that Jina, Cohere and llama.cpp share.
//!
//! `relevance_score` is `1 / (1 + e^-s)` of the model's own score `s`, between 0 and 1 as Jina and Cohere have it; with
//! `raw_scores` it is `s`, as llama.cpp has it. The best comes first; of equals, the one that came first.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ingle_engine::embed::Truncate;
use serde_json::{Value as Json, json};

use super::{TEXTS_MAX, Wish, take_truncate};
use crate::app::App;
use crate::fields::Fields;
use crate::openai::ACCEPTED;
use crate::reader::{Pass, Reader, Task};
use crate::refusal::Refusal;

/// Documents to be sorted.
#[derive(Debug)]
pub struct Rerank {
    query: String,
    documents: Vec<String>,
    n_wanted: usize,
    returns_documents: bool,
    raw: bool,
    truncate: Truncate,
}

impl Wish for Rerank {
    fn read(app: &App, mut fields: Fields) -> Result<(Arc<Reader>, Self), Refusal> {
        let reader = app.reader(fields.text("model")?.as_deref(), Task::Scores)?;
        let query = fields.text("query")?.ok_or_else(|| Refusal::field("query", "query: none given"))?;
        let documents = fields.take("documents").and_then(documents_of).ok_or_else(|| {
            let text = format!("documents: expected 1 to {TEXTS_MAX} texts, or objects with a text");
            Refusal::field("documents", text)
        })?;
        let n_wanted = fields.count("top_n", usize::MAX)?.unwrap_or(documents.len());
        let returns_documents = fields.flag("return_documents")?.unwrap_or(false);
        let raw = fields.flag("raw_scores")?.unwrap_or(false);
        let truncate = take_truncate(&mut fields, Truncate::No)?;
        fields.harmless(ACCEPTED);
        fields.end()?;
        Ok((reader, Self { query, documents, n_wanted, returns_documents, raw, truncate }))
    }

    fn answer(self, reader: &Reader, pass: &Pass, cancel: &AtomicBool) -> Result<String, Refusal> {
        let texts: Vec<&str> = self.documents.iter().map(String::as_str).collect();
        let made = reader.rerank(pass, &self.query, &texts, self.truncate, cancel)?;
        let mut best: Vec<(usize, f32)> = made.scores.iter().copied().enumerate().collect();
        best.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let result = |(index, score): (usize, f32)| {
            let relevance = if self.raw { f64::from(score) } else { 1.0 / (1.0 + (-f64::from(score)).exp()) };
            let mut result = json!({ "index": index, "relevance_score": relevance });
            if self.returns_documents {
                result["document"] = json!({ "text": texts[index] });
            }
            result
        };
        let results: Json = best.into_iter().take(self.n_wanted).map(result).collect();
        let n_tokens: usize = made.n_tokens.iter().sum();
        let usage = json!({ "prompt_tokens": n_tokens, "total_tokens": n_tokens });
        let mut response =
            json!({ "object": "list", "model": reader.name, "results": results, "usage": usage });
        if self.truncate != Truncate::No {
            response["truncated"] = made.cut.into();
        }
        Ok(response.to_string())
    }
}

fn documents_of(value: Json) -> Option<Vec<String>> {
    let Json::Array(items) = value else { return None };
    if items.is_empty() || items.len() > TEXTS_MAX {
        return None;
    }
    let one = |item: Json| match item {
        Json::String(text) => Some(text),
        Json::Object(mut object) if object.len() == 1 => match object.swap_remove("text")? {
            Json::String(text) => Some(text),
            _ => None,
        },
        _ => None,
    };
    items.into_iter().map(one).collect()
}
