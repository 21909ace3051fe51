//! A mixture of experts (arXiv 2101.03961): a router sends each token to some of many feed-forward blocks and adds their results
//! up, each times the router's weight.
//!
//! Experts are taken in rising order, each for all tokens of the step that chose it, so a token's sum has one order whatever
//! shares its step. Some models add a block that every token takes, times the sigmoid of a gate where they have one.

use std::ops::Range;

use ingle_kernel::ops;

use super::Ffn;
use super::dense::{self, Dense};
use crate::config::{DIM_MAX, Keys};
use crate::decoder::{Runtime, Step};
use crate::error::Result;
use crate::linear::{Inputs, Linear, project};
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
    /// Whether the router's logits become weights one by one, by the sigmoid, instead of by softmax.
    pub sigmoid: bool,
    /// Factor on the weights.
    pub scale: f32,
    /// The block that every token takes.
    pub shared: Option<dense::Plan>,
}

impl Plan {
    /// Reads what files say of experts: gated by SiLU, weights that add up to 1 and no shared block, unless they say else.
    pub fn read(keys: &Keys<'_>) -> Result<Self> {
        let n_experts = keys.uint("expert_count", 1..=EXPERTS_MAX)?;
        // Older families have experts as wide as the block they replace.
        let own = keys.has("expert_feed_forward_length");
        let width = if own { "expert_feed_forward_length" } else { "feed_forward_length" };
        let shared = keys.uint_or("expert_shared_feed_forward_length", 0, 0..=DIM_MAX)?;
        Ok(Self {
            n_experts,
            n_used: keys.uint("expert_used_count", 1..=n_experts)?,
            expert: dense::Plan::new(keys.uint(width, 1..=DIM_MAX)?),
            renormalise: keys.file.bool(&keys.key("expert_weights_norm"))?.unwrap_or(true),
            sigmoid: keys.uint_or("expert_gating_func", 0, 0..=2)? == 2,
            scale: keys.positive("expert_weights_scale")?.unwrap_or(1.0),
            shared: Some(shared).filter(|&dim| dim > 0).map(dense::Plan::new),
        })
    }

    pub(super) fn need(&self, dim: usize) -> Need {
        let inner = self.expert.need().per_token.max(self.shared.map_or(0, |plan| plan.need().per_token));
        let widest = self.expert.dim.max(self.shared.map_or(0, |plan| plan.dim));
        Need { per_token: self.n_experts + 2 * dim + inner, per_thread: 0, widest }
    }

    /// Turns a token's router logits `(n_experts)` into the weights of its experts, 0 for those it does not take.
    ///
    /// Softmax over all experts, or the sigmoid of each; the `n_used` largest, each with its `bias` added, are kept, the first
    /// of equals. A logit that is no number makes all weights NaN.
    fn choose(&self, row: &mut [f32], bias: Option<&[f32]>) {
        if !row.iter().all(|logit| logit.is_finite()) {
            row.fill(f32::NAN);
            return;
        }
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if self.sigmoid {
            row.iter_mut().for_each(|p| *p = (1.0 / (1.0 + f64::from(-*p).exp())) as f32);
        } else {
            row.iter_mut().for_each(|p| *p = f64::from(*p - max).exp() as f32);
        }
        let all: f32 = if self.sigmoid { 1.0 } else { row.iter().sum() };
        // Probabilities are not negative: the sign marks those taken.
        for _ in 0..self.n_used {
            let free = row.iter().enumerate().filter(|(_, p)| p.is_sign_positive());
            let biased = free.map(|(i, p)| (i, p + bias.map_or(0.0, |bias| bias[i])));
            let best = biased.fold(None, |best: Option<(usize, f32)>, (i, p)| match best {
                Some((_, largest)) if largest >= p => best,
                _ => Some((i, p)),
            });
            let Some((i, _)) = best else { break };
            row[i] = -row[i];
        }
        let taken: f32 = row.iter().filter(|p| p.is_sign_negative()).map(|p| -p).sum();
        // Sigmoids may all round to 0.
        let factor = self.scale / if self.renormalise { taken.max(1e-20) } else { all };
        row.iter_mut().for_each(|p| *p = if p.is_sign_negative() { -*p * factor } else { 0.0 });
    }
}

/// Weights of the block.
#[derive(Debug)]
pub struct Experts {
    plan: Plan,
    /// `(n_experts, dim)`
    router: Linear,
    /// Added to the weights for choosing, not for weighing. `(n_experts)`
    bias: Option<Vec<f32>>,
    experts: Vec<Dense>,
    /// Factors on the experts' weights. `(n_experts)`
    scales: Option<Vec<f32>>,
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
        let (gates, ups) = if source.has("ffn_gate_up_exps.weight") && plan.expert.gated {
            let both = source.stacked("ffn_gate_up_exps", n, 2 * inner, dim)?;
            let half = |rows: Range<usize>| both.iter().map(|l| l.rows_view(rows.clone())).collect();
            (Some(half(0..inner)), half(inner..2 * inner))
        } else {
            let gates = plan.expert.gated.then(|| source.stacked("ffn_gate_exps", n, inner, dim));
            (gates.transpose()?, source.stacked("ffn_up_exps", n, inner, dim)?)
        };
        let mut gates = gates.map(Vec::into_iter);
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
            bias: source.vector_if("exp_probs_b.bias", n)?,
            experts: experts.collect(),
            scales: source.vector_if("ffn_down_exps.scale", n)?,
            shared: plan.shared.as_ref().map(|plan| shared(plan, source)).transpose()?,
        })
    }
}

impl Ffn for Experts {
    fn forward(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let n = step.n_tokens * step.config.dim;
        let x = &s.normed[..n];
        self.apply(step.run, &mut s.inputs, &mut s.arena, x, x, &mut s.delta[..n]);
    }
}

impl Experts {
    /// `delta` `(n_tokens, dim)` = the block of `x` `(n_tokens, dim)`, by way of `arena`; the router reads `to_router`
    /// `(n_tokens, dim)`.
    pub(super) fn apply(
        &self,
        run: &Runtime<'_>,
        inputs: &mut Inputs,
        arena: &mut [f32],
        to_router: &[f32],
        x: &[f32],
        delta: &mut [f32],
    ) {
        let (n_experts, dim) = (self.plan.n_experts, self.router.mat.cols());
        let n_tokens = x.len() / dim;
        let (outer, inner) = arena.split_at_mut(n_tokens * (n_experts + 2 * dim));
        let [weights, picked, results] = split(outer, n_tokens, [n_experts, dim, dim]);
        project(run, inputs, to_router, [(&self.router, &mut *weights)]);
        for row in weights.chunks_exact_mut(n_experts) {
            self.plan.choose(row, self.bias.as_deref());
            if let Some(scales) = &self.scales {
                row.iter_mut().zip(scales).for_each(|(weight, scale)| *weight *= scale);
            }
        }

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
            expert.apply(run, inputs, inner, &picked[..n * dim], results);
            for (t, row) in takers().zip(results.chunks_exact(dim)) {
                ops::add_scaled(&mut delta[t * dim..(t + 1) * dim], row, weights[t * n_experts + e]);
            }
        }
        if let Some(shared) = &self.shared {
            shared.block.apply(run, inputs, inner, x, results);
            let weights = &mut weights[..n_tokens];
            weights.fill(f32::INFINITY);
            if let Some(gate) = &shared.gate {
                project(run, inputs, x, [(gate, &mut *weights)]);
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
        let expert = dense::Plan::new(1);
        Plan { n_experts: 4, n_used, expert, renormalise, sigmoid: false, scale: 1.0, shared: None }
    }

    #[test]
    fn the_largest_are_taken_and_weighted() {
        let logits = [1.0f32, 3.0, -2.0, 3.0];
        let all: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        let mut row = logits;
        plan(1, false).choose(&mut row, None);
        assert!((f64::from(row[1]) - 3f64.exp() / all).abs() < 1e-7, "the first of equals: {row:?}");
        assert_eq!([row[0], row[2], row[3]], [0.0; 3]);
        let mut row = logits;
        plan(2, true).choose(&mut row, None);
        assert_eq!(row, [0.0, 0.5, 0.0, 0.5]);
        let mut row = logits;
        plan(4, false).choose(&mut row, None);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_bias_chooses_and_does_not_weigh() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut row = [1.0f32, 3.0, -2.0, 2.0];
        Plan { sigmoid: true, scale: 2.0, ..plan(2, true) }.choose(&mut row, Some(&[0.0, 0.0, 5.0, -9.0]));
        let expected = [3.0, -2.0].map(|x| 2.0 * sigmoid(x) / (sigmoid(3.0) + sigmoid(-2.0)));
        assert_eq!([row[0], row[3]], [0.0; 2]);
        assert!(
            (f64::from(row[1]) - expected[0]).abs() < 1e-6 && (f64::from(row[2]) - expected[1]).abs() < 1e-6
        );
    }

    #[test]
    fn bad_numbers_travel_on() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut row = [1.0, bad, 0.0, 2.0];
            plan(2, true).choose(&mut row, None);
            assert!(row.iter().all(|w| w.is_nan()));
        }
    }
}
