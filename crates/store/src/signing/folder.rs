//! A folder's files with their digests, as a signer lists them: regular files below it, sorted by path; links are refused,
//! since what they lead to may be somewhere else tomorrow.

use std::fs;
use std::path::Path;

use super::mismatch;
use crate::error::{Result, at};
use crate::hash::{Digest, hash_file};

/// Folders within folders.
const DEPTH_MAX: usize = 16;
/// Files below one folder.
const FILES_MAX: usize = 100_000;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the folder, in POSIX form.
    pub name: String,
    /// SHA-256 of its content.
    pub digest: Digest,
}

/// The paths of all files below `folder` but those at or below the paths in `ignored`, sorted part by part.
///
/// # Errors
/// What the system says; [`crate::Error::Mismatch`] for links and for folders without end.
pub fn names(folder: &Path, ignored: &[&str]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut folders = vec![(String::new(), 0)];
    let wrong =
        |name: &str, found: &str| mismatch(&folder.display().to_string(), name, found, "a file or folder");
    while let Some((below, depth)) = folders.pop() {
        let dir = folder.join(&below);
        for entry in at(&dir, fs::read_dir(&dir))? {
            let entry = at(&dir, entry)?;
            let Ok(part) = entry.file_name().into_string() else {
                return Err(wrong(&entry.file_name().to_string_lossy(), "a name that is not UTF-8"));
            };
            let name = if below.is_empty() { part } else { format!("{below}/{part}") };
            if ignored.contains(&name.as_str()) {
                continue;
            }
            let kind = at(&dir, entry.file_type())?;
            match () {
                () if kind.is_dir() && depth < DEPTH_MAX => folders.push((name, depth + 1)),
                () if kind.is_file() && names.len() < FILES_MAX => names.push(name),
                () => return Err(wrong(&name, "a link, or more than can be signed")),
            }
        }
    }
    names.sort_by(|a, b| a.split('/').cmp(b.split('/')));
    Ok(names)
}

/// The same with digests. `tell` hears of every piece that is read; `None` when `stop` says so.
pub fn list(
    folder: &Path,
    ignored: &[&str],
    stop: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(u64),
) -> Result<Option<Vec<Listed>>> {
    let mut files = Vec::new();
    for name in names(folder, ignored)? {
        let kind = Digest::Sha256([0; 32]);
        let Some(digest) = hash_file(&folder.join(&name), &kind, stop, tell)? else { return Ok(None) };
        files.push(Listed { name, digest });
    }
    Ok(Some(files))
}
