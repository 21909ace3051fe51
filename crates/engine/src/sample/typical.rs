//! Locally typical sampling: keep the fewest tokens, those first whose surprise is nearest to the expected surprise, whose
//! probabilities add up to `p` (Meister et al., arXiv:2202.00666).
//!
//! A token's surprise is `ln Z - logit` and the entropy is the mean of that under the distribution, so the normaliser drops
//! out: what counts is the distance of a logit from the probability-weighted mean of the logits. No logarithm is taken. The
//! best token may be dropped: on a flat distribution with one clear favourite that is the point of the method.

use super::{Kind, Pool, Rng, Role, Setting, Stage, Step, mass, weight};

pub static STAGE: Stage = Stage {
    name: "typical",
    aliases: &["typ", "typ-p", "typical-p"],
    about: "keep the fewest tokens of the most expected surprise that together have probability p",
    source: "arXiv:2202.00666",
    role: Role::Filter,
    settings: &[Setting {
        name: "typical-p",
        kind: Kind::Number(1e-9, 1.0, |p| &mut p.typical_p),
        default: &["1"],
        about: "Choose among the most typical tokens that together have probability P; 1: all",
    }],
    wants: |p| p.typical_p < 1.0,
    make: |p, _| Ok(Box::new(Typical(p.typical_p))),
};

#[derive(Debug)]
struct Typical(f32);

impl Step for Typical {
    fn apply(&mut self, pool: &mut Pool<'_>, _: &mut Rng) {
        let max = pool.max();
        let (total, mean) = weight::sum_and_mean(pool.logits(), max);
        let mean = (f64::from(max) + mean) as f32;
        mass::keep(pool, self.0, total, 0.0, |logit| (logit - mean).abs());
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::after;
    use super::super::tests::logits;
    use super::*;

    fn kept(row: &[f32], p: f32) -> Vec<u32> {
        after(row, |pool| Typical(p).apply(pool, &mut Rng::new(0))).iter().map(|c| c.id).collect()
    }

    /// The paper's definition in f64: entropy, distances of the surprises from it, sort, add up.
    fn sorted(row: &[f32], p: f32) -> Vec<u32> {
        let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
        let probability: Vec<f64> = row.iter().map(|&l| f64::from(l).exp() / sum).collect();
        let entropy: f64 = probability.iter().map(|p| -p * p.ln()).sum();
        let mut ids: Vec<u32> = (0..row.len() as u32).collect();
        let distance = |id: &u32| (-probability[*id as usize].ln() - entropy).abs();
        ids.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        let mut reached = 0.0;
        ids.retain(|&id| {
            let more = reached < f64::from(p);
            reached += probability[id as usize];
            more
        });
        ids.sort_unstable();
        ids
    }

    #[test]
    fn agrees_with_the_definition() {
        for seed in 0..40 {
            let row: Vec<f32> = logits(300, seed).iter().map(|l| l * (1 + seed % 4) as f32 * 0.5).collect();
            for p in [0.05, 0.2, 0.5, 0.9, 0.99] {
                assert_eq!(kept(&row, p), sorted(&row, p), "seed {seed}, p {p}");
            }
        }
    }

    #[test]
    fn the_favourite_of_a_flat_distribution_is_not_typical() {
        let mut row = vec![0.0f32; 1000];
        row[7] = 2.0;
        let kept = kept(&row, 0.5);
        assert!(!kept.contains(&7) && kept.len() > 400, "{kept:?}");
    }

    #[test]
    fn edges_leave_something() {
        assert_eq!(kept(&[f32::NEG_INFINITY, 3.0, f32::NEG_INFINITY], 0.5), [1]);
        assert_eq!(kept(&[7.0], 1e-9), [0]);
        assert_eq!(kept(&[0.0; 4], 0.5), [0, 1]);
        assert_eq!(kept(&[-1e30, 1e30], 0.5), [1]);
    }
}
