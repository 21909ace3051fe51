//! Matrices of f32, f16 and bf16: 16 sums per row and token, in the order of [`crate::quant`], fused where the tier can.

use std::ops::Range;

use super::floats::Floats;
use crate::acts::Acts;
use crate::ops::fold;
use crate::par::Columns;

/// A tile of weights whose 16 values take `BYTES` bytes: `R` rows for `T` tokens at a time, `R1` rows for one token.
#[inline(always)]
pub(crate) fn tile<L: Floats, const BYTES: usize, const R: usize, const T: usize, const R1: usize>(
    l: L,
    weights: &[u8],
    acts: &Acts,
    groups: Range<usize>,
    out: &mut Columns<'_, f32>,
    load: impl Fn(&[u8; BYTES]) -> L::F,
) {
    let tokens = acts.tokens(groups);
    let (n_tokens, n_rows) = (tokens.len(), out.n());
    let row_bytes = weights.len() / n_rows;
    let product = Product { weights, row_bytes, acts, first: tokens.start };
    let in_tiles = n_tokens / T * T;
    for t in (0..in_tiles).step_by(T) {
        let whole = n_rows / R * R;
        for r in (0..whole).step_by(R) {
            product.dots::<L, BYTES, R, T>(l, r, t, out, &load);
        }
        for r in whole..n_rows {
            product.dots::<L, BYTES, 1, T>(l, r, t, out, &load);
        }
    }
    for t in in_tiles..n_tokens {
        let whole = n_rows / R1 * R1;
        for r in (0..whole).step_by(R1) {
            product.dots::<L, BYTES, R1, 1>(l, r, t, out, &load);
        }
        for r in whole..n_rows {
            product.dots::<L, BYTES, 1, 1>(l, r, t, out, &load);
        }
    }
}

/// What is multiplied.
struct Product<'a> {
    weights: &'a [u8],
    row_bytes: usize,
    acts: &'a Acts,
    /// The first token's row of activations.
    first: usize,
}

impl Product<'_> {
    /// Rows `r..r + R` times tokens `t..t + T`; each of the sums is computed as if it were alone.
    #[inline(always)]
    fn dots<L: Floats, const BYTES: usize, const R: usize, const T: usize>(
        &self,
        l: L,
        r: usize,
        t: usize,
        out: &mut Columns<'_, f32>,
        load: &impl Fn(&[u8; BYTES]) -> L::F,
    ) {
        let (mut rows, mut x) = ([&[][..]; R], [&[][..]; T]);
        for (i, row) in rows.iter_mut().enumerate() {
            *row = &self.weights[(r + i) * self.row_bytes..][..self.row_bytes];
        }
        for (j, x) in x.iter_mut().enumerate() {
            *x = self.acts.row(self.first + t + j).f;
        }
        let sums = sums::<L, BYTES, R, T>(l, rows, x, load);
        for (i, sums) in sums.iter().enumerate() {
            for (j, &sum) in sums.iter().enumerate() {
                let mut lanes = [0.0; 16];
                l.store(sum, &mut lanes);
                out.row(t + j)[r + i] = fold(&lanes);
            }
        }
    }
}

/// The 16 sums of each of `R` rows and `T` tokens.
#[inline(always)]
fn sums<L: Floats, const BYTES: usize, const R: usize, const T: usize>(
    l: L,
    rows: [&[u8]; R],
    x: [&[f32]; T],
    load: &impl Fn(&[u8; BYTES]) -> L::F,
) -> [[L::F; T]; R] {
    let mut sums = [[l.splat(0.0); T]; R];
    let n = x[0].len() / 16;
    let (mut w16, mut x16) = ([&[[0; BYTES]][..]; R], [&[[0.0; 16]][..]; T]);
    for (w16, row) in w16.iter_mut().zip(rows) {
        *w16 = &row.as_chunks().0[..n];
    }
    for (x16, x) in x16.iter_mut().zip(x) {
        *x16 = &x.as_chunks().0[..n];
    }
    // Rows lie behind each other: where the next ones begin, asked for as these are read.
    let next = rows[0].as_ptr().wrapping_add(R * rows[0].len());
    for i in 0..n {
        if T == 1 {
            for ahead in (0..R * BYTES).step_by(64) {
                l.prefetch(next.wrapping_add(i * R * BYTES + ahead));
            }
        }
        for r in 0..R {
            let w = load(&w16[r][i]);
            for t in 0..T {
                sums[r][t] = l.fma(w, l.load(&x16[t][i]), sums[r][t]);
            }
        }
    }
    let n_rest = x[0].len() % 16;
    if n_rest > 0 {
        // Filled up with zeros, which add nothing.
        let (mut w_rest, mut x_rest) = ([0; BYTES], [0.0; 16]);
        for r in 0..R {
            let bytes = &rows[r][n * BYTES..];
            w_rest[..bytes.len()].copy_from_slice(bytes);
            for t in 0..T {
                x_rest[..n_rest].copy_from_slice(&x[t][n * 16..]);
                sums[r][t] = l.fma(load(&w_rest), l.load(&x_rest), sums[r][t]);
            }
        }
    }
    sums
}
