//! Attention and a state space mixer side by side: both read the layer's input and their results are added (Falcon-H1,
//! arXiv 2507.22448).

use ingle_kernel::ops;

use super::{Mixer, attention, mamba2};
use crate::decoder::Step;
use crate::error::Result;
use crate::kv::StateShape;
use crate::scratch::{Need, Scratch};
use crate::source::Source;

/// What the two are.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Width of the residual stream.
    pub dim: usize,
    /// The one that keeps keys and values.
    pub attention: attention::Plan,
    /// The one that keeps a running state.
    pub recurrent: mamba2::Plan,
}

impl Plan {
    pub(super) fn state(&self) -> StateShape {
        StateShape { kv: self.attention.state().kv, recurrent: self.recurrent.state().recurrent }
    }

    pub(super) fn need(&self) -> Need {
        let need = self.attention.need().max(self.recurrent.need());
        Need { per_token: need.per_token + self.dim, ..need }
    }
}

/// Both with their weights.
#[derive(Debug)]
pub struct Sum {
    attention: attention::Attention,
    recurrent: mamba2::Mamba2,
}

impl Sum {
    pub(super) fn read(plan: &Plan, source: &mut Source<'_>) -> Result<Self> {
        let attention = attention::Attention::read(&plan.attention, source, plan.dim)?;
        Ok(Self { attention, recurrent: mamba2::Mamba2::read(plan.recurrent, source, plan.dim)? })
    }
}

impl Mixer for Sum {
    fn forward(&self, step: &mut Step<'_, '_>, s: &mut Scratch) {
        let n = step.n_tokens * step.config.dim;
        self.attention.forward(step, s);
        // Blocks cut their buffers from the arena's front, so the first result is safe at its end.
        let kept = s.arena.len() - n;
        s.arena[kept..].copy_from_slice(&s.delta[..n]);
        self.recurrent.forward(step, s);
        ops::add(&mut s.delta[..n], &s.arena[kept..]);
    }
}
