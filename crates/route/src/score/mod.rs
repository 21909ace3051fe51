//! What a prompt alone says: how much more often a stronger model would answer it rightly than the one on the device.
//!
//! A linear model over hashed words, pairs of words and the prompt's shape ([`mod@features`]); its weights are one byte a place, 64 KB
//! ([`weights`]), fitted by ridge regression in seconds ([`fit`]). It learns the difference between two models on one kind of
//! question, and is worth as much as these resemble the user's: `examples/train_score.rs` measures that, what it wrongly keeps and
//! what is left of it on subjects it has not seen included. [`ROUTELLM`] was fitted to other models than the user's, so it should
//! speak only where it is very sure ([`crate::decide::Stakes::direct_gain_min`]); the rest is left to the local answer's confidence
//! ([`crate::confidence`]), which knows more. A program that does not name it does not carry it, and a file takes its place.
//!
//! It reads the first and last 4 KB of a prompt, allocates two buffers, and keeps nothing of it.

pub mod features;
pub mod fit;
pub mod weights;

pub use features::{Features, features};
pub use weights::{Scorer, WeightsError};

use features::N_BUCKETS;

/// A file of weights, 66 KB, for [`Scorer::parse`]: fitted by `examples/train_score.rs` to RouteLLM's labels (Apache-2.0) of 7,689
/// questions of GSM8K and MMLU that Mixtral 8x7B and GPT-4 answered.
pub static ROUTELLM: &[u8] = include_bytes!("routellm.bin");

impl Scorer {
    /// The expected gain of asking the strong model: the probability that it is right minus the probability that the one on the
    /// device is, from -1 to 1.
    pub fn gain(&self, prompt: &str) -> f64 {
        self.gain_of(&features(prompt))
    }

    /// The same of features.
    pub fn gain_of(&self, features: &Features) -> f64 {
        let of_bucket = |&(place, x): &(u32, f32)| {
            f64::from(self.buckets[place as usize % N_BUCKETS]) * f64::from(self.scale) * f64::from(x)
        };
        let words: f64 = features.buckets.iter().map(of_bucket).sum();
        let shape: f64 = self.shapes.iter().zip(&features.shape).map(|(shape, &x)| shape.part(x)).sum();
        (f64::from(self.intercept) + words + shape).clamp(-1.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_weights_are_whole_and_say_where_they_are_from() {
        let scorer = Scorer::parse(ROUTELLM).unwrap();
        assert!(
            scorer.origin.contains("RouteLLM") && scorer.origin.contains("Apache-2.0"),
            "{}",
            scorer.origin
        );
        assert_eq!(scorer.to_bytes(), ROUTELLM);
        let prompts = [
            "",
            "What is the capital of France?",
            "Let G be a finite abelian group of order 120. A. 1 B. 2 C. 3 D. 4",
        ];
        let gains = prompts.map(|prompt| scorer.gain(prompt));
        assert!(gains.iter().all(|gain| (-1.0..=1.0).contains(gain)) && gains[1] < gains[2], "{gains:?}");
    }
}
