//! The shelf of block formats: how `block` weights become `bytes` bytes and back.
//!
//! One file per format: its layout, how it is decoded (bit-exactly as its inventor decodes it), how it is encoded where
//! we encode it, and its scalar dot product. Layouts are ggml's, the field's common currency. To add a format write its
//! file and add one line to [`FORMATS`]; tests, benchmarks and the loaders read the shelf.
//!
//! # How a dot product is summed
//! Every tier sums in this order, so that a result never depends on the tile, batch or thread it was computed in:
//! - float formats ([`Act::F32`]): 16 partial sums, the value at index `k` goes to sum `k % 16` in rising `k`; then the
//!   upper half is added onto the lower half until one is left (16, 8, 4, 2, 1);
//! - block formats: with `d` and `d_a` the scales of a block (of 32 or 256) of weights and activations, the integers of the
//!   block are summed exactly (group scales and offsets included) to `isum`, and `acc += isum as f32 * (d * d_a)` runs over
//!   the blocks in rising order, multiplication and addition rounded each. Where a block has minima, `acc -= msum as f32 *
//!   (dmin * d_a)` follows with `msum` the exact sum of group minimum times group sum of activations. Here all tiers agree to
//!   the bit.

mod float;
pub(crate) mod q4_0;
pub(crate) mod q4_k;
pub(crate) mod q6_k;
pub(crate) mod q8_0;

use crate::acts::{Act, ActRow};

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
    /// Encodes whole blocks to nearest, without importance weights; `None` where we only read the format.
    pub quantize: Option<fn(&[f32], &mut [u8])>,
    /// Scalar dot product of one row of weights with one row of activations in the form `act`.
    pub dot: fn(&[u8], ActRow<'_>) -> f32,
}

/// Every block format this build reads.
pub static FORMATS: &[&Format] =
    &[&float::F32, &float::F16, &float::BF16, &q8_0::Q8_0, &q4_0::Q4_0, &q4_k::Q4_K, &q6_k::Q6_K];

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
