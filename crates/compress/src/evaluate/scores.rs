//! What a run says of every token, and what all of it comes to.
//!
//! Values are kept token by token, 40 bytes each: only so can two runs on one text be compared in pairs
//! ([`super::compare`]), where what the text makes hard for both cancels.

use serde::Serialize;

use super::divergence::Position;
use super::estimate::Estimate;
use super::windows;

/// The values of a run's scored tokens, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// Scored tokens of a window.
    pub per_window: usize,
    /// Negative log-likelihood of the true token.
    pub nll: Vec<f64>,
    /// What a reference adds; `None` where there is none.
    pub beside: Option<Beside>,
}

/// The values of a run beside a reference.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beside {
    /// Divergence from the reference.
    pub kld: Vec<f64>,
    /// Negative log-likelihood of the true token in the reference.
    pub nll: Vec<f64>,
    /// Change of the true token's probability.
    pub delta_p: Vec<f64>,
    /// 1 where both have the same best token, else 0.
    pub same_top: Vec<f64>,
}

impl Scores {
    /// No values yet, of windows with `per_window` scored tokens.
    pub fn new(per_window: usize) -> Self {
        Self { per_window, ..Self::default() }
    }

    /// Adds a token of a run without a reference.
    pub fn push(&mut self, nll: f64) {
        self.nll.push(nll);
    }

    /// Adds a token of a run beside a reference.
    pub fn push_position(&mut self, position: Position) {
        let Position { kld, nll, nll_reference, same_top } = position;
        self.nll.push(nll);
        let beside = self.beside.get_or_insert_default();
        beside.kld.push(kld);
        beside.nll.push(nll_reference);
        beside.delta_p.push((-nll).exp() - (-nll_reference).exp());
        beside.same_top.push(f64::from(u8::from(same_top)));
    }

    /// Tokens so far.
    pub fn n_tokens(&self) -> usize {
        self.nll.len()
    }

    /// The perplexity.
    ///
    /// # Panics
    /// When a window is unfinished or there is none; so do the others.
    pub fn perplexity(&self) -> Estimate {
        windows::mean(&self.nll, self.per_window).exp()
    }

    /// How far the run is from its reference.
    pub fn divergence(&self) -> Option<Divergence> {
        let Beside { kld, nll, delta_p, same_top } = self.beside.as_ref()?;
        let n = self.per_window;
        let ln_ratio: Vec<f64> = self.nll.iter().zip(nll).map(|(a, b)| a - b).collect();
        let ln_ppl_ratio = windows::mean(&ln_ratio, n);
        Some(Divergence {
            kld: Kld {
                mean: windows::mean_positive(kld, n),
                median: windows::quantile(kld, n, 0.5),
                p99: windows::quantile(kld, n, 0.99),
                p999: windows::quantile(kld, n, 0.999),
                max: windows::largest(kld),
            },
            top1: windows::share(same_top, n, |v| v > 0.5),
            rms_delta_p: windows::root_mean_square(delta_p, n),
            mean_delta_p: windows::mean(delta_p, n),
            ppl_base: windows::mean(nll, n).exp(),
            ln_ppl_ratio,
            ppl_ratio: ln_ppl_ratio.exp(),
        })
    }
}

/// How far a model is from its reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Divergence {
    /// Kullback-Leibler divergence from the reference, in nats.
    pub kld: Kld,
    /// Share of tokens for which both have the same best one.
    pub top1: Estimate,
    /// Root of the mean squared change of the true token's probability.
    pub rms_delta_p: Estimate,
    /// Mean change of the true token's probability.
    pub mean_delta_p: Estimate,
    /// Perplexity of the reference on the same text.
    pub ppl_base: Estimate,
    /// `ln(perplexity / perplexity of the reference)`, token by token, which cancels what both share.
    pub ln_ppl_ratio: Estimate,
    /// The ratio itself.
    pub ppl_ratio: Estimate,
}

/// The divergence over tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Kld {
    /// The mean.
    pub mean: Estimate,
    /// The median.
    pub median: Estimate,
    /// Exceeded by one token in a hundred.
    pub p99: Estimate,
    /// Exceeded by one token in a thousand.
    pub p999: Estimate,
    /// The largest, of which a sample tells no error.
    pub max: Estimate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_tokens() {
        let mut scores = Scores::new(2);
        let position = |kld, p: f64, p_reference: f64, same_top| Position {
            kld,
            nll: -p.ln(),
            nll_reference: -p_reference.ln(),
            same_top,
        };
        for p in [
            position(0.1, 0.5, 0.25, true),
            position(0.3, 0.25, 0.5, true),
            position(0.2, 0.5, 0.5, false),
            position(0.2, 0.25, 0.25, true),
        ] {
            scores.push_position(p);
        }
        assert!((scores.perplexity().value - 8f64.sqrt()).abs() < 1e-12);
        let d = scores.divergence().unwrap();
        assert!((d.kld.mean.value - 0.2).abs() < 1e-12 && d.kld.max.value == 0.3);
        assert_eq!((d.top1.value, d.ppl_ratio.value), (0.75, 1.0));
        assert!((d.rms_delta_p.value - (0.125f64 / 4.0).sqrt()).abs() < 1e-12);
        assert!(d.mean_delta_p.value.abs() < 1e-12);
        assert_eq!(Scores::new(2).divergence(), None);
    }
}
