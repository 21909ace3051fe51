//! q4_1: 32 four-bit numbers, their scale and their offset.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `m`, f16 |
//! | 4..20 | `q`: byte `j` holds value `j` in its low half and value `16 + j` in its high half |
//!
//! A weight is `d * q + m`.

use super::Format;
use super::fit::{self, Levels as _, Offset, Uniform};
use super::grid::{self, Grid, Levels};
use super::ints::{self, Block};
use crate::acts::Act;
use crate::half::{f16_to_f32, f32_to_f16};

pub static Q4_1: Format = Format {
    name: "q4_1",
    ggml_id: 3,
    block: 32,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize: |blocks, out| ints::dequantize_offset(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Uniform(0, 15),
        read: |blocks, steps, levels| grid::read_offset(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: None,
    }),
    dot: |w, a| ints::dot_offset(w, a, unpack),
};

const BYTES: usize = 2 + 2 + 16;
const _: () = assert!(BYTES == 20, "ggml's size");

#[inline(always)]
fn unpack(block: &[u8; BYTES]) -> Block<32> {
    let q = ints::nibbles(block[4..].first_chunk().expect("16 of 16"));
    Block { d: ints::f16(block, 0), m: ints::f16(block, 2), q }
}

fn encode(x: &[f32; 32], w: &[f32; 32], block: &mut [u8; BYTES]) {
    let q = encode_affine(x, w, 15.0, block.first_chunk_mut().expect("4 of 20"));
    put(&q, block);
}

fn put(levels: &[i8; 32], block: &mut [u8; BYTES]) {
    ints::pack_nibbles(levels.map(|q| q as u8), block[4..].first_chunk_mut().expect("16 of 16"));
}

/// Writes `d` and `m` and gives the codes from 0 to `top`.
#[inline(always)]
pub(super) fn encode_affine(x: &[f32; 32], w: &[f32; 32], top: f32, head: &mut [u8; 4]) -> [i8; 32] {
    let (d, m) = if fit::representable(x) {
        let fit = fit::affine(x, w, top, Offset::Free);
        (fit.d, fit.m)
    } else {
        (f32::NAN, f32::NAN)
    };
    let (d, m) = (f32_to_f16(d), f32_to_f16(m));
    head[..2].copy_from_slice(&d.to_le_bytes());
    head[2..].copy_from_slice(&m.to_le_bytes());
    let (t, m) = (fit::inverse(f16_to_f32(d)), f16_to_f32(m));
    x.map(|x| Uniform(0.0, top).nearest((x - m) * t) as i8)
}
