//! q4_0: 32 four-bit numbers around 8 and their scale.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | `q`: byte `j` holds value `j` in its low half and value `16 + j` in its high half |
//!
//! A weight is `d * (q - 8)`.

use super::Format;
use super::fit;
use crate::acts::{Act, ActRow};
use crate::half::{f16_to_f32, f32_to_f16};

/// See the head of this file.
pub static Q4_0: Format = Format {
    name: "q4_0",
    ggml_id: 2,
    block: 32,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize,
    quantize: Some(quantize),
    dot,
};

pub(crate) const BYTES: usize = 2 + 16;
const _: () = assert!(BYTES == 18, "ggml's size");

/// Scale and packed quants of a block.
#[inline(always)]
pub(crate) fn parts(block: &[u8; BYTES]) -> (f32, &[u8; 16]) {
    let (d, q) = block.split_first_chunk::<2>().expect("2 of 18");
    (f16_to_f32(u16::from_le_bytes(*d)), q.first_chunk().expect("16 of 16"))
}

fn dequantize(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        let (d, q) = parts(block);
        for (j, &q) in q.iter().enumerate() {
            out[j] = (i32::from(q & 15) - 8) as f32 * d;
            out[j + 16] = (i32::from(q >> 4) - 8) as f32 * d;
        }
    }
}

/// Tries 19 ranges around the one that makes the value of largest magnitude -8 (+8 being missing), gives each the scale of
/// least squares and keeps the best. A NaN makes the scale NaN. Shorter than the search of the other formats, as the KV cache
/// is written with it.
fn encode(x: &[f32; 32], w: &[f32; 32], block: &mut [u8; BYTES]) {
    let largest = super::largest(x);
    let (mut best, mut d, mut inverse) = (f32::NEG_INFINITY, largest, 0.0);
    for tenths in -9..=9 {
        if largest == 0.0 || !largest.is_finite() {
            break;
        }
        let candidate = (-8.0 + 0.1 * tenths as f32) / largest;
        let (mut xq, mut qq) = (0.0, 0.0);
        for (&x, &w) in x.iter().zip(w) {
            let q = f32::from(step(x * candidate)) - 8.0;
            (xq, qq) = (xq + w * q * x, qq + w * q * q);
        }
        // The squared error at the best scale xq / qq is sum(w x^2) - xq^2 / qq.
        if xq * xq > best * qq {
            (best, d, inverse) = (xq * xq / qq, xq / qq, candidate);
        }
    }
    let (d_out, q) = block.split_first_chunk_mut::<2>().expect("2 of 18");
    *d_out = f32_to_f16(d).to_le_bytes();
    for (j, q) in q.iter_mut().enumerate() {
        *q = step(x[j] * inverse) | step(x[j + 16] * inverse) << 4;
    }
}

fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    fit::each_block(x, importance, out, encode);
}

/// The nearest of the 16 steps -8..=7, counted from 0.
#[inline(always)]
fn step(v: f32) -> u8 {
    ((v + 8.5) as u8).min(15)
}

fn dot(w: &[u8], a: ActRow<'_>) -> f32 {
    let mut acc = 0.0;
    for ((block, a_q), &a_d) in w.as_chunks::<BYTES>().0.iter().zip(a.q.as_chunks::<32>().0).zip(a.d) {
        let (d, q) = parts(block);
        let mut isum = 0;
        for (j, &q) in q.iter().enumerate() {
            isum += (i32::from(q & 15) - 8) * i32::from(a_q[j]);
            isum += (i32::from(q >> 4) - 8) * i32::from(a_q[j + 16]);
        }
        acc += isum as f32 * (d * a_d);
    }
    acc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_the_grid_are_exact() {
        let mut x = [0.0; 32];
        (x[0], x[1], x[16], x[17]) = (8.0, -7.0, 3.0, -5.0);
        let mut block = [0; BYTES];
        quantize(&x, None, &mut block);
        let mut back = [0.0; 32];
        dequantize(&block, &mut back);
        assert_eq!((back[0], back[1], back[16], back[17], back[2]), (8.0, -7.0, 3.0, -5.0, 0.0));
    }

    #[test]
    fn a_block_of_zeros_decodes_to_zeros() {
        let mut block = [1; BYTES];
        quantize(&[0.0; 32], None, &mut block);
        let mut back = [1.0; 32];
        dequantize(&block, &mut back);
        assert_eq!(back, [0.0; 32]);
    }
}
