//! `POST /v1/completions`: a text is gone on with, as it stands.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use ingle_engine::generate::Outcome;
use ingle_engine::sample::LOGPROBS_MAX;
use serde_json::{Value, json};

use super::{
    ANSWERS_MAX, Clock, Telling, Told, collect, logprobs_json, reason, say_dropped, stream, take_stream,
    timings, usage,
};
use crate::ask::{Question, Said, TokenLogprobs, What, ask};
use crate::fields::Fields;
use crate::form;
use crate::payload::{Payload, aside};
use crate::refusal::Refusal;
use crate::sampling;
use crate::server::App;

/// Tokens of an answer when nobody says how many, as OpenAI has it.
const TOKENS_DEFAULT: usize = 16;

/// What a request asks for, besides the answer itself.
#[derive(Debug)]
struct Wanted {
    stream: bool,
    stream_usage: bool,
    logprobs: bool,
    /// What the answer begins with.
    echo: Option<String>,
    n: usize,
}

/// The route.
pub async fn route(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<Response, Refusal> {
    let mut clock = Clock::start();
    let (question, wanted) = aside({
        let app = app.clone();
        move || read(&app, &body)
    })
    .await?;
    let id = app.fresh_id("cmpl");
    let said = ask(&app, question)?;
    if wanted.stream {
        let n = wanted.n;
        let telling = Chunks { app, id, clock, wanted, begun: vec![false; n], outcomes: vec![None; n] };
        return Ok(stream::respond(said, telling));
    }
    let answers = collect(said, wanted.n, &mut clock).await?;
    let outcomes: Vec<Outcome> = answers.iter().filter_map(|answer| answer.outcome).collect();
    let choices: Vec<Value> = answers
        .iter()
        .zip(&outcomes)
        .enumerate()
        .map(|(index, (answer, outcome))| {
            let text = format!("{}{}", wanted.echo.as_deref().unwrap_or_default(), answer.text);
            let logprobs = wanted.logprobs.then(|| logprobs_of(&app, &answer.logprobs));
            json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": reason(outcome.finish) })
        })
        .collect();
    let mut response = json!({
        "id": id, "object": "text_completion", "created": app.now(), "model": app.name,
        "choices": choices, "usage": usage(&outcomes), "timings": timings(&clock, &outcomes),
    });
    say_dropped(&mut response, &answers);
    Ok(Json(response).into_response())
}

fn read(app: &App, body: &[u8]) -> Result<(Question, Wanted), Refusal> {
    let mut fields = Fields::parse(body)?;
    app.check_model(fields.text("model")?.as_deref())?;
    let prompt = fields.take("prompt").ok_or_else(|| Refusal::field("prompt", "prompt: none given"))?;
    let (ids, text) = prompt_of(app, prompt)?;
    let (stream, stream_usage) = take_stream(&mut fields)?;
    let logprobs = fields.count("logprobs", LOGPROBS_MAX)?;
    let echo = fields.flag("echo")?.unwrap_or(false).then_some(text);
    let max_tokens = fields.count("max_tokens", usize::MAX)?.unwrap_or(TOKENS_DEFAULT);
    let n = fields.count("n", ANSWERS_MAX)?.unwrap_or(1).max(1);
    fields.unsupported("best_of", &[json!(n)])?;
    fields.unsupported("suffix", &[json!("")])?;
    fields.harmless(&["user", "metadata"]);
    let constraint = form::take(app, &mut fields)?;
    let sampling = sampling::take(&mut fields, app.fresh_seed())?;
    fields.end()?;
    app.check_length(ids.len(), sampling.overflow)?;
    let question = Question { prompt: ids, keep: 1, sampling, max_tokens, logprobs, constraint, n };
    Ok((question, Wanted { stream, stream_usage, logprobs: logprobs.is_some(), echo, n }))
}

/// A text, or ids; one of them, alone or in an array.
fn prompt_of(app: &App, prompt: Value) -> Result<(Vec<u32>, String), Refusal> {
    let wrong = || Refusal::field("prompt", "prompt: expected one text, or an array of token ids");
    match prompt {
        Value::String(text) => Ok((app.encode(&text, true)?, text)),
        Value::Array(items) => match items.as_slice() {
            [Value::String(text)] => Ok((app.encode(text, true)?, text.clone())),
            ids if !ids.is_empty() => {
                let ids: Option<Vec<u32>> =
                    ids.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect();
                let ids = ids.ok_or_else(wrong)?;
                let text = app.decode(&ids)?;
                Ok((ids, text))
            }
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// The older form of log-probabilities: arrays side by side.
fn logprobs_of(app: &App, tokens: &[TokenLogprobs]) -> Value {
    let entries = logprobs_json(app, tokens);
    let entries = entries.as_array().map_or(&[][..], Vec::as_slice);
    let column = |name: &str| entries.iter().map(|entry| entry[name].clone()).collect::<Value>();
    let top: Value = entries
        .iter()
        .map(|entry| {
            let top = entry["top_logprobs"].as_array().map_or(&[][..], Vec::as_slice);
            let pairs = top
                .iter()
                .map(|t| (t["token"].as_str().unwrap_or_default().to_owned(), t["logprob"].clone()));
            Value::Object(pairs.collect())
        })
        .collect();
    json!({ "tokens": column("token"), "token_logprobs": column("logprob"), "top_logprobs": top, "text_offset": [] })
}

/// A streamed answer.
struct Chunks {
    app: Arc<App>,
    id: String,
    clock: Clock,
    wanted: Wanted,
    begun: Vec<bool>,
    outcomes: Vec<Option<Outcome>>,
}

impl Chunks {
    fn chunk(&self, choices: Value) -> Value {
        json!({
            "id": self.id, "object": "text_completion", "created": self.app.now(), "model": self.app.name,
            "choices": choices,
        })
    }

    fn text(&mut self, index: usize, text: &str, finish: Option<&str>, logprobs: Value) -> Value {
        let echo =
            if std::mem::replace(&mut self.begun[index], true) { None } else { self.wanted.echo.as_deref() };
        let text = format!("{}{text}", echo.unwrap_or_default());
        self.chunk(json!([{ "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish }]))
    }
}

impl Telling for Chunks {
    fn tell(&mut self, Said { index, what }: Said, to: &mut Told) {
        match what {
            What::Text(text, logprobs) => {
                self.clock.saw_text();
                let logprobs =
                    if self.wanted.logprobs { logprobs_of(&self.app, &logprobs) } else { Value::Null };
                let chunk = self.text(index, &text, None, logprobs);
                to.chunk(&chunk);
            }
            What::Dropped(n) => {
                let mut chunk = self.text(index, "", None, Value::Null);
                chunk["dropped_tokens"] = n.into();
                to.chunk(&chunk);
            }
            What::End(Err(refusal)) => {
                to.chunk(&refusal.json());
                to.done();
            }
            What::End(Ok(outcome)) => {
                self.outcomes[index] = Some(outcome);
                let mut last = self.text(index, "", Some(reason(outcome.finish)), Value::Null);
                let Some(outcomes) = self.outcomes.iter().copied().collect::<Option<Vec<_>>>() else {
                    return to.chunk(&last);
                };
                last["timings"] = timings(&self.clock, &outcomes);
                to.chunk(&last);
                if self.wanted.stream_usage {
                    let mut chunk = self.chunk(json!([]));
                    chunk["usage"] = usage(&outcomes);
                    to.chunk(&chunk);
                }
                to.done();
            }
        }
    }
}
