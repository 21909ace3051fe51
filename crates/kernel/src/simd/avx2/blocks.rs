//! Formats with one scale per 32 weights: q8_0, q4_0.

use std::arch::x86_64::*;
use std::ops::Range;

use super::lanes::{self, ROWS, Rows, TOKENS, halves, quad, transpose};
use crate::acts::{ActRow, Acts};
use crate::quant;

/// One block of eight rows: bytes and scales.
type Lanes = ([__m256i; 8], __m256);

#[target_feature(enable = "avx2,fma,f16c")]
pub fn q8_0(weights: &[u8], n_rows: usize, acts: &Acts, tokens: Range<usize>, out: &mut [f32]) {
    const BYTES: usize = quant::q8_0::BYTES;
    tile::<BYTES, 0, 0>(weights, n_rows, acts, tokens, out, |block: &[&[u8; BYTES]; ROWS]| {
        let [a, b, c, d] = transpose(block, 2);
        let [e, f, g, h] = transpose(block, 18);
        ([a, b, c, d, e, f, g, h], halves(block, 0))
    });
}

#[target_feature(enable = "avx2,fma,f16c")]
pub fn q4_0(weights: &[u8], n_rows: usize, acts: &Acts, tokens: Range<usize>, out: &mut [f32]) {
    const BYTES: usize = quant::q4_0::BYTES;
    tile::<BYTES, 8, 8>(weights, n_rows, acts, tokens, out, |block: &[&[u8; BYTES]; ROWS]| {
        let mut w = [_mm256_setzero_si256(); 8];
        for (i, p) in transpose(block, 2).into_iter().enumerate() {
            let mask = _mm256_set1_epi8(15);
            w[i] = _mm256_and_si256(p, mask);
            w[i + 4] = _mm256_and_si256(_mm256_srli_epi16::<4>(p), mask);
        }
        (w, halves(block, 0))
    });
}

/// A tile. `STEPS` says how many pair products of a lane fit an i16 (0: the weights are signed, see [`dot`]), `OFFSET`
/// what is to be subtracted from every weight.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn tile<const BYTES: usize, const STEPS: usize, const OFFSET: i32>(
    weights: &[u8],
    n_rows: usize,
    acts: &Acts,
    tokens: Range<usize>,
    out: &mut [f32],
    load: impl Fn(&[&[u8; BYTES]; ROWS]) -> Lanes,
) {
    lanes::tile(n_rows, acts, tokens, out, |first, a, sums| {
        let rows = Rows::<BYTES>::new(weights, n_rows, first);
        for b in 0..rows.n_blocks() {
            rows.prefetch(b);
            let (w, d) = load(&rows.block(b));
            let (a4, a1) = a.as_chunks::<TOKENS>();
            let (sums4, sums1) = sums.as_chunks_mut::<TOKENS>();
            for (a, sums) in a4.iter().zip(sums4) {
                add::<TOKENS, STEPS, OFFSET>(&w, d, a, b, sums);
            }
            for (a, sums) in a1.as_chunks::<1>().0.iter().zip(sums1.as_chunks_mut::<1>().0) {
                add::<1, STEPS, OFFSET>(&w, d, a, b, sums);
            }
        }
    });
}

/// Adds the products with block `b` of `T` tokens to their sums.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add<const T: usize, const STEPS: usize, const OFFSET: i32>(
    w: &[__m256i; 8],
    d: __m256,
    a: &[ActRow<'_>; T],
    b: usize,
    sums: &mut [__m256; T],
) {
    let isums = dot::<T, STEPS>(w, a, b);
    for t in 0..T {
        let offset = _mm256_set1_epi32(OFFSET * i32::from(a[t].sums[b]));
        let isum = _mm256_cvtepi32_ps(_mm256_sub_epi32(isums[t], offset));
        let scale = _mm256_mul_ps(d, _mm256_set1_ps(a[t].d[b]));
        // Two roundings, as everywhere: no FMA here.
        sums[t] = _mm256_add_ps(sums[t], _mm256_mul_ps(isum, scale));
    }
}

/// The exact integer sums of a block. Signed weights (`STEPS` 0) go in as magnitudes, their signs to the activations; two
/// products of 128 x 127 just fit an i16.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn dot<const T: usize, const STEPS: usize>(w: &[__m256i; 8], a: &[ActRow<'_>; T], b: usize) -> [__m256i; T] {
    let mut q = [&[0; 32]; T];
    for (q, a) in q.iter_mut().zip(a) {
        *q = &a.q.as_chunks().0[b];
    }
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); T];
    if STEPS == 0 {
        for (i, &w) in w.iter().enumerate() {
            let magnitude = _mm256_abs_epi8(w);
            for t in 0..T {
                let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(quad(q[t], i), w));
                sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(pairs, ones));
            }
        }
        return sums;
    }
    for step in (0..8).step_by(STEPS) {
        let mut pairs = [_mm256_setzero_si256(); T];
        for (i, &w) in w.iter().enumerate().skip(step).take(STEPS) {
            for t in 0..T {
                pairs[t] = _mm256_add_epi16(pairs[t], _mm256_maddubs_epi16(w, quad(q[t], i)));
            }
        }
        for t in 0..T {
            sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(pairs[t], ones));
        }
    }
    sums
}
