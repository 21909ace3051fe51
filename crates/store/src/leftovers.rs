//! What lies in the folders and is of no use: parts of downloads that nobody continued, content that nothing names any more,
//! names of content that is gone, drafts of a program that was killed.
//!
//! The hub's cache is shared, so whatever is held by a lock or is young belongs to somebody who is at work. [`plan`] decides,
//! [`perform`] removes; each piece is claimed and looked at again right before. Where not all names can be read, nothing counts as
//! unnamed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cache::{files_below, names_below};
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
    /// The lock of whoever writes it, where that is another file.
    pub lock: Option<PathBuf>,
}

impl Leftover {
    /// A file that its owner calls of no use.
    pub fn of(path: PathBuf, kind: Kind) -> Option<Self> {
        leftover(path, kind, None)
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

fn leftover(path: PathBuf, kind: Kind, lock: Option<PathBuf>) -> Option<Leftover> {
    let is_held = is_in_use(&path) || lock.as_deref().is_some_and(is_in_use);
    let metadata = fs::symlink_metadata(&path).ok()?;
    let modified = metadata.modified().ok()?;
    Some(Leftover {
        path,
        kind,
        bytes: if metadata.is_file() { metadata.len() } else { 0 },
        modified,
        is_held,
        lock,
    })
}

/// The lock of the content that `name` begins with the hash of.
fn lock_of(locks: &Path, name: &str) -> PathBuf {
    locks.join(format!("{}.lock", name.split('.').next().unwrap_or_default()))
}

/// Blobs and parts of blobs that no name below `snapshots` leads to, and names that lead nowhere.
fn blobs(blobs: &Path, snapshots: &Path, locks: &Path, found: &mut Vec<Leftover>) {
    let names = names_below(snapshots);
    let dangling = names.iter().flatten().filter(|name| is_dangling(name));
    let lock = |name: &Path| {
        let version = name.strip_prefix(snapshots).ok()?.iter().next()?;
        Some(lock_of(locks, version.to_str()?))
    };
    found.extend(dangling.filter_map(|name| leftover(name.clone(), Kind::Dangling, lock(name))));
    let named: Option<BTreeSet<PathBuf>> =
        names.ok().map(|names| names.iter().filter_map(|name| fs::canonicalize(name).ok()).collect());
    let Ok(blobs) = fs::canonicalize(blobs) else { return };
    for entry in fs::read_dir(&blobs).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        let kind = match () {
            () if name.ends_with(".tmp") => Kind::Draft,
            () if name.contains(".incomplete") => Kind::Partial,
            () if !path.is_file() || named.as_ref().is_none_or(|named| named.contains(&path)) => continue,
            () => Kind::Unnamed,
        };
        found.extend(leftover(path, kind, Some(lock_of(locks, &name))));
    }
}

/// A link to nothing.
fn is_dangling(name: &Path) -> bool {
    name.is_symlink() && fs::metadata(name).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

fn drafts(dir: &Path, found: &mut Vec<Leftover>) {
    let paths = files_below(dir).into_iter().filter(|path| path.ends_with(".tmp"));
    found.extend(paths.filter_map(|path| leftover(dir.join(path), Kind::Draft, None)));
}

/// Drafts that lie in the folder itself.
fn drafts_in(dir: &Path, found: &mut Vec<Leftover>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let drafts = entries.filter(|e| e.file_name().to_str().is_some_and(|name| name.ends_with(".tmp")));
    found.extend(drafts.filter_map(|e| leftover(e.path(), Kind::Draft, None)));
}

/// Snapshots of images that no name has; what only they use becomes content without a name when they go.
fn old_versions(library: &Library, found: &mut Vec<Leftover>) {
    let images = &library.images;
    // Where not all names can be read, any may have one.
    let Some(named) = named_versions(library) else { return };
    for entry in fs::read_dir(images.snapshots_dir()).into_iter().flatten().flatten() {
        let path = entry.path();
        if named.contains(&path) {
            continue;
        }
        let files = files_below(&path);
        let lock = lock_of(&images.locks_dir(), &entry.file_name().to_string_lossy());
        let is_held = is_in_use(&lock) || files.iter().any(|file| is_in_use(&path.join(file)));
        let only_here = |file: &&String| !is_named_elsewhere(&images.snapshots_dir(), &path, file);
        let sizes =
            files.iter().filter(only_here).filter_map(|f| Some(fs::metadata(path.join(f)).ok()?.len()));
        let bytes = sizes.sum();
        let one = leftover(path, Kind::OldVersion, Some(lock));
        found.extend(one.map(|one| Leftover { bytes, is_held, ..one }));
    }
}

/// Snapshots of images that have a name; `None` where not all names can be read.
fn named_versions(library: &Library) -> Option<BTreeSet<PathBuf>> {
    let named = library.images.named()?;
    Some(named.iter().map(|digest| library.images.snapshot(digest)).collect())
}

/// Whether another snapshot than `own` has a name for the content of its `file`, or may have.
fn is_named_elsewhere(snapshots: &Path, own: &Path, file: &str) -> bool {
    let Ok(real) = fs::canonicalize(own.join(file)) else { return false };
    is_named(&real, snapshots, |name| !name.starts_with(own))
}

/// Whether one of the names below `snapshots` that `counts` leads to the content at `real`; also where they can't be read.
fn is_named(real: &Path, snapshots: &Path, counts: impl Fn(&Path) -> bool) -> bool {
    let leads_there =
        |name: &PathBuf| counts(name) && fs::canonicalize(name).is_ok_and(|found| found == real);
    names_below(snapshots).map_or(true, |names| names.iter().any(leads_there))
}

/// Parts of files from addresses, and what was noted of them.
fn addresses(dir: &Path, found: &mut Vec<Leftover>) {
    for file in files_below(dir) {
        let path = dir.join(&file);
        let Some(whole) = [".incomplete", ".etag"].iter().find_map(|end| file.strip_suffix(end)) else {
            continue;
        };
        let lock = dir.join(format!("{whole}.lock"));
        found.extend(leftover(path, Kind::Partial, Some(lock)));
    }
}

/// Removes what was planned, but for what somebody has begun to use meanwhile. Gives the bytes freed.
pub fn perform(library: &Library, planned: &[Leftover]) -> Result<u64> {
    let mut bytes = 0;
    for one in planned {
        if one.kind == Kind::OldVersion {
            bytes += remove_version(library, &one.path, || {
                named_versions(library).is_some_and(|named| !named.contains(&one.path))
            })?;
            continue;
        }
        let lock = one.lock.as_deref();
        let Ok(_claim) = claim("", lock.into_iter().chain([one.path.as_path()])) else { continue };
        if is_as_planned(one) {
            // An image without one of its names is not whole: without its manifest it is fetched again.
            let version = one.path.strip_prefix(library.images.snapshots_dir()).ok();
            if let Some(version) = version.and_then(|below| below.iter().next()) {
                remove_if_there(&library.images.snapshots_dir().join(version).join(MANIFEST))?;
            }
            remove_if_there(&one.path)?;
            bytes += one.bytes;
        }
    }
    Ok(bytes)
}

/// Whether it was not written since it was looked at, and is still of no use.
fn is_as_planned(one: &Leftover) -> bool {
    let modified = fs::symlink_metadata(&one.path).and_then(|metadata| metadata.modified()).ok();
    let snapshots = |blob: &Path| Some(blob.parent()?.parent()?.join("snapshots"));
    modified == Some(one.modified)
        && match one.kind {
            Kind::Unnamed => snapshots(&one.path).is_some_and(|dir| !is_named(&one.path, &dir, |_| true)),
            Kind::Dangling => is_dangling(&one.path),
            _ => true,
        }
}

/// What a program holds that uses a version of an image, or brings it here.
fn used(library: &Library, snapshot: &Path) -> Vec<PathBuf> {
    let name = snapshot.file_name().unwrap_or_default().to_string_lossy();
    let lock = lock_of(&library.images.locks_dir(), &name);
    files_below(snapshot).iter().map(|file| snapshot.join(file)).chain([lock]).collect()
}

/// Removes a version of an image, and what only it used, where nobody uses it and it `may_go` then.
fn remove_version(library: &Library, snapshot: &Path, may_go: impl Fn() -> bool) -> Result<u64> {
    let images = &library.images;
    let files = files_below(snapshot);
    let Ok(_claim) = claim("", used(library, snapshot).iter().map(PathBuf::as_path)) else { return Ok(0) };
    if !may_go() {
        return Ok(0);
    }
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
        claim(&image.to_string(), used(library, &snapshot).iter().map(PathBuf::as_path))?;
    }
    remove_if_there(&images.ref_path(image))?;
    if is_last { remove_version(library, &snapshot, || true) } else { Ok(0) }
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
            lock: None,
        };
        assert_eq!(plan(vec![one(AGE_MIN, false)], now).len(), 1);
        assert_eq!(plan(vec![one(AGE_MIN, true), one(AGE_MIN / 2, false)], now).len(), 0);
        let of_tomorrow = Leftover { modified: now + AGE_MIN, ..one(AGE_MIN, false) };
        assert_eq!(plan(vec![of_tomorrow], now).len(), 0, "a clock that was set back removes nothing");
    }

    /// A library whose hub cache has one repository with these blobs and no names.
    #[cfg(unix)]
    struct World {
        dir: PathBuf,
        library: Library,
        repo: PathBuf,
    }

    #[cfg(unix)]
    impl World {
        fn new(name: &str, blobs: &[&str]) -> Self {
            let dir = std::env::temp_dir().join(format!("ingle-leftovers-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            let library = Library::new(crate::cache::Cache::new(dir.join("hub")), &dir.join("data"));
            let repo = dir.join("hub/models--u--r");
            for folder in [repo.join("blobs"), repo.join("snapshots/1"), dir.join("hub/.locks/models--u--r")]
            {
                fs::create_dir_all(folder).unwrap();
            }
            blobs.iter().for_each(|name| fs::write(repo.join("blobs").join(name), "content").unwrap());
            Self { dir, library, repo }
        }

        fn planned(&self) -> Vec<Leftover> {
            plan(survey(&self.library), SystemTime::now() + 2 * AGE_MIN)
        }

        fn blob(&self, name: &str) -> PathBuf {
            self.repo.join("blobs").join(name)
        }
    }

    #[cfg(unix)]
    impl Drop for World {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_came_into_use_since_it_was_looked_at_stays() {
        use std::os::unix::fs::symlink;
        let world = World::new("use", &["aa.incomplete", "bb.incomplete", "cc", "dd"]);
        let dangling = world.repo.join("snapshots/1/gone");
        symlink("../../blobs/ee", &dangling).unwrap();
        let planned = world.planned();
        assert_eq!(planned.len(), 5, "{planned:?}");
        // One download goes on and holds its lock, one has gone on, one content gets a name, one name its content.
        let lock = fs::File::create(world.dir.join("hub/.locks/models--u--r/aa.lock")).unwrap();
        lock.lock().unwrap();
        let file = fs::File::options().append(true).open(world.blob("bb.incomplete")).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(9)).unwrap();
        drop(file);
        symlink("../../blobs/cc", world.repo.join("snapshots/1/model")).unwrap();
        fs::write(world.blob("ee"), "content").unwrap();
        assert_eq!(perform(&world.library, &planned).unwrap(), 7);
        assert!(!world.blob("dd").exists());
        for name in ["aa.incomplete", "bb.incomplete", "cc"] {
            assert!(world.blob(name).exists(), "{name}");
        }
        assert!(dangling.exists());
    }

    #[test]
    #[cfg(unix)]
    fn where_not_all_names_are_read_nothing_is_unnamed() {
        let world = World::new("deep", &["aa"]);
        assert_eq!(world.planned().len(), 1);
        let deep = world.repo.join("snapshots/1").join("d/".repeat(20));
        fs::create_dir_all(&deep).unwrap();
        std::os::unix::fs::symlink(world.blob("aa"), deep.join("model")).unwrap();
        assert_eq!(world.planned(), []);
    }

    #[test]
    #[cfg(unix)]
    fn a_version_that_comes_or_got_a_name_stays() {
        let world = World::new("version", &[]);
        let images = &world.library.images;
        let digest = crate::hash::Digest::Sha256([7; 32]);
        let snapshot = images.snapshot(&digest);
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(images.locks_dir()).unwrap();
        fs::write(snapshot.join(MANIFEST), "{}").unwrap();
        let planned = world.planned();
        assert_eq!(planned.len(), 1, "{planned:?}");
        let lock = fs::File::create(images.locks_dir().join(format!("{digest}.lock"))).unwrap();
        lock.lock().unwrap();
        perform(&world.library, &planned).unwrap();
        drop(lock);
        assert!(snapshot.exists(), "it comes");
        let image = crate::registry::image::ImageRef::parse("ollama:tiny").unwrap().unwrap();
        images.write_ref(&image, &digest).unwrap();
        perform(&world.library, &planned).unwrap();
        assert!(snapshot.exists(), "it has a name");
        fs::remove_file(images.ref_path(&image)).unwrap();
        perform(&world.library, &planned).unwrap();
        assert!(!snapshot.exists());
    }
}
