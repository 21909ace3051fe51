//! Temperature: divide the logits; and dynamic temperature, which chooses the divisor by the entropy.
//!
//! With a range, the temperature goes from `temperature - range` where the model is certain to `temperature + range` where
//! all candidates are equally probable: `min + (max - min) * (H / ln n)^exponent` over the `n` candidates that stand when
//! this stage runs (kalomaze's entropy sampling, as in llama.cpp pull request 4972).

use super::{Kind, Pool, Rng, Role, Setting, Stage, Step, weight};

pub static STAGE: Stage = Stage {
    name: "temperature",
    aliases: &["temp"],
    about: "divide the logits by T, or by a T that grows with the entropy",
    source: "arXiv:1503.02531 (temperature); llama.cpp pull request 4972 (dynamic)",
    role: Role::Scale,
    settings: &[
        Setting {
            name: "temperature",
            kind: Kind::Number(0.0, 100.0, |p| &mut p.temperature),
            default: &["0.8"],
            about: "How freely to choose; 0 takes the best token, always",
        },
        Setting {
            name: "dynatemp-range",
            kind: Kind::Number(0.0, 100.0, |p| &mut p.dynatemp_range),
            default: &["0"],
            about: "Let the temperature move by up to this to either side, with the entropy; 0: off",
        },
        Setting {
            name: "dynatemp-exponent",
            kind: Kind::Number(0.01, 100.0, |p| &mut p.dynatemp_exponent),
            default: &["1"],
            about: "Bends the way from entropy to temperature: above 1 it stays low for longer",
        },
    ],
    // At 0 the sampler takes the best token before this.
    wants: |p| p.temperature != 1.0 || p.dynatemp_range > 0.0,
    make: |p, _| {
        let (t, range, exponent) =
            (f64::from(p.temperature), f64::from(p.dynatemp_range), f64::from(p.dynatemp_exponent));
        Ok(Box::new(Temperature { low: (t - range).max(0.0), high: t + range, exponent }))
    },
};

#[derive(Debug)]
struct Temperature {
    low: f64,
    high: f64,
    exponent: f64,
}

impl Step for Temperature {
    fn apply(&mut self, pool: &mut Pool<'_>, _: &mut Rng) {
        let t = self.of(pool);
        // The distances from the best are scaled, so that a tiny temperature can't make infinities that cancel.
        let max = pool.max();
        pool.logits_mut().iter_mut().for_each(|l| *l = (*l - max) / t);
    }
}

impl Temperature {
    /// The divisor for these candidates, above 0.
    fn of(&self, pool: &Pool<'_>) -> f32 {
        let share = if self.low == self.high || pool.n_left() == 1 {
            1.0
        } else {
            let (total, mean) = weight::sum_and_mean(pool.logits(), pool.max());
            let entropy = weight::ln(total) - mean;
            (entropy / (pool.n_left() as f64).ln()).clamp(0.0, 1.0).powf(self.exponent)
        };
        ((self.low + (self.high - self.low) * share) as f32).max(f32::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::after;
    use super::super::tests::logits;
    use super::super::{Params, Room, Sampler};
    use super::*;

    fn scaled(row: &[f32], temperature: f32, dynatemp_range: f32, dynatemp_exponent: f32) -> Vec<f32> {
        let params = Params { temperature, dynatemp_range, dynatemp_exponent, ..Params::GREEDY };
        let mut step = (STAGE.make)(&params, &Room::plain(row.len())).unwrap();
        after(row, |pool| step.apply(pool, &mut Rng::new(0))).iter().map(|c| c.logit).collect()
    }

    #[test]
    fn a_tiny_temperature_is_greedy_without_trouble() {
        let params = Params { temperature: f32::MIN_POSITIVE, ..Params::GREEDY };
        let mut s = Sampler::new(params, &Room::plain(4)).unwrap();
        for _ in 0..100 {
            assert_eq!(s.sample(&mut [1e30, 2e30, -1e30, f32::NEG_INFINITY]), Ok(1));
        }
    }

    /// The definition in f64.
    #[test]
    fn the_dynamic_one_follows_the_entropy() {
        for seed in 0..20 {
            let row: Vec<f32> = logits(100, seed).iter().map(|l| l * seed as f32 * 0.2).collect();
            let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
            let probability = row.iter().map(|&l| f64::from(l).exp() / sum);
            let share = probability.map(|p| -p * p.ln()).sum::<f64>() / 100f64.ln();
            for (t, range, exponent) in [(0.8, 0.5, 1.0), (1.0, 1.0, 2.0), (0.3, 0.8, 0.5)] {
                let (low, high) =
                    ((f64::from(t) - f64::from(range)).max(0.0), f64::from(t) + f64::from(range));
                let expected = low + (high - low) * share.powf(f64::from(exponent));
                let got = scaled(&row, t, range, exponent);
                let found = (f64::from(row[3]) - f64::from(row[4])) / f64::from(got[3] - got[4]);
                assert!(seed == 0 || (found / expected - 1.0).abs() < 1e-3, "{found}, expected {expected}");
            }
        }
    }

    #[test]
    fn certainty_and_its_opposite_reach_the_ends() {
        let flat = scaled(&[0.0; 8], 1.0, 0.5, 1.0);
        assert_eq!(flat, [0.0; 8]);
        let certain = scaled(&[0.0, 80.0], 1.0, 0.5, 1.0);
        assert!((certain[0] + 160.0).abs() < 1e-2, "{certain:?}");
        // A range that reaches 0 makes no division by 0.
        assert_eq!(scaled(&[0.0, 100.0], 0.5, 0.5, 1.0)[1], 0.0);
        assert_eq!(scaled(&[3.0], 0.5, 0.5, 1.0), [0.0]);
        let ruled_out = scaled(&[f32::NEG_INFINITY, 1.0, 2.0], 1.0, 0.5, 1.0);
        assert!(ruled_out[0] == f32::NEG_INFINITY && ruled_out[1].is_finite(), "{ruled_out:?}");
    }
}
