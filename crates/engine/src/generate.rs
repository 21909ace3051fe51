//! One answer: a prompt goes in, events come out, until something ends it.
//!
//! The loop is short: sample from the last logits, turn the token into text, hold back what may become a stop string, feed
//! the token. It allocates nothing per token. Which clock measures it is the caller's business: events come at the moments
//! that matter.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ingle_model::token::{Detokenizer, Place, Render};

use crate::error::{Error, Result};
use crate::sample::{Params, SampleError, Sampler};
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
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// A token was chosen. Its text may come later, or never when it ends the answer.
    Token(u32),
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
    /// Tokens generated, the one that ended the answer included.
    pub n_generated: usize,
}

impl Session {
    /// Answers `request`, telling `on` what happens. What was generated stays in the session, so that a next prompt which
    /// continues it is cheap.
    ///
    /// # Errors
    /// [`Error::PromptTooLong`] when the prompt does not fit and nothing may be dropped, [`Error::Sample`] when the model
    /// produces no usable numbers, and whatever feeding the session returns.
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
        let mut sampler =
            Sampler::new(request.params.clone(), loaded.model.config.vocab).map_err(sample_error)?;
        let mut filter = StopFilter::new(request.stop);
        let mut detokenizer = Detokenizer::new(Render::Text, Place::Continuation);
        let mut piece = String::with_capacity(256);

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
        prompt.iter().for_each(|&id| sampler.accept(id));

        outcome.finish = loop {
            if outcome.n_generated >= request.max_tokens {
                break Finish::Length;
            }
            if cancel.load(Relaxed) {
                break Finish::Cancelled;
            }
            let id = sampler.sample(self.last_logits()).map_err(sample_error)?;
            sampler.accept(id);
            outcome.n_generated += 1;
            on(Event::Token(id));
            if tokenizer.is_eog(id) {
                break Finish::EndOfText;
            }
            piece.clear();
            detokenizer.push(tokenizer, id, &mut piece);
            if filter.push(&piece, |text| on(Event::Text(text))) {
                break Finish::Stop(filter.stopped_by().unwrap_or(0));
            }
            if self.tokens().len() == self.ctx() && !self.make_room(request, cancel, &mut on)? {
                break Finish::Context;
            }
            self.feed(&[id], cancel, |_| ())?;
        };
        piece.clear();
        detokenizer.flush(&mut piece);
        filter.push(&piece, |text| on(Event::Text(text)));
        filter.finish(|text| on(Event::Text(text)));
        Ok(outcome)
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
