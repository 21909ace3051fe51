//! Which of several models answers under a plan: the one that was asked for, or a smaller one where the plan wants that.
//!
//! A pure function of the plan and of the models' sizes. What a token takes grows with the bytes that are read for it, so smaller is fewer
//! bytes; whether the answer is as good nobody knows here, and so nobody is given a smaller model who did not say that one may answer.

use super::{ChargeLevel, HeatLevel, ModelHint, Plan};

/// Which of models of so many bytes answers, the first of which was asked for: the largest of those that are smaller than it where the plan
/// wants a smaller one, and the smallest where the device is too hot or its battery nearly empty. Without models it is 0.
pub fn choose(plan: &Plan, n_bytes: &[u64]) -> usize {
    let asked = n_bytes.first().copied().unwrap_or(0);
    if plan.model == ModelHint::AsAsked {
        return 0;
    }
    let smaller = n_bytes.iter().enumerate().filter(|(_, n)| **n < asked);
    let is_urgent = plan.heat.level == HeatLevel::Critical || plan.charge == ChargeLevel::Empty;
    // Of equals the first that was named.
    let chosen = match is_urgent {
        true => smaller.min_by_key(|(_, n)| **n),
        false => smaller.rev().max_by_key(|(_, n)| **n),
    };
    chosen.map_or(0, |(at, _)| at)
}
