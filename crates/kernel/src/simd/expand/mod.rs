//! The shelf of expansions: how 256 columns of a format become bytes and scales, for a [`Sink`] to take.
//!
//! One entry per format that has one, written once for the vectors of every tier. To add one, write it and add a line to
//! [`expansions`]. A format whose rows are better unpacked one by one needs no more than a [`Rowwise`] and a line there.

mod blocks;
pub(crate) mod rows;
mod supers;

pub(crate) use blocks::{Iq4Nl, Mxfp4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub(crate) use rows::Rowwise;
pub(crate) use supers::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K, Tq2_0};

use super::lanes::{Lanes, Source};

/// How a format's weights become bytes.
pub(crate) trait Expand {
    /// The fields that the bytes consist of, over and over: how many and their size. None where weights are not packed.
    const FIELDS: &'static [(usize, usize)];
    /// Bytes of 256 columns.
    fn bytes(&self) -> usize;
    /// How many products of two neighbouring pairs of quant and activation fit an i16: 8 for quants below 16, 4 below 32,
    /// 2 below 64, 1 below 128; 0 for quants of eight bits in the form of [`Lanes::OFFSET8`].
    fn steps(&self) -> usize;
    /// What is expanded.
    fn kind<L: Lanes>(&self) -> Kind;
    /// Expands 256 columns of `N` rows.
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>);
}

/// What takes 256 expanded columns: a panel that keeps them, or a product that takes them as they come. Of blocks all eight
/// are given, of a superblock its scales first.
pub(crate) trait Sink<L: Lanes> {
    /// 32 columns from `32 b` on: their quants as bytes, four columns to a vector, and their scale and offset or two scales.
    fn block(&mut self, l: L, b: usize, w: [L::V; 8], d: L::F, m: L::F);
    /// A superblock's scale, and the scale of its minima.
    fn scales(&mut self, d: L::F, m: L::F);
    /// The integer scale of a run, in [`Lanes::scale`]'s form.
    fn scale(&mut self, run: usize, scale: L::V);
    /// What the sums of the 32 activations from `32 i` on are multiplied with, in pairs of i16, one for each 16.
    fn second(&mut self, l: L, i: usize, factors: L::V);
    /// The quants of a run of `4 * N` columns.
    fn run<const N: usize>(&mut self, l: L, run: usize, w: [L::V; N]);
}

/// The arithmetic of what is expanded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A scale per 32 columns.
    Blocks {
        /// The quants lie `1 << offset` higher than the weights.
        offset: Option<u32>,
        /// Whether there is an offset `m` per block.
        minima: bool,
    },
    /// A scale per 16 columns, `d` for the first of 32 and `m` for the others.
    Halves {
        /// The quants, below 32, lie `1 << offset` higher than the weights.
        offset: u32,
    },
    /// A scale per 256 columns and integer scales inside.
    Supers {
        /// Columns per integer scale, 16 or 32.
        run: usize,
        /// The quants lie `1 << offset` higher than the weights; `second` holds the scales then.
        offset: Option<u32>,
        /// Whether there are minima; `second` holds them then.
        minima: bool,
    },
}

/// `0..n` of a loop that is to stay a loop. Unrolled, it would ask for all memory first and then wait for it.
#[inline(always)]
fn looped(n: usize) -> std::ops::Range<usize> {
    0..std::hint::black_box(n)
}

/// Calls `$tiles!` with what is given, and the name of every format, its form of activations and its expansion: a type, or
/// for those that are unpacked by rows one of [`rows`].
macro_rules! expansions {
    ($tiles:ident!($($given:tt)*)) => {
        $tiles! { $($given)*;
            "q8_0" Q8x32 Q8_0, "q5_1" Q8x32 Q5_1, "q5_0" Q8x32 Q5_0, "q4_1" Q8x32 Q4_1, "q4_0" Q8x32 Q4_0,
            "iq4_nl" Q8x32 Iq4Nl, "mxfp4" Q8x32 Mxfp4,
            "q6_K" Q8x256 Q6K, "q5_K" Q8x256 Q5K, "q4_K" Q8x256 Q4K, "q3_K" Q8x256 Q3K, "q2_K" Q8x256 Q2K,
            "iq4_xs" Q8x256 Iq4Xs, "tq2_0" Q8x256 Tq2_0,
            by rows:
            "nvfp4" Q8x32 NVFP4, "iq3_s" Q8x256 IQ3_S, "iq3_xxs" Q8x256 IQ3_XXS, "iq2_s" Q8x256 IQ2_S,
            "iq2_xs" Q8x256 IQ2_XS, "iq2_xxs" Q8x256 IQ2_XXS, "q2_0" Q8x32 Q2_0, "iq1_m" Q8x256 IQ1_M,
            "tq1_0" Q8x256 TQ1_0, "iq1_s" Q8x256 IQ1_S, "q1_0" Q8x32 Q1_0,
        }
    };
}
pub(crate) use expansions;
