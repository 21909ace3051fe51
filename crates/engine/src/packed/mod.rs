//! Packed weights in files: what was packed once is mapped when the model comes again.
//!
//! Packing ([`ingle_kernel::mat`]) copies weights into the order of a tier's kernels. A [`PackedDir`] has such copies as files, one for each
//! model file and tier, of as many bytes as the matrices in it. When a model is loaded its file is looked for by a key; one that is
//! there is checked byte for byte (`layout`) and mapped, and the matrices use it from the first token on. Its pages are clean: they
//! can be dropped and brought back like those of the model's own file, whose weights then need not be in memory. What is not there
//! is written by a [`Packer`], from the model's file and not from memory, behind the answers.
//!
//! A key is of the model file's inode, size and times, of some of its bytes, of the tier and of this version: reading all of a model to
//! hash it would take longer than packing it. A file that is cut, changed or another's is removed, and made again.
//!
//! Left out: models of which no file is mapped, and formats that are not packed.

mod layout;
mod packer;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use ingle_kernel::bytes::{Bytes, Order};
use ingle_kernel::par::Pool;
use sha2::{Digest, Sha256};

use crate::mmap::Mapped;
use layout::Entry;
pub use packer::Packer;

/// Changes when any kernel's order does.
const ORDER_VERSION: u32 = 1;
/// Places of a model file that are looked at, evenly spread, and bytes of each.
const SAMPLES: usize = 64;
const SAMPLE_BYTES: usize = 64;
/// The ending of files that are whole.
const ENDING: &str = "packed";

/// What packed weights are made of and for.
pub(crate) type Key = [u8; 32];

/// Where packed weights are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedDir {
    /// The folder; it is made when something is written.
    pub path: PathBuf,
    /// Bytes that its files may have; what was unused for longest goes first.
    pub bytes_max: u64,
}

/// What is known of a mapped file's packed weights.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    kept: OnceLock<Kept>,
    /// What matrices asked for and was not there.
    wanted: Mutex<Vec<(Range<usize>, Order)>>,
}

/// A mapped file of packed weights.
#[derive(Debug)]
struct Kept {
    map: Mapped,
    entries: Vec<Entry>,
}

impl Shelf {
    /// The packed copy of `range`.
    pub(crate) fn kept(&self, range: &Range<usize>, order: &Order) -> Option<Bytes> {
        let Kept { map, entries } = self.kept.get()?;
        let i = entries.binary_search_by_key(&(range.start, range.len()), Entry::place).ok()?;
        let entry = entries[i].is_of(order).then_some(&entries[i])?;
        map.bytes().get(entry.at..entry.at + entry.n)
    }

    pub(crate) fn want(&self, range: Range<usize>, order: Order) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).push((range, order));
    }

    /// The mapped file of packed weights.
    pub(crate) fn map(&self) -> Option<&Mapped> {
        self.kept.get().map(|kept| &kept.map)
    }

    /// What is wanted and not kept, in order; of what was first wanted whole and then in parts the parts.
    pub(crate) fn wanted(&self) -> Vec<(Range<usize>, Order)> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        wanted.sort_by_key(|(range, _)| (range.start, range.len()));
        wanted.dedup_by(|a, b| a.0 == b.0);
        // Behind the sort, a range holds another if it holds one of its neighbours.
        let ranges: Vec<Range<usize>> = wanted.iter().map(|(range, _)| range.clone()).collect();
        let holds = |a: &Range<usize>, b: &Range<usize>| a != b && a.start <= b.start && b.end <= a.end;
        let mut i = 0usize;
        wanted.retain(|(range, _)| {
            i += 1;
            let before = i.checked_sub(2).is_some_and(|j| holds(range, &ranges[j]));
            !before && !ranges.get(i).is_some_and(|next| holds(range, next))
        });
        wanted
    }

    /// Maps the file that `dir` has of these weights, if it has one that is what it should be. Its bytes are read and checked with the
    /// threads of `pool`; without one only what it says of them.
    pub(crate) fn find(&self, dir: &PackedDir, key: &Key, source_len: usize, pool: Option<&Pool>) {
        let path = dir.file(key);
        let Ok(map) = Mapped::open(&path) else { return };
        map.use_large_pages();
        let read = layout::parse(map.bytes(), key, source_len);
        let read = read.filter(|entries| pool.is_none_or(|pool| layout::check(pool, map.bytes(), entries)));
        let Some(entries) = read else {
            // It is of no use to anybody; who has it mapped keeps what they have.
            let _ = fs::remove_file(&path);
            return;
        };
        // So that it is not the one that goes when there are too many. It may fail.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        let _ = self.kept.set(Kept { map, entries });
    }
}

/// The key of `file` on the tier of this name.
pub(crate) fn key(file: &Mapped, tier: &str) -> io::Result<Key> {
    let mut hash = Sha256::new();
    let stamp = file.stamp()?;
    hash.update(format!("packed {ORDER_VERSION} {} {tier} {stamp}\0", env!("CARGO_PKG_VERSION")));
    let bytes = file.bytes();
    let last = bytes.len().saturating_sub(SAMPLE_BYTES);
    for i in 0..SAMPLES {
        let at = (last as u128 * i as u128 / (SAMPLES - 1) as u128) as usize;
        hash.update(&bytes[at..bytes.len().min(at + SAMPLE_BYTES)]);
    }
    Ok(hash.finalize().into())
}

impl PackedDir {
    fn file(&self, key: &Key) -> PathBuf {
        let name: String = key[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        self.path.join(name).with_extension(ENDING)
    }

    /// Removes what was never finished by a program that is gone, and then what was unused for longest and nobody uses, until `more`
    /// bytes can come. Says whether they can.
    fn make_room(&self, more: u64) -> bool {
        let mut files = Vec::new();
        for path in files_in(&self.path) {
            let is_whole = path.extension().is_some_and(|ending| ending == ENDING);
            match fs::metadata(&path) {
                Ok(_) if !is_whole => _ = remove_unused(&path),
                Ok(meta) => files.push((meta.modified().ok(), meta.len(), path)),
                Err(_) => {}
            }
        }
        files.sort();
        let mut sum: u64 = files.iter().fold(0, |sum: u64, (_, n, _)| sum.saturating_add(*n));
        for (_, n, path) in files {
            if sum.saturating_add(more) <= self.bytes_max {
                break;
            }
            if more <= self.bytes_max && remove_unused(&path) {
                sum = sum.saturating_sub(n);
            }
        }
        sum.saturating_add(more) <= self.bytes_max
    }
}

/// Files of packed weights in a folder, finished or not.
pub fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_ours = |path: &PathBuf| path.extension().is_some_and(|e| e == ENDING || e == packer::UNFINISHED);
    entries.filter(is_ours).collect()
}

/// Removes a file of packed weights unless a program has it mapped or writes it; whether it is gone.
pub fn remove_unused(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    !matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)) && fs::remove_file(path).is_ok()
}
