//! How keys and values lie in a cache, and how they become floats.
//!
//! A head's block of values is `(BLOCK, head_dim)`. Its block of keys is turned over, so that a vector of it is one dimension of
//! neighbouring positions and a score needs no sum across lanes: every part of a key's bytes, a scale or a byte of quants,
//! lies beside that part of the next position. Scales of values lie so too, before all their quants. Both take the same
//! number of bytes.
//!
//! Nothing is decoded in advance: 16 values become floats in a register where a product needs them, or are put into the first-level
//! cache for the many rows of a prompt, while the same values of the block that comes next are asked for. An f16 scale times a quant of up to 8
//! bits has 19 bits at most: it is a float, and nothing is rounded.

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
    /// How keys are read.
    type Keys<'a>: Matrix;
    /// How values are read.
    type Values<'a>: Matrix;

    /// `(BLOCK, BLOCK)` from dimension `first` on, a multiple of `BLOCK`, of a block of keys, or as many rows as there are.
    fn keys<'a, L: Floats>(l: L, block: Lying<'a>, first: usize, room: &'a mut Factors) -> Self::Keys<'a>;
    /// `(BLOCK, BLOCK)` from dimension `first` on of a block of values of `head_dim`, or as many columns as there are.
    fn values<'a, L: Floats>(
        l: L,
        block: Lying<'a>,
        head_dim: usize,
        first: usize,
        room: &'a mut Factors,
    ) -> Self::Values<'a>;
    /// Encodes whole blocks of `format`, which is this one.
    #[inline(always)]
    fn encode(format: &Format, x: &[f32], out: &mut [u8]) {
        format.quantize.expect("formats of caches can be encoded")(x, None, out);
    }
}

/// A head's block of keys or of values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lying<'a> {
    pub bytes: &'a [u8],
    /// How far behind it the block lies that comes next, around the end of addresses if need be.
    pub ahead: usize,
}

/// Room for the scales of `BLOCK` dimensions as floats.
pub(crate) type Factors = [[f32; BLOCK]; BLOCK / SHARED];

/// Rows of values that are read as floats, 16 at a time.
pub(crate) trait Matrix: Copy {
    /// Vectors `column..column + C` of a row.
    fn lanes<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) -> [L::F; C];
    /// The first `n` values of vector `column`, of a format that need not have whole vectors, and zeros.
    fn tail<L: Floats>(self, _: L, _row: usize, _column: usize, _n: usize) -> L::F {
        unreachable!("formats with scales have whole vectors");
    }
    /// Asks for what [`Matrix::lanes`] will read of the block that comes next.
    fn ask_ahead<L: Floats, const C: usize>(self, l: L, row: usize, column: usize);
}

impl Matrix for &[[f32; BLOCK]; BLOCK] {
    #[inline(always)]
    fn lanes<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) -> [L::F; C] {
        let mut lanes = [l.splat(0.0); C];
        for (c, lanes) in lanes.iter_mut().enumerate() {
            *lanes = l.load(&self[row].as_chunks().0[column + c]);
        }
        lanes
    }

    #[inline(always)]
    fn ask_ahead<L: Floats, const C: usize>(self, _: L, _: usize, _: usize) {}
}

/// f32 or f16, by `BYTES`.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'a, const BYTES: usize> {
    bytes: &'a [u8],
    /// Values from row to row.
    stride: usize,
    ahead: usize,
}

impl<'a, const BYTES: usize> Plain<'a, BYTES> {
    #[inline(always)]
    fn new(block: Lying<'a>, first: usize, stride: usize) -> Self {
        Self { bytes: &block.bytes[BYTES * first..], stride, ahead: block.ahead }
    }

    /// 16 values.
    #[inline(always)]
    fn load<L: Floats>(l: L, bytes: &[u8]) -> L::F {
        match BYTES {
            4 => l.load_f32(bytes.as_array().expect("16 floats")),
            _ => l.load_f16(bytes.as_array().expect("16 halves")),
        }
    }
}

impl<const BYTES: usize> Matrix for Plain<'_, BYTES> {
    #[inline(always)]
    fn lanes<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) -> [L::F; C] {
        let mut lanes = [l.splat(0.0); C];
        let part = &self.bytes[BYTES * (row * self.stride + 16 * column)..][..BYTES * 16 * C];
        for (lanes, bytes) in lanes.iter_mut().zip(part.chunks_exact(16 * BYTES)) {
            *lanes = Self::load(l, bytes);
        }
        lanes
    }

    #[inline(always)]
    fn tail<L: Floats>(self, l: L, row: usize, column: usize, n: usize) -> L::F {
        let mut whole = [0; 64];
        let part = &self.bytes[BYTES * (row * self.stride + 16 * column)..][..BYTES * n];
        whole[..part.len()].copy_from_slice(part);
        Self::load(l, &whole[..BYTES * 16])
    }

    #[inline(always)]
    fn ask_ahead<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) {
        let at = (BYTES * (row * self.stride + 16 * column)).wrapping_add(self.ahead);
        for line in (0..BYTES * 16 * C).step_by(64) {
            l.prefetch(self.bytes.as_ptr().wrapping_add(at.wrapping_add(line)));
        }
    }
}

/// Values that share a scale.
const SHARED: usize = 32;

/// Whole numbers, [`SHARED`] of which take `BYTES` bytes, and f16 scales: of keys, or of values.
#[derive(Clone, Copy)]
pub(crate) struct Quants<'a, const BYTES: usize, const KEYS: bool> {
    /// Of `SHARED` dimensions of a position each. `(BLOCK / SHARED, BLOCK)`
    scales: &'a Factors,
    quants: &'a [u8],
    /// Bytes from row to row.
    stride: usize,
    ahead: usize,
}

impl<'a, const BYTES: usize> Quants<'a, BYTES, true> {
    /// Of keys the scales of a stretch lie before its quants.
    #[inline(always)]
    fn keys<L: Floats>(l: L, block: Lying<'a>, first: usize, room: &'a mut Factors) -> Self {
        let there = &block.bytes[first / SHARED * (2 + BYTES) * BLOCK..];
        for (scales, bytes) in room.iter_mut().zip(there.chunks((2 + BYTES) * BLOCK)) {
            widen_scales(l, bytes, block.ahead, scales);
        }
        Self { scales: room, quants: &there[2 * BLOCK..], stride: 0, ahead: block.ahead }
    }
}

impl<'a, const BYTES: usize> Quants<'a, BYTES, false> {
    /// Of values all scales of a block lie before all quants.
    #[inline(always)]
    fn values<L: Floats>(
        l: L,
        block: Lying<'a>,
        head_dim: usize,
        first: usize,
        room: &'a mut Factors,
    ) -> Self {
        let (all, stretch) = (head_dim / SHARED, first / SHARED);
        let (there, quants) = block.bytes.split_at(2 * BLOCK * all);
        for (scales, bytes) in room.iter_mut().zip(there.chunks(2 * BLOCK).skip(stretch)) {
            widen_scales(l, bytes, block.ahead, scales);
        }
        Self { scales: room, quants: &quants[BYTES * stretch..], stride: all * BYTES, ahead: block.ahead }
    }
}

/// The first `BLOCK` halves of `bytes` as floats; those of the block that comes next are asked for.
#[inline(always)]
fn widen_scales<L: Floats>(l: L, bytes: &[u8], ahead: usize, scales: &mut [f32; BLOCK]) {
    for line in [0, 64] {
        l.prefetch(bytes.as_ptr().wrapping_add(ahead.wrapping_add(line)));
    }
    for (scales, bytes) in scales.as_chunks_mut().0.iter_mut().zip(bytes.as_chunks().0) {
        l.store(l.load_f16(bytes), scales);
    }
}

impl<const BYTES: usize, const KEYS: bool> Quants<'_, BYTES, KEYS> {
    /// Where the bytes of vector `column` of a row are, and whether it is the upper halves of them that count.
    #[inline(always)]
    fn at(self, row: usize, column: usize) -> (usize, bool) {
        match (KEYS, BYTES) {
            // A byte has the quants of a dimension and the 16th behind it: rows of keys, columns of values.
            (true, 32) => (row / SHARED * 34 * BLOCK + row % SHARED * BLOCK + 16 * column, false),
            (true, _) => (row / SHARED * 18 * BLOCK + row % 16 * BLOCK + 16 * column, row % SHARED >= 16),
            (false, 32) => (row * self.stride + 16 * column, false),
            (false, _) => (row * self.stride + column / 2 * 16, column % 2 == 1),
        }
    }

    /// What vector `column` of a row is multiplied with.
    #[inline(always)]
    fn scale<L: Floats>(self, l: L, row: usize, column: usize) -> L::F {
        if KEYS {
            l.load(&self.scales[row / SHARED].as_chunks().0[column])
        } else {
            l.splat(self.scales[column / 2][row])
        }
    }
}

impl<const BYTES: usize, const KEYS: bool> Matrix for Quants<'_, BYTES, KEYS> {
    #[inline(always)]
    fn lanes<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) -> [L::F; C] {
        let mut lanes = [l.splat(0.0); C];
        for (c, lanes) in lanes.iter_mut().enumerate() {
            let (at, upper) = self.at(row, column + c);
            let quants = self.quants[at..][..16].as_array().expect("16 bytes");
            let v = if BYTES == 32 { l.load_i8(quants) } else { l.load_i4(quants, upper) };
            *lanes = l.mul(v, self.scale(l, row, column + c));
        }
        lanes
    }

    #[inline(always)]
    fn ask_ahead<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) {
        let (at, upper) = self.at(row, column);
        if !upper {
            l.prefetch(self.quants.as_ptr().wrapping_add(at.wrapping_add(self.ahead)));
        }
    }
}

macro_rules! plain {
    ($name:ident, $text:literal, $bytes:literal, $encode:expr) => {
        pub(crate) struct $name;

        impl CacheFormat for $name {
            const NAME: &'static str = $text;
            const SCALE: usize = 0;
            const PART: usize = $bytes;
            const N_PARTS: usize = 1;
            type Keys<'a> = Plain<'a, $bytes>;
            type Values<'a> = Plain<'a, $bytes>;

            #[inline(always)]
            fn keys<'a, L: Floats>(
                _: L,
                block: Lying<'a>,
                first: usize,
                _: &'a mut Factors,
            ) -> Plain<'a, $bytes> {
                Plain::new(block, first * BLOCK, BLOCK)
            }

            #[inline(always)]
            fn values<'a, L: Floats>(
                _: L,
                block: Lying<'a>,
                head_dim: usize,
                first: usize,
                _: &'a mut Factors,
            ) -> Plain<'a, $bytes> {
                Plain::new(block, first, head_dim)
            }

            #[inline(always)]
            fn encode(_: &Format, x: &[f32], out: &mut [u8]) {
                for (out, x) in out.as_chunks_mut().0.iter_mut().zip(x) {
                    *out = $encode(*x).to_le_bytes();
                }
            }
        }
    };
}

plain!(F32, "f32", 4, std::convert::identity::<f32>);
plain!(F16, "f16", 2, half::f32_to_f16);

macro_rules! quants {
    ($name:ident, $text:literal, $bytes:literal $(, $encode:path)?) => {
        pub(crate) struct $name;

        impl CacheFormat for $name {
            const NAME: &'static str = $text;
            const SCALE: usize = 2;
            const PART: usize = 1;
            const N_PARTS: usize = $bytes;
            type Keys<'a> = Quants<'a, $bytes, true>;
            type Values<'a> = Quants<'a, $bytes, false>;

            #[inline(always)]
            fn keys<'a, L: Floats>(
                l: L,
                block: Lying<'a>,
                first: usize,
                room: &'a mut Factors,
            ) -> Quants<'a, $bytes, true> {
                Quants::keys(l, block, first, room)
            }

            #[inline(always)]
            fn values<'a, L: Floats>(
                l: L,
                block: Lying<'a>,
                head_dim: usize,
                first: usize,
                room: &'a mut Factors,
            ) -> Quants<'a, $bytes, false> {
                Quants::values(l, block, head_dim, first, room)
            }

            $(#[inline(always)]
            fn encode(_: &Format, x: &[f32], out: &mut [u8]) {
                $encode(x, None, out);
            })?
        }
    };
}

quants!(Q8_0, "q8_0", 32, quant::q8_0::quantize);
quants!(Q4_0, "q4_0", 16);

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
