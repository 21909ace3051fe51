//! Names the user gave: for files that were here already, for files from an address, and second names for hub models.
//!
//! One small JSON file, replaced whole; edits are locked, so two programs don't lose each other's names. An edit takes
//! milliseconds: a program that holds the lock for seconds hangs, and is not waited for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::{lock_file, write_whole};
use crate::error::{Error, Result, at};
use crate::short_names;

/// Names in one file, and bytes of it that are read.
const NAME_CHARS_MAX: usize = 96;
const FILE_BYTES_MAX: u64 = 8 << 20;
/// How often a lock is looked at that another program holds, and for how long.
const LOCK_LOOK: Duration = Duration::from_millis(20);
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// A file or folder of the user's, used where it lies.
    Path(PathBuf),
    /// The same for a file whose SHA-256 was known when it got its name.
    File {
        /// Where it lies.
        path: PathBuf,
        /// SHA-256 of its content, in hex.
        sha256: String,
    },
    /// A reference to a model of the hub, or to an image of a registry.
    Hub(String),
    /// A file fetched from an address; it lies in our folder and is ours to remove.
    Url {
        /// Where it came from.
        url: String,
        /// Where it lies.
        path: PathBuf,
        /// SHA-256 of its content, in hex.
        sha256: String,
    },
}

/// All names.
pub type Names = BTreeMap<String, Named>;

#[derive(Default, Serialize, Deserialize)]
struct Content {
    names: Names,
}

/// The file of names.
#[derive(Debug, Clone)]
pub struct NamesFile {
    path: PathBuf,
}

impl NamesFile {
    /// The file at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// All names; none where there is no file.
    pub fn read(&self) -> Result<Names> {
        let size = match std::fs::metadata(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Names::new()),
            metadata => at(&self.path, metadata)?.len(),
        };
        let wrong = |found: String, expected: String| Error::Mismatch {
            file: self.path.display().to_string(),
            part: "names".into(),
            found,
            expected,
        };
        if size > FILE_BYTES_MAX {
            return Err(wrong(format!("{size} bytes"), format!("at most {FILE_BYTES_MAX}")));
        }
        let text = at(&self.path, std::fs::read(&self.path))?;
        let content: Content = serde_json::from_slice(&text)
            .map_err(|e| wrong(e.to_string(), "what ingle wrote; delete the file to begin anew".into()))?;
        Ok(content.names)
    }

    /// Changes the names; no other program changes them meanwhile.
    ///
    /// # Errors
    /// [`Error::Locked`] when another program holds the lock for ten seconds; what `change` gives; and what the system says.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Names) -> Result<T>) -> Result<T> {
        self.edit_within(LOCK_WAIT, change)
    }

    fn edit_within<T>(&self, wait: Duration, change: impl FnOnce(&mut Names) -> Result<T>) -> Result<T> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        at(folder, std::fs::create_dir_all(folder))?;
        let path = self.path.with_extension("lock");
        let mut waited = Duration::ZERO;
        let lock = lock_file(&path, || {
            if waited >= wait {
                return Err(Error::Locked { path: path.clone(), waited });
            }
            std::thread::sleep(LOCK_LOOK);
            waited += LOCK_LOOK;
            Ok(())
        })?;
        let mut names = self.read()?;
        let out = change(&mut names)?;
        let mut text = serde_json::to_vec_pretty(&Content { names }).expect("names are plain data");
        text.push(b'\n');
        write_whole(&self.path, &text)?;
        drop(lock);
        Ok(out)
    }
}

/// Checks a name the user wants to give: nothing that means something else already.
pub fn check_name(name: &str) -> Result<()> {
    let wrong =
        |expected: &str| Error::Reference { found: format!("{name:?}"), expected: expected.to_owned() };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    if !(1..=NAME_CHARS_MAX).contains(&name.len())
        || !name.bytes().all(is_plain)
        || name.starts_with(['.', '-'])
    {
        return Err(wrong("expected a name of letters, digits, '-', '_', '.' and ':'"));
    }
    if name == "demo" || short_names::find(name).is_some() {
        return Err(wrong("this name means another model already; choose another"));
    }
    if name.to_ascii_lowercase().ends_with(".gguf") {
        return Err(wrong("a name that ends in .gguf would be taken for a file; leave the ending out"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_holds_the_lock_is_not_waited_for_without_end() {
        let dir = std::env::temp_dir().join(format!("ingle-names-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let names = NamesFile::new(dir.join("names.json"));
        let hold = lock_file(&dir.join("names.lock"), || unreachable!("nobody else has it")).unwrap();
        let said = names.edit_within(LOCK_LOOK * 2, |_| Ok(())).unwrap_err().to_string();
        assert!(
            said.ends_with("names.lock: another program has held this lock for 0.04 s; end it and try again"),
            "{said}"
        );
        drop(hold);
        names.edit(|_| Ok(())).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn names_may_not_look_like_anything_else() {
        for name in ["my-model", "qwen3-mine", "a:b", "x.1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "demo", "qwen3", "qwen3:0.6b", "a/b", "-x", ".x", "a b", "x.gguf", &"x".repeat(97)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
