//! All models of one user, wherever they lie: names given, hub cache, images, files from addresses.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ingle_net::Url;

use crate::cache::{Cache, Found};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::names::{Named, NamesFile};
use crate::pull::path_of_url;
use crate::reference::{FileRef, Reference, Repo};
use crate::registry::images::{FoundImage, Images};
use crate::verify::{Check, checks_at, checks_of};

/// The models of one user.
#[derive(Debug, Clone)]
pub struct Library {
    /// The shared hub cache.
    pub cache: Cache,
    /// Names the user gave.
    pub names: NamesFile,
    /// Files from addresses.
    pub models_dir: PathBuf,
    /// Images of registries.
    pub images: Images,
}

/// What a text on a command line means.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// A model that is here: the file or folder to open.
    Here(PathBuf),
    /// A model that could be fetched.
    Absent(Reference),
    /// Neither a name nor a reference.
    Unknown,
}

/// One line of the list.
#[derive(Debug, Clone)]
pub struct Installed {
    /// What to type.
    pub name: String,
    /// The file or folder to open.
    pub path: PathBuf,
    /// Bytes; `None` when the file is gone.
    pub size: Option<u64>,
    /// The quantisation, where the file's name says one.
    pub quant: Option<String>,
    /// A folder of safetensors.
    pub is_folder: bool,
    /// When it came.
    pub modified: Option<SystemTime>,
    /// The repository it comes from.
    pub repo: Option<Repo>,
}

impl Library {
    /// A library with its own files below `data_dir`.
    pub fn new(cache: Cache, data_dir: &Path) -> Self {
        Self {
            cache,
            names: NamesFile::new(data_dir.join("names.json")),
            models_dir: data_dir.join("models"),
            images: Images::new(data_dir.join("registry")),
        }
    }

    /// What `text` means. Looks at names and disk, never at the network.
    pub fn find(&self, text: &str) -> Result<Meaning> {
        let reference = match self.names.read()?.remove(text) {
            Some(Named::Path(path) | Named::File { path, .. } | Named::Url { path, .. }) if path.exists() => {
                return Ok(Meaning::Here(path));
            }
            Some(Named::Path(path) | Named::File { path, .. }) => {
                let why =
                    format!("it named {}, which is gone; ingle rm {text} forgets the name", path.display());
                return Err(Error::NotFound { what: text.to_owned(), why });
            }
            Some(Named::Url { url, .. }) => Reference::parse(&url)?,
            Some(Named::Hub(hub)) => Reference::parse(&hub)?,
            None => Reference::parse(text)?,
        };
        Ok(match reference {
            None => Meaning::Unknown,
            Some(reference) => match self.path_of(&reference)? {
                Some(path) => Meaning::Here(path),
                None => Meaning::Absent(reference),
            },
        })
    }

    /// The files to verify of what `text` means; `None` where it is no model that is here.
    pub fn checks(&self, text: &str) -> Result<Option<Vec<Check>>> {
        let (path, expected, reference) = match self.names.read()?.remove(text) {
            Some(Named::Path(path)) => (Some(path), None, None),
            Some(Named::File { path, sha256 } | Named::Url { path, sha256, .. }) => {
                (Some(path), Digest::sha256(&sha256), None)
            }
            Some(Named::Hub(text)) => (None, None, Reference::parse(&text)?),
            None => (None, None, Reference::parse(text)?),
        };
        Ok(match reference {
            Some(Reference::Hub(hub)) => {
                self.cache.locate(&hub).map(|found| checks_of(&found.snapshot, &found.files))
            }
            Some(Reference::Image(image)) => {
                self.images.locate(&image).map(|found| checks_of(&found.snapshot, &found.files))
            }
            Some(Reference::Url(file)) => {
                let path = self.path_of_url(&file.url).ok().filter(|path| path.is_file());
                path.map(|path| checks_at(&path, file.sha256.clone()))
            }
            None => path.filter(|path| path.exists()).map(|path| checks_at(&path, expected)),
        })
    }

    /// Where a reference's files lie, if they are here.
    fn path_of(&self, reference: &Reference) -> Result<Option<PathBuf>> {
        Ok(match reference {
            Reference::Hub(hub) => self.cache.locate(hub).map(|found| found.path()),
            Reference::Url(file) => self.path_of_file(file)?,
            Reference::Image(image) => self.images.locate(image).map(|found| found.path()),
        })
    }

    /// Where a file from an address lies, if it is here; one of a certain content only where that was what came.
    fn path_of_file(&self, file: &FileRef) -> Result<Option<PathBuf>> {
        let Some(here) = self.path_of_url(&file.url).ok().filter(|path| path.is_file()) else {
            return Ok(None);
        };
        let Some(asked) = &file.sha256 else { return Ok(Some(here)) };
        let came = |named: &Named| matches!(named, Named::Url { path, sha256, .. } if *path == here && *sha256 == asked.to_string());
        Ok(self.names.read()?.values().any(came).then_some(here))
    }

    /// Where a file from an address lies or would lie.
    pub fn path_of_url(&self, url: &Url) -> Result<PathBuf> {
        path_of_url(&self.models_dir, url)
    }

    /// Every model that is here, by name.
    pub fn list(&self) -> Result<Vec<Installed>> {
        let mut all: Vec<Installed> = self.cache.list().into_iter().map(Installed::from).collect();
        all.extend(self.images.list().into_iter().map(Installed::from));
        for (name, named) in self.names.read()? {
            match named {
                Named::Path(path) | Named::File { path, .. } | Named::Url { path, .. } => {
                    all.push(Installed::at(name, path));
                }
                Named::Hub(text) => match Reference::parse(&text)? {
                    Some(Reference::Hub(hub)) => {
                        all.extend(self.cache.locate(&hub).map(|found| Installed { name, ..found.into() }));
                    }
                    Some(Reference::Image(image)) => {
                        all.extend(self.images.locate(&image).map(|f| Installed { name, ..f.into() }));
                    }
                    _ => {}
                },
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }
}

impl From<Found> for Installed {
    fn from(found: Found) -> Self {
        Self {
            path: found.path(),
            name: found.name,
            size: Some(found.size),
            quant: found.quant,
            is_folder: found.is_folder,
            modified: found.modified,
            repo: Some(found.repo),
        }
    }
}

impl From<FoundImage> for Installed {
    fn from(found: FoundImage) -> Self {
        let first = found.first.as_ref().and_then(|f| f.rsplit('/').next());
        Self {
            path: found.path(),
            name: found.image.to_string(),
            size: Some(found.size),
            quant: first.and_then(crate::choose::quant_of),
            is_folder: found.first.is_none(),
            modified: found.modified,
            repo: None,
        }
    }
}

impl Installed {
    /// A file or folder of the user's.
    pub fn at(name: String, path: PathBuf) -> Self {
        let metadata = std::fs::metadata(&path).ok();
        let is_folder = metadata.as_ref().is_some_and(std::fs::Metadata::is_dir);
        let size = match is_folder {
            true => {
                Some(crate::cache::files_below(&path).iter().filter_map(|f| size_of(&path.join(f))).sum())
            }
            false => metadata.as_ref().map(std::fs::Metadata::len),
        };
        let quant = path.file_name().and_then(|n| crate::choose::quant_of(n.to_str()?));
        let modified = metadata.and_then(|m| m.modified().ok());
        Self { name, path, size, quant, is_folder, modified, repo: None }
    }
}

fn size_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|m| m.len())
}
