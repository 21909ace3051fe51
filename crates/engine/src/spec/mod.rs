//! More than one token per step: guesses at what an answer says next, which the model judges all at once.
//!
//! Generating one token reads all the weights, and so does judging several. So a *drafter* from the shelf ([`DRAFTERS`]) guesses the next tokens, the
//! step computes the logits behind each guess, and the answer chooses from them one after the other, as it would have anyway: while its
//! choice is the guess, the next row is there already. Whoever guesses, and however well, the answer is the same token for token, at
//! every temperature: the choice is the answer's own ([`crate::answer::Answer::choose`]), made from the same logits with the same random
//! numbers. This is the coupling of drafter-invariant speculative decoding (arXiv 2408.07978): where 2211.17192 and 2302.01318 keep the
//! distribution, it keeps the sample, and a guess made with the answer's own random number ([`crate::answer::Rehearsal`]) meets it nearly as often.
//!
//! Guesses are a chain and, beside it, single tokens in place of one of it: a tree as in SpecInfer (arXiv 2305.09781), as far as a CPU has
//! rows for it. How many and whose is planned for each step ([`mod@plan`]) from what was accepted so far and what steps cost, as measured.
//! A [`Speculator`] puts all of it together, for one session or for the lanes of an engine.
//!
//! Layers that recur can't go back to the token that was chosen, so models with such layers are not drafted for.

pub mod costs;
mod draft_model;
mod drafts;
mod early_exit;
mod experience;
mod forced;
mod heads;
pub mod lookup;
pub mod ngrams;
pub mod plan;
mod prompt_lookup;
mod rollout;
mod speculator;
pub mod store;
mod tally;
mod translation;
mod words;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use ingle_model::adapter::Active;
use ingle_model::kv::Kv;

use crate::answer::Answer;
use crate::at_rest::Form;
use crate::error::{Error, Result};
use crate::model_file::Loaded;
use crate::session::SessionOptions;

pub use drafts::{Drafts, Judged};
pub use speculator::{Speculation, Speculator, Turn};
pub use tally::Tally;

/// The most guesses at a time for one answer: with the token before them as many rows as the head takes at once.
pub const DRAFTS_MAX: usize = 15;

/// One kind of drafter.
#[derive(Debug)]
pub struct Kind {
    /// The name users write.
    pub name: &'static str,
    /// What users write behind the name and a colon; empty for nothing.
    pub argument: &'static str,
    /// One sentence: what it guesses by.
    pub about: &'static str,
    /// The paper or pull request it is from.
    pub source: &'static str,
    /// Whether a guess costs no pass over any weights, so that it can be asked for before anything is decided.
    pub is_free: bool,
    /// Makes it ready, allocating all it will need.
    pub make: fn(&Plan<'_>) -> Result<Box<dyn Drafter>>,
}

/// What a drafter is made for.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The model that judges.
    pub target: &'a Arc<Loaded>,
    /// A smaller model, where one was named.
    pub draft: Option<&'a Arc<Loaded>>,
    /// Layers, where a number was given.
    pub n_layers: Option<usize>,
    /// Sequences at the same time.
    pub n_lanes: usize,
    /// Positions of each.
    pub ctx: usize,
    /// How their contexts are kept.
    pub session: SessionOptions<'a>,
    /// Where words are kept, if they may be.
    pub words: Option<WordsFile<'a>>,
}

/// A file for what answers said.
#[derive(Debug, Clone, Copy)]
pub struct WordsFile<'a> {
    /// Where.
    pub path: &'a Path,
    /// How it lies there.
    pub form: &'a Arc<dyn Form>,
    /// The most bytes of it, and in memory.
    pub bytes_max: usize,
}

/// Every kind, the most trusted of those that cost nothing first.
pub static DRAFTERS: &[&Kind] =
    &[&forced::KIND, &prompt_lookup::KIND, &words::KIND, &draft_model::KIND, &early_exit::KIND, &heads::KIND];

/// A drafter at work on some sequences.
pub trait Drafter: Debug + Send {
    /// Guesses for each of `asks`; fewer than asked for where it knows no more.
    ///
    /// # Errors
    /// When a model that drafts can't go on.
    fn draft(&mut self, target: &Target<'_>, asks: &mut [Ask<'_>]) -> Result<()>;

    /// Learns from an answer that has ended well.
    fn learn(&mut self, _answer: &[u32]) {}

    /// Writes what it learned, where that is to last.
    ///
    /// # Errors
    /// When it can't be written.
    fn save(&mut self) -> Result<()> {
        Ok(())
    }

    /// Bytes that it holds beside the weights of the model that judges.
    fn n_bytes(&self) -> u64 {
        0
    }
}

/// The model that judges.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// It.
    pub loaded: &'a Loaded,
    /// Adapters of its steps.
    pub adapters: &'a [Active],
}

/// A wish for guesses.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Which of the sequences.
    pub lane: usize,
    /// All tokens of it, those included that the cache lacks.
    pub tokens: &'a [u32],
    /// The model's cache of it; what a drafter puts there it takes away again.
    pub kv: &'a mut Kv,
    /// The answer that is to choose.
    pub answer: &'a mut Answer,
    /// How many tokens, one behind the other.
    pub n: usize,
    /// How many of those get a second guess beside them, the first ones.
    pub n_others: usize,
    /// Set to the tokens that the drafter read before its first guess.
    pub n_read: usize,
    /// Takes the guesses.
    pub drafts: &'a mut Drafts,
}

/// The kind called `name`.
///
/// # Errors
/// [`Error::Input`] when there is none.
pub fn kind(name: &str) -> Result<&'static Kind> {
    let names = || DRAFTERS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    let found = DRAFTERS.iter().find(|kind| kind.name == name).copied();
    found.ok_or_else(|| Error::Input(format!("drafter {name:?}: expected one of {}", names())))
}
