//! OpenAI's routes, and what they have in common.

pub mod chat;
pub mod completions;
pub mod models;
mod stream;

use std::time::{Duration, Instant};

use ingle_engine::generate::{Finish, Outcome};
use serde_json::{Value as Json, json};

use crate::ask::{Said, TokenLogprobs, What, token_text};
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::server::App;

pub use stream::{Telling, Told};

/// The most answers to one request.
pub const ANSWERS_MAX: usize = 16;

/// Takes whether an answer is streamed, and whether its usage is told at the end.
pub fn take_stream(fields: &mut Fields) -> Result<(bool, bool), Refusal> {
    let stream = fields.flag("stream")?.unwrap_or(false);
    let Some(options) = fields.take("stream_options") else { return Ok((stream, false)) };
    let mut options = Fields::of("stream_options", options)?;
    let usage = options.flag("include_usage")?.unwrap_or(false);
    options.harmless(&["include_obfuscation"]);
    options.end()?;
    Ok((stream, usage))
}

/// Adds to a response how many of its prompt's tokens were dropped, if any.
pub fn say_dropped(response: &mut Json, answers: &[Growing]) {
    let n_dropped = answers.iter().map(|answer| answer.n_dropped).max().unwrap_or(0);
    if n_dropped > 0 {
        response["dropped_tokens"] = n_dropped.into();
    }
}

/// Why an answer ended, in OpenAI's words.
pub fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::EndOfText | Finish::Stop(_) | Finish::Banned => "stop",
        Finish::Length | Finish::Context | Finish::Cancelled => "length",
    }
}

/// One answer of a request, as it grows.
#[derive(Debug, Default)]
pub struct Growing {
    /// Its text so far.
    pub text: String,
    /// Its tokens' log-probabilities.
    pub logprobs: Vec<TokenLogprobs>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Tokens of the prompt that were dropped.
    pub n_dropped: usize,
}

/// The clock of a request.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    first: Option<Instant>,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        Self { start: Instant::now(), first: None }
    }

    /// There is text.
    pub fn saw_text(&mut self) {
        self.first.get_or_insert_with(Instant::now);
    }

    /// Speeds, under the names that llama.cpp gives them.
    fn timings(&self, outcomes: &[Outcome]) -> Json {
        let now = Instant::now();
        let first = self.first.unwrap_or(now);
        let (prompt, rest) = (first - self.start, now - first);
        let n_prompt: usize = outcomes.first().map_or(0, |o| o.n_prompt - o.n_reused);
        let n_generated: usize = outcomes.iter().map(|o| o.n_generated).sum();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let rate =
            |n: usize, time: Duration| if time.is_zero() { 0.0 } else { n as f64 / time.as_secs_f64() };
        json!({
            "cache_n": outcomes.first().map_or(0, |o| o.n_reused),
            "prompt_n": n_prompt,
            "prompt_ms": milliseconds(prompt),
            "prompt_per_second": rate(n_prompt, prompt),
            "predicted_n": n_generated,
            "predicted_ms": milliseconds(rest),
            // The first token is the prompt's.
            "predicted_per_second": rate(n_generated.saturating_sub(outcomes.len()), rest),
        })
    }
}

/// Tokens used.
pub fn usage(outcomes: &[Outcome]) -> Json {
    let n_prompt = outcomes.first().map_or(0, |o| o.n_prompt);
    let n_generated: usize = outcomes.iter().map(|o| o.n_generated).sum();
    json!({
        "prompt_tokens": n_prompt,
        "completion_tokens": n_generated,
        "total_tokens": n_prompt + n_generated,
        "prompt_tokens_details": { "cached_tokens": outcomes.first().map_or(0, |o| o.n_reused) },
    })
}

/// Speeds.
pub fn timings(clock: &Clock, outcomes: &[Outcome]) -> Json {
    clock.timings(outcomes)
}

/// `logprobs.content` of some tokens.
pub fn logprobs_json(app: &App, tokens: &[TokenLogprobs]) -> Json {
    let one = |token: &ingle_engine::sample::Logprob| {
        let bytes = token_text(app.engine.loaded(), token.id);
        // JSON has no infinity; OpenAI writes -9999 for what can't be.
        let logprob = token.logprob.max(-9999.0);
        json!({ "token": String::from_utf8_lossy(&bytes), "logprob": logprob, "bytes": bytes })
    };
    let tokens = tokens.iter().map(|token| {
        let mut entry = one(&token.chosen);
        entry["top_logprobs"] = token.top.iter().map(one).collect();
        entry
    });
    tokens.collect()
}

/// Waits for all answers of a request.
pub async fn collect(
    mut said: tokio::sync::mpsc::Receiver<Said>,
    n: usize,
    clock: &mut Clock,
) -> Result<Vec<Growing>, Refusal> {
    let mut answers: Vec<Growing> = (0..n).map(|_| Growing::default()).collect();
    while let Some(Said { index, what }) = said.recv().await {
        let answer = &mut answers[index];
        match what {
            What::Text(text, logprobs) => {
                clock.saw_text();
                answer.text.push_str(&text);
                answer.logprobs.extend(logprobs);
            }
            What::Dropped(n) => answer.n_dropped += n,
            What::End(outcome) => answer.outcome = Some(outcome?),
        }
        if answers.iter().all(|answer| answer.outcome.is_some()) {
            return Ok(answers);
        }
    }
    Err(Refusal::Failed("the engine stopped before the answer was complete".into()))
}
