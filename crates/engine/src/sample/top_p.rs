//! Top-p (nucleus): keep the fewest best tokens whose probabilities add up to `p` (Holtzman et al., arXiv:1904.09751).
//!
//! A histogram of weight over the distance from the best logit says in which slice of that distance `p` is reached; only
//! that slice is searched, by halving: split at the middle rank, see on which side `p` is reached, go there. Linear on
//! average, and nothing is sorted.

use super::{Act, Candidate, Params, SampleError, Stage, max_logit, weight};

pub static STAGE: Stage = Stage {
    name: "top_p",
    about: "keep the fewest best tokens that together have probability p (1 is off)",
    check: |p| {
        if p.top_p > 0.0 && p.top_p <= 1.0 {
            return Ok(());
        }
        Err(SampleError::Param { name: "top_p", value: p.top_p, expected: "above 0 and up to 1" })
    },
    wants: |p| p.top_p < 1.0,
    act: Act::Filter(apply),
};

/// Slices per unit of logit. Beyond `N_SLICES / PER_LOGIT` = 32 below the best, tokens weigh nothing.
const PER_LOGIT: f32 = 32.0;
const N_SLICES: usize = 1024;

fn apply(p: &Params, list: &mut Vec<Candidate>, rest: &mut Vec<Candidate>) {
    let max = max_logit(list);
    let slice = |c: &Candidate| (((max - c.logit) * PER_LOGIT) as u32 as usize).min(N_SLICES - 1);
    let mut slices = [0u64; N_SLICES];
    weight::each(list, max, |c, w| {
        slices[slice(c)] += w;
        true
    });
    let total: u64 = slices.iter().sum();
    // The sum is below 2^63 and f64 the same everywhere: what its 53 bits round away is the same on every machine.
    let mut needed = ((total as f64 * f64::from(p.top_p)).ceil() as u64).clamp(1, total);
    let mut cut = 0;
    while slices[cut] < needed {
        needed -= slices[cut];
        cut += 1;
    }
    rest.clear();
    rest.extend(list.iter().filter(|c| slice(c) == cut));

    // Invariant: the last token to keep is in `rest`, and those in `rest` up to it weigh at least `needed`.
    let mut rest = &mut rest[..];
    while rest.len() > 1 {
        let middle = rest.len() / 2;
        rest.select_nth_unstable_by(middle, Candidate::rank);
        let (better, worse) = rest.split_at_mut(middle);
        let sum: u64 = better.iter().map(|c| weight::of(c.logit - max)).sum();
        if sum >= needed {
            rest = better;
        } else {
            needed -= sum;
            rest = worse;
        }
    }
    let last = rest[0];
    list.retain(|c| c.rank(&last).is_le());
}

#[cfg(test)]
mod tests {
    use super::super::tests::logits;
    use super::*;

    fn list(row: &[f32]) -> Vec<Candidate> {
        row.iter().zip(0..).map(|(&logit, id)| Candidate { id, logit }).collect()
    }

    fn kept(row: &[f32], top_p: f32) -> Vec<u32> {
        let mut list = list(row);
        apply(&Params { top_p, ..Params::GREEDY }, &mut list, &mut Vec::new());
        list.iter().map(|c| c.id).collect()
    }

    /// The slow twin: sort, add up in f64 until `p` is reached.
    fn sorted(row: &[f32], p: f32) -> Vec<u32> {
        let mut list = list(row);
        list.sort_by(Candidate::rank);
        let total: f64 = list.iter().map(|c| f64::from(c.logit).exp()).sum();
        let mut sum = 0.0;
        let n = list.iter().take_while(|c| {
            let more = sum < f64::from(p) * total;
            sum += f64::from(c.logit).exp();
            more
        });
        let mut ids: Vec<_> = n.map(|c| c.id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn agrees_with_sorting() {
        for seed in 0..40 {
            let row: Vec<f32> = logits(300, seed).iter().map(|l| l * (seed % 4) as f32 * 0.7).collect();
            for p in [0.01, 0.3, 0.5, 0.9, 0.95, 0.999] {
                assert_eq!(kept(&row, p), sorted(&row, p), "seed {seed}, p {p}");
            }
        }
    }

    #[test]
    fn the_best_token_always_stays() {
        assert_eq!(kept(&[0.0, 50.0, 0.0], 1e-9), [1]);
        assert_eq!(kept(&[0.0, 50.0, f32::NEG_INFINITY], 0.999), [1]);
        assert_eq!(kept(&[7.0], 0.5), [0]);
    }

    #[test]
    fn the_lower_id_wins_among_equals() {
        assert_eq!(kept(&[1.0; 10], 0.45), [0, 1, 2, 3, 4]);
    }
}
