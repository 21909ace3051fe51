//! q4_K: 256 four-bit numbers in 8 groups of 32, each group with a 6-bit scale and a 6-bit minimum.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16: the scale of the scales |
//! | 2..4 | `dmin`, f16: the scale of the minima |
//! | 4..16 | `sc[0..8]` and `m[0..8]`, packed: bytes 0..4 hold `sc[0..4]`, bytes 4..8 hold `m[0..4]` in their low 6 bits; |
//! | | bytes 8..12 hold the low 4 bits of `sc[4..8]` (low half) and of `m[4..8]` (high half), |
//! | | whose top 2 bits are the top 2 of bytes 0..4 and 4..8 |
//! | 16..144 | `q`: the 32 bytes from `32 p` hold group `2 p` in their low halves and group `2 p + 1` in their high halves |
//!
//! A weight of group `j` is `d * sc[j] * q - dmin * m[j]`.

use super::Format;
use super::fit;
use super::grid::{self, Grid, Levels, Scales, Scaling};
use super::ints::{self, Super};
use super::superblock;
use crate::acts::Act;
use crate::half::f16_to_f32;

pub static Q4_K: Format = Format {
    name: "q4_K",
    ggml_id: 12,
    block: 256,
    bytes: BYTES,
    act: Act::Q8x256,
    dequantize,
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Uniform(0, 15),
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

const BYTES: usize = 2 + 2 + 12 + 128;
const _: () = assert!(BYTES == 144, "ggml's size");

/// The first 16 bytes of a block, unpacked.
#[derive(Debug)]
pub(super) struct Head {
    d: f32,
    dmin: f32,
    /// 6-bit scales.
    sc: [u8; 8],
    /// 6-bit minima.
    m: [u8; 8],
}

impl Head {
    #[inline(always)]
    pub(super) fn unpack(head: &[u8; 16]) -> Self {
        let half = |at: usize| f16_to_f32(u16::from_le_bytes([head[at], head[at + 1]]));
        // Four bytes at a time, each in its own byte of a word.
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (low_sc, low_m, high) = (word(4), word(8), word(12));
        let top2 = |low: u32| (low >> 2) & 0x3030_3030;
        let join = |a: u32, b: u32| (u64::from(a & 0x3f3f_3f3f) | u64::from(b) << 32).to_le_bytes();
        Self {
            d: half(0),
            dmin: half(2),
            sc: join(low_sc, (high & 0x0f0f_0f0f) | top2(low_sc)),
            m: join(low_m, ((high >> 4) & 0x0f0f_0f0f) | top2(low_m)),
        }
    }

    /// The superblock with the quants `q`: each group of 32 is two of 16.
    #[inline(always)]
    pub(super) fn of(self, q: [i8; 256]) -> Super {
        Super {
            d: self.d,
            dmin: self.dmin,
            sc: std::array::from_fn(|j| i16::from(self.sc[j / 2])),
            m: std::array::from_fn(|j| self.m[j / 2]),
            q,
        }
    }
}

#[inline(always)]
fn unpack(block: &[u8; BYTES]) -> Super {
    let (head, low) = block.split_first_chunk().expect("16 of 144");
    Head::unpack(head).of(nibbles(low.first_chunk().expect("128 of 128")))
}

/// The 256 four-bit numbers of 128 bytes, as q5_K has them too.
#[inline(always)]
pub(super) fn nibbles(bytes: &[u8; 128]) -> [i8; 256] {
    ints::runs(|j| group(bytes, j))
}

/// Those of group `j`.
#[inline(always)]
fn group(bytes: &[u8; 128], j: usize) -> [i8; 32] {
    bytes.as_chunks::<32>().0[j / 2].map(|byte| (byte >> (4 * (j % 2)) & 15) as i8)
}

/// As [`ints::dequantize_super`] does it, but group by group: half as fast again, in the format that most files have.
fn dequantize(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<256>().0) {
        let (head, low) = block.split_first_chunk().expect("16 of 144");
        let (head, low) = (Head::unpack(head), low.first_chunk().expect("128 of 128"));
        for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = (head.d * f32::from(head.sc[j]), head.dmin * f32::from(head.m[j]));
            *out = group(low, j).map(|q| scale * f32::from(q) - min);
        }
    }
}

/// The inverse of [`nibbles`].
#[inline(always)]
pub(super) fn pack_nibbles(q: [u8; 256], bytes: &mut [u8; 128]) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        let first = 64 * (i / 32) + i % 32;
        *byte = q[first] | q[first + 32] << 4;
    }
}

fn encode(x: &[f32; 256], w: &[f32; 256], block: &mut [u8; BYTES]) {
    let e = superblock::encode_minima::<8, 32>(x, w, 15.0, 63.0);
    put_scales(&e.scales(), block);
    put(&e.q, block);
}

fn put_scales(scales: &Scales, block: &mut [u8; BYTES]) {
    block[..16].copy_from_slice(&pack_head(scales));
}

fn put(levels: &[i8; 256], block: &mut [u8; BYTES]) {
    pack_nibbles(levels.map(|q| q as u8), block[16..].first_chunk_mut().expect("128 of 128"));
}

/// The first 16 bytes of a block; the inverse of [`Head::unpack`].
pub(super) fn pack_head(scales: &Scales) -> [u8; 16] {
    let mut head = [0; 16];
    ints::put_f16(&mut head, 0, scales.d);
    ints::put_f16(&mut head, 2, scales.dmin);
    let (sc, m) = scales.of_32();
    for j in 0..4 {
        let [sc, sc_next, m, m_next] = [sc[j] as u8, sc[j + 4] as u8, m[j], m[j + 4]];
        head[4 + j] = sc | sc_next >> 4 << 6;
        head[8 + j] = m | m_next >> 4 << 6;
        head[12 + j] = sc_next & 15 | m_next << 4;
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_the_packed_scales_has_one_place() {
        for bit in 0..96 {
            let mut head = [0; 16];
            head[4 + bit / 8] = 1 << (bit % 8);
            let b = Head::unpack(&head);
            let set: u32 = b.sc.iter().chain(&b.m).map(|v| v.count_ones()).sum();
            assert_eq!(set, 1, "bit {bit}");
        }
        let mut head = [0; 16];
        (head[4 + 1], head[4 + 9]) = (0b1100_0001, 0b0010_1000);
        let b = Head::unpack(&head);
        assert_eq!((b.sc, b.m), ([0, 1, 0, 0, 0, 0b11_1000, 0, 0], [0, 0, 0, 0, 0, 0b00_0010, 0, 0]));
    }
}
