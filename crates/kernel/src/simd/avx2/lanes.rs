//! Eight rows side by side: lane `r` of every vector belongs to row `r`.
//!
//! Quants are held as bytes, four consecutive values of a row per 32-bit lane, so that four activations broadcast to all
//! lanes meet them in one multiplication. Products of unsigned weights and signed activations are added in pairs to i16
//! (`maddubs`); how many of those fit before widening follows from the bits of the weights.

// Closures of these functions have the CPU's features and are not inlined into functions that lack them, `map` and
// `from_fn` above all. So hot code has loops where it would have those elsewhere.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{load16, store_f32};
use crate::acts::{ActRow, Acts};
use crate::gemm::TILE_TOKENS;

/// Rows that share a vector.
pub const ROWS: usize = 8;
/// Tokens that share a load of weights in the inner loops.
pub const TOKENS: usize = 4;

/// The bytes `start..start + 16` of each block to 4 vectors: vector `j` holds bytes `4 j..4 j + 4` of all rows.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn transpose<const BYTES: usize>(block: &[&[u8; BYTES]; ROWS], start: usize) -> [__m256i; 4] {
    let x0 = _mm256_set_m128i(load16(at(block[4], start)), load16(at(block[0], start)));
    let x1 = _mm256_set_m128i(load16(at(block[5], start)), load16(at(block[1], start)));
    let x2 = _mm256_set_m128i(load16(at(block[6], start)), load16(at(block[2], start)));
    let x3 = _mm256_set_m128i(load16(at(block[7], start)), load16(at(block[3], start)));
    let (a, b) = (_mm256_unpacklo_epi32(x0, x1), _mm256_unpackhi_epi32(x0, x1));
    let (c, d) = (_mm256_unpacklo_epi32(x2, x3), _mm256_unpackhi_epi32(x2, x3));
    [
        _mm256_unpacklo_epi64(a, c),
        _mm256_unpackhi_epi64(a, c),
        _mm256_unpacklo_epi64(b, d),
        _mm256_unpackhi_epi64(b, d),
    ]
}

/// The f16 at byte `start` of each block to f32.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn halves<const BYTES: usize>(block: &[&[u8; BYTES]; ROWS], start: usize) -> __m256 {
    let mut h = [0; ROWS];
    for (h, block) in h.iter_mut().zip(block) {
        *h = i16::from_le_bytes(*at(block, start));
    }
    _mm256_cvtph_ps(_mm_setr_epi16(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]))
}

/// The `N` bytes of a block from `start` on.
#[inline(always)]
fn at<const N: usize, const BYTES: usize>(block: &[u8; BYTES], start: usize) -> &[u8; N] {
    block[start..].first_chunk().expect("inside the block")
}

/// Activations `4 i..4 i + 4` to every lane.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn quad<const N: usize>(q: &[i8; N], i: usize) -> __m256i {
    let [a, b, c, d] = q.as_chunks::<4>().0[i];
    _mm256_set1_epi32(i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]))
}

/// Eight rows of a tile as blocks.
pub struct Rows<'a, const BYTES: usize> {
    rows: [&'a [[u8; BYTES]]; ROWS],
    /// Where the next eight rows begin, if there are any.
    next: *const u8,
}

impl<'a, const BYTES: usize> Rows<'a, BYTES> {
    /// The rows from `first` on; past the last row the last one again.
    pub fn new(weights: &'a [u8], n_rows: usize, first: usize) -> Self {
        let row_bytes = weights.len() / n_rows;
        let rows = std::array::from_fn(|r| {
            let start = (first + r).min(n_rows - 1) * row_bytes;
            weights[start..start + row_bytes].as_chunks().0
        });
        Self { rows, next: weights.as_ptr().wrapping_add((first + ROWS) * row_bytes) }
    }

    pub fn n_blocks(&self) -> usize {
        self.rows[0].len()
    }

    /// Asks for the part of the next eight rows that takes as long to read as block `b` of these. Eight streams at once are more
    /// than the CPU foresees by itself: without this a token costs two to four times as much.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub fn prefetch(&self, b: usize) {
        for line in (0..ROWS * BYTES).step_by(64) {
            let address = self.next.wrapping_add(b * ROWS * BYTES + line).cast();
            // Past the last row too: a prefetch reads nothing and does not fault, whatever the address.
            _mm_prefetch::<_MM_HINT_T0>(address);
        }
    }

    /// Block `b` of each row.
    #[inline(always)]
    pub fn block(&self, b: usize) -> [&'a [u8; BYTES]; ROWS] {
        let r = &self.rows;
        [&r[0][b], &r[1][b], &r[2][b], &r[3][b], &r[4][b], &r[5][b], &r[6][b], &r[7][b]]
    }
}

/// Goes through a tile in groups of eight rows: `group(first row, tokens, sums)` adds up the products of a group for all
/// tokens, which are then written to `out` `(tokens, n_rows)`.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub fn tile(
    n_rows: usize,
    acts: &Acts,
    tokens: Range<usize>,
    out: &mut [f32],
    group: impl Fn(usize, &[ActRow<'_>], &mut [__m256]),
) {
    let mut sums = [_mm256_setzero_ps(); TILE_TOKENS];
    let mut a = [ActRow { f: &[], q: &[], d: &[], sums: &[] }; TILE_TOKENS];
    let (sums, a) = (&mut sums[..tokens.len()], &mut a[..tokens.len()]);
    for (a, t) in a.iter_mut().zip(tokens) {
        *a = acts.row(t);
    }
    for first in (0..n_rows).step_by(ROWS) {
        sums.fill(_mm256_setzero_ps());
        group(first, a, sums);
        let n = ROWS.min(n_rows - first);
        for (out, &sums) in out.chunks_exact_mut(n_rows).zip(&*sums) {
            out[first..first + n].copy_from_slice(&store_f32(sums)[..n]);
        }
    }
}
