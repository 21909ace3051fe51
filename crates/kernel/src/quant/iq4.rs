//! iq4_nl and iq4_xs: four-bit codes for 16 levels that lie closer together around zero.
//!
//! iq4_nl, 32 values:
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | codes: byte `j` holds value `j` in its low half and value `16 + j` in its high half |
//!
//! iq4_xs, 256 values in 8 groups of 32 with a 6-bit scale around 32:
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | the upper 2 bits of `sc[j]` at bit `2 j` of a little-endian word |
//! | 4..8 | the lower 4 bits: byte `i` holds group `2 i` in its low half and group `2 i + 1` in its high half |
//! | 8..136 | 16 bytes per group, as in iq4_nl |
//!
//! A weight is `d * LEVELS[code]`, or `d * (sc[j] - 32) * LEVELS[code]`.

use super::Format;
use super::fit::{self, Levels as _, Table, Uniform};
use super::grid::{self, Grid, Levels, Scales, Scaling};
use super::ints::{self, Block, Super};
use super::superblock;
use crate::acts::Act;

pub static IQ4_NL: Format = Format {
    name: "iq4_nl",
    ggml_id: 20,
    block: 32,
    bytes: BYTES_NL,
    act: Act::Q8x32,
    dequantize: |blocks, out| ints::dequantize(blocks, out, unpack_nl),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode_nl)),
    grid: Some(Grid {
        levels: Levels::Table(&LEVELS),
        read: |blocks, steps, levels| grid::read(blocks, steps, levels, unpack_nl),
        write: |levels, blocks| grid::write(levels, blocks, put_nl),
        scaling: None,
    }),
    dot: |w, a| ints::dot(w, a, unpack_nl),
};

pub static IQ4_XS: Format = Format {
    name: "iq4_xs",
    ggml_id: 23,
    block: 256,
    bytes: BYTES_XS,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack_xs),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode_xs)),
    grid: Some(Grid {
        levels: Levels::Table(&LEVELS),
        read: |blocks, steps, levels| grid::read_super(blocks, steps, levels, unpack_xs),
        write: |levels, blocks| grid::write(levels, blocks, put_xs),
        scaling: Some(Scaling {
            group: 32,
            sc: (-32, 31),
            m: 0,
            read: |bytes| Scales::of(&unpack_xs(grid::block(bytes))),
            write: |scales, bytes| put_scales_xs(scales, grid::block_mut(bytes)),
        }),
    }),
    dot: |w, a| ints::dot_super(w, a, unpack_xs),
};

const BYTES_NL: usize = 2 + 16;
const BYTES_XS: usize = 2 + 2 + 4 + 128;
const _: () = assert!(BYTES_NL == 18 && BYTES_XS == 136, "ggml's sizes");

/// What the codes stand for.
pub(crate) static LEVELS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
static NEAREST: [u8; 512] = Table::nearest_of(&LEVELS);
static TABLE: Table = Table::new(&LEVELS, &NEAREST);

/// How far around the ends of the levels the search for a scale goes, and in how many steps.
const SEARCH: (f32, i32) = (24.0, 3);

#[inline(always)]
fn unpack_nl(block: &[u8; BYTES_NL]) -> Block<32> {
    Block { d: ints::f16(block, 0), m: 0.0, q: levels(block[2..].first_chunk().expect("16 of 16")) }
}

#[inline(always)]
fn unpack_xs(block: &[u8; BYTES_XS]) -> Super {
    let high = ints::word(block, 2);
    let sc =
        |j: usize| i16::from(block[4 + j / 2] >> (4 * (j % 2)) & 15) | ((high >> (2 * j) & 3) as i16) << 4;
    let mut q = [0; 256];
    for (q, codes) in q.as_chunks_mut().0.iter_mut().zip(block[8..].as_chunks().0) {
        *q = levels(codes);
    }
    Super::symmetric(ints::f16(block, 0), std::array::from_fn(|j| sc(j / 2) - 32), q)
}

#[inline(always)]
fn levels(codes: &[u8; 16]) -> [i8; 32] {
    ints::nibbles(codes).map(|code| LEVELS[code as usize & 15])
}

fn encode_nl(x: &[f32; 32], w: &[f32; 32], block: &mut [u8; BYTES_NL]) {
    let (d, t) = fit::stored_scale(x, w, TABLE, SEARCH);
    block[..2].copy_from_slice(&d);
    put_nl(&x.map(|x| TABLE.nearest(x * t) as i8), block);
}

fn put_nl(levels: &[i8; 32], block: &mut [u8; BYTES_NL]) {
    *block[2..].first_chunk_mut().expect("16 of 16") = codes(levels);
}

/// The inverse of [`levels`].
#[inline(always)]
fn codes(levels: &[i8; 32]) -> [u8; 16] {
    let mut codes = [0; 16];
    ints::pack_nibbles(levels.map(|q| TABLE.code(f32::from(q))), &mut codes);
    codes
}

fn encode_xs(x: &[f32; 256], w: &[f32; 256], block: &mut [u8; BYTES_XS]) {
    let e = superblock::encode_symmetric::<8, 32>(x, w, TABLE, Uniform(-32.0, 31.0), SEARCH);
    put_scales_xs(&e.scales(), block);
    put_xs(&e.q, block);
}

fn put_scales_xs(scales: &Scales, block: &mut [u8; BYTES_XS]) {
    let sc = scales.of_32().0.map(|sc| (sc + 32) as u8);
    let high = sc.iter().rev().fold(0, |word, sc| word << 2 | u16::from(sc >> 4));
    ints::put_f16(block, 0, scales.d);
    block[2..4].copy_from_slice(&high.to_le_bytes());
    for (i, byte) in block[4..8].iter_mut().enumerate() {
        *byte = sc[2 * i] & 15 | sc[2 * i + 1] << 4;
    }
}

fn put_xs(levels: &[i8; 256], block: &mut [u8; BYTES_XS]) {
    for (bytes, levels) in block[8..].as_chunks_mut().0.iter_mut().zip(levels.as_chunks().0) {
        *bytes = codes(levels);
    }
}
