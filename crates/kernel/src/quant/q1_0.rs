//! q1_0: 128 signs and their scale.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | value `k` has its bit in byte `k / 8` at bit `k % 8` |
//!
//! A weight is `d` where its bit is set and `-d` otherwise.

use super::Format;
use super::fit;
use super::grid::{self, Grid, Levels};
use super::grids::BITS;
use super::ints::{self, Block};
use crate::acts::Act;
use crate::half::f32_to_f16;

pub static Q1_0: Format = Format {
    name: "q1_0",
    ggml_id: 41,
    block: 128,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize: |blocks, out| ints::dequantize(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Table(&[-1, 1]),
        read: |blocks, steps, levels| grid::read(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: None,
    }),
    dot: |w, a| ints::dot(w, a, unpack),
};

const BYTES: usize = 2 + 16;
const _: () = assert!(BYTES == 18, "ggml's size");

#[inline(always)]
pub(crate) fn unpack(block: &[u8; BYTES]) -> Block<128> {
    let mut q = [0; 128];
    // Where a bit is not set 255, which is -1, otherwise 1.
    let signs = |run: usize| !BITS[usize::from(block[2 + run])] | 0x0101_0101_0101_0101;
    ints::put_runs::<16>(&mut q, std::array::from_fn(signs));
    Block { d: ints::f16(block, 0), m: 0.0, q }
}

/// The best scale there is: the weighted mean of magnitudes.
fn encode(x: &[f32; 128], w: &[f32; 128], block: &mut [u8; BYTES]) {
    let (mut sum, mut weight) = (0.0, 0.0);
    for (x, w) in x.iter().zip(w) {
        (sum, weight) = (sum + w * x.abs(), weight + w);
    }
    let d = if fit::representable(x) { sum / weight } else { f32::NAN };
    block[..2].copy_from_slice(&f32_to_f16(d).to_le_bytes());
    put(&x.map(|x| if x >= 0.0 { 1 } else { -1 }), block);
}

fn put(levels: &[i8; 128], block: &mut [u8; BYTES]) {
    for (byte, levels) in block[2..].iter_mut().zip(levels.as_chunks::<8>().0) {
        *byte = levels.iter().rev().fold(0, |byte, &q| byte << 1 | u8::from(q >= 0));
    }
}
