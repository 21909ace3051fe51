//! What a prompt alone says: how much more often a stronger model would answer it rightly than the one on the device.
//!
//! A linear model over hashed words, pairs of words and the prompt's shape ([`features`]); its weights are one byte a place, 64 KB
//! ([`weights`]), fitted by ridge regression in seconds ([`fit`]). It learns the difference between two models on one kind of
//! question, and is worth as much as these resemble the user's: `examples/train_score.rs` measures that, the share of questions that
//! it wrongly keeps included. So no weights are built into the program; a file of them is the user's choice, and without one the
//! decision begins with the local answer's confidence ([`crate::confidence`]).
//!
//! It reads the first and last 4 KB of a prompt, allocates two buffers, and keeps nothing of it.

pub mod features;
pub mod fit;
pub mod weights;

pub use features::{Features, features};
pub use weights::{Scorer, WeightsError};

use features::N_BUCKETS;

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
