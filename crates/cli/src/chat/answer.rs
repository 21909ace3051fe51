//! One answer: asked for, shown as it comes, measured.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ingle_engine::chat::Prompt;
use ingle_engine::constrain::Constraint;
use ingle_engine::generate::{Event, Finish, Outcome, Overflow, Request};
use ingle_engine::memory;
use ingle_engine::output::{self, Delivery, Parser, Part};
use ingle_engine::sample::{Logprob, Logprobs, Params};
use ingle_engine::session::Session;
use ingle_model::token::{Kind, Tokenizer};
use ingle_route::confidence::{Ending, Margins, Rule, Running, Verdict};
use serde_json::{Value as Json, json};

use crate::env::{Env, Progress, say};
use crate::exit::Failure;
use crate::guessing;
use crate::metering::{Metering, Took};
use crate::settings::Settings;
use crate::verbs::human_bytes;

/// How to answer.
#[derive(Debug, Clone)]
pub struct Options {
    /// How tokens are chosen.
    pub params: Params,
    /// Texts that end an answer.
    pub stop: Vec<String>,
    /// The most tokens.
    pub max_tokens: usize,
    /// What happens when the context is full.
    pub overflow: Overflow,
    /// Whether to report log-probabilities, and of how many alternatives.
    pub logprobs: Option<usize>,
    /// The form of an answer.
    pub constraint: Option<Constraint>,
    /// Whether to watch how surely tokens are chosen.
    pub margins: bool,
    /// When to give it up for too unsure tokens.
    pub abort: Option<Rule>,
}

impl Options {
    /// From the settings; `stop` comes from the command line alone.
    pub fn from_settings(settings: &Settings, stop: Vec<String>) -> Result<Self, Failure> {
        if stop.iter().any(String::is_empty) {
            return Err(Failure::usage("--stop \"\": an empty text would end every answer at once"));
        }
        let params = settings.params(fresh_seed);
        params.check()?;
        let drops = settings.text("overflow") == Some("drop-oldest");
        Ok(Self {
            params,
            stop,
            max_tokens: settings.count("max-tokens").unwrap_or(usize::MAX),
            overflow: if drops { Overflow::DropOldest } else { Overflow::Error },
            logprobs: None,
            constraint: None,
            margins: false,
            abort: None,
        })
    }

    /// Tokens of the context to leave for an answer when turns may be dropped.
    pub fn room(&self, ctx: usize) -> usize {
        self.max_tokens.min(ctx / 4).max(1)
    }
}

/// Another seed each time, short enough to be typed.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() >> 32
}

/// What was answered and how that went.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The text; of an answer with a form, without thoughts.
    pub text: String,
    outcome: Outcome,
    /// Until the first token.
    first: Duration,
    /// From the first token to the end.
    rest: Duration,
    /// Tokens dropped to make room.
    n_dropped: usize,
    /// How surely its tokens were chosen, when asked for.
    pub margins: Margins,
    /// One entry for each token, when asked for.
    logprobs: Option<Vec<Json>>,
    /// Whether it was given up, as its tokens were too unsure.
    pub was_given_up: bool,
    /// Whether the answer was to have a form.
    has_form: bool,
    seed: u64,
    kv_bytes: u64,
    /// Energy and CPU time, and what held it back.
    took: Took,
}

/// Asks for an answer and hands its text to `show` as it comes. Ctrl-C ends it, and what there is is kept.
pub fn answer(
    session: &mut Session,
    prompt: &Prompt,
    options: &Options,
    env: &Env,
    metering: &mut Metering,
    mut show: impl FnMut(&str) -> io::Result<()>,
) -> Result<Answer, Failure> {
    let start = Instant::now();
    let begun = metering.begin();
    let loaded = session.loaded().clone();
    let tokenizer = loaded.tokenizer()?;
    let format = loaded.format()?;
    let constraint = options.constraint.clone().map(|form| prompt.behind_thoughts(form, format));
    let mut parser = constraint.as_ref().map(|_| {
        let inside = prompt.inside;
        Parser::new(format, output::Options { tools: Arc::new([]), inside, delivery: Delivery::Proven })
    });
    let mut first = None;
    let mut text = String::new();
    let mut shown = Ok(());
    let mut tell = |part: Part<'_>| {
        let Part::Text(piece) = part else { return };
        text.push_str(piece);
        if shown.is_ok() {
            shown = show(piece);
            if shown.is_err() {
                // Nobody reads on: stop generating.
                env.interrupted.store(true, Relaxed);
            }
        }
    };
    let mut n_dropped = 0;
    let mut progress = Progress::new(env);
    let request = Request {
        prompt: &prompt.ids,
        params: &options.params,
        stop: &options.stop,
        max_tokens: options.max_tokens,
        overflow: options.overflow,
        keep: prompt.keep,
        logprobs: options.logprobs.or((options.margins || options.abort.is_some()).then_some(2)),
        constraint: constraint.as_ref(),
    };
    let (mut logprobs, mut margins) = (Vec::new(), Margins::default());
    let (mut running, mut was_given_up) = (options.abort.map(Running::new), false);
    let outcome = session.generate(&request, &env.interrupted, |event| match event {
        Event::Prompt { done, total } if done < total => {
            progress.show(format_args!("reading: {done} of {total} tokens"));
            metering.step(&env.interrupted);
        }
        Event::Prompt { .. } => progress.clear(),
        Event::Logprobs(of) => {
            if let Some(margin) = of.margin() {
                margins.push(margin as f32);
                if let Some(running) = &mut running
                    && !was_given_up
                {
                    running.push(margin as f32);
                    was_given_up = running.verdict() != Verdict::GoOn;
                }
                if was_given_up {
                    env.interrupted.store(true, Relaxed);
                }
            }
            if options.logprobs.is_some() {
                logprobs.push(logprobs_json(tokenizer, of));
            }
        }
        Event::TakenBack { n_tokens } => logprobs.truncate(logprobs.len().saturating_sub(n_tokens)),
        Event::Token(id) => {
            first.get_or_insert_with(|| start.elapsed());
            metering.step(&env.interrupted);
            // Markers that are structure have no text of their own.
            if let (Some(parser), Some(marker)) = (&mut parser, marker(tokenizer, id))
                && format.markers().any(|known| known == marker)
            {
                parser.push(marker, &mut tell);
            }
        }
        Event::Dropped { n_tokens } => n_dropped += n_tokens,
        Event::Text(piece) => match &mut parser {
            Some(parser) => parser.push(piece, &mut tell),
            None => tell(Part::Text(piece)),
        },
    })?;
    if let Some(parser) = parser {
        parser.finish(&mut tell);
    }
    // It ended by itself before it could be given up.
    was_given_up &= outcome.finish == Finish::Cancelled;
    if was_given_up {
        env.interrupted.store(false, Relaxed);
    }
    progress.clear();
    shown?;
    let total = start.elapsed();
    let first = first.unwrap_or(total);
    let took = metering.end(&begun, total, [outcome.n_prompt, outcome.n_generated]);
    Ok(Answer {
        took,
        text,
        outcome,
        first,
        rest: total - first,
        n_dropped,
        margins,
        logprobs: options.logprobs.map(|_| logprobs),
        was_given_up,
        has_form: options.constraint.is_some(),
        seed: options.params.seed,
        kv_bytes: session.kv_bytes(),
    })
}

impl Answer {
    /// Says on stderr what the reader should know: that something was cut, or why it ended early.
    pub fn explain(&self, ctx: usize) {
        if self.n_dropped > 0 {
            say(format_args!(
                "note: the context of {ctx} tokens was full; the oldest {} tokens were dropped",
                self.n_dropped
            ));
        }
        if self.has_form && self.outcome.finish != Finish::EndOfText {
            say(
                "note: the answer ended before its form was complete; a larger --max-tokens or --ctx gives it room",
            );
        }
        if self.outcome.finish == Finish::Context {
            say(format_args!(
                "note: the answer ends here because the context of {ctx} tokens is full; raise --ctx or use \
                 --overflow drop-oldest"
            ));
        }
        if self.outcome.finish == Finish::Banned {
            say("note: the answer ends here because the model found no way round a banned string");
        }
    }

    /// How it ended, as confidence asks.
    pub fn ending(&self) -> Ending {
        if self.outcome.finish == Finish::EndOfText { Ending::Itself } else { Ending::Cut }
    }

    /// Tokens of the prompt, of those the ones that were there already, and tokens of the answer.
    pub fn n_tokens(&self) -> [usize; 3] {
        [self.outcome.n_prompt, self.outcome.n_reused, self.outcome.n_generated]
    }

    /// Whether Ctrl-C ended it.
    pub fn interrupted(&self) -> bool {
        self.outcome.finish == Finish::Cancelled && !self.was_given_up
    }

    fn prompt_speed(&self) -> f64 {
        per_second(self.outcome.n_prompt - self.outcome.n_reused, self.first)
    }

    fn generation_speed(&self) -> f64 {
        per_second(self.outcome.n_generated.saturating_sub(1), self.rest)
    }

    /// Says the figures of `--stats` on stderr.
    pub fn say_stats(&self) {
        let o = &self.outcome;
        say(format_args!("time to first token  {:.0} ms", self.first.as_secs_f64() * 1e3));
        say(format_args!(
            "prompt               {} tokens, {} of them reused, {:.1} tokens/s",
            o.n_prompt,
            o.n_reused,
            self.prompt_speed()
        ));
        say(format_args!(
            "generation           {} tokens, {:.1} tokens/s, finish: {}",
            o.n_generated,
            self.generation_speed(),
            finish_name(o.finish)
        ));
        if let Some(guesses) = guessing::told(&o.guesses) {
            say(format_args!("guessed ahead        {guesses}"));
        }
        let peak = memory::peak_resident_bytes().map_or("unknown".into(), human_bytes);
        say(format_args!(
            "memory               {peak} at most; the cache has room for {}",
            human_bytes(self.kv_bytes)
        ));
        self.took.say();
        say(format_args!("seed                 {}", self.seed));
    }

    /// The answer as one JSON document.
    pub fn to_json(&self) -> Json {
        let o = &self.outcome;
        let mut all = json!({
            "text": self.text,
            "finish": finish_name(o.finish),
            "n_prompt": o.n_prompt,
            "n_reused": o.n_reused,
            "n_generated": o.n_generated,
            "n_dropped": self.n_dropped,
            "seed": self.seed,
            "first_token_ms": self.first.as_secs_f64() * 1e3,
            "prompt_per_second": self.prompt_speed(),
            "generated_per_second": self.generation_speed(),
            "peak_bytes": memory::peak_resident_bytes(),
            "kv_bytes": self.kv_bytes,
            "guesses": guessing::json(&o.guesses),
            "took": self.took.to_json(),
        });
        if let Some(logprobs) = &self.logprobs {
            all["logprobs"] = json!(logprobs);
        }
        all
    }
}

/// The name of a token that is structure.
fn marker(tokenizer: &Tokenizer, id: u32) -> Option<&str> {
    let name = tokenizer.token_name(id).filter(|_| tokenizer.kind(id) == Some(Kind::Control))?;
    std::str::from_utf8(name).ok()
}

/// An entry of OpenAI's `logprobs.content`, and the ids.
fn logprobs_json(tokenizer: &Tokenizer, of: &Logprobs) -> Json {
    let one = |token: Logprob| {
        let bytes = tokenizer.token_name(token.id).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        json!({ "id": token.id, "token": text, "bytes": bytes, "logprob": token.logprob })
    };
    let mut entry = one(of.chosen());
    entry["top_logprobs"] = of.top().iter().map(|&token| one(token)).collect();
    entry
}

fn per_second(n: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { n as f64 / time.as_secs_f64() }
}

fn finish_name(finish: Finish) -> &'static str {
    match finish {
        Finish::EndOfText => "end",
        Finish::Stop(_) => "stop",
        Finish::Length => "length",
        Finish::Context => "context",
        Finish::Banned => "banned",
        Finish::Cancelled => "interrupted",
    }
}
