//! Products of weights that lie as files have them, in two steps: a *panel* of 256 columns of some rows is expanded to bytes in
//! the first-level cache, and all tokens of the tile are multiplied with it before the next.
//!
//! So weights stream from memory once, in the order of the file; what expanding costs is shared by the tokens; and one
//! product per kind of format serves all formats, one token and many. [`super::expand`] fills panels, [`super::lanes`] says
//! what a tier's vectors can do. Sums stay in the order of [`crate::quant`]: a lane is a row.

use std::hint::black_box;
use std::ops::Range;

use super::expand::{Expand, Kind};
use super::lanes::{Lanes, Rows};
use crate::acts::{ActRow, Acts};
use crate::gemm::TILE_TOKENS;

/// The most rows of a panel.
const ROWS_MAX: usize = 32;
/// The most bytes of 256 columns: those of q8_0.
const BYTES_MAX: usize = 272;
/// The most tokens whose sums a call keeps in a small buffer.
const FEW: usize = 8;

/// 256 columns of `N` rows, expanded.
#[repr(align(64))]
pub(crate) struct Panel<L: Lanes> {
    /// Quants as bytes, columns `4 i..4 i + 4` in entry `i`.
    pub w: [L::V; 64],
    /// Scale per 32 columns; of a superblock the first only.
    pub d: [L::F; 8],
    /// Offset per 32 columns, or of a superblock the scale of its minima.
    pub m: [L::F; 8],
    /// Of a superblock: the scale of each run in [`Lanes::scale`]'s form.
    pub scales: [L::V; 16],
    /// Of a superblock: what the sums of 16 activations are multiplied with, in pairs of i16.
    pub second: [L::V; 8],
}

impl<L: Lanes> Panel<L> {
    #[inline(always)]
    fn new(l: L) -> Self {
        let (int, float) = (l.splat(0), l.splat_f32(0.0));
        Self { w: [int; 64], d: [float; 8], m: [float; 8], scales: [int; 16], second: [int; 8] }
    }
}

/// A panel and what it is multiplied with.
pub(crate) struct Product<'a, L: Lanes> {
    pub panel: &'a Panel<L>,
    pub kind: Kind,
    /// Blocks of 32 columns that are there.
    pub n_blocks: usize,
    /// Which panel of the row this is.
    pub at: usize,
    /// A row of activations per token.
    pub a: &'a [ActRow<'a>],
}

/// A tile of weights in the format that `E` expands; see [`super::TileFn`].
#[inline(always)]
pub(crate) fn tile<L: Lanes, E: Expand>(
    l: L,
    weights: &[u8],
    n_rows: usize,
    acts: &Acts,
    tokens: Range<usize>,
    out: &mut [f32],
    multiply: impl Fn(&Product<'_, L>, &mut [L::F]),
) {
    let mut a = [ActRow { f: &[], q: &[], d: &[], sums: &[] }; TILE_TOKENS];
    let a = &mut a[..tokens.len()];
    for (a, t) in a.iter_mut().zip(tokens) {
        *a = acts.row(t);
    }
    let zero = l.splat_f32(0.0);
    let (mut few, mut many);
    let sums: &mut [L::F] = if a.len() <= FEW {
        few = [zero; FEW];
        &mut few
    } else {
        many = [zero; TILE_TOKENS];
        &mut many
    };
    let n_tokens = a.len();
    groups::<L, E>(l, weights, n_rows, a, &mut sums[..n_tokens], out, multiply);
}

/// Goes through a tile in groups of `N` rows.
#[inline(always)]
fn groups<L: Lanes, E: Expand>(
    l: L,
    weights: &[u8],
    n_rows: usize,
    a: &[ActRow<'_>],
    sums: &mut [L::F],
    out: &mut [f32],
    multiply: impl Fn(&Product<'_, L>, &mut [L::F]),
) {
    let row_bytes = weights.len() / n_rows;
    let n_panels = row_bytes.div_ceil(E::BYTES);
    let kind = E::kind::<L>();
    let mut panel = Panel::new(l);
    let mut lanes = [0.0; ROWS_MAX];
    let mut whole = [0; ROWS_MAX * BYTES_MAX];
    for first in (0..n_rows).step_by(L::N) {
        let group = &weights[first * row_bytes..];
        let next = group.as_ptr().wrapping_add(L::N * row_bytes);
        sums.fill(l.splat_f32(0.0));
        for at in 0..n_panels {
            let rest = &group[at * E::BYTES..];
            let len = E::BYTES.min(row_bytes - at * E::BYTES);
            let rows = if len == E::BYTES && rest.len() >= (L::N - 1) * row_bytes + len {
                Rows::new(rest, row_bytes, E::BYTES, L::N, next.wrapping_add(at * L::N * E::BYTES))
            } else {
                fill_up(rest, row_bytes, len, &mut whole, E::BYTES);
                Rows::new(&whole, E::BYTES, E::BYTES, L::N, std::ptr::null())
            };
            E::expand(l, rows, &mut panel);
            let n_blocks = len * 8 / E::BYTES;
            let product = Product { panel: &panel, kind, n_blocks, at, a };
            multiply(&product, sums);
        }
        let n = L::N.min(n_rows - first);
        for (out, &sums) in out.chunks_exact_mut(n_rows).zip(&*sums) {
            if n == L::N {
                l.store_f32(sums, &mut out[first..first + n]);
            } else {
                l.store_f32(sums, &mut lanes[..L::N]);
                out[first..first + n].copy_from_slice(&lanes[..n]);
            }
        }
    }
}

/// Rows with zeros where rows or columns are missing.
fn fill_up(rest: &[u8], row_bytes: usize, len: usize, whole: &mut [u8], whole_row_bytes: usize) {
    whole.fill(0);
    for (row, whole) in rest.chunks(row_bytes).zip(whole.chunks_exact_mut(whole_row_bytes)) {
        whole[..len].copy_from_slice(&row[..len]);
    }
}

/// Adds the products of a panel of blocks with `T` tokens, `a[0..T]`, to their sums. `STEPS` dot products fit a
/// [`Lanes::P`]; 0 says that the weights are wide.
#[inline(always)]
pub(crate) fn blocks<L: Lanes, const T: usize, const STEPS: usize, const MINIMA: bool>(
    l: L,
    product: &Product<'_, L>,
    a: &[ActRow<'_>; T],
    sums: &mut [L::F; T],
) {
    let Kind::Blocks { offset, .. } = product.kind else { unreachable!("a product of blocks") };
    let first = product.at * 8;
    let mut acc = *sums;
    // A loop of a length the compiler does not know, so that it stays a loop.
    let blocks = black_box(&product.panel.w[..8 * product.n_blocks]).as_chunks::<8>().0;
    for (b, w) in blocks.iter().enumerate() {
        let mut isum = [l.splat(0); T];
        let mut q = [&[0; 32]; T];
        for t in 0..T {
            isum[t] = l.splat(-offset * i32::from(a[t].sums[first + b]));
            q[t] = &a[t].q.as_chunks().0[first + b];
        }
        dots::<L, T, STEPS, 8>(l, w, &q, &mut isum);
        let (d, m) = (product.panel.d[b], product.panel.m[b]);
        for t in 0..T {
            let d_a = l.splat_f32(a[t].d[first + b]);
            // Two roundings, as everywhere: no fused multiplication here.
            acc[t] = l.add_f32(acc[t], l.mul_f32(l.to_f32(isum[t]), l.mul_f32(d, d_a)));
            if MINIMA {
                let asum = l.splat_f32(f32::from(a[t].sums[first + b]));
                acc[t] = l.add_f32(acc[t], l.mul_f32(asum, l.mul_f32(m, d_a)));
            }
        }
    }
    *sums = acc;
}

/// Exact sums of products of `4 * N` columns onto `isum`.
#[inline(always)]
fn dots<L: Lanes, const T: usize, const STEPS: usize, const N: usize>(
    l: L,
    w: &[L::V; N],
    q: &[&[i8; 32]; T],
    isum: &mut [L::V; T],
) {
    let steps = if STEPS == 0 { 1 } else { STEPS };
    for step in (0..N).step_by(steps) {
        let mut p = [l.begin(isum[0]); T];
        for t in 1..T {
            p[t] = l.begin(isum[t]);
        }
        for (i, &w) in w.iter().enumerate().skip(step).take(steps) {
            for t in 0..T {
                let a = quad(l, q[t], i);
                p[t] = if STEPS == 0 { l.dot::<true>(p[t], w, a) } else { l.dot::<false>(p[t], w, a) };
            }
        }
        for t in 0..T {
            isum[t] = l.end(isum[t], p[t]);
        }
    }
}

/// The same for a superblock; its runs have `4 * RUN` columns.
#[inline(always)]
pub(crate) fn supers<L: Lanes, const T: usize, const STEPS: usize, const RUN: usize>(
    l: L,
    product: &Product<'_, L>,
    a: &[ActRow<'_>; T],
    sums: &mut [L::F; T],
) {
    let Kind::Supers { offset, minima, .. } = product.kind else { unreachable!("a product of superblocks") };
    let panel = product.panel;
    let mut q = [&[0; 256]; T];
    let mut isum = [l.splat(0); T];
    for t in 0..T {
        q[t] = &a[t].q.as_chunks().0[product.at];
    }
    for (run, w) in panel.w.as_chunks::<RUN>().0.iter().enumerate() {
        let steps = if STEPS == 0 { 1 } else { STEPS };
        for step in (0..RUN).step_by(steps) {
            let mut p = [l.begin(l.splat(0)); T];
            for (i, &w) in w.iter().enumerate().skip(step).take(steps) {
                for t in 0..T {
                    let a = quad(l, q[t], run * RUN + i);
                    p[t] = if STEPS == 0 { l.dot::<true>(p[t], w, a) } else { l.dot::<false>(p[t], w, a) };
                }
            }
            for t in 0..T {
                isum[t] = l.end_scaled(isum[t], p[t], panel.scales[run]);
            }
        }
    }
    for t in 0..T {
        let d_a = l.splat_f32(a[t].d[product.at]);
        let d = l.mul_f32(panel.d[0], d_a);
        let mut second = l.splat(0);
        if minima || offset.is_some() {
            let asums: &[i16; 16] = &a[t].sums.as_chunks().0[product.at];
            for (factors, &[even, odd]) in panel.second.iter().zip(asums.as_chunks::<2>().0) {
                let both = l.splat(i32::from(even as u16) | i32::from(odd) << 16);
                second = l.add_pairs(second, *factors, both);
            }
        }
        let whole = offset.map_or(isum[t], |by| l.sub(isum[t], l.shl(second, by)));
        sums[t] = l.add_f32(sums[t], l.mul_f32(l.to_f32(whole), d));
        if minima {
            sums[t] = l.sub_f32(sums[t], l.mul_f32(l.to_f32(second), l.mul_f32(panel.m[0], d_a)));
        }
    }
}

/// Activations `4 i..4 i + 4` to every lane.
#[inline(always)]
fn quad<L: Lanes, const N: usize>(l: L, q: &[i8; N], i: usize) -> L::V {
    let [a, b, c, d] = q.as_chunks::<4>().0[i];
    l.splat(i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]))
}
