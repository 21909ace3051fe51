//! The bytes of a file of packed weights.
//!
//! All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `inglePK1` |
//! | 32 | the key |
//! | 8 | number of entries |
//! | 8 | bytes of the file |
//! | 8 | sum of all that and of the entries |
//! | 64 each | entries, by the place in the model's file: place, bytes, place here, bytes here, their sum, bytes of a row (4), rows of a strip (4), name of the block format (16) |
//! | then | packed matrices, each from a multiple of 64 on |
//!
//! A sum is no cipher: it finds every change of a single word and of the order of words, and is as fast as memory is read. Who can write
//! to the user's cache can write wrong weights there, as to any model of theirs; what the kernels do with wrong weights is safe.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ingle_kernel::bytes::Order;
use ingle_kernel::par::Pool;

use super::Key;

const MAGIC: &[u8; 8] = b"inglePK1";
/// Bytes before the entries.
const HEAD: usize = 64;
/// Bytes of an entry.
const ENTRY: usize = 64;
/// Where the sum of the head lies.
const HEAD_SUM: usize = 56;
/// Far above the matrices of any model.
const ENTRIES_MAX: u64 = 1 << 20;
/// Matrices begin with a cache line.
pub(super) const ALIGN: usize = 64;
/// Bytes whose sum is found at once.
pub(super) const CHUNK: usize = 1 << 20;

/// A packed matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where its weights lie in the model's file.
    pub start: usize,
    /// How many bytes they are.
    pub len: usize,
    /// Where it lies here.
    pub at: usize,
    /// How many bytes it has here.
    pub n: usize,
    /// Their sum.
    pub sum: u64,
    row_bytes: u32,
    strip_rows: u32,
    format: [u8; 16],
}

impl Entry {
    /// Of weights at `start` of the model's file, to lie at `at`; `None` where the order is none that a file can say.
    pub fn new(start: usize, at: usize, order: &Order) -> Option<Self> {
        let mut format = [0; 16];
        format.get_mut(..order.format.len())?.copy_from_slice(order.format.as_bytes());
        let (row_bytes, strip_rows) = (order.row_bytes.try_into().ok()?, order.packing.rows.try_into().ok()?);
        let (len, n) = (order.n_rows * order.row_bytes, order.n_bytes());
        Some(Self { start, len, at, n, sum: 0, row_bytes, strip_rows, format })
    }

    pub fn place(&self) -> (usize, usize) {
        (self.start, self.len)
    }

    /// Whether it has weights in this order.
    pub fn is_of(&self, order: &Order) -> bool {
        Self::new(self.start, self.at, order).is_some_and(|own| Self { sum: self.sum, ..own } == *self)
    }

    fn write(&self, to: &mut Vec<u8>) {
        let Self { start, len, at, n, sum, row_bytes, strip_rows, format } = self;
        [*start, *len, *at, *n].iter().for_each(|&n| to.extend((n as u64).to_le_bytes()));
        to.extend(sum.to_le_bytes());
        to.extend(row_bytes.to_le_bytes());
        to.extend(strip_rows.to_le_bytes());
        to.extend(format);
    }

    fn read(bytes: &[u8; ENTRY]) -> Option<Self> {
        let size = |at| usize::try_from(u64_at(bytes, at)).ok();
        let (row_bytes, strip_rows) = (u64_at(bytes, 40) as u32, (u64_at(bytes, 40) >> 32) as u32);
        let format = *bytes[48..].first_chunk()?;
        Some(Self {
            start: size(0)?,
            len: size(8)?,
            at: size(16)?,
            n: size(24)?,
            sum: u64_at(bytes, 32),
            row_bytes,
            strip_rows,
            format,
        })
    }
}

/// Bytes before the first of `n` matrices.
pub(super) fn head_bytes(n: usize) -> usize {
    (HEAD + n * ENTRY).next_multiple_of(ALIGN)
}

/// The head of a file of `n_bytes`.
pub(super) fn head(key: &Key, entries: &[Entry], n_bytes: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(head_bytes(entries.len()));
    head.extend(MAGIC);
    head.extend(key);
    [entries.len(), n_bytes].iter().for_each(|&n| head.extend((n as u64).to_le_bytes()));
    head.extend([0; 8]);
    entries.iter().for_each(|entry| entry.write(&mut head));
    let own = sum(&head);
    head[HEAD_SUM..HEAD].copy_from_slice(&own.to_le_bytes());
    head
}

/// The entries of a file, if it has this key, is whole and says nothing that can't be.
pub(super) fn parse(bytes: &[u8], key: &Key, source_len: usize) -> Option<Vec<Entry>> {
    let head: &[u8; HEAD] = bytes.first_chunk()?;
    let n_entries = u64_at(head, 40);
    let is_ours = head.starts_with(MAGIC) && head[8..40] == *key && u64_at(head, 48) == bytes.len() as u64;
    if !is_ours || n_entries > ENTRIES_MAX {
        return None;
    }
    let end = HEAD + n_entries as usize * ENTRY;
    let mut said = bytes.get(..end)?.to_vec();
    said[HEAD_SUM..HEAD].fill(0);
    if sum(&said) != u64_at(head, HEAD_SUM) {
        return None;
    }
    let (mut entries, mut free, mut last) = (Vec::with_capacity(n_entries as usize), end, None);
    for entry in said[HEAD..].as_chunks().0 {
        let entry = Entry::read(entry)?;
        let is_behind = entry.at >= free && entry.at.is_multiple_of(ALIGN) && last < Some(entry.place());
        free = entry.at.checked_add(entry.n)?;
        let is_inside = free <= bytes.len() && entry.start.checked_add(entry.len)? <= source_len;
        if !is_behind || !is_inside || entry.n < entry.len {
            return None;
        }
        last = Some(entry.place());
        entries.push(entry);
    }
    Some(entries)
}

/// Whether the matrices are what was written, found with the threads of `pool`.
pub(super) fn check(pool: &Pool, bytes: &[u8], entries: &[Entry]) -> bool {
    let chunks = |entry: &Entry| entry.n.div_ceil(CHUNK);
    let all: Vec<(usize, usize)> =
        entries.iter().enumerate().flat_map(|(i, entry)| (0..chunks(entry)).map(move |j| (i, j))).collect();
    let sums: Vec<AtomicU64> = all.iter().map(|_| AtomicU64::new(0)).collect();
    let _turn = pool.turn();
    pool.run(all.len(), |task, _| {
        let (i, j) = all[task];
        let Entry { at, n, .. } = entries[i];
        sums[task].store(sum(&bytes[at + j * CHUNK..at + n.min((j + 1) * CHUNK)]), Relaxed);
    });
    let mut sums = sums.iter().map(|sum| sum.load(Relaxed));
    entries.iter().all(|entry| sums.by_ref().take(chunks(entry)).fold(0, joined) == entry.sum)
}

/// The sum of what has the sum `all` and of a chunk behind it.
pub(super) fn joined(all: u64, chunk: u64) -> u64 {
    (all ^ chunk).wrapping_mul(FACTOR).rotate_left(29)
}

/// 2^64 divided by the golden ratio, made odd: each step is one to one.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// The sum of some bytes: eight sums of every eighth word, and then of these.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let mut lanes = [1, 2, 3, 4, 5, 6, 7, 8];
    let (lines, rest) = bytes.as_chunks::<64>();
    let mut add = |line: &[u8; 64]| {
        for (lane, word) in lanes.iter_mut().zip(line.as_chunks::<8>().0) {
            *lane = joined(*lane, u64::from_le_bytes(*word));
        }
    };
    lines.iter().for_each(&mut add);
    let mut last = [0; 64];
    last[..rest.len()].copy_from_slice(rest);
    add(&last);
    lanes.into_iter().fold(bytes.len() as u64, joined)
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |n| u64::from_le_bytes(*n))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [7; 32];

    /// A file of two matrices, of 100 and 300 bytes.
    fn file() -> Vec<u8> {
        let entry = |start, len, at, n, sum| Entry {
            start,
            len,
            at,
            n,
            sum,
            row_bytes: 10,
            strip_rows: 4,
            format: *b"q4_0\0\0\0\0\0\0\0\0\0\0\0\0",
        };
        let of = |bytes: &[u8]| joined(0, sum(bytes));
        let at = head_bytes(2);
        let entries = [entry(0, 100, at, 120, of(&[3; 120])), entry(100, 300, at + 128, 320, of(&[5; 320]))];
        let mut all = head(&KEY, &entries, at + 448);
        all.resize(at, 0);
        all.extend([3; 120]);
        all.resize(at + 128, 0);
        all.extend([5; 320]);
        all
    }

    fn is_taken(bytes: &[u8]) -> bool {
        let entries = parse(bytes, &KEY, 400);
        entries.is_some_and(|entries| check(&Pool::new(2), bytes, &entries))
    }

    #[test]
    fn a_file_is_taken_and_every_flipped_bit_of_what_is_used_refused() {
        let whole = file();
        assert!(is_taken(&whole));
        let padding = head_bytes(2) + 120..head_bytes(2) + 128;
        for at in (0..whole.len()).filter(|at| !padding.contains(at)) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(!is_taken(&changed), "byte {at}");
        }
        for n in 0..whole.len() {
            assert!(!is_taken(&whole[..n]), "{n} bytes");
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(!is_taken(&longer));
        assert!(parse(&whole, &[8; 32], 400).is_none(), "another's");
        assert!(parse(&whole, &KEY, 399).is_none(), "of a longer file");
    }

    /// Heads whose sum is right and whose numbers can't be.
    #[test]
    fn places_that_can_not_be_are_refused() {
        let entries = parse(&file(), &KEY, 400).unwrap();
        let n = file().len();
        let spoil: [fn(&mut [Entry]); 6] = [
            |e| e[0].at = 0,
            |e| e[1].at += 1,
            |e| e[1].n = usize::MAX - 63,
            |e| e[1].len = usize::MAX,
            |e| e.swap(0, 1),
            |e| e[0].n = 10,
        ];
        for (i, spoil) in spoil.into_iter().enumerate() {
            let mut entries = entries.clone();
            spoil(&mut entries);
            let mut bytes = head(&KEY, &entries, n);
            bytes.resize(n, 0);
            assert!(parse(&bytes, &KEY, 400).is_none(), "{i}");
        }
        let mut many = head(&KEY, &[], 64);
        many[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(parse(&many, &KEY, 400).is_none());
    }
}
