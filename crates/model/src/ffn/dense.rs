//! The feed-forward block: `down(f(gate(x)) * up(x))` (arXiv 2002.05202), or the older `down(f(up(x)))`.

use ingle_kernel::ops::{self, Activation};

use super::Ffn;
use crate::decoder::{Runtime, Step};
use crate::error::Result;
use crate::linear::{Inputs, Linear, project};
use crate::scratch::{Need, Scratch, split};
use crate::source::Source;

/// What one block is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Width inside.
    pub dim: usize,
    /// `f`.
    pub activation: Activation,
    /// Whether there is a gate.
    pub gated: bool,
    /// How many standard deviations above the mean of a token's gates one must be to count, and then by the rest.
    pub keep_above: Option<f32>,
}

impl Plan {
    /// `dim` values inside, gated by SiLU.
    pub fn new(dim: usize) -> Self {
        Self { dim, activation: Activation::Silu, gated: true, keep_above: None }
    }

    pub(super) fn need(&self) -> Need {
        Need { per_token: 2 * self.dim, per_thread: 0, widest: self.dim }
    }
}

/// Weights of the block.
#[derive(Debug)]
pub struct Dense {
    pub(super) plan: Plan,
    /// `(plan.dim, dim)`
    pub(super) gate: Option<Linear>,
    /// `(plan.dim, dim)`
    pub(super) up: Linear,
    /// `(dim, plan.dim)`
    pub(super) down: Linear,
}

impl Dense {
    /// Takes `ffn_gate`, `ffn_up` and `ffn_down`, each followed by `suffix`. Some files have gate and up in one tensor.
    pub(super) fn read(plan: &Plan, source: &mut Source<'_>, dim: usize, suffix: &str) -> Result<Self> {
        let n = plan.dim;
        let [gate, up, down] = ["gate", "up", "down"].map(|part| format!("ffn_{part}{suffix}"));
        let (gate, up) = if !plan.gated {
            (None, source.linear(&up, n, dim)?)
        } else if source.has(&format!("{gate}.weight")) {
            (Some(source.linear(&gate, n, dim)?), source.linear(&up, n, dim)?)
        } else {
            let [gate, up] = source.fused(&up, [n, n], dim)?;
            (Some(gate), up)
        };
        Ok(Self { plan: *plan, gate, up, down: source.linear(&down, dim, n)? })
    }

    /// `out` `(n_tokens, dim)` = the block of `x` `(n_tokens, dim)`, by way of `arena`.
    pub(super) fn apply(
        &self,
        run: &Runtime<'_>,
        inputs: &mut Inputs,
        arena: &mut [f32],
        x: &[f32],
        out: &mut [f32],
    ) {
        let Plan { dim: n, activation: f, keep_above, .. } = self.plan;
        let n_tokens = x.len() / self.down.mat.rows();
        let [inner, up] = split(arena, n_tokens, [n, n]);
        match &self.gate {
            Some(gate) => {
                project(run, inputs, x, [(gate, &mut *inner), (&self.up, &mut *up)]);
                let up = &*up;
                run.pool.for_rows(inner, n, |t, gate| {
                    if let Some(factor) = keep_above {
                        ops::keep_above(gate, factor);
                    }
                    (run.kernels.ops().glu)(f, gate, &up[t * n..(t + 1) * n]);
                });
            }
            None => {
                project(run, inputs, x, [(&self.up, &mut *inner)]);
                run.pool.for_rows(inner, n, |_, row| (run.kernels.ops().activate)(f, row));
            }
        }
        project(run, inputs, inner, [(&self.down, out)]);
    }
}

impl Ffn for Dense {
    fn forward(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let n = step.n_tokens * step.config.dim;
        self.apply(step.run, &mut s.inputs, &mut s.arena, &s.normed[..n], &mut s.delta[..n]);
    }
}
