//! Mixers: the half of a layer that looks across positions.
//!
//! A mixer is a file with its plan (what it is, as data) and its weights, and a line in each `match` below. What it remembers
//! of a sequence lies in the sequence's cache ([`crate::kv`]).

pub mod attention;
mod conv;
pub mod delta_net;
mod heads;
pub mod mamba;
pub mod mamba2;
pub mod short_conv;
pub mod sum;

use std::fmt::Debug;

use crate::decoder::Step;
use crate::error::Result;
use crate::kv::StateShape;
use crate::scratch::{Need, Scratch};
use crate::source::Source;

/// What a layer's mixer is.
#[derive(Debug, Clone)]
pub enum MixerPlan {
    /// The layer is its feed-forward block.
    None,
    /// Softmax attention over cached keys and values.
    Attention(attention::Plan),
    /// A gated convolution over the last few positions.
    ShortConv(short_conv::Plan),
    /// A state space model with a decay per channel and row.
    Mamba(mamba::Plan),
    /// A state space model with a decay per head.
    Mamba2(mamba2::Plan),
    /// Linear attention by the gated delta rule.
    DeltaNet(delta_net::Plan),
    /// Attention and one of the others side by side.
    Sum(sum::Plan),
}

/// A mixer with its weights.
pub trait Mixer: Debug + Send + Sync {
    /// Reads the input from `s.normed` and leaves the result in `s.delta`, both `(n_tokens, dim)`; takes every span's tokens
    /// into what its cache remembers.
    fn forward(&self, step: &mut Step<'_, '_>, s: &mut Scratch);
}

impl MixerPlan {
    /// Takes the weights of the layer that `source` is in.
    pub fn read(&self, source: &mut Source<'_>, dim: usize) -> Result<Option<Box<dyn Mixer>>> {
        Ok(Some(match self {
            Self::None => return Ok(None),
            Self::Attention(plan) => Box::new(attention::Attention::read(plan, source, dim)?),
            Self::ShortConv(plan) => Box::new(short_conv::ShortConv::read(*plan, source)?),
            Self::Mamba(plan) => Box::new(mamba::Mamba::read(*plan, source, dim)?),
            Self::Mamba2(plan) => Box::new(mamba2::Mamba2::read(*plan, source, dim)?),
            Self::DeltaNet(plan) => Box::new(delta_net::DeltaNet::read(*plan, source, dim)?),
            Self::Sum(plan) => Box::new(sum::Sum::read(plan, source)?),
        }))
    }

    /// The attention in it.
    pub fn attention(&self) -> Option<&attention::Plan> {
        match self {
            Self::Attention(plan) | Self::Sum(sum::Plan { attention: plan, .. }) => Some(plan),
            _ => None,
        }
    }

    /// The attention in it, to be changed.
    pub fn attention_mut(&mut self) -> Option<&mut attention::Plan> {
        match self {
            Self::Attention(plan) | Self::Sum(sum::Plan { attention: plan, .. }) => Some(plan),
            _ => None,
        }
    }

    /// What it is, in a word or two.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "feed-forward alone",
            Self::Attention(plan) if plan.shape.window.is_some() => "windowed attention",
            Self::Attention(_) => "attention",
            Self::ShortConv(_) => "short convolution",
            Self::Mamba(_) | Self::Mamba2(_) => "state space",
            Self::DeltaNet(_) => "gated delta net",
            Self::Sum(_) => "attention beside state space",
        }
    }

    /// What it remembers of a sequence.
    pub fn state(&self) -> StateShape {
        match self {
            Self::None => StateShape { kv: None, recurrent: 0 },
            Self::Attention(plan) => plan.state(),
            Self::ShortConv(plan) => plan.state(),
            Self::Mamba(plan) => plan.state(),
            Self::Mamba2(plan) => plan.state(),
            Self::DeltaNet(plan) => plan.state(),
            Self::Sum(plan) => plan.state(),
        }
    }

    /// The buffers it needs.
    pub fn need(&self) -> Need {
        match self {
            Self::None => Need::default(),
            Self::Attention(plan) => plan.need(),
            Self::ShortConv(plan) => plan.need(),
            Self::Mamba(plan) => plan.need(),
            Self::Mamba2(plan) => plan.need(),
            Self::DeltaNet(plan) => plan.need(),
            Self::Sum(plan) => plan.need(),
        }
    }
}
