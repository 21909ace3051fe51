//! Feed-forward blocks: the half of a layer that looks across channels.
//!
//! A block is a file with its plan (what it is, as data) and its weights, and a line in each `match` below.

pub mod beside;
pub mod dense;
pub mod experts;
pub mod laurel;
pub mod per_layer;

use std::fmt::Debug;

use crate::decoder::Step;
use crate::error::Result;
use crate::scratch::{Need, Scratch};
use crate::source::Source;

/// What a layer's feed-forward block is.
#[derive(Debug, Clone)]
pub enum FfnPlan {
    /// The layer is its mixer.
    None,
    /// One block for all tokens.
    Dense(dense::Plan),
    /// Each token takes some of many.
    Experts(experts::Plan),
    /// Both.
    Beside(beside::Plan),
}

/// A feed-forward block with its weights.
pub trait Ffn: Debug + Send + Sync {
    /// Reads the input from `s.normed` and leaves the result in `s.delta`, both `(n_tokens, dim)`.
    fn forward(&self, step: &Step<'_, '_>, s: &mut Scratch);
}

impl FfnPlan {
    /// Takes the weights of the layer that `source` is in.
    pub fn read(&self, source: &mut Source<'_>, dim: usize) -> Result<Option<Box<dyn Ffn>>> {
        Ok(match self {
            Self::None => None,
            Self::Dense(plan) => Some(Box::new(dense::Dense::read(plan, source, dim, "")?)),
            Self::Experts(plan) => Some(Box::new(experts::Experts::read(plan, source, dim)?)),
            Self::Beside(plan) => Some(Box::new(beside::Beside::read(plan, source, dim)?)),
        })
    }

    /// Width inside, of one expert where there are only experts; 0 where there is no block.
    pub fn dim(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Dense(plan) => plan.dim,
            Self::Experts(plan) => plan.expert.dim,
            Self::Beside(plan) => plan.dense.dim,
        }
    }

    /// The experts in it.
    pub fn experts(&self) -> Option<&experts::Plan> {
        match self {
            Self::Experts(plan) => Some(plan),
            Self::Beside(plan) => Some(&plan.experts),
            Self::None | Self::Dense(_) => None,
        }
    }

    /// The buffers it needs.
    pub fn need(&self, dim: usize) -> Need {
        match self {
            Self::None => Need::default(),
            Self::Dense(plan) => plan.need(),
            Self::Experts(plan) => plan.need(dim),
            Self::Beside(plan) => plan.need(dim),
        }
    }
}
