//! Writes files of packed weights, behind everything else.
//!
//! Weights are read from the model's file, some rows at a time, packed, and written: nothing of the model is touched and little memory
//! taken. The file is written beside its place, in large pieces, which file systems that can keep in large pages; and
//! renamed when all of it is on the disk and the model's file is still the one it was.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use ingle_kernel::bytes::Order;
use ingle_kernel::mat::ROWS_AT_ONCE;

use super::layout::{self, ALIGN, CHUNK, Entry};
use super::{Key, PackedDir, Shelf};
use crate::error::{Error, Result};
use crate::mmap::{Mapped, stamp_of};

/// The ending of files that are being written.
pub(super) const UNFINISHED: &str = "unfinished";
/// Bytes written at once: a multiple of large pages.
const PIECE: usize = 8 << 20;

/// Packed weights that no file has yet.
#[derive(Debug)]
pub struct Packer {
    dir: PackedDir,
    jobs: Vec<Job>,
}

/// Those of one file.
#[derive(Debug)]
struct Job {
    path: PathBuf,
    stamp: String,
    source_len: usize,
    key: Key,
    wanted: Vec<(Range<usize>, Order)>,
    /// Who would use them at once.
    shelf: Option<Weak<Shelf>>,
}

impl Packer {
    pub(crate) fn new(dir: PackedDir) -> Self {
        Self { dir, jobs: Vec::new() }
    }

    /// Adds what is wanted of `file`; `key` is its key. With `adopts` the shelf has the file once it is there.
    pub(crate) fn add(&mut self, file: &Mapped, shelf: &Arc<Shelf>, key: Key, adopts: bool) -> Result<()> {
        let failed = |source| Error::Io { file: file.name().to_owned(), source };
        let wanted = shelf.wanted();
        if wanted.is_empty() || shelf.map().is_some() {
            return Ok(());
        }
        self.jobs.push(Job {
            path: file.name().into(),
            stamp: file.stamp().map_err(failed)?,
            source_len: file.bytes().len(),
            key,
            wanted,
            shelf: adopts.then(|| Arc::downgrade(shelf)),
        });
        Ok(())
    }

    /// Whether there is nothing to do.
    pub fn is_done(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Writes them. `goes_on` is asked between pieces, and may take its time; `false` ends it.
    ///
    /// # Errors
    /// When a file can't be read or written. Nothing is left of one that did not become whole.
    pub fn run(self, goes_on: &mut dyn FnMut() -> bool) -> Result<()> {
        for job in self.jobs {
            job.run(&self.dir, goes_on)?;
        }
        Ok(())
    }
}

impl Job {
    fn run(&self, dir: &PackedDir, goes_on: &mut dyn FnMut() -> bool) -> Result<()> {
        let to = dir.file(&self.key);
        // Another program may have been faster.
        if !to.exists() {
            let (entries, n_bytes) = self.entries();
            if !goes_on() || !dir.make_room(n_bytes as u64) {
                return Ok(());
            }
            make_dir(dir).map_err(|source| Error::Io { file: dir.path.display().to_string(), source })?;
            // Of this writer alone.
            let writer = format!("{}-{:?}", std::process::id(), std::thread::current().id());
            let part = to.with_extension(format!("{writer}.{UNFINISHED}"));
            let written = self.write(&part, entries, n_bytes, goes_on);
            let is_new = |is_whole: bool| is_whole && !to.exists();
            let placed = written.and_then(|is_whole| match is_new(is_whole) {
                true => fs::rename(&part, &to),
                false => Ok(()),
            });
            // What was not placed is of no use.
            let _ = fs::remove_file(&part);
            placed.map_err(|source| Error::Io { file: part.display().to_string(), source })?;
        }
        if let Some(shelf) = self.shelf.as_ref().and_then(Weak::upgrade) {
            shelf.find(dir, &self.key, self.source_len, None);
        }
        Ok(())
    }

    /// Entries in order, and the bytes of the file.
    fn entries(&self) -> (Vec<Entry>, usize) {
        let mut at = layout::head_bytes(self.wanted.len());
        let mut entries = Vec::new();
        for (range, order) in &self.wanted {
            if let Some(entry) = Entry::new(range.start, at, order) {
                at = (at + entry.n).next_multiple_of(ALIGN);
                entries.push(entry);
            }
        }
        (entries, at)
    }

    /// Whether the file is there, and whole.
    fn write(
        &self,
        part: &std::path::Path,
        mut entries: Vec<Entry>,
        n_bytes: usize,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> io::Result<bool> {
        let mut source = File::open(&self.path)?;
        if stamp_of(&source)? != self.stamp {
            return Ok(false);
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(part)?;
        // So that nobody takes it for left behind; who did so before that, has removed it.
        let _ = file.try_lock();
        if !part.exists() {
            return Ok(false);
        }
        let mut out = Pieces { file, buffer: Vec::with_capacity(PIECE), n_done: 0 };
        out.pad(entries.first().map_or(n_bytes, |entry| entry.at))?;
        let (mut rows, mut packed) = (Vec::new(), Vec::new());
        for entry in &mut entries {
            let order = self.wanted.iter().find(|(range, _)| (range.start, range.len()) == entry.place());
            let Some((_, order)) = order else { continue };
            out.pad(entry.at)?;
            source.seek(SeekFrom::Start(entry.start as u64))?;
            let mut sum = Sum::default();
            for first in (0..order.n_rows).step_by(ROWS_AT_ONCE) {
                let n_rows = ROWS_AT_ONCE.min(order.n_rows - first);
                rows.resize(n_rows * order.row_bytes, 0);
                source.read_exact(&mut rows)?;
                packed.clear();
                packed.resize(n_rows.next_multiple_of(order.packing.rows) * order.row_bytes, 0);
                (order.packing.pack)(&rows, n_rows, &mut packed);
                sum.add(&packed);
                if out.write(&packed)? && !goes_on() {
                    return Ok(false);
                }
            }
            entry.sum = sum.finish();
        }
        out.pad(n_bytes)?;
        let mut file = out.finish()?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&layout::head(&self.key, &entries, n_bytes))?;
        file.sync_all()?;
        Ok(stamp_of(&source)? == self.stamp)
    }
}

/// What is written, in pieces that lie in the file as they are.
struct Pieces {
    file: File,
    buffer: Vec<u8>,
    n_done: usize,
}

impl Pieces {
    /// Whether a piece became whole and was written.
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        let before = self.n_done;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(PIECE - self.buffer.len()));
            self.buffer.extend(now);
            bytes = rest;
            if self.buffer.len() == PIECE {
                self.file.write_all(&self.buffer)?;
                self.n_done += PIECE;
                self.buffer.clear();
            }
        }
        Ok(self.n_done > before)
    }

    /// Zeros up to byte `to` of the file.
    fn pad(&mut self, to: usize) -> io::Result<()> {
        let n = to - self.n_done - self.buffer.len();
        self.write(&vec![0; n]).map(|_| ())
    }

    fn finish(mut self) -> io::Result<File> {
        self.file.write_all(&self.buffer)?;
        Ok(self.file)
    }
}

/// The sum of what comes in parts of any size.
#[derive(Default)]
struct Sum {
    all: u64,
    chunk: Vec<u8>,
}

impl Sum {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend(now);
            bytes = rest;
            if self.chunk.len() == CHUNK {
                self.end_chunk();
            }
        }
    }

    fn end_chunk(&mut self) {
        self.all = layout::joined(self.all, layout::sum(&self.chunk));
        self.chunk.clear();
    }

    fn finish(mut self) -> u64 {
        if !self.chunk.is_empty() {
            self.end_chunk();
        }
        self.all
    }
}

fn make_dir(dir: &PackedDir) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&dir.path)
}
