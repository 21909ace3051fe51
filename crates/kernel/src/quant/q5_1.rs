//! q5_1: 32 five-bit numbers, their scale and their offset.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `m`, f16 |
//! | 4..24 | `q` as in q5_0 |
//!
//! A weight is `d * q + m`.

use super::Format;
use super::fit;
use super::grid::{self, Grid, Levels};
use super::ints::{self, Block};
use super::q4_1::encode_affine;
use super::q5_0::{five_bits, pack_five_bits};
use crate::acts::Act;

pub static Q5_1: Format = Format {
    name: "q5_1",
    ggml_id: 7,
    block: 32,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize: |blocks, out| ints::dequantize_offset(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Uniform(0, 31),
        read: |blocks, steps, levels| grid::read_offset(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: None,
    }),
    dot: |w, a| ints::dot_offset(w, a, unpack),
};

const BYTES: usize = 2 + 2 + 4 + 16;
const _: () = assert!(BYTES == 24, "ggml's size");

#[inline(always)]
fn unpack(block: &[u8; BYTES]) -> Block<32> {
    let q = five_bits(block[4..].first_chunk().expect("20 of 20"));
    Block { d: ints::f16(block, 0), m: ints::f16(block, 2), q: q.map(|q| q as i8) }
}

fn encode(x: &[f32; 32], w: &[f32; 32], block: &mut [u8; BYTES]) {
    let q = encode_affine(x, w, 31.0, block.first_chunk_mut().expect("4 of 24"));
    put(&q, block);
}

fn put(levels: &[i8; 32], block: &mut [u8; BYTES]) {
    pack_five_bits(levels.map(|q| q as u8), block[4..].first_chunk_mut().expect("20 of 20"));
}
