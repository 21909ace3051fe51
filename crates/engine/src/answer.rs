//! One answer on its way: from a row of logits to the next token, and from tokens to text.
//!
//! It knows no cache, no clock and no other answer. Whoever owns the sequence asks [`Answer::choose`] what to do with each row of
//! logits and does it: a session for one answer ([`crate::generate`]), the engine for many at once ([`crate::run`]). So an answer is the
//! same however many share a step. A step of it: sample, turn the token into text, hold back what may become a banned string or a stop
//! string. When a banned string is complete, the sequence goes back to the token that began it and chooses again
//! (see [`crate::ban`]). A constraint takes from
//! the logits what would leave the answer's form; without one nothing is allocated per token.

use std::sync::Arc;

use crate::ban::{BanFilter, Bans};
use crate::constrain::Constraint;
use crate::error::{Error, Result};
use crate::generate::{Event, Finish};
use crate::model_file::Loaded;
use crate::sample::{Logprobs, Params, Rng, Room, SampleError, Sampler};
use crate::stop::StopFilter;
use ingle_model::token::Parse;

/// How tokens are chosen and what ends them.
#[derive(Debug, Clone)]
pub struct Choice<'a> {
    /// How tokens are chosen.
    pub params: &'a Params,
    /// Texts that end the answer and are not part of it.
    pub stop: &'a [String],
    /// The most tokens to generate.
    pub max_tokens: usize,
    /// Whether to report log-probabilities, and of how many of the best tokens beside the chosen one.
    pub logprobs: Option<usize>,
    /// The form of the answer, at its beginning.
    pub constraint: Option<&'a Constraint>,
    /// Special tokens that write their names: those that mean something to who reads the answer.
    pub shown: Arc<[u32]>,
}

/// What becomes of the sequence after a row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The token is appended.
    Feed(u32),
    /// So many tokens of the sequence are taken back, and the choice is made again from the logits before them.
    GoBack(usize),
    /// The answer is over.
    End(Finish),
}

/// An answer between its prompt and its end.
#[derive(Debug)]
pub struct Answer {
    loaded: Arc<Loaded>,
    sampler: Sampler,
    logprobs: Option<Logprobs>,
    ban: BanFilter,
    bans: Bans,
    stop: StopFilter,
    constraint: Option<Constraint>,
    max_tokens: usize,
    n_generated: usize,
}

impl Answer {
    /// An answer to `prompt`, in a sequence of up to `ctx` tokens. Allocates all it will need.
    ///
    /// # Errors
    /// When the model has no tokenizer, or the parameters can't be kept.
    pub fn new(loaded: &Arc<Loaded>, choice: &Choice<'_>, prompt: &[u32], ctx: usize) -> Result<Self> {
        let tokenizer = loaded.tokenizer()?;
        let n_vocab = loaded.model.config.vocab;
        let room = Room { n_vocab, n_past: ctx, id_of: &|text| tokenizer.id_of(text) };
        let sampler =
            Sampler::new(choice.params.clone(), &room).map_err(|source| sample_error(loaded, source))?;
        let mut answer = Self {
            sampler,
            logprobs: choice.logprobs.map(|n_top| Logprobs::new(n_top, n_vocab)),
            ban: BanFilter::new(&choice.params.banned_strings, choice.shown.clone()),
            bans: Bans::default(),
            stop: StopFilter::new(choice.stop),
            constraint: choice.constraint.cloned(),
            max_tokens: choice.max_tokens,
            n_generated: 0,
            loaded: loaded.clone(),
        };
        for &id in prompt {
            answer.sampler.accept(id, tokenizer.token_name(id).unwrap_or_default());
        }
        Ok(answer)
    }

    /// Tokens generated and not taken back, the one that ended the answer included.
    pub fn n_generated(&self) -> usize {
        self.n_generated
    }

    /// Whether no more tokens may be generated.
    pub fn is_full(&self) -> bool {
        self.n_generated >= self.max_tokens
    }

    /// Chooses the next token by `row` `(vocab)`, whose contents are lost, and tells `on` what it means.
    ///
    /// # Errors
    /// [`Error::Sample`] when the logits allow no choice, [`Error::Constraint`] when the answer can't go on in its form.
    pub fn choose(&mut self, row: &mut [f32], mut on: impl FnMut(Event<'_>)) -> Result<Next> {
        if self.is_full() {
            return Ok(Next::End(Finish::Length));
        }
        let loaded = self.loaded.clone();
        let tokenizer = loaded.tokenizer()?;
        let sample_error = |source: SampleError| sample_error(&loaded, source);
        let place = self.n_generated;
        if let Some(logprobs) = &mut self.logprobs {
            logprobs.read(row).map_err(sample_error)?;
        }
        if let Some(constraint) = &mut self.constraint {
            if constraint.must_end() && tokenizer.ending().is_empty() {
                return Ok(Next::End(Finish::EndOfText));
            }
            constraint.mask(row)?;
        }
        let banned = self.bans.apply(place, place - self.ban.n_held(), row);
        let id = match self.sampler.sample(row) {
            Err(SampleError::NothingLeft) if banned => return Ok(Next::End(Finish::Banned)),
            sampled => sampled.map_err(sample_error)?,
        };
        self.sampler.accept(id, tokenizer.token_name(id).unwrap_or_default());
        self.constraint.as_mut().map_or(Ok(()), |constraint| constraint.accept(id))?;
        self.n_generated += 1;
        if let Some(logprobs) = &mut self.logprobs {
            logprobs.choose(id);
            on(Event::Logprobs(logprobs));
        }
        on(Event::Token(id));
        if tokenizer.is_eog(id) {
            return Ok(Next::End(Finish::EndOfText));
        }
        let (stop, mut stopped) = (&mut self.stop, false);
        let found =
            self.ban.push(tokenizer, id, |text| stopped |= stop.push(text, |text| on(Event::Text(text))));
        if stopped {
            return Ok(Next::End(Finish::Stop(self.stop.stopped_by().unwrap_or(0))));
        }
        let Some(found) = found else { return Ok(Next::Feed(id)) };
        self.n_generated -= found.n_tokens;
        self.sampler.take_back(found.n_tokens);
        self.constraint.as_mut().map_or(Ok(()), |constraint| constraint.take_back(found.n_tokens))?;
        on(Event::TakenBack { n_tokens: found.n_tokens });
        let goes_on = self.bans.add(self.n_generated, found.id, place);
        // The last of them was never appended.
        Ok(if goes_on { Next::GoBack(found.n_tokens - 1) } else { Next::End(Finish::Banned) })
    }

    /// Plays on without saying anything: whoever guesses the next tokens chooses them as this answer would.
    pub fn rehearse(&mut self) -> Rehearsal<'_> {
        let rng = self.sampler.rng().clone();
        Rehearsal { answer: self, rng, n_accepted: 0, n_form: 0 }
    }

    /// Appends to `to` at most `n` tokens of the text that comes next whatever the model says, by the answer's form. The model may still
    /// write that text in other tokens.
    ///
    /// # Errors
    /// When the model has no tokenizer, or one that has no tokens for them.
    pub fn forced(&mut self, n: usize, to: &mut Vec<u32>) -> Result<()> {
        let Some(constraint) = &self.constraint else { return Ok(()) };
        let bytes = constraint.forced();
        // A character may be cut.
        let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        if text.is_empty() {
            return Ok(());
        }
        let (loaded, first) = (&self.loaded, to.len());
        let encoded = loaded.tokenizer()?.encode(text, Parse::Text, to);
        encoded.map_err(|source| loaded.file.model_error(source))?;
        to.truncate(first + n);
        Ok(())
    }

    /// The most tokens that may still be chosen.
    pub fn n_left(&self) -> usize {
        self.max_tokens.saturating_sub(self.n_generated)
    }

    /// The answer is over: gives out the text that was held back. Returns why it ended, which that text may change.
    pub fn end(&mut self, finish: Finish, mut on: impl FnMut(Event<'_>)) -> Finish {
        let (stop, mut stopped) = (&mut self.stop, false);
        self.ban.finish(|text| stopped |= stop.push(text, |text| on(Event::Text(text))));
        stop.finish(|text| on(Event::Text(text)));
        if stopped && finish != Finish::Cancelled {
            return Finish::Stop(self.stop.stopped_by().unwrap_or(0));
        }
        finish
    }
}

/// An answer whose next tokens are tried out; when it is dropped, the answer is as it was before.
#[derive(Debug)]
pub struct Rehearsal<'a> {
    answer: &'a mut Answer,
    rng: Rng,
    n_accepted: usize,
    n_form: usize,
}

impl Rehearsal<'_> {
    /// What the answer would choose by `row` `(vocab)`, whose contents are lost, and if `other` the most probable token beside it; `None`
    /// where it would end, or can't go on.
    pub fn guess(&mut self, row: &mut [f32], other: bool) -> Option<(u32, Option<u32>)> {
        let Answer { sampler, constraint, loaded, .. } = &mut *self.answer;
        let tokenizer = loaded.tokenizer().ok()?;
        if let Some(constraint) = constraint {
            constraint.mask(row).ok()?;
        }
        let (id, other) = sampler.guess(row, other).ok()?;
        if tokenizer.is_eog(id) {
            return None;
        }
        sampler.accept(id, tokenizer.token_name(id).unwrap_or_default());
        self.n_accepted += 1;
        if let Some(constraint) = constraint {
            constraint.accept(id).ok()?;
            self.n_form += 1;
        }
        Some((id, other))
    }
}

impl Drop for Rehearsal<'_> {
    fn drop(&mut self) {
        let Answer { sampler, constraint, .. } = &mut *self.answer;
        sampler.take_back(self.n_accepted);
        sampler.return_to(self.rng.clone());
        if let Some(constraint) = constraint.as_mut().filter(|_| self.n_form > 0) {
            // What was accepted can be taken back; if not, the choice will say so.
            let _ = constraint.take_back(self.n_form);
        }
    }
}

fn sample_error(loaded: &Loaded, source: SampleError) -> Error {
    Error::Sample { file: loaded.file.name().to_owned(), source }
}
