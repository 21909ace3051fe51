//! How keys and values lie in a cache, and how they are read as floats.
//!
//! A head's block of values is `(BLOCK, head_dim)`, rows as the format has them. Its block of keys is turned over, so that a
//! vector of it is one dimension of neighbouring positions and a score needs no sum across lanes: every part of a key's
//! bytes, a scale or a byte of quants, lies beside that part of the next position. Both take the same number of bytes.

use super::BLOCK;
use crate::half;
use crate::quant::Format;
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
    /// Bytes of what comes behind it, one by one.
    const PART: usize;
    /// What the floats of a block are read from.
    type Matrix<'a>: Matrix;

    /// `(head_dim, BLOCK)` from a block of keys. `room` has a float for each.
    fn keys<'a, L: Floats>(l: L, bytes: &'a [u8], room: &'a mut [f32]) -> Self::Matrix<'a>;
    /// `(n, head_dim)` from the values of `n` positions. `room` has a float for each.
    fn values<'a, L: Floats>(l: L, bytes: &'a [u8], room: &'a mut [f32]) -> Self::Matrix<'a>;
    /// Encodes whole blocks of `format`, which is this one.
    #[inline(always)]
    fn encode(format: &Format, x: &[f32], out: &mut [u8]) {
        format.quantize.expect("formats of caches can be encoded")(x, None, out);
    }
}

/// Floats to be read 16 at a time.
pub(crate) trait Matrix: Copy {
    /// What begins with value `at`.
    fn from(self, at: usize) -> Self;
    /// Values `at..at + 16 * C`.
    fn lanes<L: Floats, const C: usize>(self, l: L, at: usize) -> [L::F; C];
    /// Value `at`.
    fn one(self, at: usize) -> f32;
    /// Asks for what lies a block behind values `at..at + 16 * C`, if they are read where they lie.
    fn ask_ahead<L: Floats, const C: usize>(self, l: L, at: usize);
}

/// f32 in memory of our own.
#[derive(Clone, Copy)]
pub(crate) struct Singles<'a>(&'a [f32]);

/// f16 where they lie.
#[derive(Clone, Copy)]
pub(crate) struct Halves<'a> {
    bytes: &'a [u8],
    block_bytes: usize,
}

impl Matrix for Singles<'_> {
    #[inline(always)]
    fn from(self, at: usize) -> Self {
        Self(&self.0[at..])
    }

    #[inline(always)]
    fn lanes<L: Floats, const C: usize>(self, l: L, at: usize) -> [L::F; C] {
        let mut lanes = [l.splat(0.0); C];
        for (lanes, v) in lanes.iter_mut().zip(self.0[at..at + 16 * C].as_chunks().0) {
            *lanes = l.load(v);
        }
        lanes
    }

    #[inline(always)]
    fn one(self, at: usize) -> f32 {
        self.0[at]
    }

    #[inline(always)]
    fn ask_ahead<L: Floats, const C: usize>(self, _: L, _: usize) {}
}

impl Matrix for Halves<'_> {
    #[inline(always)]
    fn from(self, at: usize) -> Self {
        Self { bytes: &self.bytes[2 * at..], ..self }
    }

    #[inline(always)]
    fn lanes<L: Floats, const C: usize>(self, l: L, at: usize) -> [L::F; C] {
        let mut lanes = [l.splat(0.0); C];
        for (lanes, v) in lanes.iter_mut().zip(self.bytes[2 * at..2 * at + 32 * C].as_chunks().0) {
            *lanes = l.load_f16(v);
        }
        lanes
    }

    #[inline(always)]
    fn one(self, at: usize) -> f32 {
        half::f16_to_f32(u16::from_le_bytes([self.bytes[2 * at], self.bytes[2 * at + 1]]))
    }

    #[inline(always)]
    fn ask_ahead<L: Floats, const C: usize>(self, l: L, at: usize) {
        for line in (0..32 * C).step_by(64) {
            l.prefetch(self.bytes.as_ptr().wrapping_add(2 * at + line + self.block_bytes));
        }
    }
}

pub(crate) struct F32;

impl CacheFormat for F32 {
    const NAME: &'static str = "f32";
    const SCALE: usize = 0;
    const PART: usize = 4;
    type Matrix<'a> = Singles<'a>;

    #[inline(always)]
    fn keys<'a, L: Floats>(_: L, bytes: &'a [u8], room: &'a mut [f32]) -> Singles<'a> {
        for (out, bytes) in room.iter_mut().zip(bytes.as_chunks().0) {
            *out = f32::from_le_bytes(*bytes);
        }
        Singles(room)
    }

    #[inline(always)]
    fn values<'a, L: Floats>(l: L, bytes: &'a [u8], room: &'a mut [f32]) -> Singles<'a> {
        Self::keys(l, bytes, room)
    }
}

pub(crate) struct F16;

impl CacheFormat for F16 {
    const NAME: &'static str = "f16";
    const SCALE: usize = 0;
    const PART: usize = 2;
    type Matrix<'a> = Halves<'a>;

    #[inline(always)]
    fn keys<'a, L: Floats>(_: L, bytes: &'a [u8], _: &'a mut [f32]) -> Halves<'a> {
        Halves { bytes, block_bytes: bytes.len() }
    }

    #[inline(always)]
    fn values<'a, L: Floats>(_: L, bytes: &'a [u8], _: &'a mut [f32]) -> Halves<'a> {
        Halves { bytes, block_bytes: bytes.len() }
    }

    #[inline(always)]
    fn encode(_: &Format, x: &[f32], out: &mut [u8]) {
        for (out, x) in out.as_chunks_mut().0.iter_mut().zip(x) {
            *out = half::f32_to_f16(*x).to_le_bytes();
        }
    }
}

pub(crate) struct Q8_0;

impl CacheFormat for Q8_0 {
    const NAME: &'static str = "q8_0";
    const SCALE: usize = 2;
    const PART: usize = 1;
    type Matrix<'a> = Singles<'a>;

    #[inline(always)]
    fn keys<'a, L: Floats>(l: L, bytes: &'a [u8], room: &'a mut [f32]) -> Singles<'a> {
        for (block, out) in bytes.chunks_exact(34 * BLOCK).zip(room.chunks_exact_mut(32 * BLOCK)) {
            let (scales, quants) = turned(l, block);
            for (quants, out) in quants.iter().zip(out.as_chunks_mut().0) {
                l.prefetch(quants.as_ptr().wrapping_add(bytes.len()));
                let (quants, out) = (quants.as_chunks().0, vectors(out));
                for i in 0..4 {
                    l.store(l.mul(scales[i], l.load_i8(&quants[i])), &mut out[i]);
                }
            }
        }
        Singles(room)
    }

    #[inline(always)]
    fn values<'a, L: Floats>(l: L, bytes: &'a [u8], room: &'a mut [f32]) -> Singles<'a> {
        for (block, out) in bytes.as_chunks::<34>().0.iter().zip(room.as_chunks_mut::<32>().0) {
            l.prefetch(block.as_ptr().wrapping_add(bytes.len()));
            let scale = l.splat(half::f16_to_f32(u16::from_le_bytes([block[0], block[1]])));
            let (quants, out) = (block[2..].as_chunks().0, out.as_chunks_mut().0);
            for i in 0..2 {
                l.store(l.mul(scale, l.load_i8(&quants[i])), &mut out[i]);
            }
        }
        Singles(room)
    }
}

pub(crate) struct Q4_0;

impl CacheFormat for Q4_0 {
    const NAME: &'static str = "q4_0";
    const SCALE: usize = 2;
    const PART: usize = 1;
    type Matrix<'a> = Singles<'a>;

    #[inline(always)]
    fn keys<'a, L: Floats>(l: L, bytes: &'a [u8], room: &'a mut [f32]) -> Singles<'a> {
        for (block, out) in bytes.chunks_exact(18 * BLOCK).zip(room.chunks_exact_mut(32 * BLOCK)) {
            let (scales, quants) = turned(l, block);
            let (low, high) = out.as_chunks_mut().0.split_at_mut(16);
            for (quants, (low, high)) in quants.iter().zip(low.iter_mut().zip(high)) {
                l.prefetch(quants.as_ptr().wrapping_add(bytes.len()));
                let (quants, low, high) = (quants.as_chunks().0, vectors(low), vectors(high));
                for i in 0..4 {
                    let [a, b] = nibbles(&quants[i]);
                    l.store(l.mul(scales[i], l.load_i8(&a)), &mut low[i]);
                    l.store(l.mul(scales[i], l.load_i8(&b)), &mut high[i]);
                }
            }
        }
        Singles(room)
    }

    #[inline(always)]
    fn values<'a, L: Floats>(l: L, bytes: &'a [u8], room: &'a mut [f32]) -> Singles<'a> {
        for (block, out) in bytes.as_chunks::<18>().0.iter().zip(room.as_chunks_mut::<32>().0) {
            l.prefetch(block.as_ptr().wrapping_add(bytes.len()));
            let scale = l.splat(half::f16_to_f32(u16::from_le_bytes([block[0], block[1]])));
            let [a, b] = nibbles(block[2..].as_array().expect("16 bytes"));
            let out = out.as_chunks_mut().0;
            l.store(l.mul(scale, l.load_i8(&a)), &mut out[0]);
            l.store(l.mul(scale, l.load_i8(&b)), &mut out[1]);
        }
        Singles(room)
    }
}

/// The scales of 32 dimensions of all positions, and their bytes of quants, a row of positions each.
#[inline(always)]
fn turned<L: Floats>(l: L, block: &[u8]) -> ([L::F; 4], &[[u8; BLOCK]]) {
    let (bytes, quants) = block.split_at(2 * BLOCK);
    let mut scales = [l.splat(0.0); 4];
    for (scale, bytes) in scales.iter_mut().zip(bytes.as_chunks().0) {
        *scale = l.load_f16(bytes);
    }
    (scales, quants.as_chunks().0)
}

/// A row of positions as vectors.
#[inline(always)]
fn vectors(row: &mut [f32; BLOCK]) -> &mut [[f32; 16]; 4] {
    row.as_chunks_mut().0.as_mut_array().expect("BLOCK is 4 x 16")
}

/// The quants in the lower halves of 16 bytes, then those in the upper, as signed bytes.
#[inline(always)]
fn nibbles(bytes: &[u8; 16]) -> [[u8; 16]; 2] {
    let (mut low, mut high) = ([0; 16], [0; 16]);
    for i in 0..16 {
        low[i] = (bytes[i] & 15).wrapping_sub(8);
        high[i] = (bytes[i] >> 4).wrapping_sub(8);
    }
    [low, high]
}

/// Takes the key and the value of a position, `(head_dim)` each, into place `slot` of a head's blocks.
#[inline(always)]
pub(crate) fn store<C: CacheFormat>(
    format: &Format,
    slot: usize,
    [k, v]: [&[f32]; 2],
    [k_block, v_block]: [&mut [u8]; 2],
) {
    let row_bytes = format.row_bytes(v.len());
    C::encode(format, v, &mut v_block[slot * row_bytes..(slot + 1) * row_bytes]);
    // As many values as fit a small buffer, in whole blocks of the format.
    let mut encoded = [0; 256];
    for (k, at) in k.chunks(64).zip((0..).step_by(format.row_bytes(64) * BLOCK)) {
        let encoded = &mut encoded[..format.row_bytes(k.len())];
        C::encode(format, k, encoded);
        for (block, at) in encoded.chunks_exact(format.bytes).zip((at..).step_by(format.bytes * BLOCK)) {
            let (scale, parts) = block.split_at(C::SCALE);
            k_block[at + slot * C::SCALE..][..C::SCALE].copy_from_slice(scale);
            let parts_at = (at + BLOCK * C::SCALE + slot * C::PART..).step_by(BLOCK * C::PART);
            for (part, at) in parts.chunks_exact(C::PART).zip(parts_at) {
                k_block[at..at + C::PART].copy_from_slice(part);
            }
        }
    }
}
