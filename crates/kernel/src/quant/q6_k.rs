//! q6_K: 256 six-bit numbers around 32 in 16 groups of 16, each group with an 8-bit scale.
//!
//! | bytes | what |
//! |---|---|
//! | 0..128 | `low`: the lower four bits |
//! | 128..192 | `high`: the upper two bits |
//! | 192..208 | `sc[0..16]`, i8 |
//! | 208..210 | `d`, f16 |
//!
//! Each half of 128 values owns 64 bytes of `low` and 32 of `high`. Value `32 r + l` of a half (`r` < 4, `l` < 32) has its low bits in
//! byte `32 (r % 2) + l`, lower half of the byte for `r` < 2 and upper half otherwise, and its high bits in byte `l` at bit `2 r`.
//!
//! A weight of group `j` is `d * sc[j] * (q - 32)`.

use super::Format;
use super::fit::{self, Uniform};
use super::grid::{self, Grid, Levels, Scales, Scaling};
use super::ints::{self, Super};
use super::superblock;
use crate::acts::Act;

pub static Q6_K: Format = Format {
    name: "q6_K",
    ggml_id: 14,
    block: 256,
    bytes: BYTES,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Uniform(-32, 31),
        read: |blocks, steps, levels| grid::read_super(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: Some(Scaling {
            group: 16,
            sc: (-128, 127),
            m: 0,
            read: |bytes| Scales::of(&unpack(grid::block(bytes))),
            write: |scales, bytes| put_scales(scales, grid::block_mut(bytes)),
        }),
    }),
    dot: |w, a| ints::dot_super(w, a, unpack),
};

const BYTES: usize = 128 + 64 + 16 + 2;
const _: () = assert!(BYTES == 210, "ggml's size");

#[inline(always)]
fn unpack(block: &[u8; BYTES]) -> Super {
    let (low, rest) = block.split_first_chunk::<128>().expect("128 of 210");
    let (high, rest) = rest.split_first_chunk::<64>().expect("64 of 82");
    let q = ints::runs::<32>(|run| {
        let (half, r) = (run / 4, run % 4);
        let low = &low.as_chunks::<32>().0[2 * half + r % 2];
        let high = &high.as_chunks::<32>().0[half];
        std::array::from_fn(|l| (low[l] >> (4 * (r / 2)) & 15 | (high[l] >> (2 * r) & 3) << 4) as i8 - 32)
    });
    Super::symmetric(ints::f16(block, 208), std::array::from_fn(|j| i16::from(rest[j] as i8)), q)
}

fn encode(x: &[f32; 256], w: &[f32; 256], block: &mut [u8; BYTES]) {
    let e =
        superblock::encode_symmetric::<16, 16>(x, w, Uniform(-32.0, 31.0), Uniform(-128.0, 127.0), (5.0, 8));
    put_scales(&e.scales(), block);
    put(&e.q, block);
}

fn put_scales(scales: &Scales, block: &mut [u8; BYTES]) {
    for (byte, sc) in block[192..208].iter_mut().zip(scales.sc) {
        *byte = sc as u8;
    }
    ints::put_f16(block, 208, scales.d);
}

fn put(levels: &[i8; 256], block: &mut [u8; BYTES]) {
    let q = |half: usize, r: usize, l: usize| (levels[128 * half + 32 * r + l] + 32) as u8;
    for (i, byte) in block[..128].iter_mut().enumerate() {
        let (half, r, l) = (i / 64, i / 32 % 2, i % 32);
        *byte = q(half, r, l) & 15 | q(half, r + 2, l) << 4;
    }
    for (i, byte) in block[128..192].iter_mut().enumerate() {
        *byte = (0..4).fold(0, |byte, r| byte | q(i / 32, r, i % 32) >> 4 << (2 * r));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_the_quants_moves_one_value() {
        for bit in 0..192 * 8 {
            let mut block = [0; BYTES];
            block[bit / 8] = 1 << (bit % 8);
            let moved = unpack(&block).q.iter().filter(|&&q| q != -32).count();
            assert_eq!(moved, 1, "bit {bit}");
        }
    }

    #[test]
    fn scales_are_signed() {
        let mut block = [0; BYTES];
        (block[192], block[208], block[209]) = (0xff, 0x00, 0x3c); // -1 and d = 1
        let mut out = [0.0; 256];
        (Q6_K.dequantize)(&block, &mut out);
        assert_eq!((out[0], out[15], out[16]), (32.0, 32.0, 0.0));
    }
}
