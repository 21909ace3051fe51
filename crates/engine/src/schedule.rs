//! What the next step computes: a plan over lanes, made of numbers alone.
//!
//! A lane that lacks one token takes it: an answer's next token, or the last of a prompt. What is left of the step is shared out among
//! prompts in equal parts, and what one prompt does not need goes to the others. So a long prompt never stands in the way
//! of a short one, and beside answers prompts take small parts, so that nobody's stream stops for long.

/// How large a step may be.
#[derive(Debug, Clone, Copy)]
pub struct StepLimits {
    /// Tokens of a step.
    pub tokens_max: usize,
    /// Tokens of prompts in a step that carries answers on.
    pub prompt_tokens_beside_answers: usize,
}

/// Fills `plan` with the tokens that each lane feeds in the next step, of the `pending` it lacks.
pub fn plan(pending: &[usize], limits: &StepLimits, plan: &mut Vec<usize>) {
    plan.clear();
    plan.extend(pending.iter().map(|&n| usize::from(n == 1)));
    let n_single = plan.iter().sum::<usize>().min(limits.tokens_max);
    // More lanes than a step has room for: the first ones go, and the caller turns them round.
    plan.iter_mut().filter(|n| **n > 0).skip(n_single).for_each(|n| *n = 0);
    let room = limits.tokens_max - n_single;
    let mut left = if n_single == 0 { room } else { room.min(limits.prompt_tokens_beside_answers) };
    let mut n_waiting = pending.iter().filter(|&&n| n > 1).count();
    // The shortest first: what it leaves of its part is the others'.
    let mut below = 1;
    while let Some(next) = pending.iter().copied().filter(|&n| n > below).min() {
        for (planned, _) in plan.iter_mut().zip(pending).filter(|(_, n)| **n == next) {
            *planned = next.min(left / n_waiting);
            left -= *planned;
            n_waiting -= 1;
        }
        below = next;
    }
    // Parts of less than a token: one at a time.
    let first = pending.iter().position(|&n| n > 0).filter(|_| left > 0);
    if let Some(first) = first.filter(|_| plan.iter().all(|&n| n == 0)) {
        plan[first] = pending[first].min(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StepLimits = StepLimits { tokens_max: 100, prompt_tokens_beside_answers: 30 };

    fn planned(pending: &[usize]) -> Vec<usize> {
        let mut out = Vec::new();
        plan(pending, &LIMITS, &mut out);
        out
    }

    #[test]
    fn answers_go_on_beside_a_part_of_a_prompt() {
        assert_eq!(planned(&[1, 500, 1]), [1, 30, 1]);
        assert_eq!(planned(&[0, 500, 0]), [0, 100, 0]);
        assert_eq!(planned(&[0, 0]), [0, 0]);
    }

    #[test]
    fn prompts_share_a_step_and_what_one_leaves_is_the_others() {
        assert_eq!(planned(&[500, 500]), [50, 50]);
        assert_eq!(planned(&[500, 10, 500]), [45, 10, 45]);
        assert_eq!(planned(&[60, 20]), [60, 20]);
    }

    #[test]
    fn every_plan_fits_the_step_and_somebody_goes_on() {
        let mut random = 12_345_u64;
        for n_lanes in 1..150 {
            let pending: Vec<usize> = (0..n_lanes)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    [0, 1, 1, 2, 7, 900][(random >> 40) as usize % 6]
                })
                .collect();
            let plan = planned(&pending);
            assert!(plan.iter().zip(&pending).all(|(n, pending)| n <= pending));
            assert!(plan.iter().sum::<usize>() <= LIMITS.tokens_max);
            assert_eq!(plan.iter().any(|&n| n > 0), pending.iter().any(|&n| n > 0), "{pending:?}");
        }
    }
}
