//! iq2_xxs, iq2_xs and iq2_s: 256 numbers in 32 runs of 8, each run a point of a grid with magnitudes 8, 25 and 43, and signs.
//!
//! iq2_xxs: 256 points, signs of even number, scales of groups of 32.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..66 | 8 bytes per group: four bytes with the points of its runs, and a little-endian word: |
//! | | 7 bits of signs per run from bit 0 (the eighth sign makes their number even), `sc` from bit 28 |
//!
//! iq2_xs: 512 points, signs of even number, scales of groups of 16.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..66 | a little-endian word per run: its point in 9 bits, then 7 bits of signs |
//! | 66..74 | byte `i` holds `sc` of group `2 i` in its low half and of group `2 i + 1` in its high half |
//!
//! iq2_s: 1024 points, any signs, scales of groups of 16.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..34 | the lower 8 bits of the point of each run |
//! | 34..66 | a byte of signs per run |
//! | 66..74 | the upper 2 bits of the points, run `r` in byte `r / 4` at bit `2 (r % 4)` |
//! | 74..82 | `sc` as in iq2_xs |
//!
//! A weight is `d * (sc + 1/2) / 4 * p`, here `d / 8 * (2 sc + 1) * p`. We only read them.

use super::Format;
use super::grids::{IQ2_S as GRID_S, IQ2_XS as GRID_XS, IQ2_XXS as GRID_XXS, even_signs, packed, signed};
use super::ints::{self, Super};
use crate::acts::Act;

pub static IQ2_XXS: Format = Format {
    name: "iq2_xxs",
    ggml_id: 16,
    block: 256,
    bytes: BYTES_XXS,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack_xxs),
    quantize: None,
    grid: None,
    dot: |w, a| ints::dot_super(w, a, unpack_xxs),
};

pub static IQ2_XS: Format = Format {
    name: "iq2_xs",
    ggml_id: 17,
    block: 256,
    bytes: BYTES_XS,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack_xs),
    quantize: None,
    grid: None,
    dot: |w, a| ints::dot_super(w, a, unpack_xs),
};

pub static IQ2_S: Format = Format {
    name: "iq2_s",
    ggml_id: 22,
    block: 256,
    bytes: BYTES_S,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack_s),
    quantize: None,
    grid: None,
    dot: |w, a| ints::dot_super(w, a, unpack_s),
};

const BYTES_XXS: usize = 2 + 64;
const BYTES_XS: usize = 2 + 64 + 8;
const BYTES_S: usize = 2 + 32 + 32 + 8 + 8;
const _: () = assert!(BYTES_XXS == 66 && BYTES_XS == 74 && BYTES_S == 82, "ggml's sizes");

#[inline(always)]
pub(crate) fn unpack_xxs(block: &[u8; BYTES_XXS]) -> Super {
    let words: [u32; 8] = std::array::from_fn(|g| ints::word32(block, 2 + 8 * g + 4));
    let q = ints::groups(|g| {
        std::array::from_fn(|r| {
            let point = packed(&GRID_XXS[usize::from(block[2 + 8 * g + r])]);
            signed(point, even_signs(words[g] >> (7 * r)))
        })
    });
    Super::symmetric(0.125 * ints::f16(block, 0), std::array::from_fn(|j| odd(words[j / 2] >> 28)), q)
}

#[inline(always)]
pub(crate) fn unpack_xs(block: &[u8; BYTES_XS]) -> Super {
    let q = ints::groups(|g| {
        std::array::from_fn(|r| {
            let word = ints::word(block, 2 + 8 * g + 2 * r);
            signed(packed(&GRID_XS[usize::from(word & 511)]), even_signs(u32::from(word >> 9)))
        })
    });
    Super::symmetric(0.125 * ints::f16(block, 0), halves(&block[66..]), q)
}

#[inline(always)]
pub(crate) fn unpack_s(block: &[u8; BYTES_S]) -> Super {
    let q = ints::groups(|g| {
        let high = u16::from(block[66 + g]);
        std::array::from_fn(|r| {
            let point = (high << (8 - 2 * r)) & 0x300 | u16::from(block[2 + 4 * g + r]);
            signed(packed(&GRID_S[usize::from(point)]), block[34 + 4 * g + r])
        })
    });
    Super::symmetric(0.125 * ints::f16(block, 0), halves(&block[74..]), q)
}

/// `2 sc + 1` of the 16 groups.
#[inline(always)]
fn halves(bytes: &[u8]) -> [i16; 16] {
    std::array::from_fn(|j| odd(u32::from(bytes[j / 2] >> (4 * (j % 2)) & 15)))
}

#[inline(always)]
fn odd(sc: u32) -> i16 {
    2 * sc as i16 + 1
}
