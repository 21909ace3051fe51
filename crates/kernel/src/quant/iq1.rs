//! iq1_s and iq1_m: 256 numbers in 32 runs of 8, each run one of 2048 points of `{-1, 0, 1}^8` moved by an eighth.
//!
//! iq1_s, whose scales and shifts belong to groups of 32:
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..34 | the lower 8 bits of the point of each run |
//! | 34..50 | a little-endian word per group: its runs' upper 3 bits from bit 0, 3 bits of `sc` from bit 12, |
//! | | bit 15 set where the shift is down |
//!
//! iq1_m, whose scales belong to groups of 16 and whose shifts to runs:
//!
//! | bytes | what |
//! |---|---|
//! | 0..32 | the lower 8 bits of the point of each run |
//! | 32..48 | half a byte per run: its upper 3 bits, and bit 3 set where the shift is down |
//! | 48..56 | four little-endian words: the 3-bit `sc` of four groups from bit 0, and on top 4 bits of `d`, the lowest first |
//!
//! A weight is `d * (2 sc + 1) * (p +- 1/8)`, here `d / 8 * (2 sc + 1) * (8 p +- 1)`. We only read them.

use super::Format;
use super::grids::{IQ1, packed};
use super::ints::{self, Super};
use crate::acts::Act;
use crate::half::f16_to_f32;

pub static IQ1_S: Format = Format {
    name: "iq1_s",
    ggml_id: 19,
    block: 256,
    bytes: BYTES_S,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack_s),
    quantize: None,
    grid: None,
    dot: |w, a| ints::dot_super(w, a, unpack_s),
};

pub static IQ1_M: Format = Format {
    name: "iq1_m",
    ggml_id: 29,
    block: 256,
    bytes: BYTES_M,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack_m),
    quantize: None,
    grid: None,
    dot: |w, a| ints::dot_super(w, a, unpack_m),
};

const BYTES_S: usize = 2 + 32 + 16;
const BYTES_M: usize = 32 + 16 + 8;
const _: () = assert!(BYTES_S == 50 && BYTES_M == 56, "ggml's sizes");

#[inline(always)]
pub(crate) fn unpack_s(block: &[u8; BYTES_S]) -> Super {
    let words: [u16; 8] = std::array::from_fn(|g| ints::word(block, 34 + 2 * g));
    let q = ints::groups(|g| {
        let word = words[g];
        std::array::from_fn(|r| shifted(block[2 + 4 * g + r], word >> (3 * r) & 7, word >> 15))
    });
    let sc = std::array::from_fn(|j| 2 * (words[j / 2] >> 12 & 7) as i16 + 1);
    Super::symmetric(0.125 * ints::f16(block, 0), sc, q)
}

#[inline(always)]
pub(crate) fn unpack_m(block: &[u8; BYTES_M]) -> Super {
    let words: [u16; 4] = std::array::from_fn(|g| ints::word(block, 48 + 2 * g));
    let q = ints::groups(|g| {
        let word = ints::word(block, 32 + 2 * g);
        std::array::from_fn(|r| shifted(block[4 * g + r], word >> (4 * r) & 7, word >> (4 * r + 3) & 1))
    });
    let sc = std::array::from_fn(|j| 2 * (words[j / 4] >> (3 * (j % 4)) & 7) as i16 + 1);
    let d = words.iter().rev().fold(0, |d, word| d << 4 | word >> 12);
    Super::symmetric(0.125 * f16_to_f32(d), sc, q)
}

/// A point, times 8, and its shift: 1 up, or `down` where that is 1.
#[inline(always)]
fn shifted(low: u8, high: u16, down: u16) -> u64 {
    let point = packed(&IQ1[usize::from(high << 8 | u16::from(low))]);
    let up = (point << 3) & 0xf8f8_f8f8_f8f8_f8f8 | 0x0101_0101_0101_0101;
    // Down is 2 less, in every byte.
    ints::add_bytes(up, u64::from(down) * 0xfefe_fefe_fefe_fefe)
}
