//! What a model is calibrated on: the user's texts, or what the model writes by itself.
//!
//! A text that a model writes at temperature 1 is like what it will write later, which is what its inputs should be measured on.
//! Half of the sequences begin with nothing. Where the model has a chat template, the other half are conversations: it is left
//! to write what stands where a user's words would, and then to answer that.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Sender, channel};

use clap::ArgMatches;
use ingle_compress::calibrate::sequences::windows;
use ingle_compress::evaluate::protocol::{HALF, Text};
use ingle_compress::recipe::Calibration;
use ingle_engine::Error as EngineError;
use ingle_engine::chat::{Conversation, Prompter};
use ingle_engine::generate::{Event, Finish, Outcome, Overflow};
use ingle_engine::model_file::Loaded;
use ingle_engine::run::{Engine, EngineOptions, Job, Sink};
use ingle_engine::sample::Params;
use ingle_engine::session::SessionOptions;
use ingle_model::prompt::Now;
use ingle_model::token::Parse;
use serde_json::json;

use crate::env::{Env, Progress};
use crate::exit::Failure;

/// Sequences written at the same time.
const LANES: usize = 8;

/// Windows that a result is judged on where nobody says how many, and the least tokens of one.
const JUDGED: usize = 24;
const JUDGED_CTX_MIN: usize = 32;

/// What a model reads.
pub struct Texts {
    /// While its inputs are measured.
    pub calibration: Vec<Vec<u32>>,
    /// While the result is compared with it: nothing that it was measured on.
    pub judged_on: Text,
}

/// What the model reads; `None` when interrupted.
pub fn texts(
    matches: &ArgMatches,
    wanted: &Calibration,
    loaded: &Arc<Loaded>,
    env: &Env,
) -> Result<Option<Texts>, Failure> {
    let ctx = wanted.ctx.min(loaded.model.config.ctx_train);
    let of = |name| matches.get_many::<String>(name).into_iter().flatten().collect::<Vec<_>>();
    let (calib, eval) = (of("calib"), of("eval"));
    let judged_ctx = ctx.max(JUDGED_CTX_MIN).min(loaded.model.config.ctx_train);
    let asked = matches.get_one::<u64>("eval-windows");
    let n_windows = asked.map_or(JUDGED, |&n| usize::try_from(n).unwrap_or(usize::MAX));
    let n_judged = if eval.is_empty() { n_windows.saturating_mul(judged_ctx) } else { 0 };
    let mut all = if calib.is_empty() {
        let more = Calibration { tokens: wanted.tokens.saturating_add(n_judged), ..wanted.clone() };
        match written(&more, ctx, loaded, env)? {
            Some(sequences) => sequences,
            None => return Ok(None),
        }
    } else {
        read(&calib, wanted.tokens.saturating_add(n_judged), wanted, ctx, loaded)?
    };
    let judged: Vec<u32> = if eval.is_empty() {
        held_out(&mut all, n_judged).concat()
    } else {
        read(&eval, usize::MAX / 2, &Calibration { ctx: judged_ctx, ..wanted.clone() }, judged_ctx, loaded)?
            .concat()
    };
    // Of short texts, windows as short as need be.
    let windowed = judged_ctx.min(judged.len() / 2).max(JUDGED_CTX_MIN.min(judged_ctx));
    let judged_on = Text::new(&HALF, windowed, judged, n_windows);
    if judged_on.n_windows() == 0 {
        return Err(Failure::failed(format!(
            "nothing to judge the result on: expected at least {} tokens of text, --eval FILE gives more",
            2 * JUDGED_CTX_MIN
        )));
    }
    Ok(Some(Texts { calibration: all, judged_on }))
}

/// Takes sequences with `n_tokens` tokens, at most a quarter of all, out of `all`, evenly.
fn held_out(all: &mut Vec<Vec<u32>>, n_tokens: usize) -> Vec<Vec<u32>> {
    let n_all: usize = all.iter().map(Vec::len).sum();
    let every = (n_all / n_tokens.clamp(1, (n_all / 4).max(1))).max(4);
    let (mut kept, mut out) = (Vec::new(), Vec::new());
    for (i, sequence) in std::mem::take(all).into_iter().enumerate() {
        if i % every == every / 2 { out.push(sequence) } else { kept.push(sequence) }
    }
    *all = kept;
    out
}

/// The windows of the texts in `files`, about `n_tokens` of them.
pub fn read(
    files: &[&String],
    n_tokens: usize,
    wanted: &Calibration,
    ctx: usize,
    loaded: &Loaded,
) -> Result<Vec<Vec<u32>>, Failure> {
    let tokenizer = loaded.tokenizer()?;
    let mut texts = Vec::new();
    for path in files {
        let text = super::super::tokenize::read_text(path)?;
        let mut ids = Vec::new();
        tokenizer.encode(&text, Parse::Special, &mut ids).map_err(|e| loaded.file.model_error(e))?;
        texts.push(ids);
    }
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let sequences = windows(&texts, bos, ctx, n_tokens, wanted.seed);
    if sequences.is_empty() {
        return Err(Failure::failed(format!("{}: empty, expected something to read", files[0])));
    }
    Ok(sequences)
}

/// What the model writes.
fn written(
    wanted: &Calibration,
    ctx: usize,
    loaded: &Arc<Loaded>,
    env: &Env,
) -> Result<Option<Vec<Vec<u32>>>, Failure> {
    let session = SessionOptions { ctx: Some(ctx + 1), kv: "f16", chunk: None };
    let options = EngineOptions {
        session,
        n_lanes: LANES,
        queue_max: LANES,
        prefix_bytes: Some(0),
        kv_dir: None,
        clock: None,
    };
    let mut writer =
        Writer { engine: Engine::new(loaded.clone(), &options)?, seed: wanted.seed << 32, ctx, env };
    let (nothing, around) = (beginning(loaded)?, around_user(loaded)?);
    let mut progress = Progress::new(env);
    let (mut sequences, mut n, mut round): (Vec<Vec<u32>>, usize, usize) = (Vec::new(), 0, 0);
    while n < wanted.tokens {
        let conversation = around.as_ref().filter(|_| round % 2 == 1);
        let new = match conversation {
            None => writer.write(vec![nothing.clone(); LANES], ctx)?,
            Some([before, between]) => writer.converse(before, between)?,
        };
        let Some(new) = new else { return Ok(None) };
        for sequence in new.into_iter().filter(|sequence| sequence.len() > nothing.len() + 1) {
            n += sequence.len();
            sequences.push(sequence);
        }
        round += 1;
        if round > 64 && n * 64 < round * wanted.tokens / 64 {
            return Err(Failure::failed(
                "the model writes next to nothing by itself; --calib FILE gives it something to read",
            ));
        }
        progress
            .show(format_args!("the model writes what it is measured on: {n} of {} tokens", wanted.tokens));
    }
    Ok(Some(sequences))
}

/// What a text begins with.
fn beginning(loaded: &Loaded) -> Result<Vec<u32>, Failure> {
    let tokenizer = loaded.tokenizer()?;
    // Where nothing stands before a text, what ends one does.
    let first = tokenizer.bos().or(tokenizer.eos());
    Ok(vec![first.unwrap_or(0)])
}

/// What the chat template writes before a user's words, and from there to the answer; `None` where there is no template, or it
/// changes the words.
fn around_user(loaded: &Loaded) -> Result<Option<[Vec<u32>; 2]>, Failure> {
    const WORDS: &str = "WHAT THE USER SAYS";
    let prompter = Prompter::new(loaded)?;
    if !prompter.has_template() {
        return Ok(None);
    }
    let now = Now { year: 2026, month: 1, day: 1, hour: 12, minute: 0, second: 0 };
    let messages = json!([{ "role": "user", "content": WORDS }]);
    let conversation =
        Conversation { messages: &messages, tools: None, extra: Default::default(), now, begun: "" };
    let text = prompter.text(loaded, &conversation, true)?;
    let Some((before, between)) = text.split_once(WORDS) else { return Ok(None) };
    let mut parts = [Vec::new(), Vec::new()];
    for (part, text) in parts.iter_mut().zip([before, between]) {
        loaded.tokenizer()?.encode(text, Parse::Special, part).map_err(|e| loaded.file.model_error(e))?;
    }
    Ok(Some(parts).filter(|[before, _]| !before.is_empty()))
}

/// Lets the model write, several sequences at a time.
struct Writer<'a> {
    engine: Engine,
    /// Of the next sequence.
    seed: u64,
    ctx: usize,
    env: &'a Env,
}

impl Writer<'_> {
    /// Goes on from each of `prompts` up to `len` tokens in all, or until the model ends, the end left out; `None` when interrupted.
    fn write(&mut self, prompts: Vec<Vec<u32>>, len: usize) -> Result<Option<Vec<Vec<u32>>>, Failure> {
        let (to, from) = channel();
        let n = prompts.len();
        for (i, prompt) in prompts.into_iter().enumerate() {
            self.seed += 1;
            let job = Job {
                max_tokens: len.saturating_sub(prompt.len()).max(1),
                params: Params { temperature: 1.0, seed: self.seed, ..Params::GREEDY },
                stop: Vec::new(),
                logprobs: None,
                constraint: None,
                shown: Arc::from([]),
                overflow: Overflow::Error,
                keep: 0,
                cancel: self.env.interrupted.clone() as Arc<AtomicBool>,
                sink: Box::new(Listener { i, tokens: prompt.clone(), to: to.clone() }),
                prompt,
            };
            self.engine.submit(job).map_err(|_| Failure::failed("the engine takes no more work"))?;
        }
        drop(to);
        let mut all = vec![Vec::new(); n];
        for (i, outcome, mut tokens) in from {
            if outcome?.finish == Finish::EndOfText {
                tokens.pop();
            }
            all[i] = tokens;
        }
        Ok((!self.env.interrupted.load(Relaxed)).then_some(all))
    }

    /// Writes what users might say between `before` and `between`, and answers.
    fn converse(&mut self, before: &[u32], between: &[u32]) -> Result<Option<Vec<Vec<u32>>>, Failure> {
        let len = before.len() + (self.ctx / 4).max(1);
        let Some(asked) = self.write(vec![before.to_vec(); LANES], len)? else { return Ok(None) };
        let room = self.ctx.saturating_sub(between.len() + 1);
        let whole = |mut tokens: Vec<u32>| {
            tokens.truncate(room);
            tokens.extend(between);
            tokens
        };
        let ctx = self.ctx;
        self.write(asked.into_iter().map(whole).collect(), ctx)
    }
}

/// Collects the tokens of one sequence.
struct Listener {
    i: usize,
    tokens: Vec<u32>,
    to: Sender<(usize, Result<Outcome, EngineError>, Vec<u32>)>,
}

impl Sink for Listener {
    fn ready(&self) -> bool {
        true
    }

    fn on(&mut self, event: Event<'_>) {
        match event {
            Event::Token(id) => self.tokens.push(id),
            Event::TakenBack { n_tokens } => self.tokens.truncate(self.tokens.len() - n_tokens),
            _ => {}
        }
    }

    fn end(self: Box<Self>, outcome: Result<Outcome, EngineError>) {
        // Who does not listen any more has been interrupted.
        let _ = self.to.send((self.i, outcome, self.tokens));
    }
}
