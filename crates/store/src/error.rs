//! What can go wrong between a name and a file on disk.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every failure of this crate, said in one sentence that names the model, file or address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network failed or the policy refused.
    #[error(transparent)]
    Net(#[from] ingle_net::Error),
    /// A reference or name that can't be one.
    #[error("{found}: {expected}")]
    Reference {
        /// What was given.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// There is no such model, file or quantisation.
    #[error("{what}: {why}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// What there is instead, or what to do.
        why: String,
    },
    /// The server keeps failing.
    #[error("{url}: the server answered {status}{said}")]
    Status {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What was tried, what to do.
        said: String,
    },
    /// Bytes that are not what they should be.
    #[error("{file}: {part}: {}, expected {expected}", in_a_line(found))]
    Mismatch {
        /// The model's file, or the hub's listing.
        file: String,
        /// Size, sha256, ...
        part: String,
        /// What came.
        found: String,
        /// What should have come.
        expected: String,
    },
    /// No room.
    #[error("{}: the disk is full; {needed} more bytes are needed; what has come is kept", .path.display())]
    DiskFull {
        /// The file that was written.
        path: PathBuf,
        /// Bytes still to come.
        needed: u64,
    },
    /// No room for what is planned; nothing was fetched.
    #[error("{}: {needed} bytes are to be written and {free} are free; nothing was fetched", .path.display())]
    NoRoom {
        /// Where it would go.
        path: PathBuf,
        /// Bytes to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A program uses it.
    #[error("{what}: {} is in use by a running program; end that first", .path.display())]
    InUse {
        /// The model.
        what: String,
        /// Its file, or a lock that is held.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another program does not let go.
    #[error("{}: another program has held this lock for {} s; end it and try again", .path.display(), .waited.as_secs_f64())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A release may not be used, or not be given up.
    #[error("{why}")]
    Refused {
        /// The model.
        what: String,
        /// Why not, with the model's name.
        why: String,
    },
    /// A release was not installed; what was used before is used on.
    #[error("{model}: version {version} is not installed: {source}")]
    Release {
        /// The model.
        model: String,
        /// The release's version.
        version: u64,
        /// What failed.
        source: Box<Error>,
    },
    /// The system has no randomness to give.
    #[error("the system gives no randomness, which keys and signatures need")]
    Random,
    /// The user stopped it.
    #[error("{0}")]
    Interrupted(String),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Names the path an operation failed on.
pub(crate) fn at<T>(path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// What came may hold line breaks and worse: those are shown as they would be written.
fn in_a_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use crate::signing::mismatch;

    #[test]
    fn what_came_does_not_break_a_line() {
        let said = mismatch("m", "bundle", "an unknown \"a\nb\u{1b}\u{e9}\"", "none").to_string();
        assert_eq!(said, "m: bundle: an unknown \"a\\nb\\u{1b}\u{e9}\", expected none");
    }
}
