//! q2_0: 64 two-bit numbers from -1 to 2 and their scale.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | value `k` has its bits in byte `k / 4` from bit `2 (k % 4)` |
//!
//! A weight is `d * (q - 1)`. Models trained to three values leave `q = 3` unused; others need it, and a `d` of either sign.

use super::Format;
use super::fit::{self, Levels as _, Uniform};
use super::grid::{self, Grid, Levels};
use super::ints::{self, Block};
use crate::acts::Act;

pub static Q2_0: Format = Format {
    name: "q2_0",
    ggml_id: 42,
    block: 64,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize: |blocks, out| ints::dequantize(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Uniform(-1, 2),
        read: |blocks, steps, levels| grid::read(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: None,
    }),
    dot: |w, a| ints::dot(w, a, unpack),
};

const BYTES: usize = 2 + 16;
const _: () = assert!(BYTES == 18, "ggml's size");

#[inline(always)]
pub(crate) fn unpack(block: &[u8; BYTES]) -> Block<64> {
    let mut q = [0; 64];
    let run = |run: usize| {
        // Each half of the bits moves away from the other until every pair of them has a byte.
        let bits = u64::from(ints::word(block, 2 + 2 * run));
        let bits = (bits | bits << 24) & 0x0000_00ff_0000_00ff;
        let bits = (bits | bits << 12) & 0x000f_000f_000f_000f;
        let bits = (bits | bits << 6) & 0x0303_0303_0303_0303;
        // Less 1.
        ints::add_bytes(bits, !0)
    };
    ints::put_runs::<8>(&mut q, std::array::from_fn(run));
    Block { d: ints::f16(block, 0), m: 0.0, q }
}

fn encode(x: &[f32; 64], w: &[f32; 64], block: &mut [u8; BYTES]) {
    let levels = Uniform(-1.0, 2.0);
    let (d, t) = fit::stored_scale(x, w, levels, (2.4, 6));
    block[..2].copy_from_slice(&d);
    put(&x.map(|x| levels.nearest(x * t) as i8), block);
}

fn put(levels: &[i8; 64], block: &mut [u8; BYTES]) {
    for (byte, levels) in block[2..].iter_mut().zip(levels.as_chunks::<4>().0) {
        *byte = levels.iter().rev().fold(0, |byte, &q| byte << 2 | (q + 1) as u8);
    }
}
