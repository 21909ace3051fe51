//! How far a model's next-token distributions are from a base's: llama.cpp's figures, each with its standard error.

use serde::Serialize;

use super::{Estimate, Moments, quantile};

/// `ln` of the sum of `e^logit`.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f64::from(max) + logits.iter().map(|&l| f64::from(l - max).exp()).sum::<f64>().ln()
}

/// Negative log-likelihood of token `id`.
pub fn nll(logits: &[f32], id: u32) -> f64 {
    log_sum_exp(logits) - f64::from(logits[id as usize])
}

/// The comparison so far.
#[derive(Debug, Default)]
pub struct Divergence {
    klds: Vec<f32>,
    kld: Moments,
    nll: Moments,
    nll_base: Moments,
    ln_ratio: Moments,
    delta_p: Moments,
    delta_p_squared: Moments,
    same_top: Moments,
}

/// The comparison's figures.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Kullback-Leibler divergence from the base, in nats.
    pub kld: Kld,
    /// Share of positions where both have the same best token.
    pub top1: Estimate,
    /// Root of the mean squared change of the true token's probability.
    pub rms_delta_p: Estimate,
    /// Mean change of the true token's probability.
    pub mean_delta_p: Estimate,
    /// Perplexity of the base on the same text.
    pub ppl_base: Estimate,
    /// `ln(perplexity / perplexity of the base)`, position by position, which cancels what both share.
    pub ln_ppl_ratio: Estimate,
}

/// The divergence over positions.
#[derive(Debug, Serialize)]
pub struct Kld {
    pub mean: Estimate,
    pub median: Estimate,
    pub p99: Estimate,
    pub p999: Estimate,
    /// Without a standard error: a maximum has none that the sample could tell.
    pub max: Estimate,
}

impl Divergence {
    /// Adds a position: the model's logits, the base's log-probabilities, the true next token and the base's
    /// log-probability of that (`base` has it cut off far below the best).
    pub fn push(&mut self, logits: &[f32], base: &[f32], id: u32, true_base: f32) {
        let log_sum = log_sum_exp(logits);
        let (mut sum, mut mass) = (0.0, 0.0);
        for (&l, &b) in logits.iter().zip(base) {
            // What the base file cut off carries less than 1e-7 of the probability.
            if b > -16.0 {
                let b = f64::from(b);
                sum += b.exp() * (b - (f64::from(l) - log_sum));
                mass += b.exp();
            }
        }
        // The file's rounding leaves a mass of not quite 1; without this a model would diverge negatively from itself.
        let kld = sum / mass - mass.ln();
        let log_p = f64::from(logits[id as usize]) - log_sum;
        let log_p_base = f64::from(true_base);
        let delta = log_p.exp() - log_p_base.exp();
        self.klds.push(kld as f32);
        self.kld.push(kld);
        self.nll.push(-log_p);
        self.nll_base.push(-log_p_base);
        self.ln_ratio.push(log_p_base - log_p);
        self.delta_p.push(delta);
        self.delta_p_squared.push(delta * delta);
        self.same_top.push(f64::from(u8::from(top(logits) == top(base))));
    }

    /// Mean divergence so far.
    pub fn mean(&self) -> f64 {
        self.kld.mean().value
    }

    /// The figures; there must be at least one position.
    pub fn report(mut self) -> Report {
        self.klds.sort_unstable_by(f32::total_cmp);
        let squared = self.delta_p_squared.mean();
        let rms = squared.value.sqrt();
        Report {
            kld: Kld {
                mean: self.kld.mean(),
                median: quantile(&self.klds, 0.5),
                p99: quantile(&self.klds, 0.99),
                p999: quantile(&self.klds, 0.999),
                max: Estimate { value: f64::from(self.klds[self.klds.len() - 1]), se: None },
            },
            top1: self.same_top.mean(),
            rms_delta_p: Estimate {
                value: rms,
                se: squared.se.map(|se| if rms > 0.0 { 0.5 * se / rms } else { 0.0 }),
            },
            mean_delta_p: self.delta_p.mean(),
            ppl_base: self.nll_base.exp_mean(),
            ln_ppl_ratio: self.ln_ratio.mean(),
        }
    }
}

/// The best token, the lowest id among equals.
fn top(row: &[f32]) -> usize {
    let best = row.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_softmax(logits: &[f32]) -> Vec<f32> {
        let sum = log_sum_exp(logits);
        logits.iter().map(|&l| (f64::from(l) - sum) as f32).collect()
    }

    #[test]
    fn likelihood_is_that_of_the_softmax() {
        assert!((nll(&[0.0; 4], 2) - 4f64.ln()).abs() < 1e-12);
        assert!(nll(&[1000.0, 0.0], 0).abs() < 1e-12);
    }

    #[test]
    fn a_model_does_not_diverge_from_itself() {
        let mut d = Divergence::default();
        for row in [[1.0f32, 2.0, 3.0, -9.0], [0.0, 0.0, 5.0, 1.0]] {
            let base = log_softmax(&row);
            d.push(&row, &base, 1, base[1]);
        }
        let r = d.report();
        assert!(r.kld.mean.value.abs() < 1e-6 && r.kld.max.value.abs() < 1e-6);
        assert_eq!(r.top1.value, 1.0);
        assert!(r.rms_delta_p.value < 1e-6);
        assert!(r.ln_ppl_ratio.value.abs() < 1e-6);
    }

    /// Base (1/2, 1/2), model (1/4, 3/4): KL = ln 2 - ln(3)/2, computed by hand.
    #[test]
    fn the_divergence_of_two_coins() {
        let (base, model) = ([0.5f32.ln(), 0.5f32.ln()], [0.25f32.ln(), 0.75f32.ln()]);
        let mut d = Divergence::default();
        d.push(&model, &base, 0, base[0]);
        d.push(&model, &base, 1, base[1]);
        let r = d.report();
        let want = 2f64.ln() - 3f64.ln() / 2.0;
        assert!((r.kld.mean.value - want).abs() < 1e-6);
        assert!((r.rms_delta_p.value - 0.25).abs() < 1e-6);
        assert!(r.mean_delta_p.value.abs() < 1e-6);
        assert_eq!(r.top1.value, 0.0);
        assert!((r.ppl_base.value - 2.0).abs() < 1e-6);
    }
}
