//! q5_K: 256 five-bit numbers in 8 groups of 32, each group with a 6-bit scale and a 6-bit minimum.
//!
//! | bytes | what |
//! |---|---|
//! | 0..16 | `d`, `dmin`, `sc[0..8]` and `m[0..8]` as in q4_K |
//! | 16..48 | value `l` of group `j` has its fifth bit in byte `l` at bit `j` |
//! | 48..176 | the lower four bits as in q4_K |
//!
//! A weight of group `j` is `d * sc[j] * q - dmin * m[j]`.

use super::Format;
use super::fit;
use super::grid::{self, Grid, Levels, Scales, Scaling};
use super::ints::{self, Super};
use super::q4_k::{Head, nibbles, pack_head, pack_nibbles};
use super::superblock;
use crate::acts::Act;

pub static Q5_K: Format = Format {
    name: "q5_K",
    ggml_id: 13,
    block: 256,
    bytes: BYTES,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Uniform(0, 31),
        read: |blocks, steps, levels| grid::read_super(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: Some(Scaling {
            group: 32,
            sc: (0, 63),
            m: 63,
            read: |bytes| Scales::of(&unpack(grid::block(bytes))),
            write: |scales, bytes| put_scales(scales, grid::block_mut(bytes)),
        }),
    }),
    dot: |w, a| ints::dot_super_minima(w, a, unpack),
};

const BYTES: usize = 16 + 32 + 128;
const _: () = assert!(BYTES == 176, "ggml's size");

#[inline(always)]
fn unpack(block: &[u8; BYTES]) -> Super {
    let (head, rest) = block.split_first_chunk().expect("16 of 176");
    let (high, low) = rest.split_first_chunk::<32>().expect("32 of 160");
    let mut q = nibbles(low.first_chunk().expect("128 of 128"));
    for (j, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (q, high) in q.iter_mut().zip(high) {
            *q |= ((high >> j & 1) << 4) as i8;
        }
    }
    Head::unpack(head).of(q)
}

fn encode(x: &[f32; 256], w: &[f32; 256], block: &mut [u8; BYTES]) {
    let e = superblock::encode_minima::<8, 32>(x, w, 31.0, 63.0);
    put_scales(&e.scales(), block);
    put(&e.q, block);
}

fn put_scales(scales: &Scales, block: &mut [u8; BYTES]) {
    block[..16].copy_from_slice(&pack_head(scales));
}

fn put(levels: &[i8; 256], block: &mut [u8; BYTES]) {
    let (high, low) = block[16..].split_first_chunk_mut::<32>().expect("32 of 160");
    let q = levels.map(|q| q as u8);
    for (l, byte) in high.iter_mut().enumerate() {
        *byte = (0..8).fold(0, |byte, j| byte | (q[32 * j + l] >> 4) << j);
    }
    pack_nibbles(q.map(|q| q & 15), low.first_chunk_mut().expect("128 of 128"));
}
