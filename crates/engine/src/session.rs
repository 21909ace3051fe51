//! One sequence over time: its tokens, its KV cache and the buffers of its steps.
//!
//! A session feeds tokens in chunks, keeps what it has been through, and can go back: giving it a new list of tokens costs
//! only those after the common prefix. Chunk, threads and cache history change speed, never numbers.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ingle_model::adapter::Active;
use ingle_model::config::Config;
use ingle_model::decoder::{Branch, LOGITS_ROWS_MAX, Scratch, Span};
use ingle_model::kv::{self, Kv};

use crate::answer::{Answer, Next};
use crate::error::{Error, Result};
use crate::generate::{Event, Finish};
use crate::memory;
use crate::model_file::Loaded;
use crate::spec::{DRAFTS_MAX, Speculation, Speculator, Target, Turn};

/// The context a session gets when nobody asks for one: the smaller of the model's and this.
pub const CTX_DEFAULT: usize = 8192;
/// Tokens of a prompt that go through the layers together, when memory allows.
const CHUNK_MAX: usize = 512;
/// Bytes of scratch that the default chunk may take.
const SCRATCH_BYTES: usize = 24 << 20;

/// How much a session may hold and how it computes.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions<'a> {
    /// Positions; `None` for the smaller of the model's context and [`CTX_DEFAULT`], less when memory is short.
    pub ctx: Option<usize>,
    /// Format of the KV cache, one of [`kv::FORMATS`].
    pub kv: &'a str,
    /// Prompt tokens per step; `None` for what fits a modest buffer. Changes speed and memory only.
    pub chunk: Option<usize>,
}

impl SessionOptions<'_> {
    /// Positions that are asked for of `config`, or the default.
    pub fn ctx_of(&self, config: &Config) -> usize {
        self.ctx.unwrap_or(config.ctx_train.min(CTX_DEFAULT)).max(1)
    }
}

/// Tokens of a prompt that go through the layers together.
pub(crate) fn chunk_of(config: &Config, options: &SessionOptions<'_>) -> usize {
    let fitting = SCRATCH_BYTES / Scratch::bytes_per_token(config);
    options.chunk.unwrap_or(fitting.clamp(LOGITS_ROWS_MAX, CHUNK_MAX)).max(1)
}

/// One sequence.
#[derive(Debug)]
pub struct Session {
    loaded: Arc<Loaded>,
    adapters: Vec<Active>,
    kv: Kv,
    scratch: Scratch,
    /// The tokens whose keys and values the cache holds.
    tokens: Vec<u32>,
    /// Tokens of the last step, whose hidden states are in `scratch`.
    n_last: usize,
    guessing: Option<Guessing>,
}

/// What a session has that guesses.
#[derive(Debug)]
struct Guessing {
    speculator: Speculator,
    /// What a step feeds, and how its guesses branch off.
    feed: Vec<u32>,
    branches: Vec<Branch>,
    /// Tokens that the last step fed, if it was one of [`Session::go_on`].
    n_fed: Option<usize>,
}

impl Session {
    /// An empty session on `loaded`.
    ///
    /// # Errors
    /// [`Error::Memory`] when the cache and buffers are larger than what the system can give.
    pub fn new(loaded: Arc<Loaded>, options: &SessionOptions<'_>) -> Result<Self> {
        let config = &loaded.model.config;
        let format = kv::format(config, options.kv).map_err(|e| loaded.file.model_error(e))?;
        let per_token = Scratch::bytes_per_token(config);
        let chunk = chunk_of(config, options);
        let available = memory::available_bytes().unwrap_or(u64::MAX);
        let available = available.saturating_sub(loaded.packed_bytes());
        let needed = |ctx: usize| {
            let scratch = (per_token as u64).saturating_mul(chunk.min(ctx) as u64);
            kv::n_bytes(config, format, ctx).saturating_add(scratch)
        };
        let ctx = match options.ctx {
            Some(ctx) => ctx,
            None => {
                let mut ctx = config.ctx_train.min(CTX_DEFAULT);
                while ctx > 512 && needed(ctx) > available {
                    ctx /= 2;
                }
                ctx
            }
        };
        if ctx == 0 {
            return Err(Error::Input("a context of 0 tokens, expected at least 1".into()));
        }
        if needed(ctx) > available {
            let what = format!("{}: a context of {ctx} tokens", loaded.file.name());
            return Err(Error::Memory { what, needed: needed(ctx), available });
        }
        let chunk = chunk.min(ctx);
        Ok(Self {
            kv: Kv::new(config, format, ctx),
            scratch: Scratch::new(config, chunk, loaded.n_threads()),
            tokens: Vec::with_capacity(ctx),
            n_last: 0,
            adapters: Vec::new(),
            guessing: None,
            loaded,
        })
    }

    /// Guesses ahead from here on, which changes no answer.
    pub fn speculate(&mut self, speculation: Speculation) {
        self.guessing = Some(Guessing {
            speculator: Speculator::new(speculation, 1),
            feed: Vec::with_capacity(2 * DRAFTS_MAX + 2),
            branches: Vec::with_capacity(DRAFTS_MAX),
            n_fed: None,
        });
    }

    /// What guesses, if anything does.
    pub fn speculator(&mut self) -> Option<&mut Speculator> {
        self.guessing.as_mut().map(|guessing| &mut guessing.speculator)
    }

    /// The model.
    pub fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// Positions there is room for.
    pub fn ctx(&self) -> usize {
        self.kv.capacity()
    }

    /// The tokens this session has been through.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Prompt tokens per step.
    pub fn chunk(&self) -> usize {
        self.scratch.tokens_max()
    }

    /// Bytes of keys and values when the context is full.
    pub fn kv_bytes(&self) -> u64 {
        kv::n_bytes(&self.loaded.model.config, self.kv.format(), self.kv.capacity())
    }

    /// Takes other adapters from here on. What the session has been through was computed with the old ones, so it begins anew.
    pub fn set_adapters(&mut self, adapters: Vec<Active>) {
        self.truncate(0);
        self.adapters = adapters;
    }

    /// Goes back to the first `len` tokens. The next thing must be a feed: there are no logits until then.
    ///
    /// Where the cache can't go back exactly, because a window forgot or a recurrent layer has no checkpoint there, the
    /// next feed first computes anew what is missing.
    pub fn truncate(&mut self, len: usize) {
        self.drop_guesses();
        self.tokens.truncate(len);
        self.kv.truncate(len);
        self.n_last = 0;
    }

    /// Appends `tokens` in chunks, telling `progress` after each how many are done. Stops between chunks when `cancel` is
    /// raised, and returns whether all were fed.
    ///
    /// # Errors
    /// When the model's file has changed, an id is outside the vocabulary, or the context is full.
    pub fn feed(
        &mut self,
        tokens: &[u32],
        cancel: &AtomicBool,
        mut progress: impl FnMut(usize),
    ) -> Result<bool> {
        self.loaded.file.check_unchanged()?;
        if !self.catch_up(cancel)? {
            return Ok(false);
        }
        let mut done = 0;
        for chunk in tokens.chunks(self.chunk()) {
            if cancel.load(Relaxed) {
                return Ok(false);
            }
            self.step(chunk, 1)?;
            done += chunk.len();
            progress(done);
        }
        if tokens.len() > 1 {
            self.kv.checkpoint();
        }
        Ok(true)
    }

    /// Computes anew the tokens that the cache lost when it went back further than it was asked to.
    fn catch_up(&mut self, cancel: &AtomicBool) -> Result<bool> {
        self.drop_guesses();
        while self.kv.len() < self.tokens.len() {
            if cancel.load(Relaxed) {
                return Ok(false);
            }
            let from = self.kv.len();
            let n = self.chunk().min(self.tokens.len() - from);
            self.advance(from..from + n, 1)?;
        }
        Ok(true)
    }

    /// Feeds `tokens` and hands the logits of each, with its index, to `each`.
    pub fn feed_for_logits(&mut self, tokens: &[u32], mut each: impl FnMut(usize, &[f32])) -> Result<()> {
        self.loaded.file.check_unchanged()?;
        self.catch_up(&AtomicBool::new(false))?;
        let mut first = 0;
        for chunk in tokens.chunks(self.chunk()) {
            self.step(chunk, chunk.len())?;
            for start in (0..chunk.len()).step_by(LOGITS_ROWS_MAX) {
                let rows = start..chunk.len().min(start + LOGITS_ROWS_MAX);
                let loaded = &self.loaded;
                let logits = loaded.model.logits(&loaded.runtime(&self.adapters), rows, &mut self.scratch);
                for (i, row) in logits.chunks_exact(loaded.model.config.vocab).enumerate() {
                    each(first + start + i, row);
                }
            }
            first += chunk.len();
        }
        Ok(())
    }

    /// How many tokens [`Session::set`] would find computed already.
    pub fn reusable(&self, tokens: &[u32]) -> usize {
        let common = self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        common.min(tokens.len().saturating_sub(1))
    }

    /// Makes the session's tokens equal `tokens`, feeding only what is not already there, and at least the last one so
    /// that its logits are known. Returns how many were reused, or `None` when `cancel` was raised.
    pub fn set(
        &mut self,
        tokens: &[u32],
        cancel: &AtomicBool,
        progress: impl FnMut(usize),
    ) -> Result<Option<usize>> {
        let reused = self.reusable(tokens);
        self.truncate(reused);
        Ok(self.feed(&tokens[reused..], cancel, progress)?.then_some(reused))
    }

    /// The logits after the last token fed, to be read or changed. `(vocab)`
    ///
    /// # Panics
    /// When nothing was fed since the session was made or truncated.
    pub fn last_logits(&mut self) -> &mut [f32] {
        assert!(self.n_last > 0, "logits need a token");
        let loaded = &self.loaded;
        loaded.model.logits(&loaded.runtime(&self.adapters), self.n_last - 1..self.n_last, &mut self.scratch)
    }

    /// The last `n` tokens of the session, as far as there are, and what guesses.
    pub(crate) fn answer_and_speculator(&mut self, n: usize) -> Option<(&[u32], &mut Speculator)> {
        let answer = &self.tokens[self.tokens.len().saturating_sub(n)..];
        Some((answer, &mut self.guessing.as_mut()?.speculator))
    }

    /// Appends `token`, and has what may come behind it computed too. Without anything that guesses it is a step like any other and
    /// allocates nothing.
    pub(crate) fn go_on(&mut self, token: u32, answer: &mut Answer, cancel: &AtomicBool) -> Result<()> {
        let room = self.ctx() - self.tokens.len();
        if self.guessing.is_none() {
            self.feed(&[token], cancel, |_| ())?;
            return Ok(());
        }
        self.loaded.file.check_unchanged()?;
        self.tokens.push(token);
        while self.tokens.len() - self.kv.len() > 1 + DRAFTS_MAX.min(self.chunk() - 1) {
            let from = self.kv.len();
            let n = self.chunk().min(self.tokens.len() - 1 - from);
            self.advance(from..from + n, 1)?;
        }
        let Self { loaded, adapters, kv, scratch, tokens, guessing, .. } = self;
        let Some(Guessing { speculator, feed, branches, n_fed }) = guessing else { return Ok(()) };
        let n_sure = tokens.len() - kv.len();
        speculator.begin();
        let turn = Turn { lane: 0, tokens, kv, answer, room: room - 1 };
        let target = Target { loaded, adapters };
        speculator.propose(&target, &mut [turn], n_sure, scratch.tokens_max());
        feed.clear();
        branches.clear();
        feed.extend_from_slice(&tokens[kv.len()..]);
        let drafts = speculator.drafts(0);
        drafts.put(feed, n_sure, branches);
        let n_wanted = 1 + drafts.len();
        let span = Span { kv, tokens: feed, n_wanted, branches };
        let stepped = loaded.model.forward(&loaded.runtime(adapters), &mut [span], scratch);
        if let Err(source) = stepped {
            tokens.truncate(kv.len());
            self.n_last = 0;
            return Err(loaded.file.model_error(source));
        }
        (self.n_last, *n_fed) = (n_wanted, Some(feed.len()));
        Ok(())
    }

    /// Forgets what was guessed behind the last token, where an answer ended before it chose among it.
    pub(crate) fn drop_guesses(&mut self) {
        let Some(guessing) = &mut self.guessing else { return };
        if guessing.n_fed.take().is_some() {
            self.n_last -= guessing.speculator.drafts(0).len();
            self.kv.truncate(self.tokens.len());
        }
    }

    /// Has `answer` choose by the logits behind the last token, and on among what was guessed. What it chose of that is part of the
    /// session; what comes next is not yet.
    pub(crate) fn choose(&mut self, answer: &mut Answer, mut on: impl FnMut(Event<'_>)) -> Result<Next> {
        let n_fed = self.guessing.as_mut().and_then(|guessing| guessing.n_fed.take());
        let Some(n_fed) = n_fed else { return answer.choose(self.last_logits(), on) };
        let Self { loaded, adapters, kv, scratch, tokens, guessing, n_last, .. } = self;
        let Some(Guessing { speculator, .. }) = guessing else { return Ok(Next::End(Finish::Cancelled)) };
        let drafts = speculator.drafts(0);
        let runtime = loaded.runtime(adapters);
        let rows = loaded.model.logits(&runtime, *n_last - 1 - drafts.len()..*n_last, scratch);
        let n_before = answer.n_generated();
        let walked = drafts.walk(|row| {
            let vocab = loaded.model.config.vocab;
            answer.choose(&mut rows[row * vocab..][..vocab], &mut on)
        });
        if walked.is_err() {
            kv.truncate(tokens.len());
        }
        let (row, next) = walked?;
        drafts.tokens_to(row, tokens);
        let judged = speculator.judge(0, row, matches!(next, Next::Feed(_)));
        kv.truncate(tokens.len() - usize::from(judged.other));
        // Where the choice is to be made again, it is from the same row.
        *n_last -= speculator.drafts(0).len() - row;
        speculator.end(1, n_fed, answer.n_generated().saturating_sub(n_before));
        Ok(next)
    }

    /// One step of the model, to the hidden states of the last `n_wanted` tokens. Allocates nothing.
    fn step(&mut self, tokens: &[u32], n_wanted: usize) -> Result<()> {
        let from = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        let stepped = self.advance(from..self.tokens.len(), n_wanted);
        if stepped.is_err() {
            self.tokens.truncate(from);
        }
        stepped
    }

    /// Takes tokens `range` of the session into the cache.
    fn advance(&mut self, range: Range<usize>, n_wanted: usize) -> Result<()> {
        let loaded = &self.loaded;
        let span = Span::wanting(n_wanted, &mut self.kv, &self.tokens[range]);
        let stepped = loaded.model.forward(&loaded.runtime(&self.adapters), &mut [span], &mut self.scratch);
        stepped.map_err(|source| loaded.file.model_error(source))?;
        self.n_last = n_wanted;
        Ok(())
    }
}
