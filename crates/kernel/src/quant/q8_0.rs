//! q8_0: 32 signed bytes and their scale.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..34 | `q[0..32]`, i8 |
//!
//! A weight is `d * q`.

use super::Format;
use super::grid::{self, Grid, Levels};
use super::ints::{self, Block};
use crate::acts::{Act, ActRow};
use crate::half::{f16_to_f32, f32_to_f16};

pub static Q8_0: Format = Format {
    name: "q8_0",
    ggml_id: 8,
    block: 32,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize,
    quantize: Some(quantize),
    grid: Some(Grid {
        levels: Levels::Uniform(-127, 127),
        read: |blocks, steps, levels| {
            grid::read(blocks, steps, levels, |block| {
                let (d, q) = parts(block);
                Block { d, m: 0.0, q: q.map(|q| q as i8) }
            });
        },
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: None,
    }),
    dot,
};

const BYTES: usize = 2 + 32;
const _: () = assert!(BYTES == 34, "ggml's size");

/// Scale and quants of a block.
#[inline(always)]
fn parts(block: &[u8; BYTES]) -> (f32, &[u8; 32]) {
    let (d, q) = block.split_first_chunk::<2>().expect("2 of 34");
    (f16_to_f32(u16::from_le_bytes(*d)), q.first_chunk().expect("32 of 32"))
}

fn dequantize(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        let (d, q) = parts(block);
        for (v, &q) in out.iter_mut().zip(q) {
            *v = d * f32::from(q as i8);
        }
    }
}

/// `d = max|x| / 127`, quants rounded half away from zero with the unrounded `d`. A NaN makes the scale NaN.
#[inline(always)]
pub(crate) fn quantize(x: &[f32], _: Option<&[f32]>, out: &mut [u8]) {
    for (x, block) in x.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<BYTES>().0) {
        // On magnitudes the order of the bit patterns is the order of the values, with NaN above infinity.
        let largest = x.iter().fold(0, |most: u32, v| most.max(v.to_bits() & 0x7fff_ffff));
        let d = f32::from_bits(largest) / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let (d_out, q) = block.split_first_chunk_mut::<2>().expect("2 of 34");
        *d_out = f32_to_f16(d).to_le_bytes();
        for (q, &x) in q.iter_mut().zip(x) {
            *q = (x * inverse).round() as i8 as u8;
        }
    }
}

fn put(q: &[i8; 32], block: &mut [u8; BYTES]) {
    block[2..].copy_from_slice(&q.map(|q| q as u8));
}

fn dot(w: &[u8], a: ActRow<'_>) -> f32 {
    let mut acc = 0.0;
    for ((block, a_q), &a_d) in w.as_chunks::<BYTES>().0.iter().zip(a.q.as_chunks::<32>().0).zip(a.d) {
        let (d, q) = parts(block);
        let isum: i32 = q.iter().zip(a_q).map(|(&q, &a)| i32::from(q as i8) * i32::from(a)).sum();
        acc = ints::add_term(acc, isum, d, a_d);
    }
    acc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_value_becomes_127_and_halves_round_away() {
        let mut x = [0.0; 32];
        (x[0], x[1], x[2], x[3]) = (-127.0, 2.5, -2.5, 126.4);
        let mut block = [0; BYTES];
        quantize(&x, None, &mut block);
        let (d, q) = parts(&block);
        assert_eq!(d, 1.0);
        assert_eq!(q[..5].iter().map(|&q| q as i8).collect::<Vec<_>>(), [-127, 3, -3, 126, 0]);
    }

    #[test]
    fn a_block_of_zeros_has_scale_zero() {
        let mut block = [1; BYTES];
        quantize(&[0.0; 32], None, &mut block);
        assert_eq!(block, [0; BYTES]);
    }
}
