//! `POST /v1/completions`: a text is gone on with, as it stands; or, with a `suffix`, the gap before that is filled.

use std::sync::Arc;

use ingle_engine::generate::Overflow;
use ingle_engine::sample::LOGPROBS_MAX;
use serde_json::{Value as Json, json};

use super::{
    ACCEPTED, ANSWERS_MAX, end_stream, fail_stream, logprobs_json, reason, response, take_metadata,
    take_stream,
};
use crate::answering::{Asked, Dialect, Told};
use crate::app::App;
use crate::ask::{Question, Said, TokenLogprobs, What};
use crate::fields::Fields;
use crate::fim::{self, Gap};
use crate::form;
use crate::guard::Caller;
use crate::ids;
use crate::infill::room;
use crate::refusal::Refusal;
use crate::reply::{Reply, SoFar};
use crate::sampling;
use crate::served::Served;

/// Tokens of an answer when nobody says how many, as OpenAI has it.
const TOKENS_DEFAULT: usize = 16;

/// An answer in the words of Completions.
#[derive(Debug)]
pub struct Completion {
    served: Arc<Served>,
    id: String,
    created: u64,
    tells_usage: bool,
    tells_logprobs: bool,
    /// What the answer begins with.
    echo: Option<String>,
    /// Tokens that a gap's prompt left out.
    n_dropped: usize,
    /// Answers whose beginning was told.
    begun: Vec<bool>,
}

impl Dialect for Completion {
    fn read(app: &Arc<App>, _: Caller, mut fields: Fields) -> Result<Asked<Self>, Refusal> {
        let served = app.model(fields.text("model")?.as_deref())?;
        let prompt = fields.take("prompt").ok_or_else(|| Refusal::field("prompt", "prompt: none given"))?;
        let (mut ids, text) = prompt_of(&served, prompt)?;
        let (stream, tells_usage) = take_stream(&mut fields)?;
        let logprobs = fields.count("logprobs", LOGPROBS_MAX)?;
        let echo = fields.flag("echo")?.unwrap_or(false).then(|| text.clone());
        let max_tokens = fields.count("max_tokens", usize::MAX)?.unwrap_or(TOKENS_DEFAULT);
        let n = fields.count("n", ANSWERS_MAX)?.unwrap_or(1).max(1);
        fields.unsupported("best_of", &[json!(n)])?;
        let suffix = fields.text("suffix")?.filter(|suffix| !suffix.is_empty());
        take_metadata(&mut fields)?;
        fields.harmless(ACCEPTED);
        let form = form::take(&mut fields)?;
        let mut sampling = sampling::take(&mut fields, ids::seed())?;
        fields.end()?;
        let mut n_dropped = 0;
        if let Some(behind) = suffix {
            // What a gap's prompt has no room for is left out here, where it is known what is far from the gap.
            let cuts = std::mem::replace(&mut sampling.overflow, Overflow::Error) == Overflow::DropOldest;
            let gap = Gap { before: text, behind, files: Vec::new() };
            let n_max = cuts.then(|| room(served.engine.ctx(), max_tokens));
            fim::Prompt { ids, n_dropped } = fim::prompt(&served, &gap, "suffix", n_max)?;
        }
        let constraint = form.map(|form| form.compile(&served)).transpose()?;
        let question = Question {
            prompt: ids,
            keep: 1,
            sampling,
            max_tokens,
            logprobs,
            constraint,
            reading: None,
            margins: false,
            abort: None,
            words: None,
            n,
        };
        let dialect = Self {
            id: ids::fresh("cmpl-"),
            created: app.now(),
            served: served.clone(),
            tells_usage,
            tells_logprobs: logprobs.is_some(),
            echo,
            n_dropped,
            begun: vec![false; n],
        };
        Ok(Asked { served, question, stream, dialect })
    }

    fn whole(&mut self, so_far: &SoFar) -> Json {
        let choice = |(index, reply): (usize, &Reply)| {
            let text = format!("{}{}", self.echo.as_deref().unwrap_or_default(), reply.text());
            let logprobs = self.logprobs(&reply.logprobs);
            json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": reason(reply) })
        };
        let choices = so_far.replies.iter().enumerate().map(choice).collect();
        let mut response = response("text_completion", &self.id, self.created, &self.served, choices, so_far);
        if self.n_dropped > 0 {
            response["dropped_tokens"] = self.n_dropped.into();
        }
        response
    }

    fn tell(&mut self, said: &Said, so_far: &SoFar, to: &mut Told) {
        let begins = !std::mem::replace(&mut self.begun[said.index], true);
        let echo = self.echo.as_deref().filter(|_| begins).unwrap_or_default();
        let (text, logprobs) = match &said.what {
            What::Text { text, logprobs, .. } => (text.as_str(), self.logprobs(logprobs)),
            _ => ("", Json::Null),
        };
        let finish = matches!(said.what, What::End(_)).then(|| reason(&so_far.replies[said.index]));
        let text = format!("{echo}{text}");
        let choice =
            json!({ "index": said.index, "text": text, "logprobs": logprobs, "finish_reason": finish });
        let mut chunk = self.chunk(json!([choice]));
        if let What::Dropped(n) = said.what {
            chunk["dropped_tokens"] = n.into();
        }
        if !so_far.is_over() {
            return to.document(&chunk);
        }
        chunk["timings"] = so_far.timings();
        so_far.sign(&mut chunk);
        if self.n_dropped > 0 {
            chunk["dropped_tokens"] = self.n_dropped.into();
        }
        to.document(&chunk);
        end_stream(self.tells_usage.then(|| self.chunk(json!([]))), so_far, to);
    }

    fn fail(&mut self, refusal: &Refusal, to: &mut Told) {
        fail_stream(refusal, to);
    }
}

impl Completion {
    fn chunk(&self, choices: Json) -> Json {
        json!({
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.served.name,
            "choices": choices,
        })
    }

    /// The older form of log-probabilities: arrays side by side.
    fn logprobs(&self, tokens: &[TokenLogprobs]) -> Json {
        if !self.tells_logprobs {
            return Json::Null;
        }
        let entries = logprobs_json(&self.served, tokens);
        let entries = entries.as_array().map_or(&[][..], Vec::as_slice);
        let column = |name: &str| entries.iter().map(|entry| entry[name].clone()).collect::<Json>();
        let top: Json = entries
            .iter()
            .map(|entry| {
                let top = entry["top_logprobs"].as_array().map_or(&[][..], Vec::as_slice);
                let pairs = top
                    .iter()
                    .map(|t| (t["token"].as_str().unwrap_or_default().to_owned(), t["logprob"].clone()));
                Json::Object(pairs.collect())
            })
            .collect();
        json!({ "tokens": column("token"), "token_logprobs": column("logprob"), "top_logprobs": top, "text_offset": [] })
    }
}

/// A text, or ids; one of them, alone or in an array.
fn prompt_of(served: &Served, prompt: Json) -> Result<(Vec<u32>, String), Refusal> {
    let wrong = || Refusal::field("prompt", "prompt: expected one text, or an array of token ids");
    match prompt {
        Json::String(text) => Ok((served.tokens(&text, true, true)?, text)),
        Json::Array(items) => match items.as_slice() {
            [Json::String(text)] => Ok((served.tokens(text, true, true)?, text.clone())),
            ids if !ids.is_empty() => {
                let ids: Option<Vec<u32>> =
                    ids.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect();
                let ids = ids.ok_or_else(wrong)?;
                let text = served.decode(&ids)?;
                Ok((ids, text))
            }
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}
