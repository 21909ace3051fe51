//! The gated short convolution of LFM2 (arXiv 2511.23404): `out(c * conv(b * x))` with `b`, `c` and `x` projections of the input
//! and a causal convolution over the last few positions, each channel alone.
//!
//! A sequence remembers the last `width - 1` rows of `b * x`. A token's sum runs from the oldest position to its own.

use super::Mixer;
use crate::config::{DIM_MAX, Keys};
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
        debug_assert!(self.dim <= DIM_MAX);
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
    /// `(width, dim)`
    conv: Vec<f32>,
    /// `(dim, dim)`
    out: Linear,
}

impl ShortConv {
    pub(super) fn read(plan: Plan, source: &mut Source<'_>) -> Result<Self> {
        let Plan { dim, width } = plan;
        let [b, c, x] = source.fused("shortconv.in_proj", [dim; 3], dim)?;
        let by_channel = source.matrix_values("shortconv.conv.weight", dim, width)?;
        let conv = (0..width * dim).map(|i| by_channel[i % dim * width + i / dim]).collect();
        Ok(Self { plan, b, c, x, conv, out: source.linear("shortconv.out_proj", dim, dim)? })
    }
}

impl Mixer for ShortConv {
    fn forward(&self, step: &mut Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, dim) = (step.run, step.n_tokens, self.plan.dim);
        let [b, c, x] = split(&mut s.arena, n_tokens, [dim; 3]);
        let normed = &s.normed[..n_tokens * dim];
        project(run, &mut s.inputs, normed, [(&self.b, &mut *b), (&self.c, &mut *c), (&self.x, &mut *x)]);

        let mut rows = b.chunks_exact(dim).zip(c.chunks_exact_mut(dim)).zip(x.chunks_exact_mut(dim));
        for span in &mut *step.spans {
            let state = span.kv.recurrent(step.layer);
            for ((b, c), x) in rows.by_ref().take(span.tokens.len()) {
                for (x, b) in x.iter_mut().zip(b) {
                    *x *= b;
                }
                self.convolve(state, x, c);
            }
        }
        project(run, &mut s.inputs, c, [(&self.out, &mut s.delta[..n_tokens * dim])]);
    }
}

impl ShortConv {
    /// `c *= conv(state, x)`, and `x` becomes the newest row of `state` `(width - 1, dim)`.
    fn convolve(&self, state: &mut [f32], x: &[f32], c: &mut [f32]) {
        let dim = self.plan.dim;
        let (before, now) = self.conv.split_at(state.len());
        for i in 0..dim {
            let past = state.iter().zip(before).skip(i).step_by(dim);
            let sum = past.fold(0.0, |sum, (v, w)| sum + v * w);
            c[i] *= sum + x[i] * now[i];
        }
        state.copy_within(dim.., 0);
        let oldest = state.len() - dim;
        state[oldest..].copy_from_slice(x);
    }
}
