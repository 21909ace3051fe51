//! q2_K: 256 two-bit numbers in 16 groups of 16, each group with a 4-bit scale and a 4-bit minimum.
//!
//! | bytes | what |
//! |---|---|
//! | 0..16 | byte `j` holds `sc[j]` in its low half and `m[j]` in its high half |
//! | 16..80 | `q`: value `32 r + l` of half `h` (128 values; `r` < 4, `l` < 32) is in byte `32 h + l` at bit `2 r` |
//! | 80..82 | `d`, f16: the scale of the scales |
//! | 82..84 | `dmin`, f16: the scale of the minima |
//!
//! A weight of group `j` is `d * sc[j] * q - dmin * m[j]`.

use super::Format;
use super::fit;
use super::grid::{self, Grid, Levels, Scales, Scaling};
use super::ints::{self, Super};
use super::superblock;
use crate::acts::Act;

pub static Q2_K: Format = Format {
    name: "q2_K",
    ggml_id: 10,
    block: 256,
    bytes: BYTES,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Uniform(0, 3),
        read: |blocks, steps, levels| grid::read_super(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: Some(Scaling {
            group: 16,
            sc: (0, 15),
            m: 15,
            read: |bytes| Scales::of(&unpack(grid::block(bytes))),
            write: |scales, bytes| put_scales(scales, grid::block_mut(bytes)),
        }),
    }),
    dot: |w, a| ints::dot_super_minima(w, a, unpack),
};

const BYTES: usize = 16 + 64 + 2 + 2;
const _: () = assert!(BYTES == 84, "ggml's size");

#[inline(always)]
fn unpack(block: &[u8; BYTES]) -> Super {
    Super {
        d: ints::f16(block, 80),
        dmin: ints::f16(block, 82),
        sc: std::array::from_fn(|j| i16::from(block[j] & 15)),
        m: std::array::from_fn(|j| block[j] >> 4),
        q: two_bits(block[16..].first_chunk().expect("64 of 68")).map(|q| q as i8),
    }
}

/// The 256 two-bit numbers of 64 bytes, as q3_K and tq2_0 have them too.
#[inline(always)]
pub(super) fn two_bits(bytes: &[u8; 64]) -> [u8; 256] {
    std::array::from_fn(|k| bytes[32 * (k / 128) + k % 32] >> (2 * (k / 32 % 4)) & 3)
}

/// The inverse of [`two_bits`].
#[inline(always)]
pub(super) fn pack_two_bits(q: [u8; 256], bytes: &mut [u8; 64]) {
    for (l, byte) in bytes.iter_mut().enumerate() {
        let first = 128 * (l / 32) + l % 32;
        *byte = q[first] | q[first + 32] << 2 | q[first + 64] << 4 | q[first + 96] << 6;
    }
}

fn encode(x: &[f32; 256], w: &[f32; 256], block: &mut [u8; BYTES]) {
    let e = superblock::encode_minima::<16, 16>(x, w, 3.0, 15.0);
    put_scales(&e.scales(), block);
    put(&e.q, block);
}

fn put_scales(scales: &Scales, block: &mut [u8; BYTES]) {
    for (j, byte) in block[..16].iter_mut().enumerate() {
        *byte = scales.sc[j] as u8 | scales.m[j] << 4;
    }
    ints::put_f16(block, 80, scales.d);
    ints::put_f16(block, 82, scales.dmin);
}

fn put(levels: &[i8; 256], block: &mut [u8; BYTES]) {
    pack_two_bits(levels.map(|q| q as u8), block[16..].first_chunk_mut().expect("64 of 68"));
}
