//! What sequences remember, in a folder: a prompt's beginning need not be computed again after a restart.
//!
//! A file holds what a model made of one block of 64 tokens, or the state behind one ([`record`]). Its name is the hash of the model's
//! fingerprint and of all tokens up to the block's end, so the blocks of a beginning are found one behind the other. A file is
//! written beside its place and then renamed, so it is there whole or not at all; its own hash says whether it is what was
//! written. Whatever else is found is ignored and removed, which [`Folder`] reports. What was unused for longest goes when the
//! folder grows too large, and of what was used about the same time the later blocks go first.
//!
//! Files tell what was asked: they and their folders are made for their owner alone, and lie in the [`Form`] that the folder was given;
//! whatever is there in another is removed when it is opened.

pub mod fingerprint;
pub mod record;

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use ingle_model::kv::{Held, Room, State};
use sha2::{Digest, Sha256};

use crate::at_rest::Form;
use crate::error::{Error, Result};
use crate::prefix::Tokens;
use record::About;

/// Files whose last uses were no further apart are as old as each other.
const SAME_TIME_SECS: u64 = 60;
/// When there are too many files, one part of so many of what is allowed is made free.
const SPARE: u64 = 16;
/// What files are for, as a [`Form`] is told.
const LABEL: &str = "kv";

/// A hash of a model and of tokens.
pub type Key = [u8; 32];

/// Where files of blocks are kept.
#[derive(Debug, Clone, Copy)]
pub struct KvDir<'a> {
    /// The folder; it is made if it is not there.
    pub path: &'a Path,
    /// Bytes that its files may have, those of other models included.
    pub bytes_max: u64,
    /// How files lie there.
    pub form: &'a Arc<dyn Form>,
    /// Hears of what went wrong, in a sentence. Nothing here may wait.
    pub report: fn(&str),
}

/// The files of one model.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    path: PathBuf,
    model: Key,
    bytes_max: u64,
    form: Arc<dyn Form>,
    report: fn(&str),
    /// Bytes of all files of all models, as far as this program knows.
    n_bytes: AtomicU64,
}

/// A block in its sequence.
#[derive(Debug, Clone)]
pub struct Place {
    parent: Key,
    key: Key,
    tokens: Tokens,
    /// Blocks before it.
    depth: usize,
}

/// What is kept of a block.
#[derive(Debug, Clone)]
pub enum Kept {
    /// Its pages.
    Block(Held),
    /// The state behind it.
    State(State),
}

impl Kept {
    fn is_state(&self) -> bool {
        matches!(self, Self::State(_))
    }
}

impl Folder {
    /// The folder of the model with this fingerprint. Files that never came to be are removed.
    ///
    /// # Errors
    /// When folders can't be made or read.
    pub fn open(dir: &KvDir<'_>, model: Key) -> Result<Self> {
        let path = dir.path.join(hex(&model[..16]));
        let failed = |source| Error::Io { file: path.display().to_string(), source };
        make_dir(&path).map_err(failed)?;
        let folder = Self {
            root: dir.path.to_owned(),
            model,
            bytes_max: dir.bytes_max,
            form: dir.form.clone(),
            report: dir.report,
            n_bytes: AtomicU64::new(0),
            path,
        };
        for entry in fs::read_dir(&folder.path).map_err(|source| folder.error(source))?.flatten() {
            if entry.path().extension().is_some_and(|e| e == "part") {
                let _ = fs::remove_file(entry.path());
            }
        }
        for (path, ..) in folder.files() {
            if !folder.form.is_own(&path) {
                let _ = fs::remove_file(path);
            }
        }
        folder.shrink();
        Ok(folder)
    }

    /// Says what went wrong.
    pub fn report(&self, what: &str) {
        (self.report)(what);
    }

    /// The places of the whole blocks of `tokens`, in order.
    pub fn places(&self, tokens: &[u32]) -> impl Iterator<Item = Place> {
        let blocks = tokens.as_chunks().0.iter().enumerate();
        blocks.scan(self.model, |parent, (depth, &tokens)| {
            let mut hash = Sha256::new();
            hash.update(*parent);
            tokens.iter().for_each(|token| hash.update(token.to_le_bytes()));
            let key: Key = hash.finalize().into();
            Some(Place { parent: std::mem::replace(parent, key), key, tokens, depth })
        })
    }

    /// Reads the block at `place` into pages of `room`, if it is there and there is room.
    pub fn read_block(&self, place: &Place, room: &Room) -> Option<Held> {
        let sizes = room.page_sizes();
        let path = self.file(place, false);
        self.read(&path, |file, n_bytes| {
            let opened = record::open(file, n_bytes, &place.about(false), sizes)?;
            let Some(mut held) = room.blank(&opened.has) else { return Ok(None) };
            opened.read(held.bytes_mut())?;
            Ok(Some(held))
        })
    }

    /// Reads the state of `n` values behind the block at `place`, if it is there.
    pub fn read_state(&self, place: &Place, n: usize) -> Option<State> {
        let path = self.file(place, true);
        self.read(&path, |file, n_bytes| {
            let opened = record::open(file, n_bytes, &place.about(true), &[4 * n])?;
            if opened.has != [true] {
                return Err("it holds nothing".into());
            }
            let mut bytes = vec![0; 4 * n];
            opened.read(std::iter::once(&mut bytes[..]))?;
            Ok(Some(State::new(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)))))
        })
    }

    /// Opens a file and has it read; one that is not what it should be is reported and removed.
    fn read<T>(
        &self,
        path: &Path,
        read: impl FnOnce(Box<dyn Read + Send>, u64) -> std::result::Result<Option<T>, String>,
    ) -> Option<T> {
        // Not what a link or a pipe of that name leads to.
        let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        let file = File::open(path).ok()?;
        let opened = self.form.read(file, meta.len(), LABEL).map_err(|e| e.to_string());
        opened.and_then(|(from, n_bytes)| read(from, n_bytes)).unwrap_or_else(|why| {
            self.report(&format!("{}: {why}; it is ignored and removed", path.display()));
            let _ = fs::remove_file(path);
            None
        })
    }

    /// Writes what is kept of the block at `place`, or notes that it was used if it is there.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, place: &Place, kept: &Kept) -> Result<()> {
        let path = self.file(place, kept.is_state());
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
            // Without success it looks older than it is.
            let _ =
                OpenOptions::new().append(true).open(&path).and_then(|f| f.set_modified(SystemTime::now()));
            return Ok(());
        }
        let part = path.with_extension(if kept.is_state() { "state.part" } else { "kv.part" });
        let written = self.write_new(&part, place, kept).and_then(|n_bytes| {
            fs::rename(&part, &path)?;
            Ok(n_bytes)
        });
        match written {
            Ok(n_bytes) => self.grown(n_bytes),
            Err(source) => {
                let _ = fs::remove_file(&part);
                return Err(Error::Io { file: path.display().to_string(), source });
            }
        }
        Ok(())
    }

    fn write_new(&self, part: &Path, place: &Place, kept: &Kept) -> io::Result<u64> {
        let about = place.about(kept.is_state());
        let content = |mut out: &mut dyn Write| match kept {
            Kept::Block(held) => record::write(&mut out, &about, &held.bytes().collect::<Vec<_>>()),
            Kept::State(state) => {
                let bytes: Vec<u8> = state.values().iter().flat_map(|v| v.to_le_bytes()).collect();
                record::write(&mut out, &about, &[Some(&bytes)])
            }
        };
        let file = self.form.write(create(part)?, LABEL, &mut |out| content(out).map(drop))?;
        Ok(file.metadata()?.len())
    }

    /// Counts a new file, and makes room when there are too many.
    fn grown(&self, n_bytes: u64) {
        let all = self.n_bytes.fetch_add(n_bytes, Relaxed) + n_bytes;
        if all > self.bytes_max {
            self.shrink();
        }
    }

    /// Removes files, of all models, until they are some part below what is allowed, and counts what is left.
    fn shrink(&self) {
        let aged = |(path, meta, depth): (PathBuf, fs::Metadata, usize)| {
            let age = meta.modified().ok().and_then(|at| at.elapsed().ok()).map_or(0, |age| age.as_secs());
            (age / SAME_TIME_SECS, depth, meta.len(), path)
        };
        let mut files: Vec<(u64, usize, u64, PathBuf)> = self.files().map(aged).collect();
        let mut all: u64 = files.iter().map(|(_, _, n_bytes, _)| n_bytes).sum();
        if all > self.bytes_max {
            // The oldest first, then those furthest from the beginning.
            files.sort_by_key(|(age, depth, ..)| Reverse((*age, *depth)));
            for (_, _, n_bytes, path) in files {
                if all <= self.bytes_max - self.bytes_max / SPARE {
                    break;
                }
                if fs::remove_file(path).is_ok() {
                    all -= n_bytes;
                }
            }
        }
        self.n_bytes.store(all, Relaxed);
    }

    /// The files of all models, and how many blocks are before each.
    fn files(&self) -> impl Iterator<Item = (PathBuf, fs::Metadata, usize)> {
        let models = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let models = models.map(|model| model.path()).filter(|path| is_hex(path.file_name(), 32));
        models.filter_map(|model| fs::read_dir(model).ok()).flatten().flatten().filter_map(|entry| {
            let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let path = entry.path();
            let depth = depth_of(&path)?;
            Some((path, meta, depth))
        })
    }

    fn file(&self, place: &Place, is_state: bool) -> PathBuf {
        let ending = if is_state { "state" } else { "kv" };
        self.path.join(format!("{}-{}.{ending}", hex(&place.key), place.depth))
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Io { file: self.path.display().to_string(), source }
    }
}

impl Place {
    fn about(&self, is_state: bool) -> About<'_> {
        About { parent: &self.parent, tokens: &self.tokens, is_state }
    }
}

/// Two digits for each byte.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a name is `n` digits of [`hex`].
fn is_hex(name: Option<&OsStr>, n: usize) -> bool {
    let name = name.and_then(OsStr::to_str).unwrap_or_default();
    name.len() == n && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Blocks before that of a file of [`Folder::file`]; `None` for any other.
fn depth_of(path: &Path) -> Option<usize> {
    let is_ours = path.extension().is_some_and(|e| e == "kv" || e == "state");
    let (key, depth) = path.file_stem()?.to_str()?.split_once('-')?;
    depth.parse().ok().filter(|_| is_ours && is_hex(Some(key.as_ref()), 64))
}

/// Makes a folder and those above it, for their owner alone.
fn make_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

/// Creates a file that is not there, for its owner alone.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
