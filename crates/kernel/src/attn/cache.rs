//! How keys and values lie in a cache, and how they are read as floats.
//!
//! A head's block of values is `(BLOCK, head_dim)`. Its block of keys is turned over, so that a vector of it is one dimension of
//! neighbouring positions and a score needs no sum across lanes: every part of a key's bytes, a scale or a byte of quants,
//! lies beside that part of the next position. Scales of values lie so too, before all their quants. Both take the same
//! number of bytes.
//!
//! Nothing is decoded in advance: 16 values become floats in a register when they are multiplied. A scale is not multiplied
//! with every value but with what it is common to: a key's with the sum over its 32 dimensions, a value's with the weight of
//! its position.

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
    /// Dimensions that are read at once: of those that share a scale, else of a strip of a query.
    const STRETCH: usize;
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

    /// `(STRETCH, BLOCK)` from dimension `first` on, a multiple of `STRETCH`, of a block of keys.
    fn keys(block: &[u8], first: usize) -> Self::Keys<'_>;
    /// `(BLOCK, head_dim)` of a block of values.
    fn values(block: &[u8], head_dim: usize) -> Self::Values<'_>;
    /// Encodes whole blocks of `format`, which is this one.
    #[inline(always)]
    fn encode(format: &Format, x: &[f32], out: &mut [u8]) {
        format.quantize.expect("formats of caches can be encoded")(x, None, out);
    }
}

/// What the scales of a matrix are common to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scales {
    /// There are none.
    None,
    /// A column.
    Columns,
    /// The stretches of [`SHARED`] columns in a row.
    Rows,
}

/// Values that share a scale.
pub(crate) const SHARED: usize = 32;

/// Rows of values that are read as floats, 16 at a time.
pub(crate) trait Matrix: Copy {
    /// What is left out by [`Matrix::lanes`].
    const SCALES: Scales = Scales::None;
    /// Values `column..column + 16 * C` of a row, which is a multiple of `16 * C`.
    fn lanes<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) -> [L::F; C];
    /// One value, of a format without scales.
    fn one(self, _row: usize, _column: usize) -> f32 {
        unreachable!("formats with scales have whole vectors");
    }
    /// Scales `at..at + 16` of the columns, or of the rows in a stretch of columns.
    fn scales<L: Floats>(self, l: L, _stretch: usize, _at: usize) -> L::F {
        l.splat(1.0)
    }
    /// Asks for what lies a block behind the values that [`Matrix::lanes`] reads.
    fn ask_ahead<L: Floats, const C: usize>(self, l: L, row: usize, column: usize);
}

/// f32 or f16, by `BYTES`.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'a, const BYTES: usize> {
    bytes: &'a [u8],
    width: usize,
    block_bytes: usize,
}

impl<'a, const BYTES: usize> Plain<'a, BYTES> {
    #[inline(always)]
    fn keys(block: &'a [u8], first: usize) -> Self {
        Self { bytes: &block[BYTES * first * BLOCK..], width: BLOCK, block_bytes: block.len() }
    }

    #[inline(always)]
    fn values(block: &'a [u8], head_dim: usize) -> Self {
        Self { bytes: block, width: head_dim, block_bytes: block.len() }
    }

    /// The bytes of `n` values.
    #[inline(always)]
    fn part(self, row: usize, column: usize, n: usize) -> &'a [u8] {
        &self.bytes[BYTES * (row * self.width + column)..][..BYTES * n]
    }
}

impl<const BYTES: usize> Matrix for Plain<'_, BYTES> {
    #[inline(always)]
    fn lanes<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) -> [L::F; C] {
        let mut lanes = [l.splat(0.0); C];
        let part = self.part(row, column, 16 * C);
        for (lanes, bytes) in lanes.iter_mut().zip(part.chunks_exact(16 * BYTES)) {
            *lanes = match BYTES {
                4 => l.load_f32(bytes.as_array().expect("16 floats")),
                _ => l.load_f16(bytes.as_array().expect("16 halves")),
            };
        }
        lanes
    }

    #[inline(always)]
    fn one(self, row: usize, column: usize) -> f32 {
        match *self.part(row, column, 1) {
            [a, b] => half::f16_to_f32(u16::from_le_bytes([a, b])),
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
            _ => unreachable!("f32 or f16"),
        }
    }

    #[inline(always)]
    fn ask_ahead<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) {
        for line in (0..BYTES * 16 * C).step_by(64) {
            let at = BYTES * (row * self.width + column) + line;
            l.prefetch(self.bytes.as_ptr().wrapping_add(at + self.block_bytes));
        }
    }
}

/// Whole numbers, [`SHARED`] of which take `BYTES` bytes, and f16 scales: of keys, or of values.
#[derive(Clone, Copy)]
pub(crate) struct Quants<'a, const BYTES: usize, const KEYS: bool> {
    /// `(1, BLOCK)` of keys, `(head_dim / SHARED, BLOCK)` of values.
    scales: &'a [u8],
    quants: &'a [u8],
    width: usize,
    block_bytes: usize,
}

impl<'a, const BYTES: usize> Quants<'a, BYTES, true> {
    #[inline(always)]
    fn keys(block: &'a [u8], first: usize) -> Self {
        let stretch_bytes = (2 + BYTES) * BLOCK;
        let (scales, quants) = block[first / SHARED * stretch_bytes..][..stretch_bytes].split_at(2 * BLOCK);
        Self { scales, quants, width: BLOCK, block_bytes: block.len() }
    }
}

impl<'a, const BYTES: usize> Quants<'a, BYTES, false> {
    #[inline(always)]
    fn values(block: &'a [u8], head_dim: usize) -> Self {
        let (scales, quants) = block.split_at(2 * BLOCK * (head_dim / SHARED));
        Self { scales, quants, width: head_dim, block_bytes: block.len() }
    }
}

impl<const BYTES: usize, const KEYS: bool> Quants<'_, BYTES, KEYS> {
    const COMMON_TO: Scales = if KEYS { Scales::Columns } else { Scales::Rows };

    #[inline(always)]
    fn load_scales<L: Floats>(self, l: L, stretch: usize, at: usize) -> L::F {
        l.load_f16(self.scales[2 * (stretch * BLOCK + at)..][..32].as_array().expect("16 scales"))
    }

    #[inline(always)]
    fn ask<L: Floats>(self, l: L, at: usize, n_bytes: usize) {
        for line in (0..n_bytes).step_by(64) {
            l.prefetch(self.quants.as_ptr().wrapping_add(at + line + self.block_bytes));
        }
    }
}

impl<const KEYS: bool> Quants<'_, 32, KEYS> {
    #[inline(always)]
    fn at(self, row: usize, column: usize) -> usize {
        let row = if KEYS { row % SHARED } else { row };
        row * self.width + column
    }
}

impl<const KEYS: bool> Matrix for Quants<'_, 32, KEYS> {
    const SCALES: Scales = Self::COMMON_TO;

    #[inline(always)]
    fn lanes<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) -> [L::F; C] {
        let mut lanes = [l.splat(0.0); C];
        let quants = &self.quants[self.at(row, column)..][..16 * C];
        for (lanes, quants) in lanes.iter_mut().zip(quants.as_chunks().0) {
            *lanes = l.load_i8(quants);
        }
        lanes
    }

    #[inline(always)]
    fn scales<L: Floats>(self, l: L, stretch: usize, at: usize) -> L::F {
        self.load_scales(l, stretch, at)
    }

    #[inline(always)]
    fn ask_ahead<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) {
        self.ask(l, self.at(row, column), 16 * C);
    }
}

impl<const KEYS: bool> Quants<'_, 16, KEYS> {
    /// A byte has the quants of a dimension and the 16th behind it: rows of keys, columns of values.
    #[inline(always)]
    fn at(self, row: usize, column: usize) -> usize {
        if KEYS { row % 16 * BLOCK + column } else { row * self.width / 2 + column / SHARED * 16 }
    }
}

impl<const KEYS: bool> Matrix for Quants<'_, 16, KEYS> {
    const SCALES: Scales = Self::COMMON_TO;

    #[inline(always)]
    fn lanes<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) -> [L::F; C] {
        let mut lanes = [l.splat(0.0); C];
        let n_bytes = if KEYS || C == 1 { 16 * C } else { 8 * C };
        let bytes = self.quants[self.at(row, column)..][..n_bytes].as_chunks().0;
        for (c, lanes) in lanes.iter_mut().enumerate() {
            let (part, upper) = match (KEYS, C) {
                (true, _) => (c, row % 32 >= 16),
                (false, 1) => (0, column % 32 >= 16),
                (false, _) => (c / 2, c % 2 == 1),
            };
            *lanes = l.load_i4(&bytes[part], upper);
        }
        lanes
    }

    #[inline(always)]
    fn scales<L: Floats>(self, l: L, stretch: usize, at: usize) -> L::F {
        self.load_scales(l, stretch, at)
    }

    #[inline(always)]
    fn ask_ahead<L: Floats, const C: usize>(self, l: L, row: usize, column: usize) {
        self.ask(l, self.at(row, column), if KEYS { 16 * C } else { 8 * C });
    }
}

pub(crate) struct F32;

impl CacheFormat for F32 {
    const NAME: &'static str = "f32";
    const STRETCH: usize = BLOCK;
    const SCALE: usize = 0;
    const PART: usize = 4;
    const N_PARTS: usize = 1;
    type Keys<'a> = Plain<'a, 4>;
    type Values<'a> = Plain<'a, 4>;

    #[inline(always)]
    fn keys(block: &[u8], first: usize) -> Plain<'_, 4> {
        Plain::keys(block, first)
    }

    #[inline(always)]
    fn values(block: &[u8], head_dim: usize) -> Plain<'_, 4> {
        Plain::values(block, head_dim)
    }
}

pub(crate) struct F16;

impl CacheFormat for F16 {
    const NAME: &'static str = "f16";
    const STRETCH: usize = BLOCK;
    const SCALE: usize = 0;
    const PART: usize = 2;
    const N_PARTS: usize = 1;
    type Keys<'a> = Plain<'a, 2>;
    type Values<'a> = Plain<'a, 2>;

    #[inline(always)]
    fn keys(block: &[u8], first: usize) -> Plain<'_, 2> {
        Plain::keys(block, first)
    }

    #[inline(always)]
    fn values(block: &[u8], head_dim: usize) -> Plain<'_, 2> {
        Plain::values(block, head_dim)
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
    const STRETCH: usize = SHARED;
    const SCALE: usize = 2;
    const PART: usize = 1;
    const N_PARTS: usize = 32;
    type Keys<'a> = Quants<'a, 32, true>;
    type Values<'a> = Quants<'a, 32, false>;

    #[inline(always)]
    fn keys(block: &[u8], first: usize) -> Quants<'_, 32, true> {
        Quants::keys(block, first)
    }

    #[inline(always)]
    fn values(block: &[u8], head_dim: usize) -> Quants<'_, 32, false> {
        Quants::values(block, head_dim)
    }

    #[inline(always)]
    fn encode(_: &Format, x: &[f32], out: &mut [u8]) {
        quant::q8_0::quantize(x, None, out);
    }
}

pub(crate) struct Q4_0;

impl CacheFormat for Q4_0 {
    const NAME: &'static str = "q4_0";
    const STRETCH: usize = SHARED;
    const SCALE: usize = 2;
    const PART: usize = 1;
    const N_PARTS: usize = 16;
    type Keys<'a> = Quants<'a, 16, true>;
    type Values<'a> = Quants<'a, 16, false>;

    #[inline(always)]
    fn keys(block: &[u8], first: usize) -> Quants<'_, 16, true> {
        Quants::keys(block, first)
    }

    #[inline(always)]
    fn values(block: &[u8], head_dim: usize) -> Quants<'_, 16, false> {
        Quants::values(block, head_dim)
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
