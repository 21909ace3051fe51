//! q3_K: 256 three-bit numbers around 4 in 16 groups of 16, each group with a 6-bit scale around 32.
//!
//! | bytes | what |
//! |---|---|
//! | 0..32 | value `32 r + l` (`r` < 8, `l` < 32) has its third bit in byte `l` at bit `r` |
//! | 32..96 | the lower two bits as in q2_K |
//! | 96..108 | scales: `sc[j]` has its low 4 bits in byte `j % 8`, low half for `j` < 8 and high half otherwise, |
//! | | and its top 2 bits in byte `8 + j % 4` at bit `2 (j / 4)` |
//! | 108..110 | `d`, f16 |
//!
//! A weight of group `j` is `d * (sc[j] - 32) * (q - 4)`.

use super::Format;
use super::fit::{self, Uniform};
use super::grid::{self, Grid, Levels, Scales, Scaling};
use super::ints::{self, Super};
use super::q2_k::{pack_two_bits, two_bits};
use super::superblock;
use crate::acts::Act;

pub static Q3_K: Format = Format {
    name: "q3_K",
    ggml_id: 11,
    block: 256,
    bytes: BYTES,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Uniform(-4, 3),
        read: |blocks, steps, levels| grid::read_super(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: Some(Scaling {
            group: 16,
            sc: (-32, 31),
            m: 0,
            read: |bytes| Scales::of(&unpack(grid::block(bytes))),
            write: |scales, bytes| put_scales(scales, grid::block_mut(bytes)),
        }),
    }),
    dot: |w, a| ints::dot_super(w, a, unpack),
};

const BYTES: usize = 32 + 64 + 12 + 2;
const _: () = assert!(BYTES == 110, "ggml's size");

#[inline(always)]
fn unpack(block: &[u8; BYTES]) -> Super {
    let low = two_bits(block[32..].first_chunk().expect("64 of 78"));
    let sc = &block[96..108];
    let sc = std::array::from_fn(|j| {
        (sc[j % 8] >> (4 * (j / 8)) & 15) | (sc[8 + j % 4] >> (2 * (j / 4)) & 3) << 4
    });
    let q = std::array::from_fn(|k| (low[k] | (block[k % 32] >> (k / 32) & 1) << 2) as i8 - 4);
    Super::symmetric(ints::f16(block, 108), sc.map(|sc| i16::from(sc) - 32), q)
}

fn encode(x: &[f32; 256], w: &[f32; 256], block: &mut [u8; BYTES]) {
    let e = superblock::encode_symmetric::<16, 16>(x, w, Uniform(-4.0, 3.0), Uniform(-32.0, 31.0), (1.8, 4));
    put_scales(&e.scales(), block);
    put(&e.q, block);
}

fn put_scales(scales: &Scales, block: &mut [u8; BYTES]) {
    let sc = scales.sc.map(|sc| (sc + 32) as u8);
    let packed = &mut block[96..108];
    packed.fill(0);
    for (j, &sc) in sc.iter().enumerate() {
        packed[j % 8] |= (sc & 15) << (4 * (j / 8));
        packed[8 + j % 4] |= (sc >> 4) << (2 * (j / 4));
    }
    ints::put_f16(block, 108, scales.d);
}

fn put(levels: &[i8; 256], block: &mut [u8; BYTES]) {
    let q = levels.map(|q| (q + 4) as u8);
    for (l, byte) in block[..32].iter_mut().enumerate() {
        *byte = (0..8).fold(0, |byte, r| byte | (q[32 * r + l] >> 2) << r);
    }
    pack_two_bits(q.map(|q| q & 3), block[32..].first_chunk_mut().expect("64 of 78"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_moves_one_scale_or_one_value() {
        for bit in 0..108 * 8 {
            let mut block = [0; BYTES];
            block[bit / 8] = 1 << (bit % 8);
            let b = unpack(&block);
            let moved =
                b.sc.iter().filter(|&&sc| sc != -32).count() + b.q.iter().filter(|&&q| q != -4).count();
            assert_eq!(moved, 1, "bit {bit}");
        }
    }
}
