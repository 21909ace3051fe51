//! Formats with a scale per 256 weights and integer scales per group inside: q4_K, q6_K.

use std::arch::x86_64::*;
use std::ops::Range;

use super::lanes::{self, ROWS, Rows, TOKENS, halves, quad, transpose};
use crate::acts::{ActRow, Acts};
use crate::quant;

/// One block of eight rows.
struct Lanes {
    /// Unsigned weights, 32 per entry.
    w: [[__m256i; 8]; 8],
    /// Scale of each 16 weights, as a pair of equal i16.
    sc: [[__m256i; 2]; 8],
    /// What two neighbouring sums of 16 activations are multiplied with, as a pair of i16.
    second: [__m256i; 8],
    d: __m256,
    /// Scale of the second sum where it is a float of its own.
    dmin: __m256,
}

/// What the sum over `second` is for.
#[derive(PartialEq)]
enum Second {
    /// Group minima, scaled by `dmin`.
    Minima,
    /// The weights' common offset of 32.
    Offset32,
}
const MINIMA: u8 = Second::Minima as u8;
const OFFSET32: u8 = Second::Offset32 as u8;

#[target_feature(enable = "avx2,fma,f16c")]
pub fn q4_k(weights: &[u8], n_rows: usize, acts: &Acts, tokens: Range<usize>, out: &mut [f32]) {
    const BYTES: usize = quant::q4_k::BYTES;
    tile::<BYTES, 8, MINIMA>(
        weights,
        n_rows,
        acts,
        tokens,
        out,
        |block: &[&[u8; BYTES]; ROWS], l: &mut Lanes| {
            // The head as four words a row; see the format's file for the packing of scales and minima.
            let [dd, low_sc, low_m, high] = transpose(block, 0);
            let half = |v| _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(v)));
            let zero = _mm256_setzero_si256();
            l.d = half(_mm256_packus_epi32(_mm256_blend_epi16::<0b1010_1010>(dd, zero), zero));
            l.dmin = half(_mm256_packus_epi32(_mm256_srli_epi32::<16>(dd), zero));
            let and = |v, mask| _mm256_and_si256(v, _mm256_set1_epi32(mask));
            let top2 = |v| and(_mm256_srli_epi32::<2>(v), 0x3030_3030);
            let sc = [and(low_sc, 0x3f3f_3f3f), _mm256_or_si256(and(high, 0x0f0f_0f0f), top2(low_sc))];
            let m = [
                and(low_m, 0x3f3f_3f3f),
                _mm256_or_si256(and(_mm256_srli_epi32::<4>(high), 0x0f0f_0f0f), top2(low_m)),
            ];
            for j in 0..8 {
                l.sc[j] = [spread(sc[j / 4], j % 4); 2];
                l.second[j] = spread(m[j / 4], j % 4);
            }
            let mask = _mm256_set1_epi8(15);
            for pair in 0..4 {
                for half in 0..2 {
                    let packed = transpose(block, 16 + 32 * pair + 16 * half);
                    for (i, p) in packed.into_iter().enumerate() {
                        l.w[2 * pair][4 * half + i] = _mm256_and_si256(p, mask);
                        l.w[2 * pair + 1][4 * half + i] = _mm256_and_si256(_mm256_srli_epi16::<4>(p), mask);
                    }
                }
            }
        },
    );
}

#[target_feature(enable = "avx2,fma,f16c")]
pub fn q6_k(weights: &[u8], n_rows: usize, acts: &Acts, tokens: Range<usize>, out: &mut [f32]) {
    const BYTES: usize = quant::q6_k::BYTES;
    tile::<BYTES, 2, OFFSET32>(
        weights,
        n_rows,
        acts,
        tokens,
        out,
        |block: &[&[u8; BYTES]; ROWS], l: &mut Lanes| {
            l.d = halves(block, 208);
            for (four, sc) in transpose(block, 192).into_iter().enumerate() {
                for two in 0..2 {
                    let (even, odd) = (spread_signed(sc, 2 * two), spread_signed(sc, 2 * two + 1));
                    l.sc[2 * four + two] = [even, odd];
                    l.second[2 * four + two] = _mm256_blend_epi16::<0b1010_1010>(even, odd);
                }
            }
            let (mask4, mask2) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
            for half in 0..2 {
                for q in 0..2 {
                    let high = transpose(block, 128 + 32 * half + 16 * q);
                    let low =
                        [transpose(block, 64 * half + 16 * q), transpose(block, 64 * half + 32 + 16 * q)];
                    for i in 0..4 {
                        let h = high[i];
                        let runs = [
                            (low[0][i], _mm256_slli_epi16::<4>(h)),
                            (low[1][i], _mm256_slli_epi16::<2>(h)),
                            (_mm256_srli_epi16::<4>(low[0][i]), h),
                            (_mm256_srli_epi16::<4>(low[1][i]), _mm256_srli_epi16::<2>(h)),
                        ];
                        for (r, (low, high)) in runs.into_iter().enumerate() {
                            l.w[4 * half + r][4 * q + i] =
                                _mm256_or_si256(_mm256_and_si256(low, mask4), _mm256_and_si256(high, mask2));
                        }
                    }
                }
            }
        },
    );
}

/// Byte `i` of each lane to both i16 of the lane.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn spread(v: __m256i, i: usize) -> __m256i {
    let index = |lane: i32| 0x8000_8000u32 as i32 | ((4 * lane + i as i32) * 0x1_0001);
    let pattern =
        _mm256_setr_epi32(index(0), index(1), index(2), index(3), index(0), index(1), index(2), index(3));
    _mm256_shuffle_epi8(v, pattern)
}

/// The same with the byte's sign.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn spread_signed(v: __m256i, i: usize) -> __m256i {
    _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(spread(v, i)))
}

/// A tile. `STEPS` says how many pair products of a lane fit an i16, `SECOND` what the second sum is for.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn tile<const BYTES: usize, const STEPS: usize, const SECOND: u8>(
    weights: &[u8],
    n_rows: usize,
    acts: &Acts,
    tokens: Range<usize>,
    out: &mut [f32],
    load: impl Fn(&[&[u8; BYTES]; ROWS], &mut Lanes),
) {
    let (int, float) = (_mm256_setzero_si256(), _mm256_setzero_ps());
    lanes::tile(n_rows, acts, tokens, out, |first, a, sums| {
        let rows = Rows::<BYTES>::new(weights, n_rows, first);
        let mut lanes =
            Lanes { w: [[int; 8]; 8], sc: [[int; 2]; 8], second: [int; 8], d: float, dmin: float };
        for b in 0..rows.n_blocks() {
            rows.prefetch(b);
            load(&rows.block(b), &mut lanes);
            let (a4, a1) = a.as_chunks::<TOKENS>();
            let (sums4, sums1) = sums.as_chunks_mut::<TOKENS>();
            for (a, sums) in a4.iter().zip(sums4) {
                add::<TOKENS, STEPS, SECOND>(&lanes, a, b, sums);
            }
            for (a, sums) in a1.as_chunks::<1>().0.iter().zip(sums1.as_chunks_mut::<1>().0) {
                add::<1, STEPS, SECOND>(&lanes, a, b, sums);
            }
        }
    });
}

/// Adds the products with block `b` of `T` tokens to their sums.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add<const T: usize, const STEPS: usize, const SECOND: u8>(
    l: &Lanes,
    a: &[ActRow<'_>; T],
    b: usize,
    sums: &mut [__m256; T],
) {
    let isums = dot::<T, STEPS>(l, a, b);
    for t in 0..T {
        let second = second_sum(l, &a[t].sums.as_chunks::<16>().0[b]);
        let d_a = _mm256_set1_ps(a[t].d[b]);
        let scale = _mm256_mul_ps(l.d, d_a);
        let isum = match SECOND {
            OFFSET32 => _mm256_sub_epi32(isums[t], _mm256_slli_epi32::<5>(second)),
            _ => isums[t],
        };
        // Two roundings, as everywhere: no FMA here.
        sums[t] = _mm256_add_ps(sums[t], _mm256_mul_ps(_mm256_cvtepi32_ps(isum), scale));
        if SECOND == MINIMA {
            let scale = _mm256_mul_ps(l.dmin, d_a);
            sums[t] = _mm256_sub_ps(sums[t], _mm256_mul_ps(_mm256_cvtepi32_ps(second), scale));
        }
    }
}

/// The exact integer sums of a block, group scales included; these cost nothing, as something has to widen the pairs.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn dot<const T: usize, const STEPS: usize>(l: &Lanes, a: &[ActRow<'_>; T], b: usize) -> [__m256i; T] {
    let mut q = [&[0; 256]; T];
    for (q, a) in q.iter_mut().zip(a) {
        *q = &a.q.as_chunks().0[b];
    }
    let mut sums = [_mm256_setzero_si256(); T];
    for (j, (w, sc)) in l.w.iter().zip(&l.sc).enumerate() {
        for step in (0..8).step_by(STEPS) {
            let mut pairs = [_mm256_setzero_si256(); T];
            for (i, &w) in w.iter().enumerate().skip(step).take(STEPS) {
                for t in 0..T {
                    pairs[t] = _mm256_add_epi16(pairs[t], _mm256_maddubs_epi16(w, quad(q[t], 8 * j + i)));
                }
            }
            for t in 0..T {
                sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(pairs[t], sc[step / 4]));
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn second_sum(l: &Lanes, a: &[i16; 16]) -> __m256i {
    let mut sum = _mm256_setzero_si256();
    for (factors, &[even, odd]) in l.second.iter().zip(a.as_chunks::<2>().0) {
        let both = _mm256_set1_epi32(i32::from(even as u16) | i32::from(odd) << 16);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(*factors, both));
    }
    sum
}
