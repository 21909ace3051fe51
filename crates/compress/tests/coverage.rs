//! Intervals held against simulations: of texts whose truth is known, nineteen of twenty must be covered.
//!
//! A token's value is a function of a normal number that it shares in part with its window and in part with the tokens
//! before it, as difficulties of text do. `cargo test -p ingle-compress --test coverage -- --nocapture` prints what was found.

use ingle_compress::evaluate::compare::{self, Verdict};
use ingle_compress::evaluate::estimate::Estimate;
use ingle_compress::evaluate::scores::Scores;
use ingle_compress::evaluate::tasks::Task;
use ingle_compress::evaluate::windows;

const N_TEXTS: usize = 2000;
/// Coverage is itself a share of so many texts; this is three of its standard errors.
const CHANCE: f64 = 0.015;
/// Of a token's variance, what its window has in common.
const SHARED: f64 = 0.2;

/// Normal numbers, the same on every machine (Lehmer's generator, Box and Muller's transform).
struct Normal(u64);

impl Normal {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        let (r, phi) = ((-2.0 * self.uniform().ln()).sqrt(), std::f64::consts::TAU * self.uniform());
        r * phi.cos()
    }

    /// Standard normal numbers of `n_windows` windows of `per_window` tokens.
    fn text(&mut self, n_windows: usize, per_window: usize) -> Vec<f64> {
        let mut text = Vec::with_capacity(n_windows * per_window);
        for _ in 0..n_windows {
            let window = self.next();
            let mut before = self.next();
            for _ in 0..per_window {
                before = 0.5 * before + 0.75f64.sqrt() * self.next();
                text.push(SHARED.sqrt() * window + (1.0 - SHARED).sqrt() * before);
            }
        }
        text
    }
}

/// The share of texts whose interval has `truth` in it.
fn coverage(
    what: &str,
    n_windows: usize,
    truth: f64,
    value: impl Fn(f64) -> f64,
    of: impl Fn(&[f64], usize) -> Estimate,
) -> f64 {
    const PER_WINDOW: usize = 64;
    let mut normal = Normal(2026);
    let mut n_covered = 0;
    for _ in 0..N_TEXTS {
        let mut text = normal.text(n_windows, PER_WINDOW);
        text.iter_mut().for_each(|x| *x = value(*x));
        let e = of(&text, PER_WINDOW);
        let (low, high) = (e.low.unwrap_or(f64::NEG_INFINITY), e.high.unwrap_or(f64::INFINITY));
        n_covered += usize::from((low..=high).contains(&truth));
    }
    let share = n_covered as f64 / N_TEXTS as f64;
    eprintln!("{what:32} {n_windows:4} windows: {share:.3}");
    share
}

#[test]
fn means_of_text_are_covered() {
    for n_windows in [4, 20, 80] {
        let share = coverage("mean", n_windows, 0.0, |x| x, windows::mean);
        assert!((share - 0.95).abs() < CHANCE, "{share}");
    }
    // Token by token, as other programs count, an interval is no such thing.
    let share = coverage("mean, token by token", 20, 0.0, |x| x, |v, _| windows::mean(v, 1));
    assert!(share < 0.6, "{share}");
}

/// Divergences are skewed, as lognormal numbers are. Where a few windows hold much of the sum no interval of theirs can
/// know it: with a tail as long as the second's, and few windows, it covers less than it says.
#[test]
fn means_of_skewed_values_are_nearly_covered() {
    for (sigma, n_windows, least) in
        [(1.0f64, 8, 0.93), (1.0, 40, 0.92), (2.0, 8, 0.85), (2.0, 40, 0.88), (2.0, 200, 0.91)]
    {
        let truth = (sigma * sigma / 2.0).exp();
        let name = format!("skewed mean, sigma {sigma}");
        let share = coverage(&name, n_windows, truth, |x| (sigma * x).exp(), windows::mean_positive);
        assert!((least..0.975).contains(&share), "{sigma} {n_windows}: {share}");
    }
}

#[test]
fn quantiles_are_covered() {
    for (q, z, n_windows) in [(0.5, 0.0, 8), (0.5, 0.0, 40), (0.99, 2.326_348, 40), (0.99, 2.326_348, 200)] {
        let name = format!("quantile {q}");
        let share = coverage(&name, n_windows, f64::exp(z), f64::exp, |v, n| windows::quantile(v, n, q));
        assert!((0.92..0.985).contains(&share), "{q} {n_windows}: {share}");
    }
}

#[test]
fn shares_are_covered() {
    for (z, p, n_windows) in [(0.0, 0.5, 8), (-1.644_854, 0.95, 8), (-1.644_854, 0.95, 40)] {
        let name = format!("share {p}");
        let share = coverage(&name, n_windows, p, |x| x, |v, n| windows::share(v, n, |x| x > z));
        assert!((0.93..0.985).contains(&share), "{p} {n_windows}: {share}");
    }
    // Answers to questions are independent.
    for (p, n) in [(0.9, 30), (0.5, 100), (0.97, 200)] {
        let mut normal = Normal(7);
        let mut n_covered = 0;
        for _ in 0..N_TEXTS {
            let task = Task::new("", (0..n).map(|_| normal.uniform() < p).collect());
            let (low, high) = (task.accuracy.low.unwrap(), task.accuracy.high.unwrap());
            n_covered += usize::from((low..=high).contains(&p));
        }
        let share = n_covered as f64 / N_TEXTS as f64;
        eprintln!("accuracy {p:23} {n:4} questions: {share:.3}");
        assert!((0.925..0.985).contains(&share), "{p} {n}: {share}");
    }
}

/// Two models whose losses are alike but for noise are called different one time in twenty; a real difference is found,
/// though their own intervals overlap.
#[test]
fn verdicts_are_wrong_one_time_in_twenty() {
    let mut normal = Normal(11);
    let (mut n_alike, mut n_found, mut n_apart) = (0, 0, 0);
    for _ in 0..N_TEXTS {
        let hard = normal.text(16, 64);
        let mut run = |by: f64| {
            let own = normal.text(16, 64);
            let mut scores = Scores::new(64);
            hard.iter().zip(own).for_each(|(h, o)| scores.push(2.0 + h + 0.1 * o + by));
            scores
        };
        let (first, alike, worse) = (run(0.0), run(0.0), run(0.06));
        n_alike += usize::from(compare::scores(&first, &alike)[0].verdict != Verdict::Unshown);
        n_found += usize::from(compare::scores(&first, &worse)[0].verdict == Verdict::Better);
        n_apart += usize::from(first.perplexity().high < worse.perplexity().low);
    }
    let [alike, found, apart] = [n_alike, n_found, n_apart].map(|n| n as f64 / N_TEXTS as f64);
    eprintln!(
        "equals told apart: {alike:.3}; a difference found: {found:.3} in pairs, {apart:.3} by intervals"
    );
    assert!((alike - 0.05).abs() < CHANCE, "{alike}");
    assert!(found > 0.8 && apart < 0.05, "{found} {apart}");
}
