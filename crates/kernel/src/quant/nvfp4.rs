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
use super::ints;
use super::mxfp4::{E2M1, TABLE};
use crate::acts::{Act, ActRow};

pub static NVFP4: Format = Format {
    name: "nvfp4",
    ggml_id: 40,
    block: 64,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize,
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
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

/// The 16 numbers of group `g`, doubled.
#[inline(always)]
fn group(block: &[u8; BYTES], g: usize) -> [i8; 16] {
    std::array::from_fn(|k| E2M1[usize::from(block[4 + 8 * g + k % 8] >> (4 * (k / 8)) & 15)])
}

fn dequantize(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<64>().0) {
        for (g, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let s = scale(block[g]);
            *out = group(block, g).map(|q| s * f32::from(q));
        }
    }
}

fn dot(w: &[u8], a: ActRow<'_>) -> f32 {
    let mut acc = 0.0;
    let a_blocks = a.q.as_chunks::<64>().0.iter().zip(a.d.as_chunks::<2>().0);
    for (block, (a_q, a_d)) in w.as_chunks::<BYTES>().0.iter().zip(a_blocks) {
        let a_q = a_q.as_chunks::<16>().0;
        let term = |g: usize| scale(block[g]) * ints::products(&group(block, g), &a_q[g]) as f32;
        acc += (term(0) + term(1)) * a_d[0];
        acc += (term(2) + term(3)) * a_d[1];
    }
    acc
}

/// The best of the scales from two thirds to twice what makes the largest value e2m1's largest.
fn encode(x: &[f32; 64], w: &[f32; 64], block: &mut [u8; BYTES]) {
    let (scales, codes) = block.split_first_chunk_mut::<4>().expect("4 of 36");
    let groups = x.as_chunks::<16>().0.iter().zip(w.as_chunks::<16>().0).zip(codes.as_chunks_mut::<8>().0);
    for (s, ((x, w), codes)) in scales.iter_mut().zip(groups) {
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
        for (j, byte) in codes.iter_mut().enumerate() {
            *byte = TABLE.code(x[j] * t) | TABLE.code(x[j + 8] * t) << 4;
        }
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
    use super::*;

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
