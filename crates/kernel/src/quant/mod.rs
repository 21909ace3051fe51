//! The shelf of block formats: how `block` weights become `bytes` bytes and back.
//!
//! One file per format: its layout, how it is decoded (bit-exactly as its inventor decodes it), how it is encoded where
//! we encode it, and its scalar dot product. Layouts are ggml's, the field's common currency. To add a format write its
//! file and add one line to [`FORMATS`]; tests, benchmarks and the loaders read the shelf.
//!
//! Beside the formats lie `ints.rs` (a block as whole numbers, from which most formats decode and multiply), `fit.rs`
//! and `superblock.rs` (the search for scales, by which most formats encode), [`grid`] (which values the weights of an encoded
//! block may take) and `grids.rs` (the tables of the iq formats).
//!
//! # How a dot product is summed
//! Every tier sums in this order, so that a result never depends on the tile, batch or thread it was computed in:
//! - float formats ([`Act::F32`]): 16 partial sums, the value at index `k` goes to sum `k % 16` in rising `k`; then the
//!   upper half is added onto the lower half until one is left (16, 8, 4, 2, 1);
//! - block formats: a term per block of activations (32 or 256). With `d` and `d_a` the scales of weights and activations,
//!   the integers of the block are summed exactly (group scales and offsets included) to `isum`, and `acc = fma(isum as f32 * d,
//!   d_a, acc)` runs over the blocks in rising order: the first product is rounded, the second together with the sum. What a format's values have
//!   in common is part of `d` (an eighth in iq1 and iq2, a half of e2m1), so that the rest are integers of at most 8 bits;
//!   where a block of weights spans several of activations (q1_0, q2_0), each has its own term.
//!   Where activations of a superblock have a scale per 32 ([`Act::Q8x32Of256`]), its integers are summed exactly by 32, `all =
//!   fma(isum as f32, d_a, all)` runs over these from 0 on, and `acc = fma(all, d, acc)` follows; so with minima.
//!   Where a block has minima, `acc = fma(-msum as f32 * dmin, d_a, acc)` follows with `msum` the exact sum of group minimum times
//!   group sum of activations; where it has one offset `m` (q4_1, q5_1), `acc = fma(asum as f32 * m, d_a, acc)` with `asum` the sum
//!   of its activations. Here all tiers agree to the bit;
//! - nvfp4, whose groups of 16 have float scales: with `s` and `isum` of the two groups of a block of 32 activations, `acc =
//!   fma(s0 * isum0 + s1 * isum1, d_a, acc)`. Both products are exact (4 bits times 15), so fusing that addition changes nothing.

mod fit;
mod float;
pub mod grid;
mod grids;
pub(crate) mod ints;
pub(crate) mod iq1;
pub(crate) mod iq2;
pub(crate) mod iq3;
pub(crate) mod iq4;
pub(crate) mod mxfp4;
pub(crate) mod nvfp4;
pub(crate) mod q1_0;
pub(crate) mod q2_0;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
pub(crate) mod q8_0;
mod superblock;
pub(crate) mod tq;

pub use float::{BF16, F16, F32};
pub use mxfp4::MXFP4;

use crate::acts::{Act, ActRow};
use grid::Grid;

/// One block format. `FORMATS` lists them all.
#[derive(Debug)]
pub struct Format {
    /// Lower-case ggml name with the K of k-quants in upper case: `q8_0`, `q4_K`.
    pub name: &'static str,
    /// The type number in GGUF files.
    pub ggml_id: u32,
    /// Weights per block; rows hold whole blocks.
    pub block: usize,
    /// Bytes per block.
    pub bytes: usize,
    /// The form of the activations its dot product takes.
    pub act: Act,
    /// Decodes whole blocks: `(blocks, out)` with `out.len() / block == blocks.len() / bytes`.
    pub dequantize: fn(&[u8], &mut [f32]),
    /// Encodes whole blocks: `(values, importance, out)`, minimising the sum of `importance * error^2`. `importance` is one
    /// finite weight >= 0 per value, such as the mean square of the activation its column meets, or `None` for equal
    /// weights; formats whose error hardly depends on it (16 and 8 bits) don't read it. A value that is not finite, or
    /// beyond what the format's scales reach, makes its block decode to values that are not finite where the format has any.
    /// `None` where we only read the format.
    pub quantize: Option<Quantize>,
    /// What its weights may be once scales are chosen; `None` where codes stand for several weights at once, and for floats.
    pub grid: Option<Grid>,
    /// Scalar dot product of one row of weights with one row of activations in the form `act`.
    pub dot: fn(&[u8], ActRow<'_>) -> f32,
}

/// An encoder; see [`Format::quantize`].
pub type Quantize = fn(&[f32], Option<&[f32]>, &mut [u8]);

/// Every block format this build reads.
pub static FORMATS: &[&Format] = &[
    &F32,
    &F16,
    &BF16,
    &q8_0::Q8_0,
    &q6_k::Q6_K,
    &q5_k::Q5_K,
    &q5_1::Q5_1,
    &q5_0::Q5_0,
    &q4_k::Q4_K,
    &q4_1::Q4_1,
    &q4_0::Q4_0,
    &iq4::IQ4_NL,
    &iq4::IQ4_XS,
    &nvfp4::NVFP4,
    &MXFP4,
    &q3_k::Q3_K,
    &iq3::IQ3_S,
    &iq3::IQ3_XXS,
    &q2_k::Q2_K,
    &iq2::IQ2_S,
    &iq2::IQ2_XS,
    &iq2::IQ2_XXS,
    &q2_0::Q2_0,
    &tq::TQ2_0,
    &iq1::IQ1_M,
    &tq::TQ1_0,
    &iq1::IQ1_S,
    &q1_0::Q1_0,
];

impl Format {
    /// Bytes of a row of `n` values; `n` must be a multiple of `block`.
    pub const fn row_bytes(&self, n: usize) -> usize {
        debug_assert!(n.is_multiple_of(self.block));
        n / self.block * self.bytes
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.ggml_id == other.ggml_id
    }
}

/// The format with ggml's type number `id`.
pub fn by_ggml_id(id: u32) -> Option<&'static Format> {
    FORMATS.iter().copied().find(|f| f.ggml_id == id)
}

/// The format called `name`, without regard to case.
pub fn by_name(name: &str) -> Option<&'static Format> {
    FORMATS.iter().copied().find(|f| f.name.eq_ignore_ascii_case(name))
}

/// All names, in shelf order.
pub fn names() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|f| f.name)
}

/// The value of largest magnitude, the first of equals; a NaN beats all.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    let magnitude = |v: f32| v.to_bits() & 0x7fff_ffff;
    x.iter().fold(0.0, |best, &v| if magnitude(v) > magnitude(best) { v } else { best })
}
