//! Packed weights: what one row has at a place lies beside what the other rows of its strip have there.
//!
//! One token asks so little of each weight that turning rows into lanes would cost more than the product. So a matrix that
//! is multiplied with one token again and again is turned once: the fields of a strip of `N` rows (words, halves and bytes, in the
//! order of the format) lie field by field, and a vector of one field of all rows is one load. A field at byte `at` of the
//! rows lies at `N * at` of the strip, so packed weights take the same number of bytes and are read in the same order.

use super::expand::Expand;
use super::lanes::{Ahead, Lanes, Rows, Source};

/// How far ahead of what is read memory is asked for, in bytes: some 300 ns at 40 GB/s.
pub(crate) const AHEAD: usize = 12 << 10;

/// 256 packed columns of a strip.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed<'a> {
    bytes: &'a [u8],
    ahead: Option<Ahead<'a>>,
}

impl<'a> Packed<'a> {
    /// `len` bytes of each of `n` rows. Half of what lies `ahead` is asked for as they are read.
    #[inline(always)]
    pub fn new(bytes: &'a [u8], n: usize, len: usize, ahead: Option<Ahead<'a>>) -> Self {
        assert!(bytes.len() >= n * len);
        Self { bytes: &bytes[..n * len], ahead }
    }

    /// `SIZE` bytes of each row, from byte `at` on.
    #[inline(always)]
    fn field<L: Lanes, const SIZE: usize>(self, l: L, at: usize) -> &'a [u8] {
        if let Some(ahead) = self.ahead {
            ahead.ask(l, L::N * SIZE / 2);
        }
        &self.bytes[L::N * at..L::N * (at + SIZE)]
    }
}

impl Source for Packed<'_> {
    const PACKED: bool = true;

    #[inline(always)]
    fn quads<L: Lanes>(self, l: L, at: usize) -> [L::V; 4] {
        let mut words = [l.splat(0); 4];
        for (word, field) in words.iter_mut().zip(self.field::<L, 16>(l, at).chunks_exact(4 * L::N)) {
            *word = l.load(field);
        }
        words
    }

    #[inline(always)]
    fn word<L: Lanes>(self, l: L, at: usize) -> L::V {
        l.load(self.field::<L, 4>(l, at))
    }

    #[inline(always)]
    fn half<L: Lanes>(self, l: L, at: usize) -> L::F {
        l.load_halves(self.field::<L, 2>(l, at))
    }

    fn row<L: Lanes>(&self, _: L, _: usize) -> &[u8] {
        unreachable!("formats that are unpacked by rows are not packed")
    }

    #[inline(always)]
    fn byte<L: Lanes>(self, _: L, r: usize, at: usize) -> u8 {
        self.bytes[L::N * at + r]
    }
}

/// Packs `n_rows` rows in strips of `N`; rows that the last one lacks stay as they are in `out`.
#[inline(always)]
pub(crate) fn pack<L: Lanes, E: Expand>(l: L, weights: &[u8], n_rows: usize, out: &mut [u8]) {
    const { assert!(!E::FIELDS.is_empty(), "formats that are unpacked by rows are not packed") };
    let row_bytes = weights.len() / n_rows;
    let strips = weights.chunks(L::N * row_bytes).zip(out.chunks_exact_mut(L::N * row_bytes));
    for (rows, out) in strips {
        let mut at = 0;
        while at < row_bytes {
            for &(n, size) in E::FIELDS {
                let end = at + n * size;
                while size == 4 && at + 16 <= end && rows.len() == out.len() {
                    let quads = l.quads(Rows::new(&rows[at..], row_bytes, 16, L::N, std::ptr::null()), 0);
                    for (quad, out) in quads.into_iter().zip(out[L::N * at..].chunks_exact_mut(4 * L::N)) {
                        l.store(quad, out);
                    }
                    at += 16;
                }
                while at < end {
                    let fields = rows.chunks_exact(row_bytes).map(|row| &row[at..at + size]);
                    for (field, out) in fields.zip(out[L::N * at..].chunks_exact_mut(size)) {
                        out.copy_from_slice(field);
                    }
                    at += size;
                }
            }
        }
    }
}
