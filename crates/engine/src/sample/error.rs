//! Why there is no next token.

/// What is wrong with a setting, or with a row of logits.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A setting's value can't be used.
    #[error("{name} is {value}, expected {expected}")]
    Param {
        /// Its name, as in [`settings`](super::settings).
        name: &'static str,
        /// The value given.
        value: String,
        /// The values there are.
        expected: String,
    },
    /// The row has another length than the vocabulary.
    #[error("{found} logits, expected one for each of the {expected} tokens")]
    Length {
        /// Logits given.
        found: usize,
        /// Size of the vocabulary.
        expected: usize,
    },
    /// A logit is not a number, or infinite: the weights or the arithmetic that made it are broken.
    #[error("the logit of token {id} is {value}: the model's weights may be damaged")]
    NotFinite {
        /// The first such token.
        id: u32,
        /// Its logit.
        value: f32,
    },
    /// Every logit is minus infinity.
    #[error("every token is ruled out: no logit is above minus infinity")]
    NothingLeft,
}
