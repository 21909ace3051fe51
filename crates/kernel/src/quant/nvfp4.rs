//! nvfp4: 64 numbers of 4 bits (e2m1 as in mxfp4) in 4 groups of 16, each group with an 8-bit float as its scale.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `s[g]`: e4m3 without its sign (bias 7, the top bit ignored) |
//! | 4..36 | 8 bytes per group: byte `j` holds value `j` in its low half and value `8 + j` in its high half |
//!
//! A weight of group `g` is `s[g] * e2m1`, here `s[g] / 2` times a whole number. `0x7f`, e4m3's NaN, counts as 0 as in ggml, so
//! that no block holds anything but finite numbers. The scale per tensor that goes with it in other files is not part of
//! the block.
//!
//! The float scales of groups don't add up exactly: see [`super`] for the order.

use super::Format;
use super::fit;
use super::fit::Levels as _;
use super::grid::{self, Grid, Step};
use super::ints;
use super::mxfp4::{E2M1_LEVELS, TABLE};
use crate::acts::{Act, ActRow};

pub static NVFP4: Format = Format {
    name: "nvfp4",
    ggml_id: 40,
    block: 64,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize,
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: E2M1_LEVELS,
        read: |blocks, steps, levels| {
            let out = steps.as_chunks_mut().0.iter_mut().zip(levels.as_chunks_mut().0);
            for (block, (steps, levels)) in blocks.as_chunks().0.iter().zip(out) {
                let (scales, q) = unpack(block);
                (*steps, *levels) = (scales.map(|scale| Step { scale, min: 0.0 }), q);
            }
        },
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: None,
    }),
    dot,
};

const BYTES: usize = 4 + 32;
const _: () = assert!(BYTES == 36, "ggml's size");

/// Half of the number `s`.
#[inline(always)]
fn scale(s: u8) -> f32 {
    let (exponent, mantissa) = (u32::from(s >> 3 & 15), u32::from(s & 7));
    match (s, exponent) {
        (0x7f, _) => 0.0,
        // Subnormal, in steps of 2^-10.
        (_, 0) => mantissa as f32 / 1024.0,
        // From a bias of 7 to one of 127, and halved.
        _ => f32::from_bits((exponent + 127 - 7 - 1) << 23 | mantissa << 20),
    }
}

/// The scales of the groups and the numbers, doubled.
#[inline(always)]
pub(crate) fn unpack(block: &[u8; BYTES]) -> ([f32; 4], [i8; 64]) {
    let mut q = [0; 64];
    for (g, q) in q.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let codes = u64::from_le_bytes(*block[4 + 8 * g..].first_chunk().expect("a group's codes"));
        let halves = [codes, codes >> 4].map(|codes| codes & 0x0f0f_0f0f_0f0f_0f0f);
        ints::put_runs(q, halves);
    }
    for q in &mut q {
        *q = doubled(*q as u8);
    }
    (std::array::from_fn(|g| scale(block[g])), q)
}

/// [`super::mxfp4::E2M1`] by arithmetic, which compilers turn into vectors.
#[inline(always)]
fn doubled(code: u8) -> i8 {
    let steps = code & 7;
    // Steps of 1, from 4 on of 2, from 6 on of 4.
    let magnitude = (steps + steps.saturating_sub(4) + 2 * steps.saturating_sub(6)) as i8;
    if code < 8 { magnitude } else { -magnitude }
}

fn dequantize(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<64>().0) {
        let (scales, q) = unpack(block);
        for ((out, q), s) in out.as_chunks_mut::<16>().0.iter_mut().zip(q.as_chunks::<16>().0).zip(scales) {
            *out = q.map(|q| s * f32::from(q));
        }
    }
}

fn dot(w: &[u8], a: ActRow<'_>) -> f32 {
    let mut acc = 0.0;
    let a_blocks = a.q.as_chunks::<64>().0.iter().zip(a.d.as_chunks::<2>().0);
    for (block, (a_q, a_d)) in w.as_chunks::<BYTES>().0.iter().zip(a_blocks) {
        let (scales, q) = unpack(block);
        let (q, a_q) = (q.as_chunks::<16>().0, a_q.as_chunks::<16>().0);
        let term = |g: usize| scales[g] * ints::products(&q[g], &a_q[g]) as f32;
        acc = (term(0) + term(1)).mul_add(a_d[0], acc);
        acc = (term(2) + term(3)).mul_add(a_d[1], acc);
    }
    acc
}

/// The best of the scales from two thirds to twice what makes the largest value e2m1's largest.
fn encode(x: &[f32; 64], w: &[f32; 64], block: &mut [u8; BYTES]) {
    let mut levels = [0; 64];
    let groups = x.as_chunks::<16>().0.iter().zip(w.as_chunks::<16>().0).zip(levels.as_chunks_mut::<16>().0);
    for (s, ((x, w), levels)) in block.iter_mut().zip(groups) {
        let middle = code_at_least(super::largest(x).abs() / 12.0);
        let mut least = f32::INFINITY;
        for candidate in middle.saturating_sub(6)..=middle.saturating_add(7).min(LAST) {
            let (error, _) = fit::residual(x, w, TABLE, scale(candidate), 0.0);
            // A value that isn't finite leaves no error to compare: then the largest scale there is.
            if error < least || !error.is_finite() {
                (least, *s) = (error, candidate);
            }
        }
        let t = fit::inverse(scale(*s));
        *levels = x.map(|x| TABLE.nearest(x * t) as i8);
    }
    put(&levels, block);
}

fn put(levels: &[i8; 64], block: &mut [u8; BYTES]) {
    let groups = block[4..].as_chunks_mut::<8>().0.iter_mut().zip(levels.as_chunks::<16>().0);
    for (codes, levels) in groups {
        let code = |level: i8| TABLE.code(f32::from(level));
        *codes = std::array::from_fn(|j| code(levels[j]) | code(levels[j + 8]) << 4);
    }
}

/// The largest scale, 448.
const LAST: u8 = 0x7e;

/// The smallest scale that is not below `half`, or the last.
fn code_at_least(half: f32) -> u8 {
    let (mut low, mut high) = (0, LAST);
    while low < high {
        let middle = (low + high) / 2;
        if scale(middle) < half { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::super::mxfp4::E2M1;
    use super::*;

    #[test]
    fn numbers_by_arithmetic_are_those_of_the_table() {
        assert_eq!(std::array::from_fn(|code| doubled(code as u8)), E2M1);
    }

    #[test]
    fn scales_rise_with_their_code_to_448_and_the_top_bit_is_ignored() {
        let mut last = -1.0;
        for s in 0..=LAST {
            assert!(scale(s) > last);
            last = scale(s);
            assert_eq!(scale(s | 0x80), last);
            assert_eq!(code_at_least(last), s);
        }
        assert_eq!((scale(1), scale(0x38), last, scale(0x7f)), (1.0 / 1024.0, 0.5, 224.0, 0.0));
    }
}
