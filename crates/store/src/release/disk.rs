//! Every change of the disk that an update makes goes through here, step by step, so that a test can end the program at each.
//!
//! A file is written beside its place, synced and renamed; folders are synced after a name in them changed, where the system
//! can do that.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::error::{Result, at};

/// The disk, and who is told before and after each change.
pub struct Disk {
    step: Box<dyn Fn() + Send + Sync>,
}

impl Default for Disk {
    fn default() -> Self {
        Self::telling(|| ())
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

impl Disk {
    /// A disk that calls `step` between any two changes. What `step` does not return from was the last change.
    pub fn telling(step: impl Fn() + Send + Sync + 'static) -> Self {
        Self { step: Box::new(step) }
    }

    /// Tells of a change that was made elsewhere.
    pub(crate) fn step(&self) {
        (self.step)();
    }

    /// Puts `bytes` at `path`, whole or not at all.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.write_as(path, bytes, |options| options)
    }

    /// The same for what nobody else may read, where the system knows of others.
    pub(crate) fn write_secret(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        #[cfg(unix)]
        return self.write_as(path, bytes, |options| std::os::unix::fs::OpenOptionsExt::mode(options, 0o600));
        #[cfg(not(unix))]
        self.write(path, bytes)
    }

    fn write_as(
        &self,
        path: &Path,
        bytes: &[u8],
        open: impl Fn(&mut fs::OpenOptions) -> &mut fs::OpenOptions,
    ) -> Result<()> {
        let folder = path.parent().unwrap_or(path);
        self.make_folder(folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let draft = path.with_file_name(format!("{name}.tmp"));
        // A draft that a killed program left may have been readable by others: begin anew.
        let _ = fs::remove_file(&draft);
        self.step();
        let mut options = fs::OpenOptions::new();
        let mut file = at(&draft, open(options.write(true).create_new(true)).open(&draft))?;
        self.step();
        // In two pieces: between them the program may end with half a draft.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        at(&draft, file.write_all(first))?;
        self.step();
        at(&draft, file.write_all(second))?;
        at(&draft, file.sync_all())?;
        self.rename(&draft, path)
    }

    /// Gives a file or folder another name, in one step.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step();
        at(to, fs::rename(from, to))?;
        self.step();
        sync_folder(to.parent().unwrap_or(to))?;
        self.step();
        Ok(())
    }

    /// Makes a folder and those above it.
    pub(crate) fn make_folder(&self, folder: &Path) -> Result<()> {
        if !folder.is_dir() {
            at(folder, fs::create_dir_all(folder))?;
            self.step();
        }
        Ok(())
    }

    /// Makes sure that a file's content and name are on the disk.
    pub(crate) fn sync(&self, path: &Path) -> Result<()> {
        self.step();
        at(path, File::open(path).and_then(|f| f.sync_all()))?;
        sync_folder(path.parent().unwrap_or(path))
    }

    /// Removes a folder and all below it, file by file, if it is there.
    pub(crate) fn remove_folder(&self, folder: &Path) -> Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => at(folder, entries)?,
        };
        for entry in entries {
            let path = at(folder, entry)?.path();
            self.step();
            match at(&path, fs::symlink_metadata(&path))?.is_dir() {
                true => self.remove_folder(&path)?,
                false => at(&path, fs::remove_file(&path))?,
            }
        }
        at(folder, fs::remove_dir(folder))?;
        self.step();
        Ok(())
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> Result<()> {
    at(folder, File::open(folder).and_then(|f| f.sync_all()))
}

/// Elsewhere a folder can't be opened as a file; names are the file system's to keep.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<()> {
    Ok(())
}
