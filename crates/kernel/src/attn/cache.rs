//! How keys and values lie in a cache, and how they become floats.
//!
//! A head's block of values is `(BLOCK, head_dim)`. Its block of keys is turned over, so that a vector of it is one dimension of
//! neighbouring positions and a score needs no sum across lanes: every part of a key's bytes, a scale or a byte of quants,
//! lies beside that part of the next position. Scales of values lie so too, before all their quants. Both take the same
//! number of bytes.
//!
//! A strip of `BLOCK` dimensions is decoded where the next product needs it, while the same strip of the block behind it is asked
//! for. An f16 scale times a quant of up to 8 bits has 19 bits at most: it is a float, and nothing is rounded.

use super::BLOCK;
use crate::half;
use crate::quant::{self, Format};
use crate::simd::floats::Floats;

/// Calls a macro with the formats of caches behind what is given; a new one is a type below and a word here.
macro_rules! cache_formats {
    ($($callback:ident)::+!($($given:tt)*)) => {
        $($callback)::+!($($given)*; F32 F16 Q8_0 Q4_0)
    };
}
pub(crate) use cache_formats;

macro_rules! names {
    (; $($format:ident)*) => { &[$($format::NAME),*] };
}

/// Names of the formats a cache can have; [`crate::quant`] says what they are.
pub const FORMATS: &[&str] = cache_formats!(names!());

/// A format of keys and values.
pub(crate) trait CacheFormat {
    /// Its name among [`crate::quant::FORMATS`].
    const NAME: &'static str;
    /// Bytes of a block's scale, which comes first.
    const SCALE: usize;
    /// Bytes of each thing that comes behind it, a value or a byte of quants.
    const PART: usize;
    /// How many of them a block has.
    const N_PARTS: usize;

    /// Dimensions from `first` on, a multiple of `BLOCK`, of a block of keys: a row of `out` each.
    fn keys<L: Floats>(l: L, block: &[u8], first: usize, out: &mut [[f32; BLOCK]]);
    /// As many dimensions as there are, `BLOCK` or less, from `first` on of a block of values of `head_dim`; of the others of `out`
    /// some become 0.
    fn values<L: Floats>(l: L, block: &[u8], head_dim: usize, first: usize, out: &mut [[f32; BLOCK]; BLOCK]);
    /// Encodes whole blocks of `format`, which is this one.
    #[inline(always)]
    fn encode(format: &Format, x: &[f32], out: &mut [u8]) {
        format.quantize.expect("formats of caches can be encoded")(x, None, out);
    }
}

/// Asks for what lies a block behind `n` bytes from byte `at` on of `block`.
#[inline(always)]
fn ask_ahead<L: Floats>(l: L, block: &[u8], at: usize, n: usize) {
    for line in (0..n).step_by(64) {
        l.prefetch(block.as_ptr().wrapping_add(block.len() + at + line));
    }
}

/// Values as they are, `BYTES` bytes each.
pub(crate) struct Plain<const BYTES: usize>;

pub(crate) type F32 = Plain<4>;
pub(crate) type F16 = Plain<2>;

impl<const BYTES: usize> CacheFormat for Plain<BYTES> {
    const NAME: &'static str = if BYTES == 4 { "f32" } else { "f16" };
    const SCALE: usize = 0;
    const PART: usize = BYTES;
    const N_PARTS: usize = 1;

    #[inline(always)]
    fn keys<L: Floats>(l: L, block: &[u8], first: usize, out: &mut [[f32; BLOCK]]) {
        for (i, out) in out.iter_mut().enumerate() {
            Self::decode(l, block, (first + i) * BLOCK, BLOCK, out);
        }
    }

    #[inline(always)]
    fn values<L: Floats>(l: L, block: &[u8], head_dim: usize, first: usize, out: &mut [[f32; BLOCK]; BLOCK]) {
        if head_dim - first >= BLOCK {
            for (i, out) in out.iter_mut().enumerate() {
                Self::decode(l, block, i * head_dim + first, BLOCK, out);
            }
        } else {
            for (i, out) in out.iter_mut().enumerate() {
                Self::decode(l, block, i * head_dim + first, head_dim - first, out);
            }
        }
    }

    #[inline(always)]
    fn encode(format: &Format, x: &[f32], out: &mut [u8]) {
        if BYTES == 2 {
            for (out, x) in out.as_chunks_mut().0.iter_mut().zip(x) {
                *out = half::f32_to_f16(*x).to_le_bytes();
            }
        } else {
            format.quantize.expect("formats of caches can be encoded")(x, None, out);
        }
    }
}

impl<const BYTES: usize> Plain<BYTES> {
    /// `n` values from value `at` on of a block. If they are not whole vectors, zeros come behind them.
    #[inline(always)]
    fn decode<L: Floats>(l: L, block: &[u8], at: usize, n: usize, out: &mut [f32; BLOCK]) {
        ask_ahead(l, block, BYTES * at, BYTES * n);
        let values = block[BYTES * at..][..BYTES * n].chunks(BYTES * 16);
        for (values, out) in values.zip(out.as_chunks_mut().0) {
            let mut whole = [0; 64];
            let values = if values.len() == BYTES * 16 {
                values
            } else {
                whole[..values.len()].copy_from_slice(values);
                &whole[..BYTES * 16]
            };
            let floats = match BYTES {
                4 => l.load_f32(values.as_array().expect("16 floats")),
                _ => l.load_f16(values.as_array().expect("16 halves")),
            };
            l.store(floats, out);
        }
    }
}

/// Values that share a scale.
const SHARED: usize = 32;

/// Whole numbers, [`SHARED`] of which take `BYTES` bytes, and f16 scales.
pub(crate) struct Quants<const BYTES: usize>;

pub(crate) type Q8_0 = Quants<32>;
pub(crate) type Q4_0 = Quants<16>;

impl<const BYTES: usize> CacheFormat for Quants<BYTES> {
    const NAME: &'static str = if BYTES == 32 { "q8_0" } else { "q4_0" };
    const SCALE: usize = 2;
    const PART: usize = 1;
    const N_PARTS: usize = BYTES;

    #[inline(always)]
    fn keys<L: Floats>(l: L, block: &[u8], first: usize, out: &mut [[f32; BLOCK]]) {
        let bytes = (2 + BYTES) * BLOCK;
        for (i, out) in out.chunks_exact_mut(SHARED).enumerate() {
            let at = (first / SHARED + i) * bytes;
            ask_ahead(l, block, at, 2 * BLOCK);
            let (scales, quants) = block[at..][..bytes].split_at(2 * BLOCK);
            let mut d = [l.splat(0.0); BLOCK / 16];
            for (d, scales) in d.iter_mut().zip(scales.as_chunks().0) {
                *d = l.load_f16(scales);
            }
            for (row, quants) in quants.as_chunks::<BLOCK>().0.iter().enumerate() {
                ask_ahead(l, block, at + (2 + row) * BLOCK, BLOCK);
                for (c, (quants, &d)) in quants.as_chunks().0.iter().zip(&d).enumerate() {
                    let mut put = |row: usize, v| l.store(l.mul(v, d), &mut out[row].as_chunks_mut().0[c]);
                    if BYTES == 32 {
                        put(row, l.load_i8(quants));
                    } else {
                        put(row, l.load_i4(quants, false));
                        put(row + 16, l.load_i4(quants, true));
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn values<L: Floats>(l: L, block: &[u8], head_dim: usize, first: usize, out: &mut [[f32; BLOCK]; BLOCK]) {
        let n_stretches = head_dim / SHARED;
        let (scales, quants) = block.split_at(2 * BLOCK * n_stretches);
        let stretches = first / SHARED..n_stretches.min((first + BLOCK) / SHARED);
        for (stretch, column) in stretches.zip((0..BLOCK / 16).step_by(SHARED / 16)) {
            ask_ahead(l, block, 2 * BLOCK * stretch, 2 * BLOCK);
            let mut d = [0.0; BLOCK];
            let scales = scales[2 * BLOCK * stretch..][..2 * BLOCK].as_chunks().0;
            for (d, scales) in d.as_chunks_mut().0.iter_mut().zip(scales) {
                l.store(l.load_f16(scales), d);
            }
            for (row, (out, d)) in out.iter_mut().zip(d).enumerate() {
                let at = (row * n_stretches + stretch) * BYTES;
                ask_ahead(l, block, 2 * BLOCK * n_stretches + at, BYTES);
                let quants = quants[at..][..BYTES].as_chunks().0;
                let d = l.splat(d);
                for half in 0..2 {
                    let v =
                        if BYTES == 32 { l.load_i8(&quants[half]) } else { l.load_i4(&quants[0], half == 1) };
                    l.store(l.mul(v, d), &mut out.as_chunks_mut().0[column + half]);
                }
            }
        }
    }

    #[inline(always)]
    fn encode(format: &Format, x: &[f32], out: &mut [u8]) {
        if BYTES == 32 {
            quant::q8_0::quantize(x, None, out);
        } else {
            format.quantize.expect("formats of caches can be encoded")(x, None, out);
        }
    }
}

/// Takes the key and the value of a position, `(head_dim)` each, into place `slot` of a head's blocks.
#[inline(always)]
pub(crate) fn store<C: CacheFormat>(
    format: &Format,
    slot: usize,
    [k, v]: [&[f32]; 2],
    [k_block, v_block]: [&mut [u8]; 2],
) {
    let bytes = C::SCALE + C::N_PARTS * C::PART;
    let row_bytes = v.len() / format.block * (C::N_PARTS * C::PART);
    let (scales, rows) = v_block.split_at_mut(v.len() / format.block * BLOCK * C::SCALE);
    let row = &mut rows[slot * row_bytes..][..row_bytes];
    // As many values as fit a small buffer, in whole blocks of the format.
    let mut encoded = [0; 256];
    for (i, (k, v)) in k.chunks(64).zip(v.chunks(64)).enumerate() {
        let first = i * 64 / format.block;
        let n_blocks = k.len() / format.block;
        let encoded = &mut encoded[..n_blocks * bytes];
        C::encode(format, k, encoded);
        for (block, at) in encoded.chunks_exact(bytes).zip((first * bytes * BLOCK..).step_by(bytes * BLOCK)) {
            let (scale, parts) = block.split_at(C::SCALE);
            k_block[at + slot * C::SCALE..][..C::SCALE].copy_from_slice(scale);
            let parts_at = (at + BLOCK * C::SCALE + slot * C::PART..).step_by(BLOCK * C::PART);
            for (part, at) in parts.chunks_exact(C::PART).zip(parts_at) {
                k_block[at..at + C::PART].copy_from_slice(part);
            }
        }
        let row = &mut row[first * C::N_PARTS * C::PART..][..n_blocks * C::N_PARTS * C::PART];
        if C::SCALE == 0 {
            C::encode(format, v, row);
            continue;
        }
        C::encode(format, v, encoded);
        for (j, block) in encoded.chunks_exact(bytes).enumerate() {
            let (scale, parts) = block.split_at(C::SCALE);
            scales[((first + j) * BLOCK + slot) * C::SCALE..][..C::SCALE].copy_from_slice(scale);
            row[j * C::N_PARTS * C::PART..][..C::N_PARTS * C::PART].copy_from_slice(parts);
        }
    }
}
