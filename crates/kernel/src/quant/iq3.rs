//! iq3_xxs and iq3_s: 256 numbers in 64 runs of 4, each run a point of a grid with 8 magnitudes, and signs.
//!
//! iq3_xxs: 256 points of 4 to 62, signs of even number in each 8, scales of groups of 32.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..66 | the point of each run |
//! | 66..98 | a little-endian word per group: 7 bits of signs per 8 values from bit 0 (the eighth makes their number even), |
//! | | `sc` from bit 28 |
//!
//! iq3_s: 512 points of 1 to 15, any signs, scales of groups of 32.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..66 | the lower 8 bits of the point of each run |
//! | 66..74 | the ninth bits, run `r` in byte `r / 8` at bit `r % 8` |
//! | 74..106 | a bit of sign per value |
//! | 106..110 | byte `i` holds `sc` of group `2 i` in its low half and of group `2 i + 1` in its high half |
//!
//! A weight is `d * (sc + 1/2) / 2 * p` in iq3_xxs, here `d / 4 * (2 sc + 1) * p`, and `d * (2 sc + 1) * p` in iq3_s. We
//! only read them.

use super::Format;
use super::grids::{IQ3_S as GRID_S, IQ3_XXS as GRID_XXS, even_signs, signed};
use super::ints::{self, Super};
use crate::acts::Act;

pub static IQ3_XXS: Format = Format {
    name: "iq3_xxs",
    ggml_id: 18,
    block: 256,
    bytes: BYTES_XXS,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack_xxs),
    quantize: None,
    grid: None,
    dot: |w, a| ints::dot_super(w, a, unpack_xxs),
};

pub static IQ3_S: Format = Format {
    name: "iq3_s",
    ggml_id: 21,
    block: 256,
    bytes: BYTES_S,
    act: Act::Q8x256,
    dequantize: |blocks, out| ints::dequantize_super(blocks, out, unpack_s),
    quantize: None,
    grid: None,
    dot: |w, a| ints::dot_super(w, a, unpack_s),
};

const BYTES_XXS: usize = 2 + 64 + 32;
const BYTES_S: usize = 2 + 64 + 8 + 32 + 4;
const _: () = assert!(BYTES_XXS == 98 && BYTES_S == 110, "ggml's sizes");

#[inline(always)]
pub(crate) fn unpack_xxs(block: &[u8; BYTES_XXS]) -> Super {
    let words: [u32; 8] = std::array::from_fn(|g| ints::word32(block, 66 + 4 * g));
    let q = ints::groups(|g| {
        let points: &[u8; 8] = block[2 + 8 * g..].first_chunk().expect("a group's points");
        std::array::from_fn(|r| {
            let point = |run: usize| GRID_XXS[usize::from(points[run])];
            signed(both(point(2 * r), point(2 * r + 1)), even_signs(words[g] >> (7 * r)))
        })
    });
    let sc = std::array::from_fn(|j| 2 * (words[j / 2] >> 28) as i16 + 1);
    Super::symmetric(0.25 * ints::f16(block, 0), sc, q)
}

#[inline(always)]
pub(crate) fn unpack_s(block: &[u8; BYTES_S]) -> Super {
    let q = ints::groups(|g| {
        let points: &[u8; 8] = block[2 + 8 * g..].first_chunk().expect("a group's points");
        let high = u16::from(block[66 + g]);
        std::array::from_fn(|r| {
            let point = |run: usize| GRID_S[usize::from((high << (8 - run)) & 256 | u16::from(points[run]))];
            signed(both(point(2 * r), point(2 * r + 1)), block[74 + 4 * g + r])
        })
    });
    let sc = std::array::from_fn(|j| 2 * i16::from(block[106 + j / 4] >> (4 * (j / 2 % 2)) & 15) + 1);
    Super::symmetric(ints::f16(block, 0), sc, q)
}

/// Two runs that share a byte of signs.
#[inline(always)]
fn both(first: [i8; 4], second: [i8; 4]) -> u64 {
    let word = |point: [i8; 4]| u64::from(u32::from_le_bytes(point.map(|p| p as u8)));
    word(first) | word(second) << 32
}
