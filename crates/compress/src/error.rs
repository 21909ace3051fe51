//! What can go wrong between a model and a smaller one.

use std::io;

/// Every failure of this crate, said in one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input, or what was asked of it, does not hold together; the caller puts the file's name in front.
    #[error(transparent)]
    Model(#[from] ingle_model::Error),
    /// A weight is NaN or infinite, or the chosen format can't reach it.
    #[error("tensor {tensor}: the value {value} in row {row}, expected {expected}")]
    Value {
        /// The tensor's name.
        tensor: String,
        /// What stands there.
        value: f32,
        /// The row, counted over all matrices of the tensor.
        row: usize,
        /// What should stand there.
        expected: String,
    },
    /// The output is there already.
    #[error("{file}: exists already; --force replaces it")]
    Exists {
        /// The path as it was given.
        file: String,
    },
    /// The output would be the input.
    #[error("{file}: is the input itself, expected another file (the input is never changed)")]
    SameFile {
        /// The path as it was given.
        file: String,
    },
    /// Another run of the program makes it at this moment.
    #[error("{file}: another run is writing it")]
    Busy {
        /// The path as it was given.
        file: String,
    },
    /// The system would not write it.
    #[error("{file}: {source}")]
    Write {
        /// The path as it was given.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The stream that was given would not take the bytes.
    #[error("writing the model: {0}")]
    Stream(#[from] io::Error),
    /// A part of the work that is to be put together is not there, or damaged.
    #[error("{0} of the work so far is missing or damaged, expected it whole; begin again")]
    Unfinished(String),
    /// The watcher asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
