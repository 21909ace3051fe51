//! Whether the files of a model are what they were when they came.
//!
//! What each must hash to is known without asking anybody: a blob is named by its hash, a file from an address has its own
//! beside its name, and one that was adopted may have been given with one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::files_below;
use crate::error::Result;
use crate::hash::{Digest, hash_file};

/// One file to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// As its model calls it.
    pub name: String,
    /// Where its content lies, links followed.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// What it must hash to; `None` where nobody has said.
    pub expected: Option<Digest>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// It is what it was.
    Good,
    /// It is something else, which hashes to this.
    Wrong(Digest),
    /// Nobody has said what it must be.
    Unknown,
}

/// What the content at `path`, links followed, must hash to by its name: `HASH`, or `sha256-HASH` as Ollama has it.
fn named_by(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    Digest::sha256(name.strip_prefix("sha256-").unwrap_or(name)).or_else(|| Digest::git_blob(name))
}

/// The file called `name` at `path`; `None` when it is gone.
fn check_of(name: &str, path: &Path) -> Option<Check> {
    let real = fs::canonicalize(path).ok()?;
    let size = fs::metadata(&real).ok()?.len();
    // A file that is called like a hash without being linked to is not vouched for by anybody.
    let expected = (real != path && fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink()))
        .then(|| named_by(&real))
        .flatten();
    Some(Check { name: name.to_owned(), path: real, size, expected })
}

/// The files called `names` below `folder`.
pub fn checks_of(folder: &Path, names: &[String]) -> Vec<Check> {
    names.iter().filter_map(|name| check_of(name, &folder.join(name))).collect()
}

/// The file or folder at `path`, the file with the hash that is known of it.
pub fn checks_at(path: &Path, expected: Option<Digest>) -> Vec<Check> {
    if path.is_dir() {
        return checks_of(path, &files_below(path));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let check = check_of(&name, path);
    check.map(|check| Check { expected: expected.or(check.expected.clone()), ..check }).into_iter().collect()
}

/// Reads and hashes one file. `tell` hears of every piece; `None` when `stop` says so.
pub fn verify(check: &Check, stop: &dyn Fn() -> bool, tell: &mut dyn FnMut(u64)) -> Result<Option<Verified>> {
    let Some(expected) = &check.expected else { return Ok(Some(Verified::Unknown)) };
    let found = hash_file(&check.path, expected, stop, tell)?;
    Ok(found.map(|found| if found == *expected { Verified::Good } else { Verified::Wrong(found) }))
}
