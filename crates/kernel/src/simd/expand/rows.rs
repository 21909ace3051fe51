//! Formats whose weights are points of grids, or else numbers that a row's own bytes give more readily than lanes do: each row
//! is unpacked by the code that scalar uses, and the whole numbers are turned to lanes.
//!
//! One expansion serves them all and is told at run time which it serves, so that a format adds to the program no more than
//! its unpacking, compiled once for all tiers. To add a format write a [`Rowwise`] and its line in [`super::expansions`].
//! There is nothing to gain from packing, which would spare the smaller part of the work.

use super::{Expand, Kind, Sink};
use crate::quant::ints::{Block, Super};
use crate::quant::{iq1, iq2, iq3, nvfp4, q1_0, q2_0, tq};
use crate::simd::lanes::{Lanes, Rows, Source};
use crate::simd::panel::ROWS_MAX;

/// 256 columns of a row as whole numbers: the quants and, of a superblock, the scales of its groups of 16 behind them, i16.
type Row = [u8; ROW];

const ROW: usize = 256 + 2 * 16;

/// The scale of a superblock, of each block of 32, or of each half of one.
type RowScales = [f32; 16];

/// Unpacks 256 columns of a row.
type Unpack = fn(&[u8], &mut Row, &mut RowScales);

/// How a format's rows are unpacked.
pub(crate) struct Rowwise {
    /// Bytes of 256 columns.
    bytes: usize,
    /// Quants lie from `-(1 << bits)` to below `1 << bits`.
    bits: u32,
    scales: Scales,
    unpack: Unpack,
}

/// What scales belong to.
#[derive(Clone, Copy)]
enum Scales {
    /// 16 columns.
    Halves,
    /// 32 columns or more.
    Blocks,
    /// A superblock, in which so many columns have an integer scale.
    Supers(usize),
}

impl Rowwise {
    /// A format of superblocks of so many bytes with an integer scale per `run` columns.
    const fn supers(bytes: usize, bits: u32, run: usize, unpack: Unpack) -> Self {
        Self { bytes, bits, scales: Scales::Supers(run), unpack }
    }

    /// A format of blocks, of which 256 columns have so many bytes.
    const fn blocks(bytes: usize, bits: u32, unpack: Unpack) -> Self {
        Self { bytes, bits, scales: Scales::Blocks, unpack }
    }

    /// How much higher than the weights the quants lie in a panel, as a power of two.
    #[inline(always)]
    fn offset<L: Lanes>(&self) -> Option<u32> {
        if self.bits == 7 { L::OFFSET8.checked_ilog2() } else { Some(self.bits) }
    }
}

pub(crate) static IQ3_S: Rowwise = Rowwise::supers(110, 4, 32, |row, out, d| set(row, out, d, iq3::unpack_s));
pub(crate) static IQ3_XXS: Rowwise =
    Rowwise::supers(98, 7, 32, |row, out, d| set(row, out, d, iq3::unpack_xxs));
pub(crate) static IQ2_S: Rowwise = Rowwise::supers(82, 7, 16, |row, out, d| set(row, out, d, iq2::unpack_s));
pub(crate) static IQ2_XS: Rowwise =
    Rowwise::supers(74, 7, 16, |row, out, d| set(row, out, d, iq2::unpack_xs));
pub(crate) static IQ2_XXS: Rowwise =
    Rowwise::supers(66, 7, 32, |row, out, d| set(row, out, d, iq2::unpack_xxs));
pub(crate) static IQ1_M: Rowwise = Rowwise::supers(56, 4, 16, |row, out, d| set(row, out, d, iq1::unpack_m));
pub(crate) static IQ1_S: Rowwise = Rowwise::supers(50, 4, 32, |row, out, d| set(row, out, d, iq1::unpack_s));
pub(crate) static TQ1_0: Rowwise = Rowwise::supers(54, 2, 32, |row, out, d| set(row, out, d, tq::unpack_1));
pub(crate) static Q2_0: Rowwise = Rowwise::blocks(72, 2, |row, out, d| set_blocks(row, out, d, q2_0::unpack));
pub(crate) static Q1_0: Rowwise = Rowwise::blocks(36, 2, |row, out, d| set_blocks(row, out, d, q1_0::unpack));
pub(crate) static NVFP4: Rowwise = Rowwise { scales: Scales::Halves, ..Rowwise::blocks(144, 4, set_nvfp4) };

#[inline(always)]
fn set<const B: usize>(row: &[u8], out: &mut Row, d: &mut RowScales, unpack: impl Fn(&[u8; B]) -> Super) {
    let block = unpack(row.as_array().expect("a superblock"));
    let (q, sc) = out.split_at_mut(256);
    for (out, q) in q.iter_mut().zip(block.q) {
        *out = q as u8;
    }
    for (out, sc) in sc.as_chunks_mut().0.iter_mut().zip(block.sc) {
        *out = sc.to_le_bytes();
    }
    d[0] = block.d;
}

#[inline(always)]
fn set_blocks<const B: usize, const N: usize>(
    row: &[u8],
    out: &mut Row,
    d: &mut RowScales,
    unpack: impl Fn(&[u8; B]) -> Block<N>,
) {
    let out = out.as_chunks_mut::<N>().0.iter_mut().zip(d.chunks_exact_mut(N / 32));
    for (block, (out, d)) in row.as_chunks().0.iter().zip(out) {
        let block = unpack(block);
        for (out, q) in out.iter_mut().zip(block.q) {
            *out = q as u8;
        }
        d.fill(block.d);
    }
}

fn set_nvfp4(row: &[u8], out: &mut Row, d: &mut RowScales) {
    let out = out.as_chunks_mut::<64>().0.iter_mut().zip(d.as_chunks_mut().0);
    for (block, (out, d)) in row.as_chunks().0.iter().zip(out) {
        let q;
        (*d, q) = nvfp4::unpack(block);
        for (out, q) in out.iter_mut().zip(q) {
            *out = q as u8;
        }
    }
}

impl Expand for Rowwise {
    const FIELDS: &'static [(usize, usize)] = &[];

    #[inline(always)]
    fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline(always)]
    fn steps(&self) -> usize {
        match self.bits {
            0..=2 => 8,
            3..=4 => 4,
            _ => 0,
        }
    }

    #[inline(always)]
    fn kind<L: Lanes>(&self) -> Kind {
        match (self.scales, self.offset::<L>()) {
            (Scales::Halves, offset) => Kind::Halves { offset: offset.expect("quants of four bits") },
            (Scales::Blocks, offset) => Kind::Blocks { offset, minima: false },
            (Scales::Supers(run), offset) => Kind::Supers { run, offset, minima: false },
        }
    }

    #[inline(always)]
    fn expand<L: Lanes, S: Source>(&self, l: L, rows: S, to: &mut impl Sink<L>) {
        let mut bytes = [[0; ROW]; ROWS_MAX];
        let mut scales = [[0.0; ROWS_MAX]; 16];
        let n_scales = match self.scales {
            Scales::Halves => 16,
            Scales::Blocks => 8,
            Scales::Supers(_) => 1,
        };
        let mut d = [0.0; 16];
        for (r, bytes) in bytes[..L::N].iter_mut().enumerate() {
            (self.unpack)(rows.row(l, r), bytes, &mut d);
            for (scales, d) in scales[..n_scales].iter_mut().zip(d) {
                scales[r] = d;
            }
        }
        let bytes = bytes[..L::N].as_flattened();
        // What is asked for on the way is there already.
        let rows = Rows::new(bytes, ROW, ROW, L::N, bytes.as_ptr());
        // A number and an offset, of as many bits as the offset and one more: the upmost is the other way round.
        let every = |byte: u32| l.splat((byte * 0x0101_0101) as i32);
        let (mask, bit) =
            self.offset::<L>().map_or((every(255), every(0)), |by| (every((2 << by) - 1), every(1 << by)));
        let quants = |i: usize| rows.quads(l, 16 * i).map(|w| l.xor(l.and(w, mask), bit));
        let scales = |i: usize| l.load_f32(&scales[i][..L::N]);
        let none = l.splat_f32(0.0);
        if let Scales::Supers(_) = self.scales {
            to.scales(scales(0), none);
            give_scales(l, rows, self.scales, to);
        }
        for b in 0..8 {
            let [low, high] = [quants(2 * b), quants(2 * b + 1)];
            let mut w = [low[0]; 8];
            w[..4].copy_from_slice(&low);
            w[4..].copy_from_slice(&high);
            match self.scales {
                Scales::Halves => to.block(l, b, w, scales(2 * b), scales(2 * b + 1)),
                Scales::Blocks => to.block(l, b, w, scales(b), none),
                Scales::Supers(16) => {
                    to.run(l, 2 * b, low);
                    to.run(l, 2 * b + 1, high);
                }
                Scales::Supers(_) => to.run(l, b, w),
            }
        }
    }
}

/// Integer scales, which lie behind the quants.
#[inline(always)]
fn give_scales<L: Lanes>(l: L, rows: Rows<'_>, belong: Scales, to: &mut impl Sink<L>) {
    for i in 0..2 {
        for (j, both) in rows.quads(l, 256 + 16 * i).into_iter().enumerate() {
            let b = 4 * i + j;
            let (even, odd) = (l.sar(l.shl(both, 16), 16), l.sar(both, 16));
            to.second(l, b, l.pair(even, odd));
            if let Scales::Supers(16) = belong {
                to.scale(2 * b, l.scale(even));
                to.scale(2 * b + 1, l.scale(odd));
            } else {
                to.scale(b, l.scale(even));
            }
        }
    }
}
