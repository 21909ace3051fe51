//! One answer: a prompt goes in, events come out, until something ends it.
//!
//! The loop is short: the [`Answer`] chooses by the last logits, the session feeds the token, with guesses behind it or without, or goes back when a banned string
//! is complete. It allocates nothing per token. Which clock measures it is the caller's business: events come at the moments that
//! matter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::answer::{Answer, Choice, Next};
use crate::constrain::Constraint;
use crate::error::{Error, Result};
use crate::sample::{Logprobs, Params};
use crate::session::Session;
use crate::spec::Tally;

/// What to do when the context is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// A prompt that does not fit is an error; an answer that reaches the end stops there.
    Error,
    /// The oldest tokens after the first [`Request::keep`] make room, and an event says how many.
    DropOldest,
}

/// What to answer and how.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The whole prompt; what the session already holds of it is not computed again.
    pub prompt: &'a [u32],
    /// How tokens are chosen.
    pub params: &'a Params,
    /// Texts that end the answer and are not part of it.
    pub stop: &'a [String],
    /// The most tokens to generate.
    pub max_tokens: usize,
    /// What to do when the context is full.
    pub overflow: Overflow,
    /// Tokens at the start of the prompt that are never dropped: the system prompt.
    pub keep: usize,
    /// Whether to report log-probabilities, and of how many of the best tokens beside the chosen one.
    pub logprobs: Option<usize>,
    /// The form of the answer, at its beginning.
    pub constraint: Option<&'a Constraint>,
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// The oldest tokens were dropped to make room.
    Dropped {
        /// How many.
        n_tokens: usize,
    },
    /// Part of the prompt went through the model.
    Prompt {
        /// Tokens done, those reused included.
        done: usize,
        /// Tokens there are.
        total: usize,
    },
    /// What the model itself thought of the token that the next event names, when the request asks for it.
    Logprobs(&'a Logprobs),
    /// A token was chosen. Its text may come later, or never when it ends the answer.
    Token(u32),
    /// The last tokens were taken back, as a banned string began with them. None of their text was given out.
    TakenBack {
        /// How many.
        n_tokens: usize,
    },
    /// More text of the answer.
    Text(&'a str),
}

/// Why the answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model said that it is done.
    EndOfText,
    /// The stop string of this index.
    Stop(usize),
    /// [`Request::max_tokens`] were generated.
    Length,
    /// The context is full.
    Context,
    /// The model could not get round a banned string; the answer ends before it.
    Banned,
    /// The caller raised `cancel`.
    Cancelled,
}

/// How an answer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt, after dropping.
    pub n_prompt: usize,
    /// Of those, tokens that were in the session already.
    pub n_reused: usize,
    /// Tokens generated and not taken back, the one that ended the answer included.
    pub n_generated: usize,
    /// What was guessed, and what came of it.
    pub guesses: Tally,
}

impl Default for Outcome {
    /// Of an answer that ended before it began.
    fn default() -> Self {
        let (n_prompt, n_reused, n_generated) = (0, 0, 0);
        Self { finish: Finish::Cancelled, n_prompt, n_reused, n_generated, guesses: Tally::default() }
    }
}

impl Session {
    /// Answers `request`, telling `on` what happens. What was generated stays in the session, so that a next prompt which
    /// continues it is cheap.
    ///
    /// # Errors
    /// [`Error::PromptTooLong`] when the prompt does not fit and nothing may be dropped, [`Error::Sample`] when the model
    /// produces no usable numbers, [`Error::Constraint`] when the answer can't go on in its form, and whatever feeding the
    /// session returns.
    pub fn generate(
        &mut self,
        request: &Request<'_>,
        cancel: &AtomicBool,
        mut on: impl FnMut(Event<'_>),
    ) -> Result<Outcome> {
        let loaded = self.loaded().clone();
        let choice = Choice {
            params: request.params,
            stop: request.stop,
            max_tokens: request.max_tokens,
            logprobs: request.logprobs,
            constraint: request.constraint,
            shown: Arc::default(),
        };
        let how = (request.overflow, request.keep, request.max_tokens);
        let cut = fit_prompt(request.prompt, self.ctx(), how, &mut on)?;
        let prompt = cut.as_deref().unwrap_or(request.prompt);
        let mut answer = Answer::new(&loaded, &choice, prompt, self.ctx())?;
        let total = prompt.len();
        let held = self.reusable(prompt);
        let fed = self.set(prompt, cancel, |done| on(Event::Prompt { done: held + done, total }))?;
        let mut outcome =
            Outcome { finish: Finish::Cancelled, n_prompt: total, n_reused: held, ..Outcome::default() };
        if fed.is_none() {
            return Ok(outcome);
        }
        let finish = loop {
            if answer.is_full() {
                break Finish::Length;
            }
            if cancel.load(Relaxed) {
                break Finish::Cancelled;
            }
            match self.choose(&mut answer, &mut on)? {
                Next::End(finish) => break finish,
                Next::GoBack(n) if !self.go_back(n, request.keep, cancel)? => {
                    break unless(cancel, Finish::Banned);
                }
                Next::GoBack(_) => {}
                Next::Feed(id) => {
                    if self.tokens().len() == self.ctx() && !self.make_room(request, cancel, &mut on)? {
                        break unless(cancel, Finish::Context);
                    }
                    self.go_on(id, &mut answer, cancel)?;
                }
            }
        };
        self.drop_guesses();
        outcome.n_generated = answer.n_generated();
        outcome.finish = answer.end(finish, on);
        if outcome.finish != Finish::Cancelled
            && let Some((tokens, speculator)) = self.answer_and_speculator(outcome.n_generated)
        {
            speculator.learn(tokens);
        }
        outcome.guesses = self.speculator().map(|speculator| speculator.take_tally(0)).unwrap_or_default();
        Ok(outcome)
    }

    /// Takes the last `n` tokens back and computes the logits before them again; `false` when that would reach into the
    /// first `keep`.
    fn go_back(&mut self, n: usize, keep: usize, cancel: &AtomicBool) -> Result<bool> {
        let len = self.tokens().len();
        if n == 0 {
            return Ok(true);
        }
        if n + keep.max(1) > len {
            return Ok(false);
        }
        let last = self.tokens()[len - n - 1];
        self.truncate(len - n - 1);
        self.feed(&[last], cancel, |_| ())?;
        Ok(true)
    }

    /// Drops the older half of what may be dropped and recomputes the rest; `false` when the request forbids it.
    fn make_room(
        &mut self,
        request: &Request<'_>,
        cancel: &AtomicBool,
        on: &mut impl FnMut(Event<'_>),
    ) -> Result<bool> {
        let (keep, n) = (request.keep, self.tokens().len());
        if request.overflow == Overflow::Error || keep + 2 > n {
            return Ok(false);
        }
        let n_dropped = (n - keep).div_ceil(2);
        let tail = self.tokens()[keep + n_dropped..].to_vec();
        on(Event::Dropped { n_tokens: n_dropped });
        self.truncate(keep);
        self.feed(&tail, cancel, |_| ())
    }
}

/// Why an answer ended that could not go on: it was cancelled meanwhile, or else `finish`.
fn unless(cancel: &AtomicBool, finish: Finish) -> Finish {
    if cancel.load(Relaxed) { Finish::Cancelled } else { finish }
}

/// The prompt without its oldest tokens when it does not fit as it is: `(prompt, ctx, (overflow, keep, max_tokens), on)`.
pub(crate) fn fit_prompt(
    prompt: &[u32],
    ctx: usize,
    (overflow, keep, max_tokens): (Overflow, usize, usize),
    on: &mut impl FnMut(Event<'_>),
) -> Result<Option<Vec<u32>>> {
    if prompt.is_empty() {
        return Err(Error::Input("the prompt is empty, expected at least one token".into()));
    }
    if prompt.len() <= ctx {
        return Ok(None);
    }
    // Room for an answer: what was asked for, but not more than a quarter of the context.
    let room = ctx - max_tokens.min(ctx / 4);
    let keep = keep.min(prompt.len());
    if overflow == Overflow::Error || keep >= room {
        return Err(Error::PromptTooLong { tokens: prompt.len(), ctx });
    }
    let tail = prompt.len() - (room - keep);
    on(Event::Dropped { n_tokens: tail - keep });
    Ok(Some([&prompt[..keep], &prompt[tail..]].concat()))
}
