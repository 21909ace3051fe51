//! How private files lie on disk: as they are, or in a form that whoever runs the engine brings.
//!
//! What answers have been through ([`crate::kv_dir`]) and words that were said ([`crate::spec::store`]) tell a reader what was asked. Here
//! they are bytes that are written and read from front to back; a [`Form`] says what becomes of them on the way. The engine has
//! the plain one; keys and encryption are the program's.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

/// Bytes read or written at once.
const BUFFER_BYTES: usize = 1 << 16;

/// A way for private files to lie on disk.
pub trait Form: Debug + Send + Sync {
    /// What reads the bytes that were written to `file` for what `label` says, and how many they are. The file is of `n_bytes`.
    ///
    /// # Errors
    /// When it can't be read, or is not in this form.
    fn read(&self, file: File, n_bytes: u64, label: &str) -> io::Result<(Box<dyn Read + Send>, u64)>;

    /// Writes to the new `file`, for what `label` says, what `content` writes; gives the file back with nothing kept in between.
    ///
    /// # Errors
    /// When that can't be written, or what `content` gave.
    fn write(&self, file: File, label: &str, content: Content<'_>) -> io::Result<File>;

    /// Whether the file at `path` may be in this form. One that is not is in the way: the engine removes what it can make again.
    fn is_own(&self, path: &Path) -> bool;
}

/// Writes what a file is to hold.
pub type Content<'a> = &'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>;

/// As they are.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Form for Plain {
    fn read(&self, file: File, n_bytes: u64, _: &str) -> io::Result<(Box<dyn Read + Send>, u64)> {
        Ok((Box::new(BufReader::with_capacity(BUFFER_BYTES, file)), n_bytes))
    }

    fn write(&self, file: File, _: &str, content: Content<'_>) -> io::Result<File> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        content(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn is_own(&self, _: &Path) -> bool {
        true
    }
}
