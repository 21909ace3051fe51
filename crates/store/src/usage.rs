//! How much of the disk the library takes, and for what.

use std::fs;
use std::path::Path;

use crate::error::Result;
use crate::leftovers::{self, Leftover};
use crate::library::Library;
use crate::names::Named;

/// One part of the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// A repository, or a folder.
    pub what: String,
    /// Where it lies.
    pub path: String,
    /// Bytes of content, each once however many names it has.
    pub bytes: u64,
    /// Of those, what is of no use.
    pub leftover_bytes: u64,
}

/// The parts of the library: each repository of the hub's cache, images, files from addresses. Files that were adopted
/// where they lie are the user's and take none of ours.
pub fn usage(library: &Library) -> Result<Vec<Usage>> {
    let found = leftovers::survey(library);
    let part = |what: String, dir: &Path| Usage {
        what,
        path: dir.display().to_string(),
        bytes: bytes_below(dir),
        leftover_bytes: bytes_of(&found, dir),
    };
    let mut parts: Vec<Usage> =
        library.cache.repos().iter().map(|r| part(r.to_string(), &library.cache.repo_dir(r))).collect();
    parts.push(part("images of registries".into(), library.images.root()));
    parts.push(part("files from addresses".into(), &library.models_dir));
    parts.retain(|p| p.bytes > 0);
    parts.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.what.cmp(&b.what)));
    Ok(parts)
}

/// What lies in `dir`, as one part; all of it of use.
pub fn folder(what: &str, dir: &Path) -> Usage {
    let (path, bytes) = (dir.display().to_string(), bytes_below(dir));
    Usage { what: what.to_owned(), path, bytes, leftover_bytes: 0 }
}

/// Bytes of the files that were adopted where they lie.
pub fn adopted_bytes(library: &Library) -> Result<u64> {
    let names = library.names.read()?;
    let adopted = names.values().filter_map(|named| match named {
        Named::Path(path) | Named::File { path, .. } => Some(path),
        _ => None,
    });
    Ok(adopted.map(|path| bytes_below(path)).sum())
}

fn bytes_of(found: &[Leftover], dir: &Path) -> u64 {
    let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let within = found.iter().filter(|one| one.path.starts_with(dir) || one.path.starts_with(&real));
    within.map(|one| one.bytes).sum()
}

/// Bytes of the file, or of the files below the folder; links count nothing, since what they lead to is counted itself.
fn bytes_below(path: &Path) -> u64 {
    let mut bytes = 0;
    let mut open = vec![(path.to_owned(), 0)];
    while let Some((path, depth)) = open.pop() {
        match fs::symlink_metadata(&path) {
            Ok(m) if m.is_file() => bytes += m.len(),
            Ok(m) if m.is_dir() && depth < 20 => {
                let entries = fs::read_dir(&path).into_iter().flatten().flatten();
                open.extend(entries.map(|e| (e.path(), depth + 1)));
            }
            _ => {}
        }
    }
    bytes
}
