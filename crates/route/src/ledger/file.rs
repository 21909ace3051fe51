//! The rows on disk: lines appended to `ledger.jsonl`, which becomes `ledger.1.jsonl` when it is full, and so on until the
//! oldest file goes.
//!
//! Writers take turns by a lock on `ledger.lock` beside it, and readers share it, so no file is renamed under them. A line that was torn by a crash or a full disk stays as it is:
//! the next row begins a line of its own, and readers pass over what is no row and say so. Only the owner may read the files:
//! they tell when somebody asked something.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::row::{LINE_BYTES_MAX, Row};

/// A ledger's files.
#[derive(Debug, Clone)]
pub struct LedgerFile {
    /// The newest.
    pub path: PathBuf,
    /// The most bytes of a file.
    pub bytes_max: u64,
    /// How many older ones are kept.
    pub n_older: usize,
}

/// What a reader came across.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Lines that are no rows.
    pub n_lines: u64,
    /// Where the first of them is and what is wrong with it.
    pub first: Option<String>,
    /// Whether the newest file ends within a line.
    pub is_torn: bool,
}

/// Why a ledger could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The row can't be a line.
    #[error("ledger: {0}")]
    Row(String),
}

fn at(path: &Path) -> impl Fn(io::Error) -> LedgerError + '_ {
    |source| LedgerError::Io { path: path.display().to_string(), source }
}

impl LedgerFile {
    /// The ledger at `path`, of five files of 4 MiB at most: some fifty thousand requests.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), bytes_max: 4 << 20, n_older: 4 }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The system's own, with the file's name.
    pub fn append(&self, row: &Row) -> Result<(), LedgerError> {
        let line = row.to_line().map_err(LedgerError::Row)?;
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        let lock_path = self.path.with_extension("lock");
        let lock = private(&lock_path).map_err(at(&lock_path))?;
        or_unsupported(lock.lock()).map_err(at(&lock_path))?;
        let mut file = private(&self.path).map_err(at(&self.path))?;
        let mut n_bytes = file.seek(SeekFrom::End(0)).map_err(at(&self.path))?;
        if n_bytes > 0 && n_bytes + line.len() as u64 > self.bytes_max {
            drop(file);
            self.make_room()?;
            file = private(&self.path).map_err(at(&self.path))?;
            n_bytes = 0;
        }
        let is_torn = n_bytes > 0 && {
            let mut last = [0];
            file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(at(&self.path))?;
            last != *b"\n"
        };
        let line = if is_torn { format!("\n{line}") } else { line };
        file.write_all(line.as_bytes()).map_err(at(&self.path))
    }

    /// The `i`th file, 0 being the newest.
    fn file(&self, i: usize) -> PathBuf {
        if i == 0 { self.path.clone() } else { self.path.with_extension(format!("{i}.jsonl")) }
    }

    /// Every file becomes the next older one; the oldest goes.
    fn make_room(&self) -> Result<(), LedgerError> {
        if self.n_older == 0 {
            return fs::remove_file(&self.path).map_err(at(&self.path));
        }
        for i in (0..self.n_older).rev() {
            let (from, to) = (self.file(i), self.file(i + 1));
            match fs::rename(&from, &to) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(&from)(e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Hands every row to `see`, the oldest first. A ledger that is not there is empty.
    ///
    /// # Errors
    /// The system's own, with the file's name.
    pub fn read(&self, mut see: impl FnMut(Row)) -> Result<Faults, LedgerError> {
        let mut faults = Faults::default();
        let lock_path = self.path.with_extension("lock");
        let _shared = match File::open(&lock_path) {
            Ok(lock) => {
                or_unsupported(lock.lock_shared()).map_err(at(&lock_path))?;
                Some(lock)
            }
            // Who has never written has no lock.
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(at(&lock_path)(e)),
        };
        for i in (0..=self.n_older).rev() {
            let path = self.file(i);
            match File::open(&path) {
                Ok(file) => faults.is_torn = read_rows(&path, file, &mut see, &mut faults)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(at(&path)(e)),
            }
        }
        Ok(faults)
    }
}

/// Where files can't be locked, writers and readers hope for the best; a mixed line would be passed over.
fn or_unsupported(locked: io::Result<()>) -> io::Result<()> {
    locked.or_else(|e| if e.kind() == io::ErrorKind::Unsupported { Ok(()) } else { Err(e) })
}

/// The rows of one file; whether its last line has no end.
fn read_rows(
    path: &Path,
    file: File,
    see: &mut impl FnMut(Row),
    faults: &mut Faults,
) -> Result<bool, LedgerError> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    for n in 1u64.. {
        line.clear();
        let most = LINE_BYTES_MAX as u64 + 1;
        if reader.by_ref().take(most).read_until(b'\n', &mut line).map_err(at(path))? == 0 {
            return Ok(false);
        }
        let has_end = line.ends_with(b"\n");
        let is_long = !has_end && line.len() as u64 == most;
        if is_long {
            skip_line(&mut reader).map_err(at(path))?;
        }
        let row = match line.trim_ascii() {
            [] => continue,
            _ if is_long => Err(format!("longer than {LINE_BYTES_MAX} bytes")),
            text => Row::parse(text),
        };
        match row {
            Ok(row) => see(row),
            Err(why) => {
                faults.n_lines += 1;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                faults.first.get_or_insert_with(|| format!("{name} line {n}: {why}"));
                if !has_end && !is_long {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// To the end of the line, without keeping it.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = reader.fill_buf()?;
        let (used, ends) = match bytes.iter().position(|&b| b == b'\n') {
            Some(i) => (i + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        reader.consume(used);
        if ends {
            return Ok(());
        }
    }
}

/// A file to read and append to, made for its owner alone.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
