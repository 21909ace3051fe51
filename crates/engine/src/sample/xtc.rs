//! XTC, "exclude top choices": now and then drop all tokens of at least a threshold's probability but the least probable of
//! them (p-e-w, text-generation-webui pull request 6335).
//!
//! Takes one random number for each token while it is on, whether there is something to drop or not, so that what it takes
//! does not depend on the logits. It is the one stage made to drop the best token; at least one that reaches the threshold
//! stays.

use super::pool::Candidate;
use super::{Kind, Pool, Rng, Role, Setting, Stage, Step, weight};

pub static STAGE: Stage = Stage {
    name: "xtc",
    aliases: &[],
    about: "now and then drop the most probable tokens, all but the last that reaches a threshold",
    source: "text-generation-webui pull request 6335",
    role: Role::Filter,
    settings: &[
        Setting {
            name: "xtc-probability",
            kind: Kind::Number(0.0, 1.0, |p| &mut p.xtc_probability),
            default: &["0"],
            about: "How often XTC drops the top choices; 0: never, off",
        },
        Setting {
            name: "xtc-threshold",
            kind: Kind::Number(0.0, 1.0, |p| &mut p.xtc_threshold),
            default: &["0.1"],
            about: "Probability that makes a top choice; two can't exceed 0.5, so above that XTC is off",
        },
    ],
    wants: |p| p.xtc_probability > 0.0 && p.xtc_threshold <= 0.5,
    make: |p, _| Ok(Box::new(Xtc { probability: p.xtc_probability, threshold: p.xtc_threshold })),
};

#[derive(Debug)]
struct Xtc {
    probability: f32,
    threshold: f32,
}

impl Step for Xtc {
    fn apply(&mut self, pool: &mut Pool<'_>, rng: &mut Rng) {
        const UNIT: u64 = 1 << 32;
        if rng.below(UNIT) as f64 >= f64::from(self.probability) * UNIT as f64 {
            return;
        }
        let max = pool.max();
        let enough =
            1.max((weight::sum(pool.logits(), max) as f64 * f64::from(self.threshold)).ceil() as u64);
        let reach = weight::reach(enough as f64);
        let mut last: Option<Candidate> = None;
        let mut n = 0;
        pool.scan(
            |logit| logit - max >= reach,
            |id, logit| {
                if weight::of(logit - max) < enough {
                    return;
                }
                let this = Candidate { id, logit };
                n += 1;
                if last.is_none_or(|last| this.rank(&last).is_gt()) {
                    last = Some(this);
                }
            },
        );
        if let Some(last) = last.filter(|_| n > 1) {
            pool.keep(|logit| logit <= last.logit, |id, logit| Candidate { id, logit }.rank(&last).is_ge());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::after;
    use super::super::tests::logits;
    use super::*;

    fn kept(row: &[f32], probability: f32, threshold: f32, rng: &mut Rng) -> Vec<u32> {
        let mut step = Xtc { probability, threshold };
        after(row, |pool| step.apply(pool, rng)).iter().map(|c| c.id).collect()
    }

    /// Sort by probability, find those above the threshold, drop all but the last.
    fn sorted(row: &[f32], threshold: f32) -> Vec<u32> {
        let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
        let mut list: Vec<_> = row.iter().zip(0..).map(|(&logit, id)| Candidate { id, logit }).collect();
        list.sort_by(Candidate::rank);
        let n = list.iter().filter(|c| f64::from(c.logit).exp() / sum >= f64::from(threshold)).count();
        let mut ids: Vec<u32> = list[n.saturating_sub(1)..].iter().map(|c| c.id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn agrees_with_the_definition() {
        for seed in 0..40 {
            let row = logits(50, seed);
            for threshold in [0.01, 0.05, 0.1, 0.3, 0.5] {
                assert_eq!(kept(&row, 1.0, threshold, &mut Rng::new(1)), sorted(&row, threshold), "{seed}");
            }
        }
    }

    #[test]
    fn it_acts_as_often_as_asked_and_always_takes_one_number() {
        let row = [2.0, 1.9, -5.0];
        let mut rng = Rng::new(4);
        let n = (0..10_000).filter(|_| kept(&row, 0.3, 0.1, &mut rng) == [1, 2]).count();
        // Four standard deviations of a binomial distribution; the seed is fixed.
        assert!((n as f64 - 3000.0).abs() < 4.0 * (10_000.0f64 * 0.3 * 0.7).sqrt(), "{n}");
        let (mut one, mut other) = (Rng::new(9), Rng::new(9));
        kept(&row, 0.5, 0.1, &mut one);
        kept(&[0.0], 0.5, 0.1, &mut other);
        assert_eq!(one.next_u64(), other.next_u64());
    }

    #[test]
    fn one_top_choice_or_none_changes_nothing() {
        assert_eq!(kept(&[9.0, 0.0, 0.0], 1.0, 0.1, &mut Rng::new(1)), [0, 1, 2]);
        assert_eq!(kept(&[0.0; 20], 1.0, 0.1, &mut Rng::new(1)).len(), 20);
        assert_eq!(kept(&[0.0, f32::NEG_INFINITY], 1.0, 0.0, &mut Rng::new(1)), [0, 1]);
    }

    #[test]
    fn the_worst_of_equals_is_the_last() {
        assert_eq!(kept(&[1.0; 4], 1.0, 0.1, &mut Rng::new(1)), [3]);
    }
}
