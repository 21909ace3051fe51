//! A mixture of experts (arXiv 2101.03961): a router sends each token to some of many feed-forward blocks and adds their results
//! up, each times the router's weight.
//!
//! Experts are taken in rising order, each for all tokens of the step that chose it, so a token's sum has one order whatever
//! shares its step. Some models add a block that every token takes, times the sigmoid of a gate where they have one.

use ingle_kernel::ops::{self, Activation};

use super::Ffn;
use super::dense::{self, Dense};
use crate::config::{DIM_MAX, Keys};
use crate::decoder::Step;
use crate::error::Result;
use crate::linear::{Linear, project};
use crate::scratch::{Need, Scratch, split};
use crate::source::Source;

/// Experts of a layer that no real model reaches.
const EXPERTS_MAX: usize = 1 << 12;

/// What one block is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Experts there are.
    pub n_experts: usize,
    /// Experts a token takes.
    pub n_used: usize,
    /// What each is.
    pub expert: dense::Plan,
    /// Whether the weights of those taken add up to 1, instead of being their part of all.
    pub renormalise: bool,
    /// Factor on the weights.
    pub scale: f32,
    /// The block that every token takes.
    pub shared: Option<dense::Plan>,
}

impl Plan {
    /// Reads what files say of experts: gated by SiLU, weights that add up to 1 and no shared block, unless they say else.
    pub fn read(keys: &Keys<'_>) -> Result<Self> {
        let n_experts = keys.uint("expert_count", 1..=EXPERTS_MAX)?;
        let expert = |dim| dense::Plan { dim, activation: Activation::Silu, gated: true };
        let shared = keys.uint_or("expert_shared_feed_forward_length", 0, 0..=DIM_MAX)?;
        Ok(Self {
            n_experts,
            n_used: keys.uint("expert_used_count", 1..=n_experts)?,
            expert: expert(keys.uint("expert_feed_forward_length", 1..=DIM_MAX)?),
            renormalise: keys.file.bool(&keys.key("expert_weights_norm"))?.unwrap_or(true),
            scale: keys.positive("expert_weights_scale")?.unwrap_or(1.0),
            shared: Some(shared).filter(|&dim| dim > 0).map(expert),
        })
    }

    pub(super) fn need(&self, dim: usize) -> Need {
        let inner = self.expert.need().per_token.max(self.shared.map_or(0, |plan| plan.need().per_token));
        let widest = self.expert.dim.max(self.shared.map_or(0, |plan| plan.dim));
        Need { per_token: self.n_experts + 2 * dim + inner, per_thread: 0, widest }
    }

    /// Turns a token's router logits `(n_experts)` into the weights of its experts, 0 for those it does not take.
    ///
    /// Softmax over all experts; the `n_used` largest are kept, the first of equals. A logit that is no number makes all weights NaN.
    fn choose(&self, row: &mut [f32]) {
        if !row.iter().all(|logit| logit.is_finite()) {
            row.fill(f32::NAN);
            return;
        }
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|p| *p = f64::from(*p - max).exp() as f32);
        let all: f32 = row.iter().sum();
        // Probabilities are not negative: the sign marks those taken.
        for _ in 0..self.n_used {
            let free = row.iter().enumerate().filter(|(_, p)| p.is_sign_positive());
            let best = free.fold(None, |best: Option<(usize, f32)>, (i, &p)| match best {
                Some((_, largest)) if largest >= p => best,
                _ => Some((i, p)),
            });
            let Some((i, _)) = best else { break };
            row[i] = -row[i];
        }
        let taken: f32 = row.iter().filter(|p| p.is_sign_negative()).map(|p| -p).sum();
        let factor = self.scale / if self.renormalise { taken } else { all };
        row.iter_mut().for_each(|p| *p = if p.is_sign_negative() { -*p * factor } else { 0.0 });
    }
}

/// Weights of the block.
#[derive(Debug)]
pub struct Experts {
    plan: Plan,
    /// `(n_experts, dim)`
    router: Linear,
    experts: Vec<Dense>,
    shared: Option<Shared>,
}

#[derive(Debug)]
struct Shared {
    block: Dense,
    /// `(1, dim)`
    gate: Option<Linear>,
}

impl Experts {
    pub(super) fn read(plan: &Plan, source: &mut Source<'_>, dim: usize) -> Result<Self> {
        let (n, inner) = (plan.n_experts, plan.expert.dim);
        let mut gates = plan
            .expert
            .gated
            .then(|| source.stacked("ffn_gate_exps", n, inner, dim))
            .transpose()?
            .map(Vec::into_iter);
        let ups = source.stacked("ffn_up_exps", n, inner, dim)?;
        let downs = source.stacked("ffn_down_exps", n, dim, inner)?;
        let experts = ups.into_iter().zip(downs).map(|(up, down)| Dense {
            plan: plan.expert,
            gate: gates.as_mut().and_then(Iterator::next),
            up,
            down,
        });
        let shared = |plan: &dense::Plan, source: &mut Source<'_>| -> Result<Shared> {
            let block = Dense::read(plan, source, dim, "_shexp")?;
            let gate = source.has("ffn_gate_inp_shexp.weight");
            Ok(Shared { block, gate: gate.then(|| source.linear("ffn_gate_inp_shexp", 1, dim)).transpose()? })
        };
        Ok(Self {
            plan: *plan,
            router: source.linear("ffn_gate_inp", n, dim)?,
            experts: experts.collect(),
            shared: plan.shared.as_ref().map(|plan| shared(plan, source)).transpose()?,
        })
    }
}

impl Ffn for Experts {
    fn forward(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, dim, n_experts) = (step.run, step.n_tokens, step.config.dim, self.plan.n_experts);
        let (x, delta) = (&s.normed[..n_tokens * dim], &mut s.delta[..n_tokens * dim]);
        let (outer, inner) = s.arena.split_at_mut(n_tokens * (n_experts + 2 * dim));
        let [weights, picked, results] = split(outer, n_tokens, [n_experts, dim, dim]);
        project(run, &mut s.inputs, x, [(&self.router, &mut *weights)]);
        weights.chunks_exact_mut(n_experts).for_each(|row| self.plan.choose(row));

        delta.fill(0.0);
        for (e, expert) in self.experts.iter().enumerate() {
            let takers = || (0..n_tokens).filter(|t| weights[t * n_experts + e] != 0.0);
            let n = takers().count();
            if n == 0 {
                continue;
            }
            for (t, row) in takers().zip(picked.chunks_exact_mut(dim)) {
                row.copy_from_slice(&x[t * dim..(t + 1) * dim]);
            }
            let results = &mut results[..n * dim];
            expert.apply(run, &mut s.inputs, inner, &picked[..n * dim], results);
            for (t, row) in takers().zip(results.chunks_exact(dim)) {
                ops::add_scaled(&mut delta[t * dim..(t + 1) * dim], row, weights[t * n_experts + e]);
            }
        }
        if let Some(shared) = &self.shared {
            shared.block.apply(run, &mut s.inputs, inner, x, results);
            let weights = &mut weights[..n_tokens];
            weights.fill(f32::INFINITY);
            if let Some(gate) = &shared.gate {
                project(run, &mut s.inputs, x, [(gate, &mut *weights)]);
            }
            for ((delta, row), &logit) in
                delta.chunks_exact_mut(dim).zip(results.chunks_exact(dim)).zip(&*weights)
            {
                ops::add_scaled(delta, row, (1.0 / (1.0 + f64::from(-logit).exp())) as f32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(n_used: usize, renormalise: bool) -> Plan {
        let expert = dense::Plan { dim: 1, activation: Activation::Silu, gated: true };
        Plan { n_experts: 4, n_used, expert, renormalise, scale: 1.0, shared: None }
    }

    #[test]
    fn the_largest_are_taken_and_weighted() {
        let logits = [1.0f32, 3.0, -2.0, 3.0];
        let all: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        let mut row = logits;
        plan(1, false).choose(&mut row);
        assert!((f64::from(row[1]) - 3f64.exp() / all).abs() < 1e-7, "the first of equals: {row:?}");
        assert_eq!([row[0], row[2], row[3]], [0.0; 3]);
        let mut row = logits;
        plan(2, true).choose(&mut row);
        assert_eq!(row, [0.0, 0.5, 0.0, 0.5]);
        let mut row = logits;
        plan(4, false).choose(&mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn bad_numbers_travel_on() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut row = [1.0, bad, 0.0, 2.0];
            plan(2, true).choose(&mut row);
            assert!(row.iter().all(|w| w.is_nan()));
        }
    }
}
