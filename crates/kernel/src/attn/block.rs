//! One block of positions for some queries that share its head: scores, weights, weighted values.
//!
//! Scores are the product of queries `(rows, head_dim)` and turned keys `(head_dim, BLOCK)`, results that of weights
//! `(rows, BLOCK)` and values `(BLOCK, head_dim)`: both are [`product`], in which some rows of sums stay in registers and
//! every vector of the block is read once for all of them. A sum adds its products one by one in rising order, in a lane of
//! its own, so it is the same with whatever rows it is computed. Where values have scales, a score adds its products
//! 32 dimensions at a time and multiplies each such sum with its scale, and weights are multiplied with the scales of the
//! values before they are multiplied with the quants.

use std::ops::Range;

use super::cache::{CacheFormat, Matrix, SHARED, Scales};
use super::{BLOCK, Shape};
use crate::ops::{exp, fold, softcap};
use crate::simd::floats::Floats;
use crate::simd::parts;

/// The most rows of sums that a tier keeps in registers.
pub(crate) const ROWS_MAX: usize = 8;

/// A block of a head and the queries that look at it.
#[derive(Debug)]
pub struct Block<'a> {
    /// The layer's arithmetic.
    pub shape: Shape,
    /// Position of the block's first key.
    pub start: usize,
    /// Keys, turned over. `(head_dim, BLOCK)`
    pub k: &'a [u8],
    /// `(BLOCK, head_dim)`
    pub v: &'a [u8],
    /// Position of the first query.
    pub first_pos: usize,
    /// Queries times [`Shape::scale`], in strips of `BLOCK` dimensions; rows are the heads of a group for one position, then
    /// for the next. `(strips, rows)`
    pub queries: &'a [[f32; BLOCK]],
}

/// What queries have found.
#[derive(Debug)]
pub struct Found<'a> {
    /// Sum of weighted values. `(rows, head_dim)`
    pub sums: &'a mut [f32],
    /// Largest score. `(rows)`
    pub max: &'a mut [f32],
    /// Sum of weights. `(rows)`
    pub total: &'a mut [f32],
}

/// What queries have found so far in a segment, and room to go on.
#[derive(Debug)]
pub struct Running<'a> {
    /// Of the blocks up to here.
    pub found: Found<'a>,
    /// Room for the block's weights. `(rows, BLOCK)`
    pub weights: &'a mut [f32],
    /// Room for weights of some rows times scales. `(head_dim / 32, ROWS_MAX, BLOCK)`
    pub scaled: &'a mut [f32],
}

impl Block<'_> {
    /// Slots of the block that row `r` sees.
    fn seen(&self, r: usize) -> Range<usize> {
        let pos = self.first_pos + r / self.shape.group();
        let slot = |pos: usize| pos.saturating_sub(self.start).min(BLOCK);
        slot(self.shape.first_seen(pos))..slot(pos + 1)
    }
}

impl<'a> Found<'a> {
    /// Room for `rows` queries in `(head_dim + 2)` floats for each.
    pub fn cut(room: &'a mut [f32], rows: usize, head_dim: usize) -> Self {
        let (sums, rest) = room.split_at_mut(rows * head_dim);
        let (max, rest) = rest.split_at_mut(rows);
        Self { sums, max, total: &mut rest[..rows] }
    }

    /// Takes what row `r` found in a later segment.
    pub fn take(&mut self, r: usize, later: &Found<'_>) {
        let n = self.sums.len() / self.max.len();
        let largest = if later.max[r] > self.max[r] { later.max[r] } else { self.max[r] };
        let [ours, theirs] = [exp(self.max[r] - largest), exp(later.max[r] - largest)];
        for (sum, later) in self.sums[r * n..(r + 1) * n].iter_mut().zip(&later.sums[r * n..]) {
            *sum = *sum * ours + later * theirs;
        }
        self.total[r] = self.total[r] * ours + later.total[r] * theirs;
        self.max[r] = largest;
    }

    /// Takes what row `r` found in the first segment that it sees.
    pub fn begin(&mut self, r: usize, first: &Found<'_>) {
        let n = self.sums.len() / self.max.len();
        self.sums[r * n..(r + 1) * n].copy_from_slice(&first.sums[r * n..(r + 1) * n]);
        (self.max[r], self.total[r]) = (first.max[r], first.total[r]);
    }
}

/// Takes a block into the running results of all rows that see some of it.
#[inline(always)]
pub(crate) fn attend<L: Floats, C: CacheFormat>(l: L, block: &Block<'_>, running: &mut Running<'_>) {
    let head_dim = block.shape.head_dim;
    // Positions rise from row to row, so those that see something lie together.
    let all = running.found.max.len();
    let first = (0..all).position(|r| !block.seen(r).is_empty()).unwrap_or(all);
    let end = (first..all).position(|r| block.seen(r).is_empty()).map_or(all, |n| first + n);
    // With few rows the memory is waited for: what comes next is asked for. More of them would ask again and again.
    let ahead = end - first <= L::ROWS;
    let scores = &mut running.weights[first * BLOCK..end * BLOCK];
    scores.fill(0.0);
    for (strip, queries) in block.queries.chunks_exact(all).enumerate() {
        let dims = BLOCK.min(head_dim - strip * BLOCK);
        let queries = Factors { rows: &queries[first..end], n: end - first };
        for from in (0..dims).step_by(C::STRETCH) {
            let keys = C::keys(block.k, strip * BLOCK + from);
            product(l, (queries, end - first), from..dims.min(from + C::STRETCH), keys, scores, ahead);
        }
    }

    let weights = scores.as_chunks_mut::<BLOCK>().0;
    let sums = &mut running.found.sums[first * head_dim..end * head_dim];
    for ((r, weights), sums) in (first..end).zip(weights).zip(sums.chunks_exact_mut(head_dim)) {
        let cap = block.shape.softcap.unwrap_or(0.0);
        let carry =
            weigh(weights, block.seen(r), cap, &mut running.found.max[r], &mut running.found.total[r]);
        if carry != 1.0 {
            sums.iter_mut().for_each(|sum| *sum *= carry);
        }
    }

    let values = C::values(block.v, head_dim);
    for (part, n) in parts(end - first, L::ROWS) {
        let rows = first + part..first + part + n;
        let weights = &running.weights.as_chunks().0[rows.clone()];
        let weights = times_scales(l, weights, values, running.scaled, head_dim);
        let sums = &mut running.found.sums[rows.start * head_dim..rows.end * head_dim];
        mix(l, block, rows, weights, values, sums, ahead);
    }
}

/// Rows of the left side of a product: `n` for all columns of the right side, or for every [`SHARED`] columns `n` more.
#[derive(Clone, Copy)]
struct Factors<'a> {
    rows: &'a [[f32; BLOCK]],
    n: usize,
}

impl<'a> Factors<'a> {
    /// Those from row `first` on.
    #[inline(always)]
    fn from(self, first: usize) -> Self {
        Self { rows: &self.rows[first..], ..self }
    }

    /// `R` rows for the columns from `column` on.
    #[inline(always)]
    fn of<const R: usize>(self, column: usize) -> &'a [[f32; BLOCK]; R] {
        self.rows[column / SHARED * self.n..][..R].as_array().expect("R rows")
    }
}

/// The weights, times the scales of the values where these have some.
#[inline(always)]
fn times_scales<'a, L: Floats, M: Matrix>(
    l: L,
    weights: &'a [[f32; BLOCK]],
    values: M,
    room: &'a mut [f32],
    head_dim: usize,
) -> Factors<'a> {
    let n = weights.len();
    if M::SCALES != Scales::Rows {
        return Factors { rows: weights, n };
    }
    let rows = &mut room.as_chunks_mut().0[..head_dim / SHARED * n];
    for (stretch, rows) in rows.chunks_exact_mut(n).enumerate() {
        for at in (0..BLOCK).step_by(16) {
            let scales = values.scales(l, stretch, at);
            for (weights, row) in weights.iter().zip(&mut *rows) {
                let weights = weights[at..].first_chunk().expect("16 weights");
                l.store(l.mul(l.load(weights), scales), row[at..].first_chunk_mut().expect("16 of them"));
            }
        }
    }
    Factors { rows, n }
}

/// Adds the weighted values that each of `rows` sees. What all of them see is added together, what comes before and behind it
/// row by row: a slot that a row does not see must not reach it, not even with weight 0, for it may hold an infinity.
#[inline(always)]
fn mix<L: Floats, M: Matrix>(
    l: L,
    block: &Block<'_>,
    rows: Range<usize>,
    weights: Factors<'_>,
    values: M,
    sums: &mut [f32],
    ahead: bool,
) {
    let head_dim = block.shape.head_dim;
    let (from, to) = (block.seen(rows.end - 1).start, block.seen(rows.start).end);
    let each = || rows.clone().map(|r| block.seen(r)).enumerate();
    for ((i, seen), sums) in each().zip(sums.chunks_exact_mut(head_dim)) {
        product(l, (weights.from(i), 1), seen.start..from.min(seen.end), values, sums, ahead);
    }
    product(l, (weights, rows.len()), from..to, values, sums, ahead);
    for ((i, seen), sums) in each().zip(sums.chunks_exact_mut(head_dim)) {
        product(l, (weights.from(i), 1), to.max(from).max(seen.start)..seen.end, values, sums, ahead);
    }
}

/// Turns the scores of a block into weights of those `seen` and returns what earlier sums are multiplied with.
#[inline(always)]
fn weigh(scores: &mut [f32; BLOCK], seen: Range<usize>, cap: f32, max: &mut f32, total: &mut f32) -> f32 {
    if cap > 0.0 {
        softcap(scores, cap);
    }
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    // NaN is larger than nothing here, and reaches the weights below.
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [*max; 16];
    for scores in scores.as_chunks::<16>().0 {
        for i in 0..16 {
            lanes[i] = larger(lanes[i], scores[i]);
        }
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = larger(lanes[i], lanes[i + half]);
        }
    }
    let largest = lanes[0];
    let carry = exp(*max - largest);
    let mut lanes = [0f32; 16];
    for scores in scores.as_chunks_mut::<16>().0 {
        for i in 0..16 {
            scores[i] = exp(scores[i] - largest);
            lanes[i] += scores[i];
        }
    }
    (*max, *total) = (largest, *total * carry + fold(&lanes));
    carry
}

/// `sums += a[..n, steps] x m[steps, ..]`, with `sums` `(n, width)`.
#[inline(always)]
fn product<L: Floats, M: Matrix>(
    l: L,
    (a, n): (Factors<'_>, usize),
    steps: Range<usize>,
    m: M,
    sums: &mut [f32],
    ahead: bool,
) {
    if steps.is_empty() {
        return;
    }
    let width = sums.len() / n;
    for (first, n) in parts(n, L::ROWS) {
        let a = a.from(first);
        let sums = &mut sums[first * width..(first + n) * width];
        let steps = steps.clone();
        match n {
            1 => rows::<L, M, 1>(l, a, steps, m, sums, ahead),
            2 => rows::<L, M, 2>(l, a, steps, m, sums, ahead),
            3 => rows::<L, M, 3>(l, a, steps, m, sums, ahead),
            4 => rows::<L, M, 4>(l, a, steps, m, sums, ahead),
            5 => rows::<L, M, 5>(l, a, steps, m, sums, ahead),
            6 => rows::<L, M, 6>(l, a, steps, m, sums, ahead),
            7 if L::ROWS > 6 => rows::<L, M, 7>(l, a, steps, m, sums, ahead),
            8 if L::ROWS > 6 => rows::<L, M, 8>(l, a, steps, m, sums, ahead),
            _ => unreachable!("at most the rows of a tier"),
        }
    }
}

/// The product of `R` rows, in as wide stretches of columns as their sums fit the registers.
#[inline(always)]
fn rows<L: Floats, M: Matrix, const R: usize>(
    l: L,
    a: Factors<'_>,
    steps: Range<usize>,
    m: M,
    sums: &mut [f32],
    ahead: bool,
) {
    let width = sums.len() / R;
    let mut column = 0;
    while R * 8 <= L::SUMS && column + 128 <= width {
        columns::<L, M, R, 8>(l, a, steps.clone(), m, sums, column, ahead);
        column += 128;
    }
    while R * 4 <= L::SUMS && column + 64 <= width {
        columns::<L, M, R, 4>(l, a, steps.clone(), m, sums, column, ahead);
        column += 64;
    }
    while R * 2 <= L::SUMS && column + 32 <= width {
        columns::<L, M, R, 2>(l, a, steps.clone(), m, sums, column, ahead);
        column += 32;
    }
    while column + 16 <= width {
        columns::<L, M, R, 1>(l, a, steps.clone(), m, sums, column, ahead);
        column += 16;
    }
    for column in column..width {
        for (a, sums) in a.of::<R>(0).iter().zip(sums.chunks_exact_mut(width)) {
            for step in steps.clone() {
                sums[column] += a[step] * m.one(step, column);
            }
        }
    }
}

/// `16 * C` columns of it, from `column` on.
#[inline(always)]
fn columns<L: Floats, M: Matrix, const R: usize, const C: usize>(
    l: L,
    a: Factors<'_>,
    steps: Range<usize>,
    m: M,
    sums: &mut [f32],
    column: usize,
    ahead: bool,
) {
    let width = sums.len() / R;
    let mut acc = [[l.splat(0.0); C]; R];
    if M::SCALES != Scales::Columns {
        for (r, acc) in acc.iter_mut().enumerate() {
            let sums = sums[r * width + column..].as_chunks().0;
            for (acc, sums) in acc.iter_mut().zip(sums) {
                *acc = l.load(sums);
            }
        }
    }
    // What the `c`th vector is multiplied with: the same for all, or for two of them that share scales.
    let mut factors = [a.of::<R>(0); C];
    if M::SCALES == Scales::Rows {
        for (c, factors) in factors.iter_mut().enumerate() {
            *factors = a.of(column + 16 * c);
        }
    }
    for step in steps {
        if ahead {
            m.ask_ahead::<L, C>(l, step, column);
        }
        let b = m.lanes::<L, C>(l, step, column);
        for r in 0..R {
            let mut a = l.splat(factors[0][r][step]);
            for c in 0..C {
                if M::SCALES == Scales::Rows && c > 0 && c % 2 == 0 {
                    a = l.splat(factors[c][r][step]);
                }
                acc[r][c] = l.fma(a, b[c], acc[r][c]);
            }
        }
    }
    let mut scales = [l.splat(1.0); C];
    if M::SCALES == Scales::Columns {
        for (c, scales) in scales.iter_mut().enumerate() {
            *scales = m.scales(l, 0, column + 16 * c);
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        let sums = sums[r * width + column..].as_chunks_mut().0;
        for ((acc, scale), sums) in acc.iter().zip(scales).zip(sums) {
            let sum = if M::SCALES == Scales::Columns { l.fma(*acc, scale, l.load(sums)) } else { *acc };
            l.store(sum, sums);
        }
    }
}
