//! Images on disk.
//!
//! ```text
//! ROOT/blobs/HASH                       a layer's content, named by its SHA-256; HASH.incomplete while it comes
//!      snapshots/HASH/FILE              links to blobs under the names that files have in the image; HASH is the manifest's
//!      snapshots/HASH/manifest.json     comes last: where it is, all the rest is
//!      refs/REGISTRY/NAME/TAG           the manifest that a tag had when it was last asked for
//!      locks/HASH.lock                  held while a blob is written
//! ```
//! A blob that another program's store has already, under its hash, is linked to where it lies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::image::{ImageRef, Version};
use super::manifest::entry;
use crate::cache::{files_below, names_below, symlink, write_whole};
use crate::error::{Result, at};
use crate::hash::Digest;
use crate::listing::RemoteFile;
use crate::parallel::kept_beside;
use crate::partial::remove_if_there;
use crate::plan::OnDisk;

/// The manifest's name in a snapshot.
pub const MANIFEST: &str = "manifest.json";

/// Whether a file of an image would take the manifest's place, on whatever system.
pub(crate) fn is_manifest(path: &str) -> bool {
    path.trim_end_matches(['.', ' ']).eq_ignore_ascii_case(MANIFEST)
}

/// The folder of images.
#[derive(Debug, Clone)]
pub struct Images {
    root: PathBuf,
    /// Folders of other programs in which layers lie as `sha256-HASH`: Ollama's `blobs`.
    pub neighbours: Vec<PathBuf>,
}

/// An image that is here.
#[derive(Debug, Clone)]
pub struct FoundImage {
    /// What it is called.
    pub image: ImageRef,
    /// Its folder.
    pub snapshot: PathBuf,
    /// Its files, relative to the folder.
    pub files: Vec<String>,
    /// The file that a program opens; `None` for the folder itself.
    pub first: Option<String>,
    /// Bytes of all its files.
    pub size: u64,
    /// When it came.
    pub modified: Option<SystemTime>,
}

impl FoundImage {
    /// What a program opens: a file, or the folder.
    pub fn path(&self) -> PathBuf {
        self.first.as_ref().map_or_else(|| self.snapshot.clone(), |first| self.snapshot.join(first))
    }
}

impl Images {
    /// The images below `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), neighbours: Vec::new() }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob lies or will lie.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs_dir().join(digest.to_string())
    }

    /// Where a blob is gathered.
    pub fn partial(&self, digest: &Digest) -> PathBuf {
        self.blobs_dir().join(format!("{digest}.incomplete"))
    }

    /// The folder of blobs.
    pub fn blobs_dir(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The folder of locks.
    pub fn locks_dir(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// The folder of snapshots.
    pub fn snapshots_dir(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The folder of the image whose manifest hashes to `digest`.
    pub fn snapshot(&self, digest: &Digest) -> PathBuf {
        self.snapshots_dir().join(digest.to_string())
    }

    /// The file that says which manifest a name has.
    pub fn ref_path(&self, image: &ImageRef) -> PathBuf {
        self.refs_dir().join(image.path())
    }

    fn refs_dir(&self) -> PathBuf {
        self.root.join("refs")
    }

    /// Makes the folders that are written to.
    pub(crate) fn prepare(&self) -> Result<()> {
        [self.blobs_dir(), self.locks_dir()].iter().try_for_each(|dir| at(dir, fs::create_dir_all(dir)))
    }

    /// What there is of a layer, whatever the snapshot holds.
    pub fn on_disk(&self, file: &RemoteFile) -> OnDisk {
        let size = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|m| m.len());
        let beside = |path: &Path| kept_beside(path).iter().map(|k| k.end - k.start).sum::<u64>();
        let partial = self.partial(&file.digest);
        OnDisk {
            in_snapshot: None,
            blob: self.source(&file.digest, file.size).map(|_| file.size),
            partial: Some(size(&partial).unwrap_or(0) + beside(&partial)).filter(|&n| n > 0),
        }
    }

    /// Where the content of this hash and size lies: with us, or with another program.
    pub fn source(&self, digest: &Digest, size: u64) -> Option<PathBuf> {
        let theirs = self.neighbours.iter().map(|dir| dir.join(format!("sha256-{digest}")));
        let mut places = [self.blob(digest)].into_iter().chain(theirs);
        places.find(|path| fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == size))
    }

    /// Gives the content at `blob` a name in a snapshot.
    pub(crate) fn link(&self, snapshot: &Path, path: &str, blob: &Path) -> Result<()> {
        let name = snapshot.join(path);
        let folder = name.parent().unwrap_or(&name);
        at(folder, fs::create_dir_all(folder))?;
        remove_if_there(&name)?;
        let target = match blob.strip_prefix(&self.root) {
            // From snapshots/HASH/ up to the root: two steps, and one for each folder in the file's own path.
            Ok(ours) => format!("{}{}", "../".repeat(2 + path.matches('/').count()), ours.display()),
            Err(_) => blob.display().to_string(),
        };
        let linked: io::Result<()> = match symlink(&target, &name) {
            Ok(()) if name.exists() => Ok(()),
            _ => {
                remove_if_there(&name)?;
                fs::hard_link(blob, &name)
            }
        };
        at(&name, linked)
    }

    /// The manifest that `image` had when it was last asked for.
    pub fn digest_of(&self, image: &ImageRef) -> Option<Digest> {
        match &image.version {
            Version::Digest(digest) => Some(digest.clone()),
            Version::Tag(_) => Digest::sha256(fs::read_to_string(self.ref_path(image)).ok()?.trim()),
        }
    }

    /// Notes which manifest a name has.
    pub(crate) fn write_ref(&self, image: &ImageRef, digest: &Digest) -> Result<()> {
        write_whole(&self.ref_path(image), digest.to_string().as_bytes())
    }

    /// Whether all of a snapshot is here: its manifest, which comes last, and content behind every name.
    pub(crate) fn is_whole(&self, snapshot: &Path) -> bool {
        snapshot.join(MANIFEST).is_file()
            && names_below(snapshot).is_ok_and(|names| names.iter().all(|name| name.exists()))
    }

    /// The image, if all of it is here.
    pub fn locate(&self, image: &ImageRef) -> Option<FoundImage> {
        let snapshot = Some(self.snapshot(&self.digest_of(image)?)).filter(|s| self.is_whole(s))?;
        let manifest = fs::metadata(snapshot.join(MANIFEST)).ok()?;
        let mut files = files_below(&snapshot);
        files.retain(|f| f != MANIFEST);
        let paths: Vec<&str> = files.iter().map(String::as_str).collect();
        let first = entry(&paths).ok()?.map(|i| files[i].clone());
        let size = |f: &String| fs::metadata(snapshot.join(f)).ok().map(|m| m.len());
        Some(FoundImage {
            image: image.clone(),
            size: files.iter().map(size).sum::<Option<u64>>()?,
            modified: manifest.modified().ok(),
            snapshot,
            files,
            first,
        })
    }

    /// Every name that was given to an image.
    pub fn refs(&self) -> Vec<ImageRef> {
        files_below(&self.refs_dir()).iter().filter_map(|path| ImageRef::of_path(path)).collect()
    }

    /// What has a name here; `None` where not all names can be read.
    pub(crate) fn named(&self) -> Option<Vec<Digest>> {
        names_below(&self.refs_dir()).ok()?;
        let mut named = Vec::new();
        for image in self.refs() {
            match &image.version {
                Version::Digest(digest) => named.push(digest.clone()),
                Version::Tag(_) => {
                    named.extend(Digest::sha256(fs::read_to_string(self.ref_path(&image)).ok()?.trim()));
                }
            }
        }
        Some(named)
    }

    /// Whether anything is here of an image, be it only its name.
    pub fn is_known(&self, image: &ImageRef) -> bool {
        let snapshot = self.digest_of(image).map(|digest| self.snapshot(&digest));
        snapshot.is_some_and(|snapshot| snapshot.exists() || self.ref_path(image).exists())
    }

    /// Every image here.
    pub fn list(&self) -> Vec<FoundImage> {
        self.refs().iter().filter_map(|image| self.locate(image)).collect()
    }
}
