//! Formats with a scale per 256 weights and integer scales inside: superblocks.
//!
//! Where a superblock's fields lie is told in [`crate::quant`], at the head of each format's file.

use super::blocks::{levels, nibbles};
use super::{Expand, Kind, Sink, looped};
use crate::simd::lanes::{Lanes, Source};

/// What [`Expand`] asks of a superblock besides its expansion: its bytes, [`Expand::steps`], and of [`Kind::Supers`] the
/// columns of a run and either that there are minima or the offset, which may depend on `L: Lanes`.
macro_rules! layout {
    ($bytes:literal bytes, steps $steps:literal, runs of $run:literal, minima) => {
        layout! { @ $bytes, $steps, Kind::Supers { run: $run, offset: None, minima: true } }
    };
    ($bytes:literal bytes, steps $steps:literal, runs of $run:literal, offset $offset:expr) => {
        layout! { @ $bytes, $steps, Kind::Supers { run: $run, offset: $offset, minima: false } }
    };
    (@ $bytes:literal, $steps:literal, $kind:expr) => {
        // Words, and where they do not fill it a half behind them.
        const FIELDS: &'static [(usize, usize)] = &[($bytes / 4, 4), ($bytes % 4 / 2, 2)];

        #[inline(always)]
        fn bytes(&self) -> usize {
            $bytes
        }

        #[inline(always)]
        fn steps(&self) -> usize {
            $steps
        }

        #[inline(always)]
        fn kind<L: Lanes>(&self) -> Kind {
            $kind
        }
    };
}

pub(crate) struct Q6K;

impl Expand for Q6K {
    layout! { 210 bytes, steps 2, runs of 16, offset Some(5) }

    #[inline(always)]
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>) {
        to.scales(rows.half(l, 208), l.splat_f32(0.0));
        for (i, sc) in rows.quads(l, 192).into_iter().enumerate() {
            let mut four = [sc; 4];
            for (byte, four) in four.iter_mut().enumerate() {
                *four = l.sar(l.shl(sc, 24 - 8 * byte as u32), 24);
            }
            scales_of_16(l, to, 4 * i, four);
        }
        let (mask4, mask2) = (l.splat(0x0f0f_0f0f), l.splat(0x3030_3030));
        for half in looped(2) {
            for q in looped(2) {
                let high = rows.quads(l, 128 + 32 * half + 16 * q);
                let a = rows.quads(l, 64 * half + 16 * q);
                let b = rows.quads(l, 64 * half + 32 + 16 * q);
                let join = |low, high| l.or(l.and(low, mask4), l.and(high, mask2));
                let mut runs = [a; 4];
                for i in 0..4 {
                    runs[0][i] = join(a[i], l.shl(high[i], 4));
                    runs[1][i] = join(b[i], l.shl(high[i], 2));
                    runs[2][i] = join(l.shr(a[i], 4), high[i]);
                    runs[3][i] = join(l.shr(b[i], 4), l.shr(high[i], 2));
                }
                for (i, run) in runs.into_iter().enumerate() {
                    to.run(l, 8 * half + 2 * i + q, run);
                }
            }
        }
    }
}

/// Four scales of runs of 16, from run `at` on, which are the factors of the sums too.
#[inline(always)]
fn scales_of_16<L: Lanes>(l: L, to: &mut impl Sink<L>, at: usize, sc: [L::V; 4]) {
    for (i, &sc) in sc.iter().enumerate() {
        to.scale(at + i, l.scale(sc));
    }
    to.second(l, at / 2, l.pair(sc[0], sc[1]));
    to.second(l, at / 2 + 1, l.pair(sc[2], sc[3]));
}

/// Byte `i` of each lane.
#[inline(always)]
fn byte<L: Lanes>(l: L, v: L::V, i: u32) -> L::V {
    l.and(l.shr(v, 8 * i), l.splat(255))
}

/// `d`, `dmin` and the packed scales and minima at the head of q4_K and q5_K.
#[inline(always)]
fn head<L: Lanes>(l: L, rows: impl Source, to: &mut impl Sink<L>) {
    let [dd, low_sc, low_m, high] = rows.quads(l, 0);
    to.scales(l.low_half(dd), l.high_half(dd));
    let top2 = |v| l.and(l.shr(v, 2), l.splat(0x3030_3030));
    let (mask4, mask6) = (l.splat(0x0f0f_0f0f), l.splat(0x3f3f_3f3f));
    let sc = [l.and(low_sc, mask6), l.or(l.and(high, mask4), top2(low_sc))];
    let m = [l.and(low_m, mask6), l.or(l.and(l.shr(high, 4), mask4), top2(low_m))];
    for j in 0..8 {
        to.scale(j, l.scale(byte(l, sc[j / 4], j as u32 % 4)));
        let m = byte(l, m[j / 4], j as u32 % 4);
        to.second(l, j, l.pair(m, m));
    }
}

/// The lower and the upper four bits of 32 bytes.
#[inline(always)]
fn two_runs<L: Lanes>(l: L, rows: impl Source, at: usize) -> [[L::V; 8]; 2] {
    let mut runs = [[l.splat(0); 8]; 2];
    for half in 0..2 {
        let both = nibbles(l, rows.quads(l, at + 16 * half));
        for (run, both) in runs.iter_mut().zip(both.as_chunks::<4>().0) {
            run[4 * half..4 * half + 4].copy_from_slice(both);
        }
    }
    runs
}

pub(crate) struct Q4K;

impl Expand for Q4K {
    layout! { 144 bytes, steps 8, runs of 32, minima }

    #[inline(always)]
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>) {
        head(l, rows, to);
        for p in looped(4) {
            let [low, high] = two_runs(l, rows, 16 + 32 * p);
            to.run(l, 2 * p, low);
            to.run(l, 2 * p + 1, high);
        }
    }
}

pub(crate) struct Q5K;

impl Expand for Q5K {
    layout! { 176 bytes, steps 4, runs of 32, minima }

    #[inline(always)]
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>) {
        head(l, rows, to);
        let bit = l.splat(0x1010_1010);
        let high = [rows.quads(l, 16), rows.quads(l, 32)];
        for p in 0..4 {
            for (i, mut run) in two_runs(l, rows, 48 + 32 * p).into_iter().enumerate() {
                let j = 2 * p + i;
                for (w, &high) in run.iter_mut().zip(high.as_flattened()) {
                    // Bit `j` of the byte is the fifth of run `j`: to bit 4 with it.
                    let fifth = if j < 4 { l.shl(high, 4 - j as u32) } else { l.shr(high, j as u32 - 4) };
                    *w = l.or(*w, l.and(fifth, bit));
                }
                to.run(l, j, run);
            }
        }
    }
}

/// 256 numbers of two bits in 64 bytes from `at`: columns `32 j..32 j + 32` are given to `give(j, words)`.
#[inline(always)]
fn two_bits<L: Lanes>(l: L, rows: impl Source, at: usize, mut give: impl FnMut(usize, [L::V; 8])) {
    let mask = l.splat(0x0303_0303);
    for half in looped(2) {
        let packed = [rows.quads(l, at + 32 * half), rows.quads(l, at + 32 * half + 16)];
        for r in 0..4 {
            let mut words = [mask; 8];
            for (word, &packed) in words.iter_mut().zip(packed.as_flattened()) {
                *word = l.and(l.shr(packed, 2 * r as u32), mask);
            }
            give(4 * half + r, words);
        }
    }
}

/// Columns `32 j..32 j + 32` as two runs.
#[inline(always)]
fn runs_of_16<L: Lanes>(l: L, to: &mut impl Sink<L>, j: usize, words: [L::V; 8]) {
    for (i, &run) in words.as_chunks::<4>().0.iter().enumerate() {
        to.run(l, 2 * j + i, run);
    }
}

pub(crate) struct Q3K;

impl Expand for Q3K {
    layout! { 110 bytes, steps 8, runs of 16, offset Some(2) }

    #[inline(always)]
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>) {
        to.scales(rows.half(l, 108), l.splat_f32(0.0));
        let [_, low0, low1, top] = rows.quads(l, 92);
        let low = [low0, low1];
        let (mask4, mask2) = (l.splat(0x0f0f_0f0f), l.splat(0x3030_3030));
        for i in 0..4 {
            // Scales 4 i..4 i + 4 as bytes.
            let low = l.and(l.shr(low[i % 2], 4 * (i as u32 / 2)), mask4);
            let high = if i < 2 { l.shl(top, 4 - 2 * i as u32) } else { l.shr(top, 2 * i as u32 - 4) };
            let sc = l.or(low, l.and(high, mask2));
            let mut four = [sc; 4];
            for (j, four) in four.iter_mut().enumerate() {
                *four = l.sub(byte(l, sc, j as u32), l.splat(32));
            }
            scales_of_16(l, to, 4 * i, four);
        }
        let (high, bit) = ([rows.quads(l, 0), rows.quads(l, 16)], l.splat(0x0404_0404));
        two_bits(l, rows, 32, |j, mut words| {
            for (word, &high) in words.iter_mut().zip(high.as_flattened()) {
                let high = if j < 2 { l.shl(high, 2 - j as u32) } else { l.shr(high, j as u32 - 2) };
                *word = l.or(*word, l.and(high, bit));
            }
            runs_of_16(l, to, j, words);
        });
    }
}

pub(crate) struct Q2K;

impl Expand for Q2K {
    layout! { 84 bytes, steps 8, runs of 16, minima }

    #[inline(always)]
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>) {
        let dd = rows.word(l, 80);
        to.scales(l.low_half(dd), l.high_half(dd));
        for (i, both) in rows.quads(l, 0).into_iter().enumerate() {
            let sc = l.and(both, l.splat(0x0f0f_0f0f));
            let m = l.and(l.shr(both, 4), l.splat(0x0f0f_0f0f));
            for j in 0..4 {
                to.scale(4 * i + j, l.scale(byte(l, sc, j as u32)));
            }
            to.second(l, 2 * i, l.pair(byte(l, m, 0), byte(l, m, 1)));
            to.second(l, 2 * i + 1, l.pair(byte(l, m, 2), byte(l, m, 3)));
        }
        two_bits(l, rows, 16, |j, words| runs_of_16(l, to, j, words));
    }
}

pub(crate) struct Tq2_0;

impl Expand for Tq2_0 {
    layout! { 66 bytes, steps 8, runs of 32, offset Some(0) }

    #[inline(always)]
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>) {
        to.scales(rows.half(l, 64), l.splat_f32(0.0));
        for j in 0..8 {
            to.scale(j, l.scale(l.splat(1)));
            to.second(l, j, l.pair(l.splat(1), l.splat(1)));
        }
        two_bits(l, rows, 0, |j, words| to.run(l, j, words));
    }
}

pub(crate) struct Iq4Xs;

impl Expand for Iq4Xs {
    layout! { 136 bytes, steps 0, runs of 32, offset if L::OFFSET8 == 0 { None } else { Some(7) } }

    #[inline(always)]
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>) {
        let [head, low, ..] = rows.quads(l, 0);
        to.scales(l.low_half(head), l.splat_f32(0.0));
        for j in 0..8 {
            let low = l.and(l.shr(low, 4 * j), l.splat(15));
            let high = l.and(l.shr(head, 16 + 2 * j), l.splat(3));
            let sc = l.sub(l.or(low, l.shl(high, 4)), l.splat(32));
            to.scale(j as usize, l.scale(sc));
            to.second(l, j as usize, l.pair(sc, sc));
        }
        for j in looped(8) {
            to.run(l, j, levels(l, rows.quads(l, 8 + 16 * j)));
        }
    }
}
