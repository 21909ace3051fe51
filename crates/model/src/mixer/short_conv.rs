//! The gated short convolution of LFM2 (arXiv 2511.23404): `out(c * conv(b * x))` with `b`, `c` and `x` projections of the input
//! and a causal convolution over the last few positions, each channel alone.
//!
//! A sequence remembers the last `width - 1` rows of `b * x`.

use ingle_kernel::ops;

use super::Mixer;
use super::conv::Conv;
use crate::config::Keys;
use crate::decoder::Step;
use crate::error::Result;
use crate::kv::StateShape;
use crate::linear::{Linear, project};
use crate::scratch::{Need, Scratch, split};
use crate::source::Source;

/// What one layer's convolution is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Channels: the width of the residual stream.
    pub dim: usize,
    /// Positions it looks at, the token's own included.
    pub width: usize,
}

impl Plan {
    /// Reads the width.
    pub fn read(keys: &Keys<'_>, dim: usize) -> Result<Self> {
        Ok(Self { dim, width: keys.uint("shortconv.l_cache", 2..=64)? })
    }

    pub(super) fn state(&self) -> StateShape {
        StateShape { kv: None, recurrent: (self.width - 1) * self.dim }
    }

    pub(super) fn need(&self) -> Need {
        Need { per_token: 3 * self.dim, per_thread: 0, widest: self.dim }
    }
}

/// Weights of the block.
#[derive(Debug)]
pub struct ShortConv {
    plan: Plan,
    /// To `b`, `c` and `x`, each `(dim, dim)`.
    b: Linear,
    c: Linear,
    x: Linear,
    conv: Conv,
    /// `(dim, dim)`
    out: Linear,
}

impl ShortConv {
    pub(super) fn read(plan: Plan, source: &mut Source<'_>) -> Result<Self> {
        let Plan { dim, width } = plan;
        let [b, c, x] = source.fused("shortconv.in_proj", [dim; 3], dim)?;
        let conv = Conv::read(source, "shortconv.conv", dim, width)?;
        Ok(Self { plan, b, c, x, conv, out: source.linear("shortconv.out_proj", dim, dim)? })
    }
}

impl Mixer for ShortConv {
    fn forward(&self, step: &mut Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, dim) = (step.run, step.n_tokens, self.plan.dim);
        let [b, c, x] = split(&mut s.arena, n_tokens, [dim; 3]);
        let normed = &s.normed[..n_tokens * dim];
        project(run, &mut s.inputs, normed, [(&self.b, &mut *b), (&self.c, &mut *c), (&self.x, &mut *x)]);

        ops::multiply(x, b);
        let mut first = 0;
        for span in &mut *step.spans {
            let rows = first * dim..(first + span.tokens.len()) * dim;
            self.conv.apply(run, span.kv.recurrent(step.layer), &x[rows.clone()], &mut b[rows]);
            first += span.tokens.len();
        }
        ops::multiply(c, b);
        project(run, &mut s.inputs, c, [(&self.out, &mut s.delta[..n_tokens * dim])]);
    }
}
