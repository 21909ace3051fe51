//! Products of weights that lie as files have them, in two steps: a *panel* of 256 columns of some rows is expanded to bytes in
//! the first-level cache, and all tokens of the tile are multiplied with it before the next.
//!
//! So weights stream from memory once, in the order of the file; what expanding costs is shared by the tokens; and one
//! product per kind of format serves all formats, one token and many. [`super::expand`] fills panels, [`super::lanes`] says
//! what a tier's vectors can do. Sums stay in the order of [`crate::quant`]: a lane is a row.

use std::cell::Cell;
use std::hint::black_box;
use std::ops::Range;

use super::expand::{Expand, Kind, Sink};
use super::lanes::{Ahead, Lanes, Rows};
use super::pack::{AHEAD, Packed};
use super::stream;
use crate::acts::{self, Act, Acts, Group};
use crate::gemm::TILE_TOKENS;
use crate::par::Columns;

/// The most rows of a panel.
pub(super) const ROWS_MAX: usize = 32;
/// The most bytes of 256 columns: those of q8_0.
const BYTES_MAX: usize = 272;
/// The most tokens whose sums a call keeps in a small buffer, and in one of middle size: to clear one for all takes as long as
/// the products of a small tile with few tokens.
const FEW: usize = 16;
const SOME: usize = 64;
/// The most groups of tokens: a group that is not the only one has more than half of four tokens or more.
const GROUPS_MAX: usize = TILE_TOKENS / 4;

/// What sums of a block begin with: an integer below 2^22 added to the bits of this float is that integer added to the float.
/// So a sum becomes a float by being called one, and `(BASE + sum) * d - BASE * d` is the product with a scale, rounded once: `BASE * d`
/// is exact for scales of up to 22 bits. Formats have at most 11.
const BASE: f32 = 1.5 * (1 << 23) as f32;

/// 256 columns of `N` rows, expanded.
#[repr(align(64))]
pub(crate) struct Panel<L: Lanes> {
    /// Quants as bytes, columns `4 i..4 i + 4` in entry `i`.
    pub w: [L::V; 64],
    /// Scale per 32 columns, or of the first 16 of them; of a superblock the first only.
    pub d: [L::F; 8],
    /// Offset per 32 columns, or the scale of their other 16, or of a superblock the scale of its minima.
    pub m: [L::F; 8],
    /// Of blocks: `-BASE * d`.
    base: [L::F; 8],
    /// Of a superblock: the scale of each run in [`Lanes::scale`]'s form.
    pub scales: [L::V; 16],
    /// Of a superblock: what the sums of 16 activations are multiplied with, in pairs of i16.
    pub second: [L::V; 8],
}

impl<L: Lanes> Panel<L> {
    #[inline(always)]
    fn new(l: L) -> Self {
        let (int, float) = (l.splat(0), l.splat_f32(0.0));
        Self {
            w: [int; 64],
            d: [float; 8],
            m: [float; 8],
            base: [float; 8],
            scales: [int; 16],
            second: [int; 8],
        }
    }
}

impl<L: Lanes> Sink<L> for Panel<L> {
    #[inline(always)]
    fn block(&mut self, _: L, b: usize, w: [L::V; 8], d: L::F, m: L::F) {
        self.w.as_chunks_mut().0[b] = w;
        (self.d[b], self.m[b]) = (d, m);
    }

    #[inline(always)]
    fn scales(&mut self, d: L::F, m: L::F) {
        (self.d[0], self.m[0]) = (d, m);
    }

    #[inline(always)]
    fn scale(&mut self, run: usize, scale: L::V) {
        self.scales[run] = scale;
    }

    #[inline(always)]
    fn second(&mut self, _: L, i: usize, factors: L::V) {
        self.second[i] = factors;
    }

    #[inline(always)]
    fn run<const N: usize>(&mut self, _: L, run: usize, w: [L::V; N]) {
        self.w.as_chunks_mut().0[run] = w;
    }
}

/// A panel and what it is multiplied with.
pub(crate) struct Product<'a, L: Lanes> {
    pub panel: &'a Panel<L>,
    pub kind: Kind,
    /// Whether activations of superblocks have a scale per 32 columns.
    pub fine: bool,
    /// Blocks of 32 columns that are there.
    pub n_blocks: usize,
    /// Which panel of the row this is.
    pub at: usize,
    /// The activations.
    pub groups: &'a [Group<'a>],
    /// What is needed next.
    pub ahead: Ahead<'a>,
    /// Bytes of it to ask for with every 32 columns of a group's.
    pub n_ask: usize,
}

/// Weights of a format that `expand` expands.
pub(crate) struct Weights<'a, E> {
    pub bytes: &'a [u8],
    pub expand: &'a E,
    /// [`Expand::steps`], as far as the tier distinguishes them.
    pub steps: usize,
}

/// A tile of weights as files have them or packed; see [`super::TileFn`].
#[inline(always)]
pub(crate) fn tile<L: Lanes, E: Expand, const PACKED: bool>(
    l: L,
    weights: Weights<'_, E>,
    acts: &Acts,
    groups: Range<usize>,
    out: &mut Columns<'_, f32>,
    multiply: impl Fn(&Product<'_, L>, &mut [L::F]),
) {
    let n_tokens = acts.tokens(groups.clone()).len();
    let mut room = [Group { n: 0, q: &[], d: &[], sums: &[] }; GROUPS_MAX];
    let room = &mut room[..groups.len()];
    for (room, i) in room.iter_mut().zip(groups) {
        *room = acts.group(i);
    }
    let zero = l.splat_f32(0.0);
    let (mut few, mut some, mut many);
    let sums: &mut [L::F] = if n_tokens <= FEW {
        few = [zero; FEW];
        &mut few
    } else if n_tokens <= SOME {
        some = [zero; SOME];
        &mut some
    } else {
        many = [zero; TILE_TOKENS];
        &mut many
    };
    let fine = acts.form().act == Act::Q8x32Of256;
    strips::<L, E, PACKED>(l, weights, (room, fine), &mut sums[..n_tokens], out, multiply);
}

/// Goes through a tile in strips of `N` rows.
#[inline(always)]
fn strips<L: Lanes, E: Expand, const PACKED: bool>(
    l: L,
    weights: Weights<'_, E>,
    (groups, fine): (&[Group<'_>], bool),
    sums: &mut [L::F],
    out: &mut Columns<'_, f32>,
    multiply: impl Fn(&Product<'_, L>, &mut [L::F]),
) {
    let n_rows = out.n();
    let n_rows_there = if PACKED { n_rows.next_multiple_of(L::N) } else { n_rows };
    let row_bytes = weights.bytes.len() / n_rows_there;
    let (e, bytes) = (weights.expand, weights.expand.bytes());
    let n_panels = row_bytes.div_ceil(bytes);
    let kind = e.kind::<L>();
    let mut panel = Panel::new(l);
    let mut lanes = [0.0; ROWS_MAX];
    let n_asked = Cell::new(0);
    for first in (0..n_rows).step_by(L::N) {
        let strip = &weights.bytes[first * row_bytes..];
        let next = strip.as_ptr().wrapping_add(L::N * row_bytes);
        sums.fill(l.splat_f32(0.0));
        for at in 0..n_panels {
            let (start, len) = (at * L::N * bytes, bytes.min(row_bytes - at * bytes));
            let ahead = Ahead::new(strip.as_ptr().wrapping_add(start + AHEAD), &n_asked);
            // Filled only where rows or columns are missing.
            let mut whole;
            if PACKED {
                let there = &strip[start..][..L::N * len];
                let there = if len == bytes {
                    there
                } else {
                    whole = [0; ROWS_MAX * BYTES_MAX];
                    whole[..there.len()].copy_from_slice(there);
                    &whole[..]
                };
                let streams = !fine && len == bytes && sums.len() <= stream::tokens_max::<L>(e);
                if let ([group], true) = (groups, streams) {
                    let weights = Weights { bytes: there, ..weights };
                    if let Some(sums) = sums.as_mut_array() {
                        stream::add::<_, _, 1>(l, weights, group, at, sums);
                    } else if let Some(sums) = sums.as_mut_array() {
                        stream::add::<_, _, 2>(l, weights, group, at, sums);
                    }
                    continue;
                }
                e.expand(l, Packed::new(there, L::N, bytes, Some(ahead)), &mut panel);
            } else {
                let rest = &strip[at * bytes..];
                let rows = if len == bytes && rest.len() >= (L::N - 1) * row_bytes + len {
                    Rows::new(rest, row_bytes, bytes, L::N, next.wrapping_add(start))
                } else {
                    whole = [0; ROWS_MAX * BYTES_MAX];
                    fill_up(rest, row_bytes, len, &mut whole, bytes);
                    Rows::new(&whole, bytes, bytes, L::N, std::ptr::null())
                };
                e.expand(l, rows, &mut panel);
            }
            if matches!(kind, Kind::Blocks { .. }) {
                for (base, &d) in panel.base.iter_mut().zip(&panel.d) {
                    *base = l.mul_f32(d, l.splat_f32(-BASE));
                }
            }
            let n_blocks = len * 8 / bytes;
            let n_ask = if PACKED { L::N * bytes / 16 / groups.len() } else { 0 };
            multiply(&Product { panel: &panel, kind, fine, n_blocks, at, groups, ahead, n_ask }, sums);
        }
        let n = L::N.min(n_rows - first);
        for (t, &sums) in sums.iter().enumerate() {
            let out = out.row(t);
            if n == L::N {
                l.store_f32(sums, &mut out[first..first + n]);
            } else {
                l.store_f32(sums, &mut lanes[..L::N]);
                out[first..first + n].copy_from_slice(&lanes[..n]);
            }
        }
    }
}

/// The rows that are there, in the place of zeros.
fn fill_up(rest: &[u8], row_bytes: usize, len: usize, whole: &mut [u8], whole_row_bytes: usize) {
    for (row, whole) in rest.chunks(row_bytes).zip(whole.chunks_exact_mut(whole_row_bytes)) {
        whole[..len].copy_from_slice(&row[..len]);
    }
}

/// Adds the products of a panel of blocks with the `T` tokens of a group to their sums, and asks for its part of what is needed
/// next. `STEPS` dot products fit a [`Lanes::P`]; 0 says that the weights are wide.
#[inline(always)]
pub(crate) fn blocks<L: Lanes, const T: usize, const STEPS: usize, const MINIMA: bool>(
    l: L,
    product: &Product<'_, L>,
    group: &Group<'_>,
    sums: &mut [L::F; T],
) {
    let Kind::Blocks { offset, .. } = product.kind else { unreachable!("a product of blocks") };
    let there = product.at * 8..product.at * 8 + product.n_blocks;
    let q = &group.q.as_chunks::<32>().0.as_chunks::<T>().0[there.clone()];
    let (d_a, sums_a) = (&group.d.as_chunks::<T>().0[there.clone()], &group.sums.as_chunks::<T>().0[there]);
    // The base, and what all weights of a block being higher than they are adds to its sums taken off beforehand, for all tokens at
    // once.
    let mut begins = [[0; T]; 8];
    let factor = offset.map_or(0, |by| -(1 << by));
    for (begin, sum_a) in begins.as_flattened_mut().iter_mut().zip(sums_a.as_flattened()) {
        *begin = BASE.to_bits() as i32 + sum_a * factor;
    }
    let a = d_a.iter().zip(sums_a).zip(&begins);
    let scales = product.panel.d.iter().zip(&product.panel.m).zip(&product.panel.base);
    let mut acc = *sums;
    for (((w, q), ((d_a, sums_a), begins)), ((&d, &m), &base)) in
        loop_over(&product.panel.w).iter().zip(q).zip(a).zip(scales)
    {
        product.ahead.ask(l, product.n_ask);
        let mut isum = [l.splat(0); T];
        for t in 0..T {
            isum[t] = l.splat(begins[t]);
        }
        dots::<L, T, STEPS, 8>(l, w, q, 0, &mut isum);
        for t in 0..T {
            let d_a = l.splat_f32(d_a[t]);
            acc[t] = l.fma_f32(l.fma_f32(l.as_f32(isum[t]), d, base), d_a, acc[t]);
            if MINIMA {
                let sum = l.to_f32(l.splat(sums_a[t]));
                acc[t] = l.fma_f32(l.mul_f32(sum, m), d_a, acc[t]);
            }
        }
    }
    *sums = acc;
}

/// The same for a panel of two scales per 32 columns and any number of tokens, one by one.
#[inline(always)]
pub(crate) fn halves<L: Lanes>(l: L, product: &Product<'_, L>, group: &Group<'_>, sums: &mut [L::F]) {
    let Kind::Halves { offset } = product.kind else { unreachable!("a product of halves of blocks") };
    let n = group.n;
    let there = product.at * 8 * n..(product.at * 8 + product.n_blocks) * n;
    let a = group.q.as_chunks::<32>().0[there.clone()].chunks_exact(n).zip(group.d[there].chunks_exact(n));
    let scales = product.panel.d.iter().zip(&product.panel.m);
    // Activations come with the sums of 32 only: what the offset adds to 16 is a product like theirs.
    let offsets = [l.splat(0x0101_0101 << offset); 4];
    for ((w, (q, d_a)), (&d, &m)) in loop_over(&product.panel.w).iter().zip(a).zip(scales) {
        for ((q, &d_a), sum) in q.as_chunks().0.iter().zip(d_a).zip(&mut *sums) {
            let mut terms = [d, m];
            for (half, (w, term)) in w.as_chunks().0.iter().zip(&mut terms).enumerate() {
                let (mut isum, mut shift) = ([l.splat(0)], [l.splat(0)]);
                dots::<L, 1, 4, 4>(l, w, q, 4 * half, &mut isum);
                dots::<L, 1, 4, 4>(l, &offsets, q, 4 * half, &mut shift);
                *term = l.mul_f32(*term, l.to_f32(l.sub(isum[0], shift[0])));
            }
            let both = l.add_f32(terms[0], terms[1]);
            *sum = l.fma_f32(both, l.splat_f32(d_a), *sum);
        }
    }
}

/// A panel's quants by 32 columns, in a way that hides how many there are: the loop over them is to stay a loop.
#[inline(always)]
fn loop_over<V>(w: &[V; 64]) -> &[[V; 8]] {
    black_box(w.as_slice()).as_chunks().0
}

/// Exact sums of products of `4 * N` columns onto `isum`, from the quad `first` of `q` on.
#[inline(always)]
fn dots<L: Lanes, const T: usize, const STEPS: usize, const N: usize>(
    l: L,
    w: &[L::V; N],
    q: &[[i8; 32]; T],
    first: usize,
    isum: &mut [L::V; T],
) {
    let steps = if STEPS == 0 { 1 } else { STEPS };
    for step in (0..N).step_by(steps) {
        let mut p = [l.begin(isum[0]); T];
        for t in 1..T {
            p[t] = l.begin(isum[t]);
        }
        add_dots::<L, T, STEPS, N>(l, w, q, first, step, &mut p);
        for t in 0..T {
            isum[t] = l.end(isum[t], p[t]);
        }
    }
}

/// The products of the quads from `step` on, as many as [`Lanes::P`] takes.
#[inline(always)]
fn add_dots<L: Lanes, const T: usize, const STEPS: usize, const N: usize>(
    l: L,
    w: &[L::V; N],
    q: &[[i8; 32]; T],
    first: usize,
    step: usize,
    p: &mut [L::P; T],
) {
    let steps = if STEPS == 0 { 1 } else { STEPS };
    for (i, &w) in w.iter().enumerate().skip(step).take(steps) {
        for t in 0..T {
            let a = quad(l, &q[t], first + i);
            p[t] = if STEPS == 0 { l.dot::<true>(p[t], w, a) } else { l.dot::<false>(p[t], w, a) };
        }
    }
}

/// Adds the products of 32 columns of a superblock with `T` tokens to their sums, with the scales of its runs of `4 * RUN` columns. Where
/// products are added onto it ([`Lanes::BEGINS`]), the sum of run `r` and token `t` begins with `begins[r][t]`.
#[inline(always)]
fn add_runs<L: Lanes, const T: usize, const STEPS: usize, const RUN: usize>(
    l: L,
    (w, scales): (&[L::V; 8], &[L::V]),
    q: &[[i8; 32]; T],
    begins: &[[i32; T]; 2],
    isum: &mut [L::V; T],
) {
    for (run, ((w, &scale), begins)) in w.as_chunks::<RUN>().0.iter().zip(scales).zip(begins).enumerate() {
        for step in (0..RUN).step_by(if STEPS == 0 { 1 } else { STEPS }) {
            let mut p = [l.begin(l.splat(0)); T];
            if step == 0 {
                for t in 0..T {
                    p[t] = l.begin(l.splat(begins[t]));
                }
            }
            add_dots::<L, T, STEPS, RUN>(l, w, q, run * RUN, step, &mut p);
            for t in 0..T {
                isum[t] = l.end_scaled(isum[t], p[t], scale);
            }
        }
    }
}

/// [`blocks`] for a superblock; its runs have `4 * RUN` columns.
#[inline(always)]
pub(crate) fn supers<L: Lanes, const T: usize, const STEPS: usize, const RUN: usize>(
    l: L,
    product: &Product<'_, L>,
    group: &Group<'_>,
    sums: &mut [L::F; T],
) {
    if product.fine {
        return supers_finely::<L, T, STEPS, RUN>(l, product, group, sums);
    }
    let Kind::Supers { offset, minima, .. } = product.kind else { unreachable!("a product of superblocks") };
    let panel = product.panel;
    let there = product.at * 8..product.at * 8 + 8;
    let q = &group.q.as_chunks::<32>().0.as_chunks::<T>().0[there.clone()];
    let sums_a = &group.sums.as_chunks::<T>().0[there];
    let d_a = &group.d.as_chunks::<T>().0[product.at];
    let mut isum = [l.splat(0); T];
    for ((w, q), scales) in loop_over(&panel.w).iter().zip(q).zip(panel.scales.chunks_exact(8 / RUN)) {
        product.ahead.ask(l, product.n_ask);
        add_runs::<L, T, STEPS, RUN>(l, (w, scales), q, &[[0; T]; 2], &mut isum);
    }
    let mut second = [l.splat(0); T];
    if minima || offset.is_some() {
        for (&factors, sums_a) in panel.second.iter().zip(sums_a) {
            for t in 0..T {
                second[t] = l.add_pairs(second[t], factors, l.splat(sums_a[t]));
            }
        }
    }
    for t in 0..T {
        let d_a = l.splat_f32(d_a[t]);
        let whole = offset.map_or(isum[t], |by| l.sub(isum[t], l.shl(second[t], by)));
        sums[t] = l.fma_f32(l.mul_f32(l.to_f32(whole), panel.d[0]), d_a, sums[t]);
        if minima {
            let taken = l.to_f32(l.sub(l.splat(0), second[t]));
            sums[t] = l.fma_f32(l.mul_f32(taken, panel.m[0]), d_a, sums[t]);
        }
    }
}

/// The same for activations with a scale per 32 columns.
#[inline(always)]
fn supers_finely<L: Lanes, const T: usize, const STEPS: usize, const RUN: usize>(
    l: L,
    product: &Product<'_, L>,
    group: &Group<'_>,
    sums: &mut [L::F; T],
) {
    let Kind::Supers { offset, minima, .. } = product.kind else { unreachable!("a product of superblocks") };
    let panel = product.panel;
    let there = product.at * 8..product.at * 8 + 8;
    let q = &group.q.as_chunks::<32>().0.as_chunks::<T>().0[there.clone()];
    let sums_a = &group.sums.as_chunks::<T>().0[there.clone()];
    let d_a = &group.d.as_chunks::<T>().0[there];
    // What all weights of a run being higher than they are adds to its sums is taken off beforehand, or else by its factors.
    let (beforehand, behind) = if L::BEGINS { (offset, None) } else { (None, offset) };
    let mut begins = [[[0; T]; 2]; 8];
    if let Some(by) = beforehand {
        for (begins, sums_a) in begins.iter_mut().zip(sums_a) {
            for t in 0..T {
                let [first, second] = acts::halves(sums_a[t]).map(|sum| -(sum << by));
                [begins[0][t], begins[1][t]] = if RUN == 4 { [first, second] } else { [first + second, 0] };
            }
        }
    }
    let (mut all, mut taken) = ([l.splat_f32(0.0); T], [l.splat_f32(0.0); T]);
    let w = loop_over(&panel.w).iter().zip(panel.scales.chunks_exact(8 / RUN)).zip(&panel.second);
    for ((((w, scales), &factors), begins), ((q, sums_a), d_a)) in
        w.zip(&begins).zip(q.iter().zip(sums_a).zip(d_a))
    {
        product.ahead.ask(l, product.n_ask);
        let mut isum = [l.splat(0); T];
        add_runs::<L, T, STEPS, RUN>(l, (w, scales), q, begins, &mut isum);
        for t in 0..T {
            let d_a = l.splat_f32(d_a[t]);
            let second = || l.add_pairs(l.splat(0), factors, l.splat(sums_a[t]));
            let whole = behind.map_or(isum[t], |by| l.sub(isum[t], l.shl(second(), by)));
            all[t] = l.fma_f32(l.to_f32(whole), d_a, all[t]);
            if minima {
                taken[t] = l.fma_f32(l.to_f32(l.sub(l.splat(0), second())), d_a, taken[t]);
            }
        }
    }
    for t in 0..T {
        sums[t] = l.fma_f32(all[t], panel.d[0], sums[t]);
        if minima {
            sums[t] = l.fma_f32(taken[t], panel.m[0], sums[t]);
        }
    }
}

/// Activations `4 i..4 i + 4` to every lane.
#[inline(always)]
pub(crate) fn quad<L: Lanes, const N: usize>(l: L, q: &[i8; N], i: usize) -> L::V {
    let [a, b, c, d] = q.as_chunks::<4>().0[i];
    l.splat(i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]))
}
