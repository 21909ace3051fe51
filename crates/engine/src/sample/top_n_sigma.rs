//! Top-n-sigma: keep the logits within `n` standard deviations of the best (Tang et al., arXiv:2411.07641).
//!
//! The deviation is that of the candidates' logits, those ruled out left aside. It judges logits and not probabilities, so a
//! temperature before or after it changes nothing.

use super::{Kind, Pool, Rng, Role, Setting, Stage, Step};

pub static STAGE: Stage = Stage {
    name: "top-n-sigma",
    aliases: &[],
    about: "keep logits within n standard deviations of the best",
    source: "arXiv:2411.07641",
    role: Role::Filter,
    settings: &[Setting {
        name: "top-n-sigma",
        kind: Kind::Number(0.0, 100.0, |p| &mut p.top_n_sigma),
        default: &["0"],
        about: "Choose among logits within N standard deviations of the best; 0: off",
    }],
    wants: |p| p.top_n_sigma > 0.0,
    make: |p, _| Ok(Box::new(TopNSigma(p.top_n_sigma))),
};

#[derive(Debug)]
struct TopNSigma(f32);

impl Step for TopNSigma {
    fn apply(&mut self, pool: &mut Pool<'_>, _: &mut Rng) {
        let max = f64::from(pool.max());
        let cut = max - f64::from(self.0) * deviation(pool.logits());
        // Rounded to f32 it might pass the best.
        pool.keep_above((cut as f32).min(max as f32));
    }
}

/// The standard deviation of the finite logits, summed in a fixed order.
fn deviation(logits: &[f32]) -> f64 {
    let n = logits.iter().filter(|l| l.is_finite()).count().max(1) as f64;
    let mean = sum(logits, |l| l) / n;
    (sum(logits, |l| (l - mean) * (l - mean)) / n).sqrt()
}

/// The sum of `f` over the finite ones, in eight lanes so that it vectorises.
fn sum(logits: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0f64; 8];
    let one = |l: f32| if l.is_finite() { f(f64::from(l)) } else { 0.0 };
    let chunks = logits.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&l| one(l)).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &l)| *lane += one(l));
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::after;
    use super::super::tests::logits;
    use super::*;

    fn kept(row: &[f32], n: f32) -> Vec<u32> {
        after(row, |pool| TopNSigma(n).apply(pool, &mut Rng::new(0))).iter().map(|c| c.id).collect()
    }

    #[test]
    fn agrees_with_the_definition() {
        for seed in 0..20 {
            let mut row = logits(301, seed);
            row[5] = f32::NEG_INFINITY;
            let finite: Vec<f64> = row.iter().filter(|l| l.is_finite()).map(|&l| f64::from(l)).collect();
            let mean = finite.iter().sum::<f64>() / finite.len() as f64;
            let variance = finite.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / finite.len() as f64;
            let max = finite.iter().copied().fold(f64::MIN, f64::max);
            for n in [0.01, 0.5, 1.0, 2.0, 3.0, 100.0f32] {
                let cut = max - f64::from(n) * variance.sqrt();
                let expected: Vec<u32> = (0..301).filter(|&id| f64::from(row[id as usize]) >= cut).collect();
                assert_eq!(kept(&row, n), expected, "seed {seed}, n {n}");
            }
        }
    }

    #[test]
    fn equal_logits_all_stay_and_so_does_a_single_one() {
        assert_eq!(kept(&[0.1; 9], 1.0).len(), 9);
        assert_eq!(kept(&[f32::NEG_INFINITY, 3.0, f32::NEG_INFINITY], 1.0), [1]);
    }
}
