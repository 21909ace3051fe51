//! What one position says: how likely the true token was to both models, and how far their distributions are apart.
//!
//! The divergence is Kullback and Leibler's from the reference to the model, in nats: the sum of `p ln(p / q)`, where `p`
//! is the reference's. [`against`] has all of the reference's row; [`super::compact`] has the best of it.

/// One position of a model beside its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Divergence from the reference.
    pub kld: f64,
    /// Negative log-likelihood of the true token.
    pub nll: f64,
    /// The same of the reference.
    pub nll_reference: f64,
    /// Whether both have the same best token.
    pub same_top: bool,
}

/// `ln` of the sum of `e^logit`.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f64::from(max) + logits.iter().map(|&l| f64::from(l - max).exp()).sum::<f64>().ln()
}

/// Negative log-likelihood of token `id`.
pub fn nll(logits: &[f32], id: u32) -> f64 {
    log_sum_exp(logits) - f64::from(logits[id as usize])
}

/// The best token, the lowest id among equals.
pub fn top(row: &[f32]) -> u32 {
    let best = row.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(id, _)| id as u32)
}

/// What a token adds to the divergence whose log-probability is `p` in the reference and `q` in the model: `p ln(p / q)`, and
/// `q - p`, which comes to nothing over all tokens. With it no term is negative, tokens left out on both sides leave no debt,
/// and a `p` that was rounded is off by the square of what it lost.
pub(crate) fn term(p: f64, q: f64) -> f64 {
    if p == f64::NEG_INFINITY {
        return q.exp();
    }
    let log_odds = q - p;
    p.exp() * (log_odds.exp_m1() - log_odds)
}

/// Compares `logits` with the reference's log-probabilities `reference`, both `(n_vocab)`; `id` is the true token, and
/// `true_reference` its log-probability in the reference (`reference` may have it cut off far below the best).
pub fn against(logits: &[f32], reference: &[f32], id: u32, true_reference: f32) -> Position {
    let log_sum = log_sum_exp(logits);
    // What the file cut off is some hundred tokens of less than e^-16 each, whose own divergence is nothing beside the rest.
    let kept = logits.iter().zip(reference).filter(|&(_, &p)| p > -16.0);
    Position {
        kld: kept.map(|(&l, &p)| term(f64::from(p), f64::from(l) - log_sum)).sum(),
        nll: log_sum - f64::from(logits[id as usize]),
        nll_reference: -f64::from(true_reference),
        same_top: top(logits) == top(reference),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihood_is_that_of_the_softmax() {
        assert!((nll(&[0.0; 4], 2) - 4f64.ln()).abs() < 1e-12);
        assert!(nll(&[1000.0, 0.0], 0).abs() < 1e-12);
    }

    #[test]
    fn the_first_of_equals_is_the_best() {
        assert_eq!((top(&[1.0, 3.0, 3.0]), top(&[])), (1, 0));
    }

    #[test]
    fn a_model_does_not_diverge_from_itself() {
        for row in [[1.0f32, 2.0, 3.0, -9.0], [0.0, 0.0, 5.0, 1.0]] {
            let reference = row.map(|l| (f64::from(l) - log_sum_exp(&row)) as f32);
            let position = against(&row, &reference, 1, reference[1]);
            assert!(position.kld.abs() < 1e-6 && position.same_top);
            assert!((position.nll - position.nll_reference).abs() < 1e-6);
        }
    }

    /// Reference (1/2, 1/2), model (1/4, 3/4): KL = ln 2 - ln(3)/2, worked out by hand.
    #[test]
    fn the_divergence_of_two_coins() {
        let (reference, model) = ([0.5f32.ln(); 2], [0.25f32.ln(), 0.75f32.ln()]);
        let position = against(&model, &reference, 0, reference[0]);
        assert!((position.kld - (2f64.ln() - 3f64.ln() / 2.0)).abs() < 1e-6);
        assert!((position.nll - 4f64.ln()).abs() < 1e-6 && (position.nll_reference - 2f64.ln()).abs() < 1e-6);
        assert!(!position.same_top);
    }
}
