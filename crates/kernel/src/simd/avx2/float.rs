//! f32, f16 and bf16: 16 sums per row and token in two registers, with FMA.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{load_f32, load16, store_f32};
use crate::acts::Acts;
use crate::ops::fold;

#[target_feature(enable = "avx2,fma,f16c")]
pub fn f32(weights: &[u8], n_rows: usize, acts: &Acts, tokens: Range<usize>, out: &mut [f32]) {
    tile::<64>(weights, n_rows, acts, tokens, out, |w: &[u8; 64]| {
        let q = w.as_chunks::<16>().0;
        let low = _mm256_set_m128i(load16(&q[1]), load16(&q[0]));
        let high = _mm256_set_m128i(load16(&q[3]), load16(&q[2]));
        [_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)]
    });
}

#[target_feature(enable = "avx2,fma,f16c")]
pub fn f16(weights: &[u8], n_rows: usize, acts: &Acts, tokens: Range<usize>, out: &mut [f32]) {
    tile::<32>(weights, n_rows, acts, tokens, out, |w: &[u8; 32]| {
        let q = w.as_chunks::<16>().0;
        [_mm256_cvtph_ps(load16(&q[0])), _mm256_cvtph_ps(load16(&q[1]))]
    });
}

#[target_feature(enable = "avx2,fma,f16c")]
pub fn bf16(weights: &[u8], n_rows: usize, acts: &Acts, tokens: Range<usize>, out: &mut [f32]) {
    tile::<32>(weights, n_rows, acts, tokens, out, |w: &[u8; 32]| {
        let wide = |q| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(load16(q))));
        let q = w.as_chunks::<16>().0;
        [wide(&q[0]), wide(&q[1])]
    });
}

/// A tile of weights whose 16 values take `BYTES` bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn tile<const BYTES: usize>(
    weights: &[u8],
    n_rows: usize,
    acts: &Acts,
    tokens: Range<usize>,
    out: &mut [f32],
    load: impl Fn(&[u8; BYTES]) -> [__m256; 2],
) {
    let row_bytes = weights.len() / n_rows;
    let row = |r: usize| &weights[r * row_bytes..(r + 1) * row_bytes];
    let n_tokens = tokens.len();
    let x = |t: usize| acts.row(tokens.start + t).f;
    // Twelve sums in flight with tokens to share the weights, eight without; the leftovers one by one.
    let (r4, r2, t3) = (n_rows / 4 * 4, n_rows / 2 * 2, n_tokens / 3 * 3);
    for t in (0..t3).step_by(3) {
        for r in (0..r2).step_by(2) {
            let sums = dots([row(r), row(r + 1)], [x(t), x(t + 1), x(t + 2)], &load);
            put(out, n_rows, r, t, &sums);
        }
        for r in r2..n_rows {
            let sums = dots([row(r)], [x(t), x(t + 1), x(t + 2)], &load);
            put(out, n_rows, r, t, &sums);
        }
    }
    for t in t3..n_tokens {
        for r in (0..r4).step_by(4) {
            let sums = dots([row(r), row(r + 1), row(r + 2), row(r + 3)], [x(t)], &load);
            put(out, n_rows, r, t, &sums);
        }
        for r in r4..n_rows {
            put(out, n_rows, r, t, &dots([row(r)], [x(t)], &load));
        }
    }
}

/// Writes the sums of rows `r..` and tokens `t..`.
fn put<const R: usize, const T: usize>(
    out: &mut [f32],
    n_rows: usize,
    r: usize,
    t: usize,
    sums: &[[f32; T]; R],
) {
    for (i, sums) in sums.iter().enumerate() {
        for (j, &sum) in sums.iter().enumerate() {
            out[(t + j) * n_rows + r + i] = sum;
        }
    }
}

/// `R` rows times `T` tokens; each of the sums is computed as if it were alone.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn dots<const BYTES: usize, const R: usize, const T: usize>(
    rows: [&[u8]; R],
    x: [&[f32]; T],
    load: &impl Fn(&[u8; BYTES]) -> [__m256; 2],
) -> [[f32; T]; R] {
    let mut sums = [[[_mm256_setzero_ps(); 2]; T]; R];
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
                _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(i * R * BYTES + ahead).cast());
            }
        }
        for r in 0..R {
            let w = load(&w16[r][i]);
            for t in 0..T {
                add(w, &x16[t][i], &mut sums[r][t]);
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
                add(load(&w_rest), &x_rest, &mut sums[r][t]);
            }
        }
    }
    let mut out = [[0.0; T]; R];
    for (out, sums) in out.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        let mut lanes = [0.0; 16];
        lanes[..8].copy_from_slice(&store_f32(sums[0]));
        lanes[8..].copy_from_slice(&store_f32(sums[1]));
        *out = fold(&mut lanes);
    }
    out
}

/// 16 products onto 16 sums.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add(w: [__m256; 2], x: &[f32; 16], sums: &mut [__m256; 2]) {
    let x = x.as_chunks::<8>().0;
    sums[0] = _mm256_fmadd_ps(w[0], load_f32(&x[0]), sums[0]);
    sums[1] = _mm256_fmadd_ps(w[1], load_f32(&x[1]), sums[1]);
}
