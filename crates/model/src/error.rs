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
        // One function for whatever is printed.
        #[cold]
        fn malformed([part, found, expected]: [String; 3]) -> Error {
            let [part, found, expected] = [part, found, expected].map(printable);
            Error::Malformed { part, found, expected }
        }
        malformed([part.to_string(), found.to_string(), expected.to_string()])
    }

    /// A [`Error::Malformed`] for what must be there and is not.
    pub fn missing(part: impl ToString, expected: impl ToString) -> Self {
        Self::malformed(part, "nothing", expected)
    }

    /// An [`Error::Unsupported`] that lists the shelf's names.
    pub fn unsupported<'a>(
        part: impl ToString,
        found: impl ToString,
        shelf: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        #[cold]
        fn unsupported([part, found]: [String; 2], shelf: &[&str]) -> Error {
            let [part, found, supported] = [part, found, shelf.join(", ")].map(printable);
            Error::Unsupported { part, found, supported }
        }
        unsupported([part.to_string(), found.to_string()], &shelf.into_iter().collect::<Vec<_>>())
    }
}

/// Names from a file may hold anything: a line's end would make two sentences of one, an escape could drive a terminal.
pub(crate) fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_files_stay_on_one_line() {
        let error = Error::malformed("metadata a\nb\u{1b}[2J", "\t", "é");
        assert_eq!(error.to_string(), "metadata a\\nb\\u{1b}[2J: \\t, expected é");
    }
}
