//! A user's own turns of phrase: the [`Ngrams`] of what was said on this device before, in a file.
//!
//! It exists only where somebody asked for it, never leaves the device, and takes at most as many bytes as it was given, in memory
//! and on disk. The file is written beside its place and then renamed, for its owner alone. It is not the text, but who has it can
//! make out parts of what was said, and all of what was said often: it lies in the [`Form`] that it was opened in, and
//! [`NgramStore::delete`] removes it.
//!
//! A file that is not one of this vocabulary, whole and as it was written, is refused, and stays where it is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ngrams::{Ngrams, Vocabulary};
use crate::at_rest::Form;
use crate::error::{Error, Result};

/// What the file is for, as a [`Form`] is told.
pub const LABEL: &str = "ngrams";

/// The n-grams of a file.
#[derive(Debug)]
pub struct NgramStore {
    path: PathBuf,
    form: Arc<dyn Form>,
    ngrams: Ngrams,
}

impl NgramStore {
    /// What the file knows, or nothing if there is none yet. The file is made by [`NgramStore::save`]; what one that was cut short
    /// has left is removed.
    ///
    /// # Errors
    /// When the file can't be read, is not in this form, is no store of this vocabulary or was damaged, or when `bytes_max` is too
    /// little.
    pub fn open(path: &Path, form: &Arc<dyn Form>, vocabulary: Vocabulary, bytes_max: usize) -> Result<Self> {
        let store = |ngrams| Self { path: path.to_owned(), form: form.clone(), ngrams };
        let refused = |why| error(path, io::Error::new(io::ErrorKind::InvalidData, why));
        // Were it another program's that is writing now, that save would fail and the next one not.
        remove(&part(path))?;
        // Not what a pipe of that name leads to.
        let file = match fs::metadata(path) {
            Ok(meta) if meta.is_file() => File::open(path).map_err(|e| error(path, e))?,
            Ok(_) => return Err(refused("it is no file, expected one or nothing".into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ngrams::new(vocabulary, bytes_max).map(store).map_err(refused);
            }
            Err(e) => return Err(error(path, e)),
        };
        let n_bytes = file.metadata().map_err(|e| error(path, e))?.len();
        let (mut from, n_bytes) = form.read(file, n_bytes, LABEL).map_err(|e| error(path, e))?;
        Ngrams::read(&mut from, n_bytes, vocabulary, bytes_max).map(store).map_err(refused)
    }

    /// What is known.
    pub fn ngrams(&self) -> &Ngrams {
        &self.ngrams
    }

    /// Learns from a text that was accepted.
    pub fn learn(&mut self, tokens: &[u32]) {
        self.ngrams.learn(tokens);
    }

    /// See [`Ngrams::guess`].
    pub fn guess(&self, context: &[u32], n: usize, out: &mut Vec<u32>) -> usize {
        self.ngrams.guess(context, n, out)
    }

    /// Writes the file, and makes the folder that it stands in.
    ///
    /// # Errors
    /// When it can't be written, or another program is writing it; the old one is still there then.
    pub fn save(&self) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(|e| error(folder, e))?;
        }
        let part = part(&self.path);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&part).map_err(|e| error(&part, e))?;
        let written = self.form.write(file, LABEL, &mut |mut out| self.ngrams.write(&mut out));
        let written = written.and_then(|file| file.sync_all());
        written.and_then(|()| fs::rename(&part, &self.path)).map_err(|e| {
            let _ = fs::remove_file(&part);
            error(&self.path, e)
        })
    }

    /// Forgets everything and removes the file, and what a save that was cut short has left.
    ///
    /// # Errors
    /// When a file is there and can't be removed; everything is forgotten all the same.
    pub fn delete(&mut self) -> Result<()> {
        self.ngrams.clear();
        delete(&self.path)
    }
}

/// Removes the store at `path`, whatever is in it.
///
/// # Errors
/// When it is there and can't be removed.
pub fn delete(path: &Path) -> Result<()> {
    remove(path)?;
    remove(&part(path))
}

/// Removes a file if it is there.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(error(path, e)),
        _ => Ok(()),
    }
}

/// Where the file at `path` is written.
fn part(path: &Path) -> PathBuf {
    path.with_added_extension("part")
}

fn error(path: &Path, source: io::Error) -> Error {
    Error::Io { file: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at_rest::Plain;

    const VOCABULARY: Vocabulary = Vocabulary { fingerprint: [5; 32], n_tokens: 1000 };
    const TEXT: [u32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    /// A folder of this test's own, empty.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("ingle-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn open(path: &Path, vocabulary: Vocabulary, bytes_max: usize) -> Result<NgramStore> {
        NgramStore::open(path, &(Arc::new(Plain) as Arc<dyn Form>), vocabulary, bytes_max)
    }

    fn guess(store: &NgramStore) -> Vec<u32> {
        let mut out = Vec::new();
        store.guess(&TEXT[..5], 8, &mut out);
        out
    }

    #[test]
    fn is_there_again_after_it_was_saved_and_gone_after_it_was_deleted() {
        let folder = folder("again");
        let path = folder.join("words.ngrams");
        let mut store = open(&path, VOCABULARY, 100_000).unwrap();
        assert!(guess(&store).is_empty() && !path.exists());
        store.learn(&TEXT);
        store.save().unwrap();
        store.save().unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let meta = fs::metadata(&path).unwrap();
        assert!(meta.len() <= 100_000);
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&meta) & 0o777, 0o600);

        let mut store = open(&path, VOCABULARY, 5000).unwrap();
        assert_eq!(guess(&store), [6, 7, 8]);
        store.delete().unwrap();
        assert!(guess(&store).is_empty());
        store.delete().unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn what_is_no_store_is_refused_in_a_sentence_and_left_alone() {
        let folder = folder("refused");
        let path = folder.join("words.ngrams");
        let mut store = open(&path, VOCABULARY, 5000).unwrap();
        store.learn(&TEXT);
        store.save().unwrap();
        let whole = fs::read(&path).unwrap();
        let mut broken = whole.clone();
        broken[999] ^= 1;
        let cases: [(&[u8], Vocabulary, &str); 5] = [
            (b"", VOCABULARY, "it can't be read to its end: failed to fill whole buffer"),
            (&[7; 200], VOCABULARY, "it does not begin as a table of n-grams does, expected ingleNG1"),
            (&whole[..whole.len() - 1], VOCABULARY, "4943 bytes, expected as many as its head says"),
            (&broken, VOCABULARY, "its hash is not that of what it holds"),
            (
                &whole,
                Vocabulary { fingerprint: [1; 32], ..VOCABULARY },
                "it was learned in another vocabulary, expected that of the model",
            ),
        ];
        for (bytes, vocabulary, why) in cases {
            fs::write(&path, bytes).unwrap();
            let refused = open(&path, vocabulary, 5000).unwrap_err().to_string();
            assert_eq!(refused, format!("{}: {why}", path.display()));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert!(open(&folder, VOCABULARY, 5000).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_save_that_fails_leaves_the_old_one() {
        let folder = folder("fails");
        let path = folder.join("words.ngrams");
        let mut store = open(&path, VOCABULARY, 5000).unwrap();
        store.save().unwrap();
        let old = fs::read(&path).unwrap();
        store.learn(&TEXT);
        fs::write(part(&path), "another program's").unwrap();
        assert!(store.save().is_err());
        assert_eq!(fs::read(&path).unwrap(), old);
        // The next start has the old one and can save again.
        let mut store = open(&path, VOCABULARY, 5000).unwrap();
        assert_eq!(store.ngrams().n_entries(), 0);
        store.learn(&TEXT);
        store.save().unwrap();
        assert_ne!(fs::read(&path).unwrap(), old);

        fs::write(part(&path), "cut short").unwrap();
        delete(&path).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(folder).unwrap();
    }
}
