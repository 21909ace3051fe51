//! Log-probabilities to report beside a choice: of the chosen token and of the best ones, as OpenAI's API defines
//! `logprobs` and `top_logprobs`.
//!
//! They are natural logarithms of the model's own distribution, before any stage changes it. Within 1e-6 of exact, as
//! weights have 24 bits.

use super::pool::{Candidate, best};
use super::{SampleError, top_k, weight};

/// The most alternatives, as in OpenAI's API.
pub const LOGPROBS_MAX: usize = 20;

/// A token and the logarithm of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logprob {
    /// Its id.
    pub id: u32,
    /// Natural logarithm of its probability; minus infinity where the model rules it out.
    pub logprob: f64,
}

/// What the model thought of one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    n_top: usize,
    top: Vec<Logprob>,
    chosen: Logprob,
    /// As the model made it. `(n_vocab)`
    row: Vec<f32>,
    /// Subtracted from a logit gives its logprob.
    normaliser: f64,
    heap: Vec<Candidate>,
}

impl Logprobs {
    /// Room for `n_top` alternatives, [`LOGPROBS_MAX`] at most, of rows of `n_vocab`.
    pub fn new(n_top: usize, n_vocab: usize) -> Self {
        let n_top = n_top.min(LOGPROBS_MAX);
        let chosen = Logprob { id: 0, logprob: 0.0 };
        let (top, heap) = (Vec::with_capacity(n_top), Vec::with_capacity(n_top));
        Self { n_top, top, chosen, row: Vec::with_capacity(n_vocab), normaliser: 0.0, heap }
    }

    /// Reads a row as the model made it. Allocates nothing.
    ///
    /// # Errors
    /// [`SampleError::NotFinite`] or [`SampleError::NothingLeft`].
    pub fn read(&mut self, logits: &[f32]) -> Result<(), SampleError> {
        let (_, max) = best(logits).map_err(|(at, value)| match at {
            Some(at) => SampleError::NotFinite { id: at as u32, value },
            None => SampleError::NothingLeft,
        })?;
        self.normaliser = f64::from(max) + weight::ln(weight::sum(logits, max));
        self.row.clear();
        self.row.extend_from_slice(logits);
        self.top.clear();
        if self.n_top > 0 {
            top_k::best(logits, self.n_top, &mut self.heap);
            self.heap.sort_unstable_by(Candidate::rank);
            let of = |c: &Candidate| Logprob { id: c.id, logprob: f64::from(c.logit) - self.normaliser };
            self.top.extend(self.heap.iter().map(of));
        }
        Ok(())
    }

    /// Token `id` of the row that was read.
    pub fn of(&self, id: u32) -> Logprob {
        Logprob { id, logprob: f64::from(self.row[id as usize]) - self.normaliser }
    }

    /// Notes what was chosen.
    pub fn choose(&mut self, id: u32) {
        self.chosen = self.of(id);
    }

    /// The chosen token.
    pub fn chosen(&self) -> Logprob {
        self.chosen
    }

    /// By how much the chosen token is above the best other one, in nats; below 0 where it was not the best. `None` where no other was
    /// asked for: two alternatives are enough. Both are of one distribution, so it is the difference of two logits.
    pub fn margin(&self) -> Option<f64> {
        let other = self.top.iter().find(|token| token.id != self.chosen.id)?;
        Some(self.chosen.logprob - other.logprob)
    }

    /// The best tokens, best first, whether chosen or not.
    pub fn top(&self) -> &[Logprob] {
        &self.top
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::logits;
    use super::*;

    #[test]
    fn they_are_those_of_the_softmax_in_f64() {
        for seed in 0..10 {
            let mut row = logits(500, seed);
            row[3] = f32::NEG_INFINITY;
            let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
            let mut expected: Vec<(u32, f64)> =
                row.iter().zip(0..).map(|(&l, id)| (id, f64::from(l) - sum.ln())).collect();
            let mut got = Logprobs::new(20, 500);
            got.read(&row).unwrap();
            for &(id, logprob) in &expected {
                let found = got.of(id).logprob;
                assert!(found == logprob || (found - logprob).abs() < 1e-6, "{found}, expected {logprob}");
            }
            expected.sort_by(|a, b| b.1.total_cmp(&a.1));
            assert_eq!(got.top().len(), 20);
            assert!(got.top().iter().zip(&expected).all(|(g, e)| g.id == e.0));
        }
    }

    #[test]
    fn a_margin_is_the_difference_of_two_logits() {
        let mut got = Logprobs::new(2, 4);
        got.read(&[1.0, 3.5, -2.0, 3.0]).unwrap();
        let mut margin = |id| {
            got.choose(id);
            got.margin().unwrap()
        };
        assert_eq!([margin(1), margin(3), margin(0)].map(|m| (m * 1e6).round() / 1e6), [0.5, -0.5, -2.5]);
        let mut one = Logprobs::new(1, 4);
        one.read(&[1.0, 3.5, -2.0, 3.0]).unwrap();
        one.choose(1);
        assert_eq!(one.margin(), None);
    }

    #[test]
    fn fewer_tokens_than_asked_for_and_none_at_all() {
        let mut got = Logprobs::new(99, 2);
        got.read(&[0.0, 1.0]).unwrap();
        assert_eq!(got.top().iter().map(|t| t.id).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(got.read(&[f32::NEG_INFINITY]), Err(SampleError::NothingLeft));
        assert!(matches!(got.read(&[0.0, f32::NAN]), Err(SampleError::NotFinite { id: 1, .. })));
        let mut none = Logprobs::new(0, 2);
        none.read(&[0.0, 0.0]).unwrap();
        assert!(none.top().is_empty() && (none.of(0).logprob - 0.5f64.ln()).abs() < 1e-9);
    }
}
