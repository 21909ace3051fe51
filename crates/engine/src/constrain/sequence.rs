//! A constraint at work on one answer.
//!
//! For every token: [`Constraint::mask`] takes from a row of logits what can't come next, [`Constraint::accept`] goes on with
//! the choice, [`Constraint::take_back`] goes back. Clones at the same place share what was learnt of the grammar, so that
//! many answers to one request cost one compilation.
//!
//! For models that think first, [`Constraint::after`] lets a constraint begin only when a text (`</think>`) has been
//! written. Until then every token is free, but none that ends the answer, and none that has something other than white
//! space behind that text.

use std::fmt;
use std::sync::Arc;

use llguidance::toktrie::SimpleVob;
use llguidance::{Matcher, TokenParser};

use super::vocabulary::{STRUCTURE, Vocabulary, one_line};
use crate::error::{Error, Result};
use crate::pattern::Pattern;

/// What may come next in one answer.
#[derive(Clone)]
pub struct Constraint {
    vocabulary: Arc<Vocabulary>,
    matcher: Matcher,
    /// Accepted since the constraint began.
    n_accepted: usize,
    /// Whether the end was accepted where nothing else could come, which the matcher has no step for.
    ended: bool,
    wait: Option<Wait>,
}

/// What comes before the constraint begins.
#[derive(Clone)]
struct Wait {
    /// The text that begins it.
    marker: Pattern,
    /// Tokens that may write the marker and more than white space behind it.
    forbidden: Vec<u32>,
    /// Tokens before the constraint began.
    ids: Vec<u32>,
    over: bool,
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraint").field("n_accepted", &self.n_accepted).finish_non_exhaustive()
    }
}

impl Constraint {
    pub(super) fn new(parser: TokenParser, vocabulary: Arc<Vocabulary>) -> std::result::Result<Self, String> {
        let mut matcher = Matcher::new(Ok(parser));
        // A grammar that nothing satisfies shows here.
        matcher.compute_mask_or_eos().map_err(|e| match one_line(&e) {
            reason if reason.is_empty() || reason.starts_with("NoExtension") => {
                "nothing can satisfy it".into()
            }
            reason => reason,
        })?;
        Ok(Self { vocabulary, matcher, n_accepted: 0, ended: false, wait: None })
    }

    /// This constraint, to begin after the first `marker` that is written: a text, or the name of a token.
    #[must_use]
    pub fn after(self, marker: &str) -> Self {
        if marker.is_empty() {
            return self;
        }
        let goes_on = |id: &u32| ends_and_goes_on(text_or_name(&self.vocabulary, *id), marker);
        let forbidden = (0..self.vocabulary.n_vocab() as u32).filter(goes_on).collect();
        let wait = Wait { marker: Pattern::new(marker), forbidden, ids: Vec::new(), over: false };
        Self { wait: Some(wait), ..self }
    }

    /// Sets to minus infinity in `row` `(n_vocab)` what can't come next. Rows may be longer than the vocabulary.
    ///
    /// # Errors
    /// [`Error::Constraint`] when the grammar is too complex at this place, or nothing can come next.
    pub fn mask(&mut self, row: &mut [f32]) -> Result<()> {
        if let Some(wait) = self.wait.as_ref().filter(|wait| !wait.over) {
            for &id in self.vocabulary.ending().iter().chain(&wait.forbidden) {
                if let Some(logit) = row.get_mut(id as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
            return Ok(());
        }
        let allowed = self.matcher.compute_mask_or_eos().map_err(|e| failed(&e))?;
        apply(&allowed, row);
        Ok(())
    }

    /// Goes on with token `id`.
    ///
    /// # Errors
    /// [`Error::Constraint`] when `id` can't come next.
    pub fn accept(&mut self, id: u32) -> Result<()> {
        if let Some(wait) = self.wait.as_mut().filter(|wait| !wait.over) {
            wait.push(&self.vocabulary, id);
            return Ok(());
        }
        if self.must_end() && !self.ended && self.vocabulary.ending().contains(&id) {
            self.ended = true;
            return Ok(());
        }
        self.matcher.consume_token(id).map_err(|e| failed(&e))?;
        self.n_accepted += 1;
        Ok(())
    }

    /// Undoes the last `n` calls of [`Self::accept`].
    ///
    /// # Errors
    /// [`Error::Constraint`] when there were fewer.
    pub fn take_back(&mut self, n: usize) -> Result<()> {
        let n = n - usize::from(n > 0 && std::mem::take(&mut self.ended));
        let n_inside = n.min(self.n_accepted);
        self.matcher.rollback(n_inside).map_err(|e| failed(&e))?;
        self.n_accepted -= n_inside;
        let n_before = n - n_inside;
        match &mut self.wait {
            _ if n_before == 0 => Ok(()),
            Some(wait) if wait.ids.len() >= n_before => {
                wait.take_back(&self.vocabulary, n_before);
                Ok(())
            }
            _ => {
                Err(Error::Constraint(format!("{n_before} tokens were taken back that were never accepted")))
            }
        }
    }

    /// Whether the answer may end here.
    pub fn may_end(&mut self) -> bool {
        !self.is_waiting() && (self.must_end() || self.matcher.is_accepting().unwrap_or(false))
    }

    /// Whether nothing but an end can come next.
    pub fn must_end(&self) -> bool {
        !self.is_waiting() && self.matcher.is_stopped() && self.matcher.stop_reason().is_ok()
    }

    /// Whether the text that begins the constraint has not been written yet.
    pub fn is_waiting(&self) -> bool {
        self.wait.as_ref().is_some_and(|wait| !wait.over)
    }

    /// The bytes that must come next, whatever the model says: a draft that costs nothing. Empty where there is a choice.
    pub fn forced(&self) -> Vec<u8> {
        // On a clone, as the library goes on by itself over bytes it was asked for.
        if self.is_waiting() || self.must_end() {
            Vec::new()
        } else {
            self.matcher.clone().compute_ff_bytes()
        }
    }
}

impl Wait {
    fn push(&mut self, vocabulary: &Vocabulary, id: u32) {
        self.ids.push(id);
        self.over |=
            text_or_name(vocabulary, id).iter().fold(false, |found, &b| found | self.marker.advance(b));
    }

    fn take_back(&mut self, vocabulary: &Vocabulary, n: usize) {
        let ids = std::mem::take(&mut self.ids);
        self.over = false;
        self.marker.reset();
        ids[..ids.len() - n].iter().for_each(|&id| self.push(vocabulary, id));
    }
}

/// What token `id` writes, or what it is called when it is structure.
fn text_or_name(vocabulary: &Vocabulary, id: u32) -> &[u8] {
    let bytes = vocabulary.bytes(id);
    bytes.strip_prefix(&[STRUCTURE]).unwrap_or(bytes)
}

/// Whether `bytes` may complete `marker` and have more than white space behind it.
fn ends_and_goes_on(bytes: &[u8], marker: &str) -> bool {
    let marker = marker.as_bytes();
    (1..=bytes.len()).any(|end| {
        let n = end.min(marker.len());
        let completes = bytes[end - n..end] == marker[marker.len() - n..] && (n == marker.len() || n == end);
        completes && !bytes[end..].iter().all(u8::is_ascii_whitespace)
    })
}

/// Minus infinity for all that is not `allowed`.
fn apply(allowed: &SimpleVob, row: &mut [f32]) {
    let (words, n_allowed) = (allowed.as_slice(), allowed.len().min(row.len()));
    let (inside, outside) = row.split_at_mut(n_allowed);
    outside.fill(f32::NEG_INFINITY);
    for (logits, &word) in inside.chunks_mut(32).zip(words) {
        match word {
            0 => logits.fill(f32::NEG_INFINITY),
            u32::MAX => {}
            _ => {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

fn failed(e: &dyn fmt::Display) -> Error {
    Error::Constraint(format!("the answer can't go on in its form: {}", one_line(e)))
}
