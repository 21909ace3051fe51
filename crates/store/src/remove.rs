//! Removing a model from the shared cache: its names go, and of the bytes those that nothing else names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, files_below};
use crate::error::{Result, at};
use crate::partial::remove_if_there;
use crate::reference::Repo;

/// One name in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub path: PathBuf,
    /// The blob it links to; `None` where the file itself lies there.
    pub blob: Option<PathBuf>,
    /// Bytes behind it.
    pub size: u64,
    /// To be removed.
    pub is_chosen: bool,
}

/// What to remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// Names.
    pub names: Vec<PathBuf>,
    /// Blobs that only these names use.
    pub blobs: Vec<PathBuf>,
    /// Bytes that become free.
    pub bytes_freed: u64,
    /// Nothing else of the repository is here: its folder goes too.
    pub is_all: bool,
}

/// Decides what goes. Pure.
pub fn plan(entries: &[Entry]) -> Removal {
    let kept: BTreeSet<&PathBuf> =
        entries.iter().filter(|e| !e.is_chosen).filter_map(|e| e.blob.as_ref()).collect();
    let mut removal = Removal { is_all: entries.iter().all(|e| e.is_chosen), ..Removal::default() };
    for entry in entries.iter().filter(|e| e.is_chosen) {
        removal.names.push(entry.path.clone());
        match &entry.blob {
            Some(blob) if kept.contains(blob) || removal.blobs.contains(blob) => {}
            Some(blob) => {
                removal.blobs.push(blob.clone());
                removal.bytes_freed += entry.size;
            }
            None => removal.bytes_freed += entry.size,
        }
    }
    removal
}

/// Every name of a repository, chosen where `is_chosen` says so of its snapshot and its path within.
pub fn entries(cache: &Cache, repo: &Repo, is_chosen: impl Fn(&Path, &str) -> bool) -> Vec<Entry> {
    let mut entries = Vec::new();
    for snapshot in cache.snapshots(repo) {
        for file in files_below(&snapshot) {
            let path = snapshot.join(&file);
            let is_link = fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink());
            // A link that leads out of the repository's own blobs is a name like any other; what it names is not ours.
            let blobs = fs::canonicalize(cache.repo_dir(repo).join("blobs")).ok();
            let target = is_link.then(|| fs::canonicalize(&path).ok()).flatten();
            let blob = target.filter(|t| blobs.as_ref().is_some_and(|b| t.parent() == Some(b)));
            let is_ours = blob.is_some() || !is_link;
            let size = if is_ours { fs::metadata(&path).map_or(0, |m| m.len()) } else { 0 };
            entries.push(Entry { path, blob, size, is_chosen: is_chosen(&snapshot, &file) });
        }
    }
    entries
}

/// Removes what was planned, and folders that are empty then.
pub fn perform(cache: &Cache, repo: &Repo, removal: &Removal) -> Result<()> {
    for name in &removal.names {
        remove_if_there(name)?;
        remove_empty_parents(name, &cache.repo_dir(repo).join("snapshots"));
    }
    for blob in &removal.blobs {
        remove_if_there(blob)?;
    }
    if removal.is_all {
        for dir in [cache.repo_dir(repo), cache.locks_dir(repo)] {
            if dir.exists() {
                at(&dir, fs::remove_dir_all(&dir))?;
            }
        }
    }
    Ok(())
}

fn remove_empty_parents(path: &Path, top: &Path) {
    for folder in path.ancestors().skip(1).take_while(|f| f.starts_with(top) && *f != top) {
        // Refused where something else is in it, which is what is wanted.
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_goes_with_its_last_name() {
        let entry = |path: &str, blob: &str, is_chosen| Entry {
            path: path.into(),
            blob: (!blob.is_empty()).then(|| blob.into()),
            size: 10,
            is_chosen,
        };
        let shared = plan(&[
            entry("1/a", "x", true),
            entry("2/a", "x", true),
            entry("2/b", "y", true),
            entry("3/b", "y", false),
        ]);
        assert_eq!(shared.names.len(), 3);
        assert_eq!(shared.blobs, [PathBuf::from("x")]);
        assert_eq!((shared.bytes_freed, shared.is_all), (10, false));
        let unlinked = plan(&[entry("1/a", "", true)]);
        assert_eq!((unlinked.blobs.len(), unlinked.bytes_freed, unlinked.is_all), (0, 10, true));
    }
}
