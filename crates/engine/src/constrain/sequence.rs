//! A constraint at work on one answer.
//!
//! For every token: [`Constraint::mask`] takes from a row of logits what can't come next, [`Constraint::accept`] goes on with
//! the choice, [`Constraint::take_back`] goes back. Clones at the same place share what was learnt of the grammar, so that
//! many answers to one request cost one compilation.
//!
//! A model that thinks first does so before its form begins: [`Constraint::after_thoughts`] and `lead`. Numbers of JSON are kept
//! to what its readers hold: `number`.

use std::fmt;
use std::sync::Arc;

use llguidance::toktrie::SimpleVob;
use llguidance::{Matcher, TokenParser};

use super::Holds;
use super::lead::{Lead, Step};
use super::number::Numbers;
use super::vocabulary::{Vocabulary, one_line};
use crate::error::{Error, Result};
use crate::output::{Format, Reasoning};

/// What may come next in one answer.
#[derive(Clone)]
pub struct Constraint {
    vocabulary: Arc<Vocabulary>,
    matcher: Matcher,
    holds: Holds,
    /// Tokens that the matcher has taken.
    n_matched: usize,
    /// Tokens since the form was known to have begun.
    n_form: usize,
    /// Whether what was written may be of the form: the matcher took all of it.
    matches: bool,
    /// Whether the end was accepted where nothing else could come, which the matcher has no step for.
    ended: bool,
    /// The numbers of an answer that is JSON.
    numbers: Option<Numbers>,
    lead: Option<Lead>,
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraint").field("n_matched", &self.n_matched).finish_non_exhaustive()
    }
}

impl Constraint {
    pub(super) fn new(
        parser: TokenParser,
        vocabulary: Arc<Vocabulary>,
        holds: Holds,
    ) -> std::result::Result<Self, String> {
        let mut matcher = Matcher::new(Ok(parser));
        // A grammar that nothing satisfies shows here.
        matcher.compute_mask_or_eos().map_err(|e| match one_line(&e) {
            reason if reason.is_empty() || reason.starts_with("NoExtension") => {
                "nothing can satisfy it".into()
            }
            reason => reason,
        })?;
        let numbers = holds.json.then(|| Numbers::new(holds.bounds));
        let (n_matched, n_form) = (0, 0);
        Ok(Self {
            vocabulary,
            matcher,
            holds,
            n_matched,
            n_form,
            matches: true,
            ended: false,
            numbers,
            lead: None,
        })
    }

    /// This constraint, to begin behind the thoughts of an answer of `format`. `inside` are those that the prompt left open
    /// ([`Format::opened_by`]); otherwise the answer may open some, or begin with its form.
    #[must_use]
    pub fn after_thoughts(self, format: &Format, inside: Option<&'static Reasoning>) -> Self {
        // A grammar of calls holds what its format writes before them.
        let lead = match self.holds.calls && format.before_text.is_some() {
            true => None,
            false => Lead::new(&self.vocabulary, format, inside),
        };
        Self { lead, ..self }
    }

    /// Sets to minus infinity in `row` `(n_vocab)` what can't come next. Rows may be longer than the vocabulary.
    ///
    /// # Errors
    /// [`Error::Constraint`] when the grammar is too complex at this place, or nothing can come next.
    pub fn mask(&mut self, row: &mut [f32]) -> Result<()> {
        let Some(lead) = self.lead.as_ref().filter(|lead| !lead.is_over()) else {
            return self.mask_form(row);
        };
        let vocabulary = self.vocabulary.clone();
        if lead.is_thinking() {
            lead.forbidden(&vocabulary, |id| forbid(row, id));
            return Ok(());
        }
        let mut before = Vec::new();
        lead.allowed(&vocabulary, |id| before.extend(row.get(id as usize).map(|&logit| (id, logit))));
        if self.matches {
            self.mask_form(row)?;
        } else {
            row.fill(f32::NEG_INFINITY);
        }
        before.into_iter().for_each(|(id, logit)| row[id as usize] = logit);
        Ok(())
    }

    fn mask_form(&mut self, row: &mut [f32]) -> Result<()> {
        let allowed = self.matcher.compute_mask_or_eos().map_err(|e| failed(&e))?;
        apply(&allowed, row);
        if let Some(numbers) = &self.numbers {
            let vocabulary = &self.vocabulary;
            numbers.mask(vocabulary.numerals(), |id| vocabulary.bytes(id), |id| forbid(row, id));
        }
        Ok(())
    }

    /// Goes on with token `id`.
    ///
    /// # Errors
    /// [`Error::Constraint`] when `id` can't come next.
    pub fn accept(&mut self, id: u32) -> Result<()> {
        let Some(lead) = self.lead.as_mut().filter(|lead| !lead.is_over()) else {
            self.accept_form(id)?;
            self.n_form += 1;
            return Ok(());
        };
        let may_be = self.matches && !lead.is_thinking();
        let in_form = may_be && self.matcher.validate_tokens(&[id]).map_err(|e| failed(&e))? == 1;
        match lead.accept(&self.vocabulary, id, in_form) {
            Step::Form if self.matches => self.accept_form(id),
            Step::Form => Err(failed(&"neither thoughts nor the form begin so")),
            Step::Before => self.forget(),
            Step::Either => {
                self.matches = in_form;
                if in_form { self.accept_form(id) } else { Ok(()) }
            }
        }
    }

    fn accept_form(&mut self, id: u32) -> Result<()> {
        if self.must_end() && !self.ended && self.vocabulary.ending().contains(&id) {
            self.ended = true;
            return Ok(());
        }
        let numbers = self.numbers.as_mut();
        if numbers.is_some_and(|numbers| !numbers.accept(self.vocabulary.bytes(id))) {
            return Err(failed(&"the number is too large for 64 bits"));
        }
        self.matcher.consume_token(id).map_err(|e| failed(&e))?;
        self.n_matched += 1;
        Ok(())
    }

    /// The form has not begun: what was written was none of it.
    fn forget(&mut self) -> Result<()> {
        if self.matches && self.n_matched == 0 {
            return Ok(());
        }
        self.matcher.rollback(std::mem::take(&mut self.n_matched)).map_err(|e| failed(&e))?;
        self.numbers.iter_mut().for_each(Numbers::reset);
        self.matches = true;
        Ok(())
    }

    /// Undoes the last `n` calls of [`Self::accept`].
    ///
    /// # Errors
    /// [`Error::Constraint`] when there were fewer.
    pub fn take_back(&mut self, n: usize) -> Result<()> {
        if n == 0 {
            return Ok(());
        }
        let ended = std::mem::take(&mut self.ended);
        if n <= self.n_form {
            let n_matched = n - usize::from(ended);
            self.matcher.rollback(n_matched).map_err(|e| failed(&e))?;
            self.numbers.iter_mut().for_each(|numbers| numbers.take_back(n_matched));
            self.n_matched -= n_matched;
            self.n_form -= n;
            return Ok(());
        }
        let too_many =
            || Error::Constraint(format!("{n} tokens were taken back, of which some were never accepted"));
        let lead = self.lead.as_mut().ok_or_else(too_many)?;
        let n_left = lead.ids().len().checked_sub(n - self.n_form).ok_or_else(too_many)?;
        let left = lead.ids()[..n_left].to_vec();
        lead.reset();
        self.n_form = 0;
        self.forget()?;
        left.into_iter().try_for_each(|id| self.accept(id))
    }

    /// Whether the answer may end here.
    pub fn may_end(&mut self) -> bool {
        self.matches
            && !self.is_thinking()
            && (self.must_end() || self.matcher.is_accepting().unwrap_or(false))
    }

    /// Whether nothing but an end can come next.
    pub fn must_end(&self) -> bool {
        self.has_begun() && self.matcher.is_stopped() && self.matcher.stop_reason().is_ok()
    }

    /// Whether thoughts are being written.
    pub fn is_thinking(&self) -> bool {
        self.lead.as_ref().is_some_and(Lead::is_thinking)
    }

    /// Whether the form has begun: no thoughts are being written, nor may what was written become some.
    pub fn has_begun(&self) -> bool {
        self.lead.as_ref().is_none_or(Lead::is_over)
    }

    /// The bytes that must come next, whatever the model says: a draft that costs nothing. Empty where there is a choice.
    pub fn forced(&self) -> Vec<u8> {
        // On a clone, as the library goes on by itself over bytes it was asked for.
        if !self.has_begun() || self.must_end() {
            Vec::new()
        } else {
            self.matcher.clone().compute_ff_bytes()
        }
    }
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

fn forbid(row: &mut [f32], id: u32) {
    if let Some(logit) = row.get_mut(id as usize) {
        *logit = f32::NEG_INFINITY;
    }
}

fn failed(e: &dyn fmt::Display) -> Error {
    Error::Constraint(format!("the answer can't go on in its form: {}", one_line(e)))
}
