//! `POST /infill`: a gap in a text is filled, in llama.cpp's words.
//!
//! Editors that speak to it send what this server does not do, or has no need of; where that could change an answer the answer
//! says so (`left_out`): limits of time, a least indentation, and a sampling stage of llama.cpp's own.

use std::sync::Arc;

use ingle_engine::generate::{Finish, Overflow};
use ingle_engine::sample::LOGPROBS_MAX;
use serde_json::{Map, Value as Json, json};

use crate::answering::{Asked, Dialect, Framing, Told};
use crate::app::App;
use crate::ask::{Question, Said, What};
use crate::fields::Fields;
use crate::fim::{self, Gap};
use crate::form;
use crate::guard::Caller;
use crate::ids;
use crate::openai::logprobs_json;
use crate::refusal::Refusal;
use crate::reply::SoFar;
use crate::sampling;
use crate::served::Served;

/// Files of a request.
const FILES_MAX: usize = 1024;

/// Settings whose names differ.
static NAMES: &[(&str, &str)] = &[
    ("mirostat_tau", "mirostat_ent"),
    ("mirostat_eta", "mirostat_lr"),
    ("dry_sequence_breakers", "dry_sequence_breaker"),
];

/// Settings whose -1 means the whole context.
static WHOLE_CONTEXT: &[&str] = &["repeat_last_n", "dry_penalty_last_n"];

/// What would change an answer if it were done, and values that ask for nothing.
static LEFT_OUT: &[(&str, &[i64])] =
    &[("t_max_predict_ms", &[0, -1]), ("t_max_prompt_ms", &[0, -1]), ("n_indent", &[0])];

/// An answer in the words of llama.cpp.
#[derive(Debug)]
pub struct Infill {
    served: Arc<Served>,
    prompt: String,
    stop: Vec<String>,
    seed: u64,
    n_dropped: usize,
    tells_logprobs: bool,
    left_out: Vec<String>,
    /// Paths of the fields that are wanted; none for all.
    wanted: Vec<String>,
}

impl Dialect for Infill {
    fn read(app: &Arc<App>, _: Caller, mut fields: Fields) -> Result<Asked<Self>, Refusal> {
        let served = app.model(fields.text("model")?.as_deref())?;
        let (mut before, behind) = (fields.needed_text("input_prefix")?, fields.needed_text("input_suffix")?);
        before.push_str(&fields.text("prompt")?.unwrap_or_default());
        let gap = Gap { before, behind, files: take_files(&mut fields)? };
        let stream = fields.flag("stream")?.unwrap_or(false).then_some(Framing::Events);
        let ctx = served.engine.ctx();
        let max_tokens = take_count_or_all(&mut fields, "n_predict", ctx)?.unwrap_or(ctx);
        let logprobs = fields.count("n_probs", LOGPROBS_MAX)?.filter(|&n| n > 0);
        let wanted = fields.texts("response_fields")?;
        let left_out = take_left_out(&mut fields)?;
        fields.unsupported("return_tokens", &[json!(false)])?;
        fields.unsupported("n_keep", &[json!(0), json!(-1)])?;
        // Which lane answers, and whether it had the prompt already, changes nothing.
        fields.harmless(&["cache_prompt", "id_slot"]);
        let form = form::take(&mut fields)?;
        translate(&mut fields, ctx)?;
        let mut sampling = sampling::take(&mut fields, ids::seed())?;
        fields.end()?;
        let cuts = std::mem::replace(&mut sampling.overflow, Overflow::Error) == Overflow::DropOldest;
        let prompt = fim::prompt(&served, &gap, "model", cuts.then(|| room(ctx, max_tokens)))?;
        let constraint = form.map(|form| form.compile(&served)).transpose()?;
        let dialect = Self {
            prompt: served.decode(&prompt.ids)?,
            stop: sampling.stop.clone(),
            seed: sampling.params.seed,
            n_dropped: prompt.n_dropped,
            tells_logprobs: logprobs.is_some(),
            served: served.clone(),
            left_out,
            wanted,
        };
        let question = Question {
            prompt: prompt.ids,
            keep: 1,
            sampling,
            max_tokens,
            logprobs,
            constraint,
            reading: None,
            margins: false,
            abort: None,
            words: None,
            n: 1,
        };
        Ok(Asked { served, question, stream, dialect })
    }

    fn whole(&mut self, so_far: &SoFar) -> Json {
        let content = so_far.replies[0].text();
        self.end(&content, so_far)
    }

    fn tell(&mut self, said: &Said, so_far: &SoFar, to: &mut Told) {
        match &said.what {
            What::Text { text, logprobs, .. } => {
                let mut chunk = json!({ "index": 0, "content": text, "tokens": [], "stop": false });
                if self.tells_logprobs {
                    chunk["completion_probabilities"] = logprobs_json(&self.served, logprobs);
                }
                to.document(&chunk);
            }
            What::End(_) => to.document(&self.end("", so_far)),
            _ => {}
        }
    }

    fn fail(&mut self, refusal: &Refusal, to: &mut Told) {
        to.document(&refusal.json());
    }
}

impl Infill {
    /// What comes last, or alone.
    fn end(&self, content: &str, so_far: &SoFar) -> Json {
        let (n_prompt, n_reused, n_generated) = so_far.n_tokens();
        let reply = &so_far.replies[0];
        let (stop_type, word) = match reply.finish() {
            Some(Finish::EndOfText) => ("eos", ""),
            Some(Finish::Stop(i)) => ("word", self.stop.get(i).map_or("", String::as_str)),
            Some(Finish::Length | Finish::Context) => ("limit", ""),
            Some(Finish::Banned | Finish::Cancelled) | None => ("none", ""),
        };
        let mut end = json!({
            "index": 0, "content": content, "tokens": [], "stop": true, "model": self.served.name,
            "tokens_predicted": n_generated, "tokens_evaluated": n_prompt, "tokens_cached": n_reused,
            "generation_settings": { "seed": self.seed }, "prompt": self.prompt, "truncated": self.n_dropped > 0,
            "stop_type": stop_type, "stopping_word": word, "timings": so_far.timings(),
        });
        so_far.sign(&mut end);
        if self.n_dropped > 0 {
            end["dropped_tokens"] = self.n_dropped.into();
        }
        if !self.left_out.is_empty() {
            end["left_out"] = json!(self.left_out);
        }
        if self.tells_logprobs && !content.is_empty() {
            end["completion_probabilities"] = logprobs_json(&self.served, &reply.logprobs);
        }
        if self.wanted.is_empty() { end } else { chosen(&end, &self.wanted) }
    }
}

/// The tokens a prompt may have that is to be cut: what remains beside the answer, of which a quarter of the context is enough.
pub fn room(ctx: usize, max_tokens: usize) -> usize {
    ctx - max_tokens.min(ctx / 4)
}

/// The fields at some paths, under these.
fn chosen(whole: &Json, paths: &[String]) -> Json {
    let found = paths.iter().filter_map(|path| {
        let value = path.split('/').try_fold(whole, |value, name| value.get(name))?;
        Some((path.clone(), value.clone()))
    });
    Json::Object(found.collect::<Map<String, Json>>())
}

/// Takes `input_extra`: `[{"filename", "text"}]`.
fn take_files(fields: &mut Fields) -> Result<Vec<(String, String)>, Refusal> {
    let files = fields.objects("input_extra")?.unwrap_or_default();
    if files.len() > FILES_MAX {
        return Err(fields.refused("input_extra", format_args!("expected up to {FILES_MAX} files")));
    }
    let one = |mut file: Fields| {
        let text = file.needed_text("text")?;
        let name = file.text("filename")?.unwrap_or_else(|| "tmp".into());
        // When an editor read it.
        file.harmless(&["time", "t_chunk"]);
        file.end()?;
        Ok((name, text))
    };
    files.into_iter().map(one).collect()
}

/// Takes what is not done, by name.
fn take_left_out(fields: &mut Fields) -> Result<Vec<String>, Refusal> {
    let mut left_out = Vec::new();
    for (name, nothing) in LEFT_OUT {
        let Some(value) = fields.take(name) else { continue };
        let n =
            value.as_i64().ok_or_else(|| Refusal::field(name, format!("{name}: expected a whole number")))?;
        if !nothing.contains(&n) {
            left_out.push((*name).to_owned());
        }
    }
    if let Some(samplers) = fields.take("samplers") {
        let wrong = || Refusal::field("samplers", "samplers: expected an array of names");
        let names: Option<Vec<&str>> =
            samplers.as_array().ok_or_else(wrong)?.iter().map(Json::as_str).collect();
        let (not_here, here): (Vec<&str>, Vec<&str>) =
            names.ok_or_else(wrong)?.into_iter().partition(|name| *name == "infill");
        if !not_here.is_empty() {
            left_out.push("samplers: infill".into());
        }
        fields.put("samplers", here.join(";").into());
    }
    Ok(left_out)
}

/// Puts settings under the names and values that they have here.
fn translate(fields: &mut Fields, ctx: usize) -> Result<(), Refusal> {
    for (theirs, ours) in NAMES {
        fields.rename(theirs, ours);
    }
    for name in WHOLE_CONTEXT {
        if let Some(n) = take_count_or_all(fields, name, ctx)? {
            fields.put(name, n.into());
        }
    }
    match fields.take("seed") {
        Some(seed) if seed != json!(-1) => fields.put("seed", seed),
        _ => {}
    }
    Ok(())
}

/// Takes a count, of which -1 is `all`, as is more than that.
fn take_count_or_all(fields: &mut Fields, name: &str, all: usize) -> Result<Option<usize>, Refusal> {
    match fields.take(name) {
        None => Ok(None),
        Some(value) if value == json!(-1) => Ok(Some(all)),
        Some(value) => {
            fields.put(name, value);
            Ok(fields.count(name, usize::MAX)?.map(|n| n.min(all)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fields_that_are_wanted_come() {
        let whole = json!({ "content": "x", "timings": { "prompt_n": 3, "predicted_n": 4 }, "stop": true });
        let wanted = ["content", "timings/prompt_n", "no/such"].map(str::to_owned);
        assert_eq!(chosen(&whole, &wanted), json!({ "content": "x", "timings/prompt_n": 3 }));
    }

    #[test]
    fn what_is_not_done_is_told() {
        let body = json!({ "samplers": ["top_k", "infill"], "t_max_predict_ms": 500, "t_max_prompt_ms": 0, "n_indent": 4 });
        let mut fields = Fields::parse(body.to_string().as_bytes()).unwrap();
        assert_eq!(take_left_out(&mut fields).unwrap(), ["t_max_predict_ms", "n_indent", "samplers: infill"]);
        assert_eq!(fields.take("samplers"), Some(json!("top_k")));
        assert!(fields.end().is_ok());
    }
}
