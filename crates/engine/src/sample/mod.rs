//! From a row of logits to the next token.
//!
//! A [`Sampler`] is a list of stages, each of which changes the candidates, and a draw with one random number. The shelf
//! [`STAGES`] holds every stage with its settings and its source; [`Params`] holds the values. The order is that of the
//! shelf, which is llama.cpp's, unless [`Params::samplers`] says otherwise; a stage that is off is not made and costs
//! nothing. At temperature 0 only the stages that change logits by the text run, then the best token wins, the lowest id
//! among equals, and no random number is used.
//!
//! Everything past the exponential is integer arithmetic where it can be (see `weight.rs`), candidates stay in order of id, the
//! draw is a race in which near distributions choose alike (`race.rs`), and all random numbers come from one generator: XTC takes one for each token while it is on, then the draw takes one. So
//! the same logits, parameters and seed give the same tokens, whatever the threads or the chunk. Only DRY, typical,
//! top-n-sigma, dynamic temperature and mirostat compute in f64, in a fixed order; the last two need a logarithm or a
//! power, whose last bit may differ between systems' mathematics libraries.
//!
//! It does not keep grammars or schemas: a constraint sets forbidden logits to minus infinity before it asks. Banned
//! strings need the text and are [`crate::generate`]'s.

mod error;
mod logprobs;
mod mass;
mod params;
mod pool;
mod race;
mod rng;
mod setting;
mod tail;
mod weight;

mod dry;
mod logit_bias;
mod min_p;
mod mirostat;
mod penalties;
mod temperature;
mod top_k;
mod top_n_sigma;
mod top_p;
mod typical;
mod xtc;

#[cfg(test)]
mod tests;

use std::fmt::Debug;

pub use error::SampleError;
pub use logprobs::{LOGPROBS_MAX, Logprob, Logprobs};
pub use params::{Bias, BiasToken, Params};
pub use pool::{Candidate, Pool};
pub use rng::Rng;
pub use setting::{Kind, Setting, TOKENS_MAX, listable, settings};

/// One kind of step from logits to a choice.
#[derive(Debug)]
pub struct Stage {
    /// The name users write.
    pub name: &'static str,
    /// Other names it goes by in other programs, with `-` for `_`.
    pub aliases: &'static [&'static str],
    /// One sentence: what it does.
    pub about: &'static str,
    /// The paper or pull request it is from.
    pub source: &'static str,
    /// Where it may stand.
    pub role: Role,
    /// Its settings.
    pub settings: &'static [Setting],
    /// Whether these parameters switch it on.
    pub wants: fn(&Params) -> bool,
    /// Makes it ready for one sequence, allocating all it will need.
    pub make: fn(&Params, &Room<'_>) -> Result<Box<dyn Step>, SampleError>,
}

impl PartialEq for Stage {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What kind of change a stage makes, which says where it may stand and when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Always runs, before all others; no list names it.
    First,
    /// Changes logits by what was said; runs at temperature 0 too.
    Logits,
    /// Drops candidates.
    Filter,
    /// Makes the differences between logits smaller or larger.
    Scale,
    /// Drops candidates and learns from the draw: only the end of a list.
    Last,
}

/// A stage at work on one sequence.
pub trait Step: Debug + Send {
    /// Changes the candidates; at least one stays.
    fn apply(&mut self, pool: &mut Pool<'_>, rng: &mut Rng);

    /// A token with these bytes was added to the text.
    fn accept(&mut self, _id: u32, _bytes: &[u8]) {}

    /// The last `n` accepted tokens were taken back.
    fn take_back(&mut self, _n: usize) {}

    /// A candidate of this probability, among those that were left, was drawn.
    fn drawn(&mut self, _probability: f64) {}
}

/// Every stage, in the default order, which is llama.cpp's.
pub static STAGES: &[&Stage] = &[
    &logit_bias::STAGE,
    &penalties::STAGE,
    &dry::STAGE,
    &top_n_sigma::STAGE,
    &top_k::STAGE,
    &typical::STAGE,
    &top_p::STAGE,
    &min_p::STAGE,
    &xtc::STAGE,
    &temperature::STAGE,
    &mirostat::STAGE,
];

/// What a sampler must know about the model and the session.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    /// Logits in a row.
    pub n_vocab: usize,
    /// The most tokens that any stage looks back on: the context.
    pub n_past: usize,
    /// The token that writes exactly this text.
    pub id_of: &'a dyn Fn(&str) -> Option<u32>,
}

impl Room<'_> {
    /// A vocabulary without texts, and a context of 8192.
    pub fn plain(n_vocab: usize) -> Self {
        Self { n_vocab, n_past: 8192, id_of: &|_| None }
    }
}

/// Chooses tokens for one sequence.
#[derive(Debug)]
pub struct Sampler {
    params: Params,
    n_vocab: usize,
    steps: Vec<Box<dyn Step>>,
    rng: Rng,
    ids: Vec<u32>,
    scratch: Vec<Candidate>,
}

impl Sampler {
    /// A sampler for rows of `room.n_vocab` logits. Allocates all it will need.
    ///
    /// # Errors
    /// [`SampleError::Param`], as [`Params::check`], and for a bias on a text that is not one token.
    pub fn new(params: Params, room: &Room<'_>) -> Result<Self, SampleError> {
        params.check()?;
        let greedy = params.is_greedy();
        let runs =
            |s: &&Stage| (s.wants)(&params) && (!greedy || matches!(s.role, Role::First | Role::Logits));
        let steps: Result<_, _> =
            params.order()?.into_iter().filter(runs).map(|stage| (stage.make)(&params, room)).collect();
        let capacity = if greedy { 0 } else { room.n_vocab };
        Ok(Self {
            steps: steps?,
            n_vocab: room.n_vocab,
            rng: Rng::new(params.seed),
            ids: Vec::with_capacity(capacity),
            scratch: Vec::with_capacity(capacity),
            params,
        })
    }

    /// What it was built with.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Tells the stages that `id`, which writes `bytes`, is part of the text, chosen or given; an id outside the vocabulary
    /// is ignored.
    pub fn accept(&mut self, id: u32, bytes: &[u8]) {
        if (id as usize) < self.n_vocab {
            self.steps.iter_mut().for_each(|step| step.accept(id, bytes));
        }
    }

    /// Undoes the last `n` calls of [`Self::accept`]. Random numbers are not given back, and mirostat keeps what it has
    /// learned: a choice that is made again is a new choice.
    pub fn take_back(&mut self, n: usize) {
        self.steps.iter_mut().for_each(|step| step.take_back(n));
    }

    /// Chooses the next token from `logits` `(n_vocab)`, whose contents are lost. The token counts as said once it is
    /// [accepted](Self::accept).
    ///
    /// # Errors
    /// When a logit is NaN or plus infinity, all are minus infinity, or their number is wrong.
    pub fn sample(&mut self, logits: &mut [f32]) -> Result<u32, SampleError> {
        let (id, probability, _) = self.choose(logits)?;
        if let Some(probability) = probability {
            self.steps.iter_mut().for_each(|step| step.drawn(probability));
        }
        Ok(id)
    }

    /// What would be chosen from `logits` `(n_vocab)`, whose contents are lost, and if `other` the most probable of the others. Takes the
    /// random numbers that a choice takes, and learns nothing.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn guess(&mut self, logits: &mut [f32], other: bool) -> Result<(u32, Option<u32>), SampleError> {
        let (id, _, mut left) = self.choose(logits)?;
        if !other {
            return Ok((id, None));
        }
        left.adjust(id, |_| f32::NEG_INFINITY);
        Ok((id, left.best().ok().map(|other| other.id)))
    }

    /// The random numbers that are still to come.
    pub fn rng(&self) -> &Rng {
        &self.rng
    }

    /// Comes back to random numbers that were to come before.
    pub fn return_to(&mut self, rng: Rng) {
        self.rng = rng;
    }

    /// The choice, its probability if it was drawn, and what it was made from.
    fn choose<'a>(&'a mut self, logits: &'a mut [f32]) -> Result<(u32, Option<f64>, Pool<'a>), SampleError> {
        if logits.len() != self.n_vocab {
            return Err(SampleError::Length { found: logits.len(), expected: self.n_vocab });
        }
        let mut pool = Pool::new(logits, &mut self.ids, &mut self.scratch);
        if !self.steps.is_empty() {
            // What is broken must not pass as a bias or a penalty.
            pool.best()?;
        }
        for step in &mut self.steps {
            step.apply(&mut pool, &mut self.rng);
        }
        if self.params.is_greedy() {
            return Ok((pool.best()?.id, None, pool));
        }
        let (id, probability) = pool.draw(&mut self.rng)?;
        Ok((id, Some(probability), pool))
    }
}
