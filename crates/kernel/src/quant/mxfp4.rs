//! mxfp4: 32 numbers of 4 bits (e2m1: sign, two bits of exponent, one of mantissa) and a power of two.
//!
//! The format of OCP's Microscaling specification, 1.0.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | `e`, e8m0: the scale is `2^(e - 127)` |
//! | 1..17 | codes: byte `j` holds value `j` in its low half and value `16 + j` in its high half |
//!
//! A weight is `2^(e - 127) * e2m1`, here `2^(e - 128)` times twice that, which is a whole number. As in ggml `e = 255`,
//! OCP's NaN, is a power of two like the others.

use super::Format;
use super::fit::{self, Levels as _, Table};
use super::grid::{self, Grid, Levels};
use super::ints::{self, Block};
use crate::acts::Act;

/// The Microscaling specification's: 32 numbers of four bits and a power of two.
pub static MXFP4: Format = Format {
    name: "mxfp4",
    ggml_id: 39,
    block: 32,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize: |blocks, out| ints::dequantize(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: E2M1_LEVELS,
        read: |blocks, steps, levels| grid::read(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: None,
    }),
    dot: |w, a| ints::dot(w, a, unpack),
};

const BYTES: usize = 1 + 16;
const _: () = assert!(BYTES == 17, "ggml's size");

/// Twice the numbers of e2m1, by code.
pub(crate) static E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
/// The same in rising order.
pub(super) const E2M1_LEVELS: Levels = Levels::Table(&[-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12]);
static NEAREST: [u8; 512] = Table::nearest_of(&E2M1);
pub(super) static TABLE: Table = Table::new(&E2M1, &NEAREST);

#[inline(always)]
fn unpack(block: &[u8; BYTES]) -> Block<32> {
    let codes = ints::nibbles(block[1..].first_chunk().expect("16 of 16"));
    Block { d: scale(block[0]), m: 0.0, q: codes.map(|code| E2M1[code as usize & 15]) }
}

/// `2^(e - 128)`.
#[inline(always)]
pub(crate) fn scale(e: u8) -> f32 {
    // The two smallest are subnormal.
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (u32::from(e) - 1) << 23 })
}

/// The best of the four powers of two around the one that just holds the largest value.
fn encode(x: &[f32; 32], w: &[f32; 32], block: &mut [u8; BYTES]) {
    if !fit::representable(x) {
        // 2^127 * 12, which is infinite.
        block.fill(0x77);
        block[0] = 255;
        return;
    }
    // The exponent of the largest value, 2 below which 6, e2m1's largest, just reaches it.
    let exponent = (super::largest(x).to_bits() >> 23 & 0xff) as i32;
    let mut least = f32::INFINITY;
    for e in exponent - 4..exponent {
        let e = e.clamp(0, 254) as u8;
        let (error, _) = fit::residual(x, w, TABLE, scale(e), 0.0);
        if error < least {
            (least, block[0]) = (error, e);
        }
    }
    let t = fit::inverse(scale(block[0]));
    put(&x.map(|x| TABLE.nearest(x * t) as i8), block);
}

fn put(levels: &[i8; 32], block: &mut [u8; BYTES]) {
    let codes = levels.map(|level| TABLE.code(f32::from(level)));
    ints::pack_nibbles(codes, block[1..].first_chunk_mut().expect("16 of 16"));
}
