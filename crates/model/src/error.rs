//! What can go wrong between bytes and logits, each said in one sentence.

/// Every failure of this crate: which part, what was found, what was expected. The caller, who knows the file's name,
/// puts it in front ("loading qwen.gguf: ...").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file's bytes break its own format: truncated, lying lengths, wrong shapes, missing keys.
    #[error("{part}: {found}, expected {expected}")]
    Malformed {
        /// The part of the file: `header`, `metadata llama.block_count`, `tensor blk.0.attn_q.weight`, ...
        part: String,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
    },
    /// The file is well-formed but needs something this build does not have.
    #[error("{part}: {found} is not supported; supported: {supported}")]
    Unsupported {
        /// The part of the file that asks for it.
        part: String,
        /// What it asks for.
        found: String,
        /// What there is.
        supported: String,
    },
    /// A chat template failed, looped or refused the conversation.
    #[error("chat template: {0}")]
    Template(String),
    /// The caller's input can't be processed: a token id outside the vocabulary, a prompt longer than the context.
    #[error("{0}")]
    Input(String),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A [`Error::Malformed`] from anything printable.
    pub fn malformed(part: impl ToString, found: impl ToString, expected: impl ToString) -> Self {
        Self::Malformed { part: part.to_string(), found: found.to_string(), expected: expected.to_string() }
    }

    /// An [`Error::Unsupported`] that lists the shelf's names.
    pub fn unsupported<'a>(
        part: impl ToString,
        found: impl ToString,
        shelf: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let supported = shelf.into_iter().collect::<Vec<_>>().join(", ");
        Self::Unsupported { part: part.to_string(), found: found.to_string(), supported }
    }
}
