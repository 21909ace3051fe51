//! Formats with a scale per 32 weights.
//!
//! Where a block's fields lie is told in [`crate::quant`], at the head of each format's file.
//! Blocks are not multiples of 16 bytes, eight of them are. So the rows are read in quads of words, and a block's fields are put
//! together from words that straddle its borders.

use super::{Expand, Kind, Sink, looped};
use crate::quant::mxfp4;
use crate::simd::lanes::{Lanes, Source};

/// A format of blocks of 32.
trait Block {
    const BYTES: usize;
    /// Halves at the beginning; behind them are words.
    const HALVES: usize;
    const STEPS: usize;
    const MINIMA: bool = false;
    /// The quants lie `1 << offset` higher than the weights.
    fn offset<L: Lanes>() -> Option<u32>;
    /// Quants, scale and offset of a block.
    fn unpack<L: Lanes>(l: L, block: Fields<'_, L, impl Source>) -> ([L::V; 8], L::F, L::F);
}

/// A block of each row, at byte `start` of its row.
struct Fields<'a, L: Lanes, S: Source> {
    l: L,
    source: S,
    /// Unless it is packed: the words read so far.
    words: &'a [L::V; WORDS_MAX],
    start: usize,
}

/// Words of eight blocks of q8_0, the largest.
const WORDS_MAX: usize = 68;

impl<L: Lanes, S: Source> Fields<'_, L, S> {
    /// Four bytes from byte `at` of the block, which is even.
    #[inline(always)]
    fn word(&self, at: usize) -> L::V {
        if S::PACKED {
            return self.source.word(self.l, self.start + at);
        }
        let (i, aligned) = ((self.start + at) / 4, (self.start + at).is_multiple_of(4));
        if aligned { self.words[i] } else { self.l.straddle(self.words[i], self.words[i + 1]) }
    }

    /// `N` words from byte `at` on.
    #[inline(always)]
    fn words<const N: usize>(&self, at: usize) -> [L::V; N] {
        let mut words = [self.words[0]; N];
        for (i, word) in words.iter_mut().enumerate() {
            *word = self.word(at + 4 * i);
        }
        words
    }

    /// The f16 at byte `at` of the block.
    #[inline(always)]
    fn half(&self, at: usize) -> L::F {
        if S::PACKED {
            return self.source.half(self.l, self.start + at);
        }
        let word = self.words[(self.start + at) / 4];
        if (self.start + at).is_multiple_of(4) { self.l.low_half(word) } else { self.l.high_half(word) }
    }
}

/// 32 numbers of four bits: the low halves of 16 bytes, then the high halves.
#[inline(always)]
pub(super) fn nibbles<L: Lanes>(l: L, packed: [L::V; 4]) -> [L::V; 8] {
    let mask = l.splat(0x0f0f_0f0f);
    let mut w = [mask; 8];
    for (i, p) in packed.into_iter().enumerate() {
        w[i] = l.and(p, mask);
        w[i + 4] = l.and(l.shr(p, 4), mask);
    }
    w
}

/// The same with bit `k` of `high` as the fifth bit of number `k`.
#[inline(always)]
fn five_bits<L: Lanes>(l: L, packed: [L::V; 4], high: L::V) -> [L::V; 8] {
    let mut w = nibbles(l, packed);
    for (i, w) in w.iter_mut().enumerate() {
        // Four copies of four bits, seven apart, so that bit `i` of copy `i` lies in place.
        let four = l.and(l.shr(high, 4 * i as u32), l.splat(15));
        *w = l.or(*w, l.and(l.mul32(four, 0x0204_0810), l.splat(0x1010_1010)));
    }
    w
}

macro_rules! block {
    ($name:ident, $bytes:literal, halves $halves:literal, steps $steps:literal $(, minima $minima:literal)?, offset $offset:expr, |$l:ident, $block:ident| $unpack:expr) => {
        pub(crate) struct $name;
        impl Block for $name {
            const BYTES: usize = $bytes;
            const HALVES: usize = $halves;
            const STEPS: usize = $steps;
            $(const MINIMA: bool = $minima;)?
            #[inline(always)]
            fn offset<L: Lanes>() -> Option<u32> {
                $offset
            }
            #[inline(always)]
            fn unpack<L: Lanes>($l: L, $block: Fields<'_, L, impl Source>) -> ([L::V; 8], L::F, L::F) {
                $unpack
            }
        }
    };
}

block!(Q8_0, 34, halves 1, steps 0, offset offset8::<L>(), |l, block| {
    let mut w = block.words::<8>(2);
    for w in &mut w {
        *w = eight_bits(l, *w);
    }
    (w, block.half(0), l.splat_f32(0.0))
});
block!(Q5_1, 24, halves 2, steps 4, minima true, offset None, |l, block| {
    (five_bits(l, block.words(8), block.word(4)), block.half(0), block.half(2))
});
block!(Q5_0, 22, halves 1, steps 4, offset Some(4), |l, block| {
    (five_bits(l, block.words(6), block.word(2)), block.half(0), l.splat_f32(0.0))
});
block!(Q4_1, 20, halves 2, steps 8, minima true, offset None, |l, block| {
    (nibbles(l, block.words(4)), block.half(0), block.half(2))
});
block!(Q4_0, 18, halves 1, steps 8, offset Some(3), |l, block| {
    (nibbles(l, block.words(2)), block.half(0), l.splat_f32(0.0))
});
block!(Iq4Nl, 18, halves 1, steps 0, offset offset8::<L>(), |l, block| {
    (levels(l, block.words(2)), block.half(0), l.splat_f32(0.0))
});

/// How far weights of eight bits are shifted.
const fn offset8<L: Lanes>() -> Option<u32> {
    L::OFFSET8.checked_ilog2()
}

/// Signed bytes in the form of [`Lanes::OFFSET8`].
#[inline(always)]
fn eight_bits<L: Lanes>(l: L, v: L::V) -> L::V {
    if L::OFFSET8 == 0 { v } else { l.xor(v, l.splat(0x8080_8080u32 as i32)) }
}

/// The levels of 32 codes of iq4_nl, in the form of [`Lanes::OFFSET8`].
#[inline(always)]
pub(super) fn levels<L: Lanes>(l: L, packed: [L::V; 4]) -> [L::V; 8] {
    let table = crate::quant::iq4::LEVELS.map(|v| (i32::from(v) + L::OFFSET8) as u8);
    let mut w = nibbles(l, packed);
    for w in &mut w {
        *w = l.lookup(&table, *w);
    }
    w
}

impl<T: Block> Expand for T {
    const FIELDS: &'static [(usize, usize)] = &[(T::HALVES, 2), ((T::BYTES - 2 * T::HALVES) / 4, 4)];

    #[inline(always)]
    fn bytes(&self) -> usize {
        8 * T::BYTES
    }

    #[inline(always)]
    fn steps(&self) -> usize {
        T::STEPS
    }

    #[inline(always)]
    fn kind<L: Lanes>(&self) -> Kind {
        Kind::Blocks { offset: T::offset::<L>(), minima: T::MINIMA }
    }

    #[inline(always)]
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>) {
        let mut words = [l.splat(0); WORDS_MAX];
        if S::PACKED {
            for b in looped(8) {
                let (w, d, m) = T::unpack(l, Fields { l, source: rows, words: &words, start: b * T::BYTES });
                to.block(l, b, w, d, m);
            }
            return;
        }
        put::<L, T, S, _, 0>(l, rows, &mut words, to);
        put::<L, T, S, _, 1>(l, rows, &mut words, to);
        put::<L, T, S, _, 2>(l, rows, &mut words, to);
        put::<L, T, S, _, 3>(l, rows, &mut words, to);
        put::<L, T, S, _, 4>(l, rows, &mut words, to);
        put::<L, T, S, _, 5>(l, rows, &mut words, to);
        put::<L, T, S, _, 6>(l, rows, &mut words, to);
        put::<L, T, S, _, 7>(l, rows, &mut words, to);
    }
}

/// Block `B`, after the words it ends with have been read.
#[inline(always)]
fn put<L: Lanes, T: Block, S: Source, K: Sink<L>, const B: usize>(
    l: L,
    rows: S,
    words: &mut [L::V; WORDS_MAX],
    to: &mut K,
) {
    let quads = const { (B * T::BYTES).div_ceil(16)..((B + 1) * T::BYTES).div_ceil(16) };
    for quad in quads {
        words[4 * quad..4 * quad + 4].copy_from_slice(&rows.quads(l, 16 * quad));
    }
    let (w, d, m) = T::unpack(l, Fields { l, source: rows, words, start: B * T::BYTES });
    to.block(l, B, w, d, m);
}

/// Its blocks of 17 bytes are read one by one.
pub(crate) struct Mxfp4;

impl Expand for Mxfp4 {
    const FIELDS: &'static [(usize, usize)] = &[(1, 1), (4, 4)];

    #[inline(always)]
    fn bytes(&self) -> usize {
        8 * 17
    }

    #[inline(always)]
    fn steps(&self) -> usize {
        4
    }

    #[inline(always)]
    fn kind<L: Lanes>(&self) -> Kind {
        Kind::Blocks { offset: Some(4), minima: false }
    }

    #[inline(always)]
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>) {
        let table = mxfp4::E2M1.map(|v| (v + 16) as u8);
        let mut d = [0.0; 64];
        for b in looped(8) {
            let mut w = nibbles(l, rows.quads(l, 17 * b + 1));
            for w in &mut w {
                *w = l.lookup(&table, *w);
            }
            for (r, d) in d[..L::N].iter_mut().enumerate() {
                *d = mxfp4::scale(rows.byte(l, r, 17 * b));
            }
            to.block(l, b, w, l.load_f32(&d[..L::N]), l.splat_f32(0.0));
        }
    }
}
