//! What can go wrong between a path and an answer.

use std::io;

/// Every failure of the engine, said in one sentence that names the file, the part and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file.
    #[error("{file}: no such file")]
    NotFound {
        /// The path as it was given.
        file: String,
    },
    /// The system would not read or write it.
    #[error("{file}: {source}")]
    Io {
        /// The path as it was given.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file's content is not a model we can run, or the input does not suit the model.
    #[error("{file}: {source}")]
    Model {
        /// The path as it was given.
        file: String,
        /// Which part, what was found, what was expected.
        source: ingle_model::Error,
    },
    /// The file is not what it was when it was opened.
    #[error("{file}: the file changed from {was} to {is} bytes while in use, expected it to stay as it was")]
    Changed {
        /// The path as it was given.
        file: String,
        /// Bytes when it was opened.
        was: u64,
        /// Bytes now.
        is: u64,
    },
    /// No tier of that name on this CPU.
    #[error("tier {name:?}: this CPU runs {available}")]
    Tier {
        /// The name that was asked for.
        name: String,
        /// Those there are.
        available: String,
    },
    /// The machine has less memory than the request needs.
    #[error(
        "{what} needs {needed} bytes, {available} are available; a smaller --ctx or --kv q8_0 needs less"
    )]
    Memory {
        /// What needs it.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes the system can give.
        available: u64,
    },
    /// The prompt does not fit the context.
    #[error("the prompt has {tokens} tokens, the context {ctx}; raise --ctx or use --overflow drop-oldest")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens there is room for.
        ctx: usize,
    },
    /// The request itself can't be answered.
    #[error("{0}")]
    Input(String),
    /// The form of an answer can't be held, or is malformed.
    #[error("{0}")]
    Constraint(String),
    /// The logits allow no choice.
    #[error("{file}: {source}")]
    Sample {
        /// The model's path.
        file: String,
        /// Why.
        source: crate::sample::SampleError,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
