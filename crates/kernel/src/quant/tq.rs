//! tq1_0 and tq2_0: 256 ternary numbers and their scale, for models trained to three values (BitNet b1.58, arXiv 2402.17764).
//!
//! tq1_0 packs five numbers into a byte, tq2_0 four:
//!
//! | bytes | what |
//! |---|---|
//! | 0..32 | byte `l` holds values `32 n + l`, `n` < 5 |
//! | 32..48 | byte `l` of these holds values `160 + 16 n + l`, `n` < 5 |
//! | 48..52 | byte `l` of these holds values `240 + 4 n + l`, `n` < 4 |
//! | 52..54 | `d`, f16 |
//!
//! A byte is the fraction `b / 256`, rounded up, of which value `n` is digit `n` after the point in base 3.
//!
//! | bytes | what |
//! |---|---|
//! | 0..64 | two bits per number, as in q2_K |
//! | 64..66 | `d`, f16 |
//!
//! A weight is `d * (q - 1)`; in tq2_0 `q` may be 3, which our encoder never writes.

use super::Format;
use super::fit::{self, Levels as _, Uniform};
use super::grid::{self, Grid, Levels};
use super::ints::{self, Super};
use super::q2_k::{pack_two_bits, two_bits};
use crate::acts::Act;
use crate::half::{f16_to_f32, f32_to_f16};

pub static TQ1_0: Format = Format {
    name: "tq1_0",
    ggml_id: 34,
    block: 256,
    bytes: BYTES_1,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack_1),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode_1)),
    grid: Some(Grid {
        levels: Levels::Uniform(-1, 1),
        read: |blocks, steps, levels| grid::read_super(blocks, steps, levels, unpack_1),
        write: |levels, blocks| grid::write(levels, blocks, put_1),
        scaling: None,
    }),
    dot: |w, a| ints::dot_super(w, a, unpack_1),
};

pub static TQ2_0: Format = Format {
    name: "tq2_0",
    ggml_id: 35,
    block: 256,
    bytes: BYTES_2,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack_2),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode_2)),
    grid: Some(Grid {
        levels: Levels::Uniform(-1, 1),
        read: |blocks, steps, levels| grid::read_super(blocks, steps, levels, unpack_2),
        write: |levels, blocks| grid::write(levels, blocks, put_2),
        scaling: None,
    }),
    dot: |w, a| ints::dot_super(w, a, unpack_2),
};

const BYTES_1: usize = 48 + 4 + 2;
const BYTES_2: usize = 64 + 2;
const _: () = assert!(BYTES_1 == 54 && BYTES_2 == 66, "ggml's sizes");

#[inline(always)]
pub(crate) fn unpack_1(block: &[u8; BYTES_1]) -> Super {
    let mut q = [0; 256];
    let (first, rest) = q.split_at_mut(RUNS[1].0);
    let (second, third) = rest.split_at_mut(RUNS[2].0 - RUNS[1].0);
    digits::<32>(block[..32].as_array().expect("the first run"), first);
    digits::<16>(block[32..48].as_array().expect("the second"), second);
    digits::<4>(block[48..52].as_array().expect("the third"), third);
    Super::symmetric(ints::f16(block, 52), [1; 16], q)
}

/// The digits of `N` bytes, the first of each, then the second of each, as many as there is room for.
#[inline(always)]
fn digits<const N: usize>(bytes: &[u8; N], q: &mut [i8]) {
    let mut fractions = *bytes;
    for q in q.as_chunks_mut::<N>().0 {
        for (q, fraction) in q.iter_mut().zip(&mut fractions) {
            let digit_and_rest = u16::from(*fraction) * 3;
            *q = (digit_and_rest >> 8) as i8 - 1;
            *fraction = digit_and_rest as u8;
        }
    }
}

/// First value, bytes and digits per byte of tq1_0's three runs.
const RUNS: [(usize, (usize, usize), usize); 3] = [(0, (0, 32), 5), (160, (32, 48), 5), (240, (48, 52), 4)];

#[inline(always)]
fn unpack_2(block: &[u8; BYTES_2]) -> Super {
    let q = two_bits(block[..64].first_chunk().expect("64 of 64")).map(|q| q as i8 - 1);
    Super::symmetric(ints::f16(block, 64), [1; 16], q)
}

fn encode_1(x: &[f32; 256], w: &[f32; 256], block: &mut [u8; BYTES_1]) {
    let (d, q) = encode(x, w);
    put_1(&q, block);
    block[52..].copy_from_slice(&d.to_le_bytes());
}

fn put_1(levels: &[i8; 256], block: &mut [u8; BYTES_1]) {
    let q = levels.map(|q| (q + 1) as u16);
    for (first, bytes, digits) in RUNS {
        for (l, byte) in block[bytes.0..bytes.1].iter_mut().enumerate() {
            let digit = |n: usize| if n < digits { q[first + n * (bytes.1 - bytes.0) + l] } else { 0 };
            let number = (0..5).fold(0, |number, n| 3 * number + digit(n));
            *byte = (number * 256).div_ceil(243) as u8;
        }
    }
}

fn encode_2(x: &[f32; 256], w: &[f32; 256], block: &mut [u8; BYTES_2]) {
    let (d, q) = encode(x, w);
    put_2(&q, block);
    block[64..].copy_from_slice(&d.to_le_bytes());
}

fn put_2(levels: &[i8; 256], block: &mut [u8; BYTES_2]) {
    pack_two_bits(levels.map(|q| (q + 1) as u8), block.first_chunk_mut().expect("64 of 66"));
}

/// The best scale there is, found exactly: the values that are not 0 are the largest ones for some number of them, their
/// best scale is their weighted mean magnitude, and all numbers are tried.
fn encode(x: &[f32; 256], w: &[f32; 256]) -> (u16, [i8; 256]) {
    if !fit::representable(x) {
        return (0x7e00, [0; 256]);
    }
    let mut order: [(f32, f32); 256] = std::array::from_fn(|k| (x[k].abs(), w[k]));
    order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let (mut best, mut d, mut sum, mut weight) = (0.0, 0.0, 0.0, 0.0);
    for (magnitude, w) in order {
        (sum, weight) = (sum + w * magnitude, weight + w);
        if sum * sum > best * weight {
            (best, d) = (sum * sum / weight, sum / weight);
        }
    }
    let d = f32_to_f16(d);
    let t = fit::inverse(f16_to_f32(d));
    (d, x.map(|x| Uniform(-1.0, 1.0).nearest(x * t) as i8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ternary_block_is_stored_exactly() {
        let x: [f32; 256] = std::array::from_fn(|k| 0.75 * ((k * k / 3 % 3) as f32 - 1.0));
        for format in [&TQ1_0, &TQ2_0] {
            let (mut block, mut back) = (vec![0; format.bytes], [0.0; 256]);
            format.quantize.expect("encodes")(&x, None, &mut block);
            (format.dequantize)(&block, &mut back);
            assert_eq!(back, x, "{}", format.name);
        }
    }
}
