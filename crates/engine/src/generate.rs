//! One answer: a prompt goes in, events come out, until something ends it.
//!
//! The loop is short: sample from the last logits, turn the token into text, hold back what may become a banned string or a
//! stop string, feed the token. A constraint takes from the logits what would leave the answer's form. When a banned string is complete, it goes back to the token that began it and chooses
//! again (see [`crate::ban`]). Without a
//! constraint it allocates nothing per token. Which clock measures it is the caller's business: events
//! come at the moments that matter.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::ban::{BanFilter, Bans};
use crate::constrain::Constraint;
use crate::error::{Error, Result};
use crate::sample::{Logprobs, Params, Room, SampleError, Sampler};
use crate::session::Session;
use crate::stop::StopFilter;

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
}

impl Session {
    /// Answers `request`, telling `on` what happens. What was generated stays in the session, so that a next prompt which
    /// continues it is cheap.
    ///
    /// # Errors
    /// [`Error::PromptTooLong`] when the prompt does not fit and nothing may be dropped, [`Error::Sample`] when the model
    /// produces no usable numbers, [`Error::Constraint`] when the constraint can't be followed on, and whatever feeding the session returns.
    pub fn generate(
        &mut self,
        request: &Request<'_>,
        cancel: &AtomicBool,
        mut on: impl FnMut(Event<'_>),
    ) -> Result<Outcome> {
        let loaded = self.loaded().clone();
        let name = loaded.file.name();
        let tokenizer = loaded.tokenizer()?;
        let sample_error = |source: SampleError| Error::Sample { file: name.to_owned(), source };
        let n_vocab = loaded.model.config.vocab;
        let room = Room { n_vocab, n_past: self.ctx(), id_of: &|text| tokenizer.id_of(text) };
        let mut sampler = Sampler::new(request.params.clone(), &room).map_err(sample_error)?;
        let mut logprobs = request.logprobs.map(|n_top| Logprobs::new(n_top, n_vocab));
        let mut ban = BanFilter::new(&request.params.banned_strings);
        let mut bans = Bans::default();
        let mut stop = StopFilter::new(request.stop);
        let mut constraint = request.constraint.cloned();

        let cut = self.fit_prompt(request, &mut on)?;
        let prompt = cut.as_deref().unwrap_or(request.prompt);
        let total = prompt.len();
        let held = self.reusable(prompt);
        let fed = self.set(prompt, cancel, |done| on(Event::Prompt { done: held + done, total }))?;
        let mut outcome =
            Outcome { finish: Finish::Cancelled, n_prompt: total, n_reused: held, n_generated: 0 };
        if fed.is_none() {
            return Ok(outcome);
        }
        let bytes = |id| tokenizer.token_name(id).unwrap_or_default();
        prompt.iter().for_each(|&id| sampler.accept(id, bytes(id)));

        outcome.finish = loop {
            let place = outcome.n_generated;
            if place >= request.max_tokens {
                break Finish::Length;
            }
            if cancel.load(Relaxed) {
                break Finish::Cancelled;
            }
            let row = self.last_logits();
            if let Some(logprobs) = &mut logprobs {
                logprobs.read(row).map_err(sample_error)?;
            }
            if let Some(constraint) = &mut constraint {
                if constraint.must_end() && tokenizer.ending().is_empty() {
                    break Finish::EndOfText;
                }
                constraint.mask(row)?;
            }
            let banned = bans.apply(place, place - ban.n_held(), row);
            let id = match sampler.sample(row) {
                Err(SampleError::NothingLeft) if banned => break Finish::Banned,
                sampled => sampled.map_err(sample_error)?,
            };
            sampler.accept(id, bytes(id));
            constraint.as_mut().map_or(Ok(()), |constraint| constraint.accept(id))?;
            outcome.n_generated += 1;
            if let Some(logprobs) = &mut logprobs {
                logprobs.choose(id);
                on(Event::Logprobs(logprobs));
            }
            on(Event::Token(id));
            if tokenizer.is_eog(id) {
                break Finish::EndOfText;
            }
            let mut stopped = false;
            let found =
                ban.push(tokenizer, id, |text| stopped |= stop.push(text, |text| on(Event::Text(text))));
            if stopped {
                break Finish::Stop(stop.stopped_by().unwrap_or(0));
            }
            if let Some(found) = found {
                outcome.n_generated -= found.n_tokens;
                sampler.take_back(found.n_tokens);
                constraint.as_mut().map_or(Ok(()), |constraint| constraint.take_back(found.n_tokens))?;
                on(Event::TakenBack { n_tokens: found.n_tokens });
                let goes_on = bans.add(outcome.n_generated, found.id, place);
                if !goes_on || !self.go_back(found.n_tokens - 1, request.keep, cancel)? {
                    break Finish::Banned;
                }
                continue;
            }
            if self.tokens().len() == self.ctx() && !self.make_room(request, cancel, &mut on)? {
                break Finish::Context;
            }
            self.feed(&[id], cancel, |_| ())?;
        };
        let mut stopped = false;
        ban.finish(|text| stopped |= stop.push(text, |text| on(Event::Text(text))));
        stop.finish(|text| on(Event::Text(text)));
        if stopped && outcome.finish != Finish::Cancelled {
            outcome.finish = Finish::Stop(stop.stopped_by().unwrap_or(0));
        }
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

    /// The prompt without its oldest tokens when it does not fit as it is.
    fn fit_prompt(&self, request: &Request<'_>, on: &mut impl FnMut(Event<'_>)) -> Result<Option<Vec<u32>>> {
        let (prompt, ctx) = (request.prompt, self.ctx());
        if prompt.is_empty() {
            return Err(Error::Input("the prompt is empty, expected at least one token".into()));
        }
        if prompt.len() <= ctx {
            return Ok(None);
        }
        // Room for an answer: what was asked for, but not more than a quarter of the context.
        let room = ctx - request.max_tokens.min(ctx / 4);
        let keep = request.keep.min(prompt.len());
        if request.overflow == Overflow::Error || keep >= room {
            return Err(Error::PromptTooLong { tokens: prompt.len(), ctx });
        }
        let tail = prompt.len() - (room - keep);
        on(Event::Dropped { n_tokens: tail - keep });
        Ok(Some([&prompt[..keep], &prompt[tail..]].concat()))
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
