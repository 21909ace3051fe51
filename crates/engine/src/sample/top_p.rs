//! Top-p (nucleus): keep the fewest best tokens whose probabilities add up to `p` (Holtzman et al., arXiv:1904.09751).

use super::{Kind, Pool, Rng, Role, Setting, Stage, Step, mass, weight};

pub static STAGE: Stage = Stage {
    name: "top-p",
    aliases: &["nucleus"],
    about: "keep the fewest best tokens that together have probability p",
    source: "arXiv:1904.09751",
    role: Role::Filter,
    settings: &[Setting {
        name: "top-p",
        kind: Kind::Number(1e-9, 1.0, |p| &mut p.top_p),
        default: &["0.95"],
        about: "Choose among the best tokens that together have probability P; 1: all",
    }],
    wants: |p| p.top_p < 1.0,
    make: |p, _| Ok(Box::new(TopP(p.top_p))),
};

#[derive(Debug)]
struct TopP(f32);

impl Step for TopP {
    fn apply(&mut self, pool: &mut Pool<'_>, _: &mut Rng) {
        let max = pool.max();
        mass::keep(pool, self.0, weight::sum(pool.logits(), max), -max, |logit| -logit);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::{Candidate, tests::after};
    use super::super::tests::logits;
    use super::*;

    fn kept(row: &[f32], p: f32) -> Vec<u32> {
        after(row, |pool| TopP(p).apply(pool, &mut Rng::new(0))).iter().map(|c| c.id).collect()
    }

    /// The slow twin: sort, add up in f64 until `p` is reached.
    fn sorted(row: &[f32], p: f32) -> Vec<u32> {
        let mut list: Vec<_> = row.iter().zip(0..).map(|(&logit, id)| Candidate { id, logit }).collect();
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
        assert_eq!(kept(&[-1e30, 1e30], 0.5), [1]);
    }

    #[test]
    fn the_lower_id_wins_among_equals() {
        assert_eq!(kept(&[1.0; 10], 0.45), [0, 1, 2, 3, 4]);
    }
}
