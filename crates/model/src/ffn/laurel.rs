//! The learned short cut beside a mixer, LAuReL (arXiv 2411.07501) in its low-rank form: `x + norm(right(left(x)))`, where
//! `x` is what the mixer has read. The layer adds it to the residual stream next to the mixer's result and divides the sum
//! by the root of two.

use ingle_kernel::ops;

use super::Ffn;
use crate::config::Config;
use crate::decoder::Step;
use crate::error::Result;
use crate::linear::{Linear, project};
use crate::norm::Norm;
use crate::scratch::{Need, Scratch};
use crate::source::Source;

/// The buffers it needs.
pub fn need(config: &Config) -> Need {
    Need { per_token: config.laurel_rank, per_thread: 0, widest: config.laurel_rank }
}

/// Weights of the short cut.
#[derive(Debug)]
pub struct Laurel {
    /// `(rank, dim)`
    left: Linear,
    /// `(dim, rank)`
    right: Linear,
    norm: Norm,
}

impl Laurel {
    /// Takes the weights of the layer that `source` is in.
    pub fn read(source: &mut Source<'_>, config: &Config) -> Result<Self> {
        let (rank, dim) = (config.laurel_rank, config.dim);
        Ok(Self {
            left: source.linear("laurel_l", rank, dim)?,
            right: source.linear("laurel_r", dim, rank)?,
            norm: source.norm("laurel_post_norm", dim)?,
        })
    }
}

impl Ffn for Laurel {
    fn forward(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (run, dim) = (step.run, step.config.dim);
        let n = step.n_tokens * dim;
        let inner = &mut s.arena[..step.n_tokens * step.config.laurel_rank];
        let (x, out) = (&s.normed[..n], &mut s.delta[..n]);
        project(run, &mut s.inputs, x, [(&self.left, &mut *inner)]);
        project(run, &mut s.inputs, inner, [(&self.right, &mut *out)]);
        run.pool.for_rows(out, dim, |t, row| {
            self.norm.apply_in_place(run, row);
            ops::add(row, &x[t * dim..(t + 1) * dim]);
        });
    }
}
