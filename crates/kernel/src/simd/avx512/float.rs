//! f32, f16 and bf16: the 16 sums of a row and token in one register, with FMA.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::acts::Acts;
use crate::ops::fold;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
pub fn f32(weights: &[u8], n_rows: usize, acts: &Acts, tokens: Range<usize>, out: &mut [f32]) {
    tile::<64>(weights, n_rows, acts, tokens, out, |w: &[u8; 64]| {
        // SAFETY: the array has the 64 bytes that are read; the load takes any alignment.
        unsafe { _mm512_loadu_ps(w.as_ptr().cast()) }
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
pub fn f16(weights: &[u8], n_rows: usize, acts: &Acts, tokens: Range<usize>, out: &mut [f32]) {
    tile::<32>(weights, n_rows, acts, tokens, out, |w: &[u8; 32]| _mm512_cvtph_ps(load32(w)));
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
pub fn bf16(weights: &[u8], n_rows: usize, acts: &Acts, tokens: Range<usize>, out: &mut [f32]) {
    tile::<32>(weights, n_rows, acts, tokens, out, |w: &[u8; 32]| {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(load32(w))))
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn load32(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read; the load takes any alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// A tile of weights whose 16 values take `BYTES` bytes: eight rows at a time for one token, four rows for six.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn tile<const BYTES: usize>(
    weights: &[u8],
    n_rows: usize,
    acts: &Acts,
    tokens: Range<usize>,
    out: &mut [f32],
    load: impl Fn(&[u8; BYTES]) -> __m512,
) {
    let row_bytes = weights.len() / n_rows;
    let row = |r: usize| &weights[r * row_bytes..(r + 1) * row_bytes];
    let n_tokens = tokens.len();
    let x = |t: usize| acts.row(tokens.start + t).f;
    let (r8, r4, t6) = (n_rows / 8 * 8, n_rows / 4 * 4, n_tokens / 6 * 6);
    for t in (0..t6).step_by(6) {
        let x = [x(t), x(t + 1), x(t + 2), x(t + 3), x(t + 4), x(t + 5)];
        for r in (0..r4).step_by(4) {
            let sums = dots([row(r), row(r + 1), row(r + 2), row(r + 3)], x, &load);
            put(out, n_rows, r, t, &sums);
        }
        for r in r4..n_rows {
            put(out, n_rows, r, t, &dots([row(r)], x, &load));
        }
    }
    for t in t6..n_tokens {
        for r in (0..r8).step_by(8) {
            let rows =
                [row(r), row(r + 1), row(r + 2), row(r + 3), row(r + 4), row(r + 5), row(r + 6), row(r + 7)];
            put(out, n_rows, r, t, &dots(rows, [x(t)], &load));
        }
        for r in r8..n_rows {
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
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn dots<const BYTES: usize, const R: usize, const T: usize>(
    rows: [&[u8]; R],
    x: [&[f32]; T],
    load: &impl Fn(&[u8; BYTES]) -> __m512,
) -> [[f32; T]; R] {
    let mut sums = [[_mm512_setzero_ps(); T]; R];
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
                sums[r][t] = _mm512_fmadd_ps(w, load_f32(&x16[t][i]), sums[r][t]);
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
                sums[r][t] = _mm512_fmadd_ps(load(&w_rest), load_f32(&x_rest), sums[r][t]);
            }
        }
    }
    let mut out = [[0.0; T]; R];
    for (out, &sums) in out.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        let mut lanes = [0.0; 16];
        // SAFETY: the array has room for the 16 floats that are written.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sums) };
        *out = fold(&mut lanes);
    }
    out
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn load_f32(x: &[f32; 16]) -> __m512 {
    // SAFETY: the array has the 16 floats that are read; the load takes any alignment.
    unsafe { _mm512_loadu_ps(x.as_ptr()) }
}
