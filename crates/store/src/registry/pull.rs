//! Fetching an image: ask for its manifest, plan, then layer by layer, and the names last.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_net::{Client, Url};

use super::image::{ImageRef, Version};
use super::images::{Images, MANIFEST, is_manifest};
use super::login::Logins;
use super::manifest::{ACCEPT, Answer, Layer, MANIFEST_BYTES_MAX, Manifest, entry, parse};
use super::pass::Passes;
use super::tar;
use crate::ask::{Question, ask_small};
use crate::cache::{Lock, lock_file, write_whole};
use crate::error::{Error, Result, at};
use crate::fetch::{Event, Pass, Retry, Target, Watch, fetch, fetch_beginning, pause};
use crate::hash::{Digest, Hasher};
use crate::listing::{RemoteFile, is_safe_path};
use crate::partial::{disk_error, remove_if_there};
use crate::parts::Parts;
use crate::plan::{Step, bytes_to_fetch, step};
use crate::space;

const LOCK_LOOK: Duration = Duration::from_millis(200);
const BUFFER_BYTES: usize = 256 << 10;

/// Everything a pull from a registry needs.
#[derive(Debug, Clone, Copy)]
pub struct ImagePuller<'a> {
    /// The way out.
    pub client: &'a Client,
    /// The registry of images that name none.
    pub registry: &'a Url,
    /// Names and passwords that the user has for registries.
    pub logins: &'a Logins,
    /// Where images go.
    pub images: &'a Images,
    /// Patience.
    pub retry: Retry,
    /// How large layers are fetched.
    pub parts: Parts,
}

/// What will be fetched.
#[derive(Debug)]
pub struct ImageJob {
    /// What was asked for.
    pub image: ImageRef,
    /// What it is made of.
    pub manifest: Manifest,
    /// Its layers, as files.
    pub files: Vec<RemoteFile>,
    /// What to do for each.
    pub steps: Vec<Step>,
    /// The manifest as it came.
    bytes: Vec<u8>,
    registry: Url,
    passes: Passes,
}

impl ImageJob {
    /// The layer with the weights: the largest.
    pub fn largest(&self) -> Option<&RemoteFile> {
        self.files.iter().max_by_key(|f| f.size)
    }
}

impl ImagePuller<'_> {
    /// Asks the registry and plans.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an image that does not exist or can't be used, [`Error::Mismatch`] for a manifest that is none.
    pub fn plan(&self, image: &ImageRef, watch: Watch<'_>) -> Result<ImageJob> {
        let registry = image.registry.as_ref().unwrap_or(self.registry).clone();
        let passes = Passes::new(&registry, self.logins.of(&registry));
        let mut version = image.version.clone();
        let mut answer = self.ask(&registry, image, &version, &passes, watch)?;
        if let (Answer::Index(meant), _) = answer {
            version = Version::Digest(meant);
            answer = self.ask(&registry, image, &version, &passes, watch)?;
        }
        let (Answer::Image(manifest), bytes) = answer else {
            let (file, part) = (format!("the manifest of {image}"), "layers".to_owned());
            let (found, expected) = ("a list within a list".to_owned(), "an image".to_owned());
            return Err(Error::Mismatch { file, part, found, expected });
        };
        let files: Vec<RemoteFile> = manifest.layers.iter().map(file_of).collect();
        let is_here = self.images.is_whole(&self.images.snapshot(&manifest.digest));
        let known: Vec<&str> = manifest.layers.iter().filter_map(|l| l.path.as_deref()).collect();
        if known.len() == files.len() {
            entry(&known).map_err(|why| Error::NotFound { what: image.to_string(), why })?;
        }
        let steps = files.iter().map(|file| match is_here {
            true => Step::Keep,
            false => step(file, self.images.on_disk(file)),
        });
        let steps = steps.collect();
        Ok(ImageJob { image: image.clone(), manifest, files, steps, bytes, registry, passes })
    }

    fn ask(
        &self,
        registry: &Url,
        image: &ImageRef,
        version: &Version,
        passes: &Passes,
        watch: Watch<'_>,
    ) -> Result<(Answer, Vec<u8>)> {
        let what = image.to_string();
        let url = under(registry, &format!("v2/{}/manifests/{version}", image.name))?;
        let question = Question {
            url: &url,
            pass: Pass::Registry(passes),
            accept: Some(ACCEPT),
            what: &what,
            who: "the registry",
            bytes_max: MANIFEST_BYTES_MAX,
        };
        let small = ask_small(self.client, &question, &self.retry, watch)?;
        let mut hasher = Hasher::new(None, small.bytes.len() as u64);
        hasher.update(&small.bytes);
        let found = hasher.finish();
        let asked = match version {
            Version::Digest(digest) => Some(format!("sha256:{digest}")),
            Version::Tag(_) => None,
        };
        // What was asked for comes first; a registry also says by itself what it sends.
        for expected in [asked, small.digest].into_iter().flatten().filter(|e| e.starts_with("sha256:")) {
            if expected != format!("sha256:{found}") {
                let file = format!("the manifest of {what}");
                let (part, found) = ("sha256".to_owned(), format!("sha256:{found}"));
                return Err(Error::Mismatch { file, part, found, expected });
            }
        }
        Ok((parse(&what, &small.bytes)?, small.bytes))
    }

    /// Does what was planned. Gives the file or folder to open.
    pub fn perform(&self, job: &ImageJob, watch: Watch<'_>) -> Result<PathBuf> {
        let images = self.images;
        let snapshot = images.snapshot(&job.manifest.digest);
        images.prepare()?;
        // Tells those who tidy up that what has no name yet is about to get one.
        let _lock = self.lock(&job.manifest.digest, &job.image.to_string(), watch)?;
        if !images.is_whole(&snapshot) {
            self.check_room(job)?;
            for (layer, file) in job.manifest.layers.iter().zip(&job.files) {
                self.perform_layer(job, layer, file, &snapshot, watch)?;
            }
            write_whole(&snapshot.join(MANIFEST), &job.bytes)?;
        }
        let pinned = ImageRef { version: Version::Digest(job.manifest.digest.clone()), ..job.image.clone() };
        let found = images.locate(&pinned).ok_or_else(|| Error::NotFound {
            what: job.image.to_string(),
            why: "its files make up no model: neither a GGUF file nor config.json with safetensors weights"
                .into(),
        })?;
        images.write_ref(&job.image, &job.manifest.digest)?;
        Ok(found.path())
    }

    /// That the disk has room for what will be fetched; an archive lies there twice while its files are taken out of it.
    ///
    /// # Errors
    /// [`Error::NoRoom`] with the sum.
    pub fn check_room(&self, job: &ImageJob) -> Result<()> {
        let archives = job.manifest.layers.iter().zip(&job.steps);
        let archives = archives.filter(|(l, step)| l.path.is_none() && **step != Step::Keep);
        let unpacked = archives.fold(0u64, |sum, (l, _)| sum.saturating_add(l.size));
        let needed = bytes_to_fetch(&job.files, &job.steps).saturating_add(unpacked);
        space::check(self.images.root(), needed, space::free_bytes(self.images.root()))
    }

    fn perform_layer(
        &self,
        job: &ImageJob,
        layer: &Layer,
        file: &RemoteFile,
        snapshot: &Path,
        watch: Watch<'_>,
    ) -> Result<()> {
        let images = self.images;
        let _lock = self.lock(&layer.digest, &file.path, watch)?;
        // Looked at now that nobody else writes: another program may have brought it meanwhile.
        let blob = match images.source(&layer.digest, layer.size) {
            Some(blob) => blob,
            None => self.fetch_layer(job, layer, file, watch)?,
        };
        match &layer.path {
            Some(path) => images.link(snapshot, path, &blob),
            None => {
                self.unpack(&blob, file, snapshot)?;
                remove_if_there(&images.blob(&layer.digest))
            }
        }
    }

    fn lock(&self, digest: &Digest, what: &str, watch: Watch<'_>) -> Result<Lock> {
        lock_file(&self.images.locks_dir().join(format!("{digest}.lock")), || {
            watch(Event::Locked { file: what });
            pause(self.client, LOCK_LOOK)
        })
    }

    /// The file in which the weights are gathered, with their first bytes up to `until`; `None` where there is no need or no way.
    pub fn begin(&self, job: &ImageJob, until: u64) -> Option<PathBuf> {
        let (layer, file) = job.manifest.layers.iter().zip(&job.files).max_by_key(|(_, f)| f.size)?;
        if !file.path.ends_with(".gguf") || self.images.source(&layer.digest, layer.size).is_some() {
            return None;
        }
        self.images.prepare().ok()?;
        let _lock = self.lock(&layer.digest, &file.path, &mut |_| {}).ok()?;
        let (url, partial) = (self.url_of(job, layer).ok()?, self.images.partial(&layer.digest));
        let target = self.target(job, layer, file, &url, &partial);
        fetch_beginning(self.client, &target, until)
            .is_some_and(|n| n >= until.min(file.size))
            .then_some(partial)
    }

    fn url_of(&self, job: &ImageJob, layer: &Layer) -> Result<Url> {
        under(&job.registry, &format!("v2/{}/blobs/sha256:{}", job.image.name, layer.digest))
    }

    fn target<'t>(
        &self,
        job: &'t ImageJob,
        layer: &'t Layer,
        file: &'t RemoteFile,
        url: &'t Url,
        partial: &'t Path,
    ) -> Target<'t> {
        Target {
            name: &file.path,
            url,
            pass: Pass::Registry(&job.passes),
            size: Some(layer.size),
            digest: Some(&layer.digest),
            partial,
            tag_file: None,
        }
    }

    fn fetch_layer(
        &self,
        job: &ImageJob,
        layer: &Layer,
        file: &RemoteFile,
        watch: Watch<'_>,
    ) -> Result<PathBuf> {
        let (url, partial) = (self.url_of(job, layer)?, self.images.partial(&layer.digest));
        let target = self.target(job, layer, file, &url, &partial);
        fetch(self.client, &target, &self.retry, &self.parts, watch)?;
        let blob = self.images.blob(&layer.digest);
        at(&blob, fs::rename(&partial, &blob))?;
        Ok(blob)
    }

    /// Takes the files out of an archive whose hash was right: each becomes a blob of its own.
    fn unpack(&self, archive: &Path, layer: &RemoteFile, snapshot: &Path) -> Result<()> {
        let mut reader = io::BufReader::with_capacity(BUFFER_BYTES, at(archive, File::open(archive))?);
        let mut failed = None;
        let read = tar::read(&mut reader, &mut |path, size, content| {
            self.take_out(path, size, content, snapshot).map_err(|error| {
                failed = Some(error);
                io::Error::other("a file could not be written")
            })
        });
        match (failed, read) {
            (Some(error), _) => Err(error),
            (None, Err(e)) => Err(Error::Mismatch {
                file: layer.path.clone(),
                part: "archive".into(),
                found: e.to_string(),
                expected: "a tar archive of plain files".into(),
            }),
            (None, Ok(())) => Ok(()),
        }
    }

    fn take_out(&self, path: &str, size: u64, content: &mut dyn Read, snapshot: &Path) -> Result<()> {
        if is_manifest(path) {
            let (file, part) = (path.to_owned(), "path in an archive".to_owned());
            let (found, expected) = ("the name of the manifest".to_owned(), "another".to_owned());
            return Err(Error::Mismatch { file, part, found, expected });
        }
        // Named by what is taken out, so that two programs do not write the same one.
        let draft =
            self.images.blobs_dir().join(format!("{}.{}.tmp", path.replace('/', "_"), std::process::id()));
        let mut write = |draft: &Path| -> Result<Digest> {
            let mut file = at(draft, File::create(draft))?;
            let mut hasher = Hasher::new(None, size);
            let mut buffer = vec![0; BUFFER_BYTES];
            let mut done = 0;
            loop {
                let n = at(draft, content.read(&mut buffer))?;
                if n == 0 {
                    break;
                }
                hasher.update(&buffer[..n]);
                file.write_all(&buffer[..n]).map_err(|e| disk_error(draft, e, size - done))?;
                done += n as u64;
            }
            at(draft, file.sync_all())?;
            Ok(hasher.finish())
        };
        let placed = write(&draft).and_then(|digest| {
            let blob = self.images.blob(&digest);
            at(&blob, fs::rename(&draft, &blob))?;
            self.images.link(snapshot, path, &blob)
        });
        if placed.is_err() {
            // What is left of it is of no use; the error to tell is the first.
            let _ = fs::remove_file(&draft);
        }
        placed
    }
}

/// A layer as a file to fetch.
fn file_of(layer: &Layer) -> RemoteFile {
    let path = layer.path.clone().unwrap_or_else(|| format!("{:.12}.tar", layer.digest.to_string()));
    debug_assert!(is_safe_path(&path));
    RemoteFile { path, size: layer.size, digest: layer.digest.clone() }
}

fn under(registry: &Url, path: &str) -> Result<Url> {
    let text = format!("{}/{path}", registry.to_string().trim_end_matches('/'));
    Url::parse(&text).map_err(|expected| Error::Reference { found: text, expected: expected.to_owned() })
}
