//! One vector for a text: how the hidden states of its tokens become an embedding.
//!
//! Files say it by key: `FAMILY.pooling_type` has llama.cpp's numbers. Two keys are ours, for what folders of the
//! sentence-transformers library say: [`NORMALISED`], whether vectors are brought to length 1, and [`TOKENS_MAX`], how long the
//! texts were that the model was trained on.

use crate::error::{Error, Result};
use crate::file::Contents;
use crate::keys::Keys;

/// Key of the pooling, behind the family's name.
pub const TYPE: &str = "pooling_type";
/// Key of our own, behind the family's name: whether vectors are brought to length 1.
pub const NORMALISED: &str = "embedding.normalised";
/// Key of our own, behind the family's name: tokens that longer texts are cut to.
pub const TOKENS_MAX: &str = "embedding.tokens_max";

/// A pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all tokens'.
    Mean,
    /// The first token's.
    Cls,
    /// The last token's.
    Last,
    /// No vector: a cross-encoder scores pairs of texts.
    Rank,
}

/// Poolings, their numbers in files and their names.
pub static POOLINGS: &[(Pooling, u64, &str)] = &[
    (Pooling::Mean, 1, "mean"),
    (Pooling::Cls, 2, "cls"),
    (Pooling::Last, 3, "last"),
    (Pooling::Rank, 4, "rank"),
];

/// What a model's file says about its embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// How tokens are pooled; `None` where the file does not say.
    pub pooling: Option<Pooling>,
    /// Whether vectors are brought to length 1, as they are where the file does not say.
    pub normalised: bool,
    /// Tokens that longer texts are cut to; `None` where the file does not say.
    pub tokens_max: Option<usize>,
}

impl Plan {
    /// Reads what `file` says under its family's name.
    ///
    /// # Errors
    /// [`Error::Malformed`] for impossible values.
    pub fn read(file: &Contents) -> Result<Self> {
        let family = file.str("general.architecture")?.unwrap_or_default();
        let keys = Keys { file, family };
        let number = keys.uint_or(TYPE, 0, 0..=POOLINGS.len())?;
        let pooling = POOLINGS.iter().find(|(_, n, _)| *n == number as u64).map(|(pooling, ..)| *pooling);
        let tokens_max = Some(keys.uint_or(TOKENS_MAX, 0, 0..=1 << 31)?).filter(|&n| n > 0);
        Ok(Self { pooling, normalised: file.bool(&keys.key(NORMALISED))?.unwrap_or(true), tokens_max })
    }
}

impl Pooling {
    /// Its number in files.
    pub fn number(self) -> u64 {
        let entry = POOLINGS.iter().find(|(pooling, ..)| *pooling == self);
        entry.map_or(0, |(_, number, _)| *number)
    }

    /// The pooling of `hidden` `(n_tokens, dim)`, at least one token, into `out` `(dim)`.
    ///
    /// # Errors
    /// [`Error::Input`] for [`Pooling::Rank`].
    pub fn pool(self, hidden: &[f32], out: &mut [f32]) -> Result<()> {
        let dim = out.len();
        let n_tokens = hidden.len() / dim;
        assert!(n_tokens > 0 && n_tokens * dim == hidden.len());
        match self {
            Self::Mean => {
                out.fill(0.0);
                for row in hidden.chunks_exact(dim) {
                    ingle_kernel::ops::add(out, row);
                }
                out.iter_mut().for_each(|v| *v /= n_tokens as f32);
            }
            Self::Cls => out.copy_from_slice(&hidden[..dim]),
            Self::Last => out.copy_from_slice(&hidden[(n_tokens - 1) * dim..]),
            Self::Rank => {
                let text = "a cross-encoder scores pairs of texts and has no embeddings; expected a model that pools by mean, cls or last";
                return Err(Error::Input(text.into()));
            }
        }
        Ok(())
    }
}

/// Brings `vector` to length 1; one of zeros stays.
pub fn normalise(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    let factor = (1.0 / square.sqrt().max(1e-12)) as f32;
    vector.iter_mut().for_each(|v| *v *= factor);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Value;

    #[test]
    fn tokens_become_one_vector() {
        let hidden = [1.0, 2.0, 3.0, 6.0, 5.0, 1.0];
        let pooled = |pooling: Pooling| {
            let mut out = [f32::NAN; 2];
            pooling.pool(&hidden, &mut out).map(|()| out)
        };
        assert_eq!(pooled(Pooling::Mean), Ok([3.0, 3.0]));
        assert_eq!(pooled(Pooling::Cls), Ok([1.0, 2.0]));
        assert_eq!(pooled(Pooling::Last), Ok([5.0, 1.0]));
        assert!(pooled(Pooling::Rank).is_err());
    }

    #[test]
    fn length_becomes_one_and_nothing_stays_nothing() {
        let (mut some, mut none) = ([3.0, -4.0], [0.0; 2]);
        normalise(&mut some);
        normalise(&mut none);
        assert_eq!((some, none), ([0.6, -0.8], [0.0; 2]));
    }

    #[test]
    fn files_say_how_by_number_and_other_numbers_are_refused() {
        let file = |number: u64| {
            let mut file = Contents::new("test");
            file.set("general.architecture", Value::text("bert")).unwrap();
            file.set("bert.pooling_type", Value::Uint(number)).unwrap();
            Plan::read(&file).map(|plan| plan.pooling)
        };
        for (pooling, number, _) in POOLINGS {
            assert_eq!(file(*number), Ok(Some(*pooling)));
        }
        assert_eq!(file(0), Ok(None));
        assert!(file(5).is_err());
    }
}
