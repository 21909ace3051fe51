//! What lies in the folders and is of no use: parts of downloads that nobody continued, content that nothing names any more,
//! names of content that is gone, drafts of a program that was killed.
//!
//! The hub's cache is shared, so whatever is held by a lock or is young belongs to somebody who is at work. [`plan`] decides,
//! [`perform`] removes; each piece is looked at again right before.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cache::files_below;
use crate::error::{Result, at};
use crate::in_use::{claim, is_in_use};
use crate::library::Library;
use crate::partial::remove_if_there;
use crate::registry::images::MANIFEST;

/// Younger ones may be what another program made a moment ago and is about to name.
pub const AGE_MIN: Duration = Duration::from_secs(600);

/// Why something is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A download that was not continued.
    Partial,
    /// Content that no name leads to.
    Unnamed,
    /// A name whose content is gone.
    Dangling,
    /// A version of an image that no tag has any more.
    OldVersion,
    /// A small file that was never finished.
    Draft,
    /// Weights in another order, which can be made again.
    Packed,
}

impl Kind {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Partial => "part of a download",
            Self::Unnamed => "content without a name",
            Self::Dangling => "name without content",
            Self::OldVersion => "old version",
            Self::Draft => "draft",
            Self::Packed => "packed weights",
        }
    }
}

/// One piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Where it lies; a folder for an old version.
    pub path: PathBuf,
    /// Why it is of no use.
    pub kind: Kind,
    /// Bytes that it takes.
    pub bytes: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// A program holds a lock on it.
    pub is_held: bool,
}

impl Leftover {
    /// A file that its owner calls of no use.
    pub fn of(path: PathBuf, kind: Kind) -> Option<Self> {
        let is_held = is_in_use(&path);
        leftover(path, kind, is_held)
    }
}

/// What may go: what nobody holds and has not been written for a while. Pure.
pub fn plan(found: Vec<Leftover>, now: SystemTime) -> Vec<Leftover> {
    let is_old = |one: &Leftover| now.duration_since(one.modified).is_ok_and(|age| age >= AGE_MIN);
    let mut gone: Vec<Leftover> = found.into_iter().filter(|one| !one.is_held && is_old(one)).collect();
    gone.sort_by(|a, b| a.path.cmp(&b.path));
    gone
}

/// Everything of no use in the library's folders.
pub fn survey(library: &Library) -> Vec<Leftover> {
    let mut found = Vec::new();
    let cache = &library.cache;
    for repo in cache.repos() {
        let dir = cache.repo_dir(&repo);
        blobs(&dir.join("blobs"), &dir.join("snapshots"), &cache.locks_dir(&repo), &mut found);
        drafts(&dir.join("refs"), &mut found);
    }
    let images = &library.images;
    blobs(&images.blobs_dir(), &images.snapshots_dir(), &images.locks_dir(), &mut found);
    drafts(&images.root().join("refs"), &mut found);
    old_versions(library, &mut found);
    addresses(&library.models_dir, &mut found);
    if let Some(data) = library.models_dir.parent() {
        drafts_in(data, &mut found);
    }
    found
}

fn leftover(path: PathBuf, kind: Kind, is_held: bool) -> Option<Leftover> {
    let metadata = fs::symlink_metadata(&path).ok()?;
    let modified = metadata.modified().ok()?;
    Some(Leftover {
        path,
        kind,
        bytes: if metadata.is_file() { metadata.len() } else { 0 },
        modified,
        is_held,
    })
}

/// The lock of the content that `name` begins with the hash of.
fn lock_of(locks: &Path, name: &str) -> PathBuf {
    locks.join(format!("{}.lock", name.split('.').next().unwrap_or_default()))
}

/// Blobs and parts of blobs that no name below `snapshots` leads to, and names that lead nowhere.
fn blobs(blobs: &Path, snapshots: &Path, locks: &Path, found: &mut Vec<Leftover>) {
    let mut named = BTreeSet::new();
    for (path, is_link) in everything_below(snapshots) {
        match fs::canonicalize(&path) {
            Ok(real) => drop(named.insert(real)),
            Err(_) if is_link => found.extend(leftover(path, Kind::Dangling, false)),
            Err(_) => {}
        }
    }
    let Ok(blobs) = fs::canonicalize(blobs) else { return };
    for entry in fs::read_dir(&blobs).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        let kind = match () {
            () if name.ends_with(".tmp") => Kind::Draft,
            () if name.contains(".incomplete") => Kind::Partial,
            () if !path.is_file() || named.contains(&path) => continue,
            () => Kind::Unnamed,
        };
        let is_held = is_in_use(&lock_of(locks, &name)) || is_in_use(&path);
        found.extend(leftover(path, kind, is_held));
    }
}

/// Files and links below a folder, links not followed.
fn everything_below(dir: &Path) -> Vec<(PathBuf, bool)> {
    let mut all = Vec::new();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < 16 => folders.push((entry.path(), depth + 1)),
                Ok(kind) if !kind.is_dir() => all.push((entry.path(), kind.is_symlink())),
                _ => {}
            }
        }
    }
    all
}

fn drafts(dir: &Path, found: &mut Vec<Leftover>) {
    let paths = files_below(dir).into_iter().filter(|path| path.ends_with(".tmp"));
    found.extend(paths.filter_map(|path| leftover(dir.join(path), Kind::Draft, false)));
}

/// Drafts that lie in the folder itself.
fn drafts_in(dir: &Path, found: &mut Vec<Leftover>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let drafts = entries.filter(|e| e.file_name().to_str().is_some_and(|name| name.ends_with(".tmp")));
    found.extend(drafts.filter_map(|e| leftover(e.path(), Kind::Draft, false)));
}

/// Snapshots of images that no name has; what only they use becomes content without a name when they go.
fn old_versions(library: &Library, found: &mut Vec<Leftover>) {
    let images = &library.images;
    let named: BTreeSet<PathBuf> =
        images.refs().iter().filter_map(|image| Some(images.snapshot(&images.digest_of(image)?))).collect();
    for entry in fs::read_dir(images.snapshots_dir()).into_iter().flatten().flatten() {
        let path = entry.path();
        if named.contains(&path) {
            continue;
        }
        let files = files_below(&path);
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_held = is_in_use(&lock_of(&images.locks_dir(), &name))
            || files.iter().any(|file| is_in_use(&path.join(file)));
        let only_here = |file: &&String| !is_named_elsewhere(&images.snapshots_dir(), &path, file);
        let sizes =
            files.iter().filter(only_here).filter_map(|f| Some(fs::metadata(path.join(f)).ok()?.len()));
        let bytes = sizes.sum();
        found.extend(leftover(path, Kind::OldVersion, is_held).map(|one| Leftover { bytes, ..one }));
    }
}

/// Whether another snapshot than `own` has a name for the content of its `file`.
fn is_named_elsewhere(snapshots: &Path, own: &Path, file: &str) -> bool {
    let Ok(real) = fs::canonicalize(own.join(file)) else { return false };
    let others = everything_below(snapshots).into_iter().filter(|(path, _)| !path.starts_with(own));
    others.into_iter().any(|(path, _)| fs::canonicalize(path).is_ok_and(|other| other == real))
}

/// Parts of files from addresses, and what was noted of them.
fn addresses(dir: &Path, found: &mut Vec<Leftover>) {
    for file in files_below(dir) {
        let path = dir.join(&file);
        let Some(whole) = [".incomplete", ".etag"].iter().find_map(|end| file.strip_suffix(end)) else {
            continue;
        };
        let is_held = is_in_use(&dir.join(format!("{whole}.lock")));
        found.extend(leftover(path, Kind::Partial, is_held));
    }
}

/// Removes what was planned, but for what somebody has begun to use meanwhile. Gives the bytes freed.
pub fn perform(library: &Library, planned: &[Leftover]) -> Result<u64> {
    let mut bytes = 0;
    for one in planned {
        if one.kind == Kind::OldVersion {
            bytes += remove_version(library, &one.path)?;
            continue;
        }
        let Ok(_claim) = claim("", [one.path.as_path()]) else { continue };
        remove_if_there(&one.path)?;
        bytes += one.bytes;
    }
    Ok(bytes)
}

/// Removes a version of an image, and what only it used.
fn remove_version(library: &Library, snapshot: &Path) -> Result<u64> {
    let images = &library.images;
    let files = files_below(snapshot);
    let paths: Vec<PathBuf> = files.iter().map(|f| snapshot.join(f)).collect();
    let Ok(_claim) = claim("", paths.iter().map(PathBuf::as_path)) else { return Ok(0) };
    let blobs_dir = fs::canonicalize(images.blobs_dir()).unwrap_or_else(|_| images.blobs_dir());
    let alone = files.iter().filter(|file| !is_named_elsewhere(&images.snapshots_dir(), snapshot, file));
    let blobs: Vec<PathBuf> = alone
        .filter_map(|file| fs::canonicalize(snapshot.join(file)).ok())
        .filter(|real| real.parent() == Some(&blobs_dir))
        .collect();
    // Without its manifest it is no version any more, whatever stops us behind this.
    remove_if_there(&snapshot.join(MANIFEST))?;
    if snapshot.exists() {
        at(snapshot, fs::remove_dir_all(snapshot))?;
    }
    let mut bytes = 0;
    for blob in &blobs {
        bytes += fs::metadata(blob).map_or(0, |m| m.len());
        remove_if_there(blob)?;
    }
    Ok(bytes)
}

/// Forgets the name of an image, and removes its version where that was its last name. Gives the bytes freed.
///
/// # Errors
/// [`crate::Error::InUse`] when a program uses it.
pub fn remove_image(library: &Library, image: &crate::registry::image::ImageRef) -> Result<u64> {
    let images = &library.images;
    let Some(digest) = images.digest_of(image) else { return Ok(0) };
    let snapshot = images.snapshot(&digest);
    let n_names =
        images.refs().iter().filter(|other| images.digest_of(other).as_ref() == Some(&digest)).count();
    let is_last = n_names <= 1;
    if is_last {
        let paths: Vec<PathBuf> = files_below(&snapshot).iter().map(|f| snapshot.join(f)).collect();
        claim(&image.to_string(), paths.iter().map(PathBuf::as_path))?;
    }
    remove_if_there(&images.ref_path(image))?;
    if is_last { remove_version(library, &snapshot) } else { Ok(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_young_or_held_stays() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let one = |age: Duration, is_held| Leftover {
            path: "x".into(),
            kind: Kind::Partial,
            bytes: 1,
            modified: now - age,
            is_held,
        };
        assert_eq!(plan(vec![one(AGE_MIN, false)], now).len(), 1);
        assert_eq!(plan(vec![one(AGE_MIN, true), one(AGE_MIN / 2, false)], now).len(), 0);
        let of_tomorrow = Leftover { modified: now + AGE_MIN, ..one(AGE_MIN, false) };
        assert_eq!(plan(vec![of_tomorrow], now).len(), 0, "a clock that was set back removes nothing");
    }
}
