//! Experts beside a dense block, as Gemma 4 has them: both read the residual stream, each by a norm of its own, and their
//! results are added up, each normed first. The router has a third norm.

use ingle_kernel::ops;

use super::Ffn;
use super::dense::{self, Dense};
use super::experts::{self, Experts};
use crate::decoder::Step;
use crate::error::Result;
use crate::norm::Norm;
use crate::scratch::{Need, Scratch, split};
use crate::source::Source;

/// What the two are.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The block of every token.
    pub dense: dense::Plan,
    /// The blocks of some.
    pub experts: experts::Plan,
}

impl Plan {
    pub(super) fn need(&self, dim: usize) -> Need {
        let need = self.dense.need().max(self.experts.need(dim));
        Need { per_token: need.per_token + 3 * dim, ..need }
    }
}

/// Weights of the block.
#[derive(Debug)]
pub struct Beside {
    dense: Dense,
    dense_post_norm: Norm,
    experts: Experts,
    experts_norm: Norm,
    experts_post_norm: Norm,
    router_norm: Norm,
}

impl Beside {
    pub(super) fn read(plan: &Plan, source: &mut Source<'_>, dim: usize) -> Result<Self> {
        let mut router = source.vector("ffn_gate_inp.scale", dim)?;
        router.iter_mut().for_each(|v| *v /= (dim as f32).sqrt());
        Ok(Self {
            dense: Dense::read(&plan.dense, source, dim, "")?,
            dense_post_norm: source.norm("post_ffw_norm_1", dim)?,
            experts: Experts::read(&plan.experts, source, dim)?,
            experts_norm: source.norm("pre_ffw_norm_2", dim)?,
            experts_post_norm: source.norm("post_ffw_norm_2", dim)?,
            router_norm: source.norm_by(router),
        })
    }
}

impl Ffn for Beside {
    fn forward(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, dim) = (step.run, step.n_tokens, step.config.dim);
        let (stream, n) = (&s.x, n_tokens * dim);
        let (outer, inner) = s.arena.split_at_mut(3 * n);
        let [to_router, x, out] = split(outer, n_tokens, [dim; 3]);
        for (norm, rows) in [(&self.router_norm, &mut *to_router), (&self.experts_norm, &mut *x)] {
            run.pool.for_rows(rows, dim, |t, row| norm.apply(run, &stream[t * dim..(t + 1) * dim], row));
        }
        self.experts.apply(run, &mut s.inputs, inner, to_router, x, out);
        let delta = &mut s.delta[..n];
        self.dense.apply(run, &mut s.inputs, inner, &s.normed[..n], delta);
        for (norm, rows) in [(&self.experts_post_norm, &mut *out), (&self.dense_post_norm, &mut *delta)] {
            run.pool.for_rows(rows, dim, |_, row| norm.apply_in_place(run, row));
        }
        ops::add(delta, out);
    }
}
