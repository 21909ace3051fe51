//! Mirostat: keep the surprise of the text near a target by learning from each draw where to cut (Basu et al.,
//! arXiv:2007.14966, algorithm 1; version 2 is the authors' later simplification, in their code).
//!
//! The state is `mu`, in bits, `2 tau` at first. Version 1 estimates the exponent of Zipf's law from the 100 best tokens and
//! from it how many tokens to keep; version 2 keeps those whose surprise is at most `mu`. After the draw, `mu` loses `eta`
//! times what the drawn token's surprise, among the candidates kept, exceeded `tau` by.

use super::{Kind, Params, Pool, Rng, Role, Room, Setting, Stage, Step, top_k, weight};

pub static STAGE: Stage = Stage {
    name: "mirostat",
    aliases: &["mirostat-v2"],
    about: "cut where the surprise of the text stays near a target; takes the place of the filters",
    source: "arXiv:2007.14966",
    role: Role::Last,
    settings: &[
        Setting {
            name: "mirostat",
            kind: Kind::Count(0, 2, |p| &mut p.mirostat),
            default: &["0"],
            about: "Version of mirostat, 1 or 2, in place of the filters; 0: off",
        },
        Setting {
            name: "mirostat-ent",
            kind: Kind::Number(0.0, 100.0, |p| &mut p.mirostat_tau),
            default: &["5"],
            about: "Surprise in bits per token that mirostat aims at (tau)",
        },
        Setting {
            name: "mirostat-lr",
            kind: Kind::Number(0.0, 1.0, |p| &mut p.mirostat_eta),
            default: &["0.1"],
            about: "How fast mirostat corrects (eta)",
        },
    ],
    wants: |p| p.mirostat > 0,
    make: |p, room| Ok(Box::new(Mirostat::new(p, room))),
};

/// Tokens that the estimate of version 1 looks at.
const N_BEST: usize = 100;

#[derive(Debug)]
struct Mirostat {
    first: bool,
    tau: f64,
    eta: f64,
    mu: f64,
    n_vocab: f64,
}

impl Mirostat {
    fn new(p: &Params, room: &Room<'_>) -> Self {
        let (tau, eta) = (f64::from(p.mirostat_tau), f64::from(p.mirostat_eta));
        Self { first: p.mirostat == 1, tau, eta, mu: 2.0 * tau, n_vocab: room.n_vocab as f64 }
    }

    /// Version 1's number of tokens to keep. `falls` are the differences between each of the best logits and the next.
    fn k(&self, falls: impl Iterator<Item = f64>) -> usize {
        let (mut tb, mut tt) = (0.0, 0.0);
        for (b, i) in falls.zip(1u32..) {
            let t = (f64::from(i + 1) / f64::from(i)).ln();
            tb += t * b;
            tt += t * t;
        }
        let s = tb / tt;
        let epsilon = s - 1.0;
        // At epsilon 0 the quotient is 0/0; its limit is 1 / ln N.
        let quotient = if epsilon.abs() < 1e-9 {
            1.0 / self.n_vocab.ln()
        } else {
            epsilon / (1.0 - self.n_vocab.powf(-epsilon))
        };
        let k = (quotient * self.mu.exp2()).powf(1.0 / s);
        // NaN becomes 0, what is too large the largest number.
        (k as usize).max(1)
    }
}

impl Step for Mirostat {
    fn apply(&mut self, pool: &mut Pool<'_>, _: &mut Rng) {
        if pool.n_left() == 1 {
            return;
        }
        if self.first {
            let mut best = std::mem::take(pool.scratch);
            top_k::best(pool.logits(), N_BEST, &mut best);
            best.sort_unstable_by(|a, b| a.rank(b));
            let finite = best.iter().take_while(|c| c.logit > f32::NEG_INFINITY).count();
            let k = self.k(best[..finite].windows(2).map(|w| f64::from(w[0].logit) - f64::from(w[1].logit)));
            *pool.scratch = best;
            top_k::keep(pool, k);
        } else {
            let max = pool.max();
            // -log2 p <= mu
            let enough = weight::sum(pool.logits(), max) as f64 * (-self.mu).exp2();
            let reach = weight::reach(enough).min(0.0);
            pool.keep(|l| l - max >= reach, |_, l| l == max || weight::of(l - max) as f64 >= enough);
        }
    }

    fn drawn(&mut self, probability: f64) {
        self.mu -= self.eta * (-probability.log2() - self.tau);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::after;
    use super::super::tests::logits;
    use super::*;

    fn step(mirostat: usize, tau: f32, n_vocab: usize) -> Mirostat {
        let params = Params { mirostat, mirostat_tau: tau, ..Params::GREEDY };
        Mirostat::new(&params, &Room::plain(n_vocab))
    }

    #[test]
    fn the_second_version_keeps_what_surprises_by_at_most_mu() {
        for seed in 0..20 {
            let row = logits(300, seed);
            let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
            let best = row.iter().copied().fold(f32::MIN, f32::max);
            for tau in [0.0f32, 0.5, 2.0, 5.0] {
                let surprise = |id: usize| -(f64::from(row[id]).exp() / sum).log2();
                let fits = |&id: &usize| surprise(id) <= 2.0 * f64::from(tau) || row[id] == best;
                let expected: Vec<u32> = (0..300).filter(fits).map(|id| id as u32).collect();
                let mut step = step(2, tau, 300);
                let kept = after(&row, |pool| step.apply(pool, &mut Rng::new(0)));
                assert_eq!(kept.iter().map(|c| c.id).collect::<Vec<_>>(), expected, "seed {seed}, tau {tau}");
            }
        }
    }

    /// Probabilities that follow Zipf's law with exponent s: the estimate finds it, and k is the paper's.
    #[test]
    fn the_first_version_finds_the_exponent_of_zipfs_law() {
        for s in [0.8f64, 1.0, 1.3, 2.0] {
            let row: Vec<f32> = (1..=5000).map(|rank| (-s * f64::from(rank).ln()) as f32).collect();
            let mut step = step(1, 3.0, row.len());
            let epsilon = s - 1.0;
            let quotient =
                if s == 1.0 { 1.0 / 5000f64.ln() } else { epsilon / (1.0 - 5000f64.powf(-epsilon)) };
            let k = (quotient * 6f64.exp2()).powf(1.0 / s);
            let kept = after(&row, |pool| step.apply(pool, &mut Rng::new(0))).len() as f64;
            assert!((kept - k).abs() < 2.0, "s {s}: {kept}, expected {k}");
        }
    }

    #[test]
    fn edges_leave_something() {
        let one = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY];
        for version in [1, 2] {
            for row in [&one[..], &[0.0; 4], &[5.0], &[-1e30, 1e30]] {
                let mut step = step(version, 0.0, row.len());
                let left = after(row, |pool| step.apply(pool, &mut Rng::new(0)));
                assert!(left.iter().any(|c| c.logit > f32::NEG_INFINITY), "version {version}, {row:?}");
            }
        }
    }

    /// The surprise that is steered is that among the candidates kept, as in the authors' code.
    #[test]
    fn the_surprise_of_a_long_text_comes_near_the_target() {
        for version in [1, 2] {
            for tau in [1.0f32, 2.0, 3.5] {
                let (mut step, mut rng) = (step(version, tau, 2000), Rng::new(3));
                let (mut bits, n) = (0.0, 3000);
                for i in 0..n {
                    after(&logits(2000, i % 50), |pool| {
                        step.apply(pool, &mut rng);
                        let (_, probability) = pool.draw(&mut rng).unwrap();
                        step.drawn(probability);
                        bits -= probability.log2();
                    });
                }
                let mean = bits / n as f64;
                assert!((mean - f64::from(tau)).abs() < 0.1, "version {version}: {mean} bits, target {tau}");
            }
        }
    }
}
