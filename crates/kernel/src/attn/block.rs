//! One block of positions for some queries that share its head: scores, weights, weighted values.
//!
//! Scores are the product of queries `(rows, head_dim)` and turned keys `(head_dim, BLOCK)`, results that of
//! weights `(rows, BLOCK)` and values `(BLOCK, head_dim)`: both are [`product`], in which some rows of sums stay in registers and
//! every vector of the block is read once for all of them. For few rows it becomes floats as it is read; for many a strip of
//! [`BLOCK`] dimensions does so beforehand, in the first-level cache. A sum adds its products one by one in rising order, in a lane of
//! its own, so it is the same with whatever rows it is computed.

use std::ops::Range;

use super::cache::{CacheFormat, Factors, Lying, Matrix};
use super::{BLOCK, Shape};
use crate::ops::{exp, fold, softcap};
use crate::simd::floats::Floats;
use crate::simd::parts;

/// Rows up to which keys and values become floats as they are read: reading them is most of the work.
const FEW: usize = 4;

/// `BLOCK` dimensions of some rows.
pub(crate) type Strips = [[f32; BLOCK]];

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
    /// How far behind both the keys and values lie that come next, around the end of addresses if need be.
    pub ahead: usize,
    /// Position of the first query.
    pub first_pos: usize,
    /// Queries times [`Shape::scale`]; rows are the heads of a group for one position, then for the next. `(strips, rows)`
    pub queries: &'a Strips,
}

/// What queries have found.
#[derive(Debug)]
pub struct Found<'a> {
    /// Sum of weighted values; the last strip may be wider than what is left of the head. `(strips, rows)`
    pub sums: &'a mut Strips,
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
    /// Room for the block's weights. `(rows)`
    pub weights: &'a mut Strips,
    /// Room for a strip of keys or values as floats.
    pub floats: &'a mut [[f32; BLOCK]; BLOCK],
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
    /// Room for `rows` queries in [`Shape::found_len`] floats for each.
    pub fn cut(room: &'a mut [f32], rows: usize, shape: Shape) -> Self {
        let (sums, rest) = room.split_at_mut(rows * shape.strips() * BLOCK);
        let (max, rest) = rest.split_at_mut(rows);
        Self { sums: sums.as_chunks_mut().0, max, total: &mut rest[..rows] }
    }

    /// Takes what row `r` found in a later segment.
    pub fn take(&mut self, r: usize, later: &Found<'_>) {
        let n_rows = self.max.len();
        let largest = if later.max[r] > self.max[r] { later.max[r] } else { self.max[r] };
        let [ours, theirs] = [exp(self.max[r] - largest), exp(later.max[r] - largest)];
        let strips = self.sums[r..].iter_mut().step_by(n_rows).zip(later.sums[r..].iter().step_by(n_rows));
        for (sum, later) in strips.flat_map(|(sums, later)| sums.iter_mut().zip(later)) {
            *sum = *sum * ours + later * theirs;
        }
        self.total[r] = self.total[r] * ours + later.total[r] * theirs;
        self.max[r] = largest;
    }

    /// Takes what row `r` found in the first segment that it sees.
    pub fn begin(&mut self, r: usize, first: &Found<'_>) {
        let n_rows = self.max.len();
        for strip in (r..self.sums.len()).step_by(n_rows) {
            self.sums[strip] = first.sums[strip];
        }
        (self.max[r], self.total[r]) = (first.max[r], first.total[r]);
    }
}

/// Takes a block into the running results of all rows that see some of it.
#[inline(always)]
pub(crate) fn attend<L: Floats, C: CacheFormat>(l: L, block: &Block<'_>, running: &mut Running<'_>) {
    let (head_dim, all) = (block.shape.head_dim, running.found.max.len());
    // Positions rise from row to row, so those that see something lie together.
    let first = (0..all).position(|r| !block.seen(r).is_empty()).unwrap_or(all);
    let end = (first..all).position(|r| block.seen(r).is_empty()).map_or(all, |n| first + n);
    let parts = || parts(end - first, L::ROWS).map(|(part, n)| first + part..first + part + n);
    let few = end - first <= FEW.min(L::ROWS) && head_dim.is_multiple_of(BLOCK);
    let (floats, mut room): (_, Factors) = (&mut *running.floats, [[0.0; BLOCK]; 2]);
    running.weights[first..end].as_flattened_mut().fill(0.0);
    for (strip, queries) in block.queries.chunks_exact(all).enumerate() {
        let dims = BLOCK.min(head_dim - strip * BLOCK);
        let keys = C::keys(l, Lying { bytes: block.k, ahead: block.ahead }, strip * BLOCK, &mut room);
        if few {
            let scores = &mut running.weights[first..end];
            product::<L, _, false>(l, &queries[first..end], 0..dims, keys, BLOCK, scores);
            continue;
        }
        widen(l, keys, (dims, BLOCK), floats);
        for rows in parts() {
            let width = block.seen(rows.end - 1).end;
            let scores = &mut running.weights[rows.clone()];
            product::<L, _, true>(l, &queries[rows], 0..dims, &*floats, width, scores);
        }
    }

    let cap = block.shape.softcap.unwrap_or(0.0);
    for (r, weights) in (first..end).zip(&mut running.weights[first..end]) {
        let found = &mut running.found;
        let carry = weigh::<L>(weights, block.seen(r), cap, &mut found.max[r], &mut found.total[r]);
        if carry != 1.0 {
            for strip in found.sums.chunks_exact_mut(all) {
                for sum in &mut strip[r] {
                    *sum *= carry;
                }
            }
        }
    }

    for (strip, sums) in running.found.sums.chunks_exact_mut(all).enumerate() {
        let dims = BLOCK.min(head_dim - strip * BLOCK);
        let values =
            C::values(l, Lying { bytes: block.v, ahead: block.ahead }, head_dim, strip * BLOCK, &mut room);
        if few {
            let weights = &running.weights[first..end];
            mix::<L, _, false>(l, block, first..end, weights, values, dims, &mut sums[first..end]);
            continue;
        }
        widen(l, values, (BLOCK, dims), floats);
        for rows in parts() {
            let weights = &running.weights[rows.clone()];
            mix::<L, _, true>(l, block, rows.clone(), weights, &*floats, dims, &mut sums[rows]);
        }
    }
}

/// Adds the weighted values that each of `rows` sees. What all of them see is added together, what comes before and behind it
/// row by row: a slot that a row does not see must not reach it, not even with weight 0, for it may hold an infinity.
#[inline(always)]
fn mix<L: Floats, M: Matrix, const MANY: bool>(
    l: L,
    block: &Block<'_>,
    rows: Range<usize>,
    weights: &Strips,
    values: M,
    dims: usize,
    sums: &mut Strips,
) {
    let (from, to) = (block.seen(rows.end - 1).start, block.seen(rows.start).end);
    let each = || rows.clone().map(|r| block.seen(r)).enumerate();
    for (i, seen) in each() {
        let before = seen.start..from.min(seen.end);
        product::<L, M, false>(l, &weights[i..i + 1], before, values, dims, &mut sums[i..i + 1]);
    }
    product::<L, M, MANY>(l, weights, from..to, values, dims, sums);
    for (i, seen) in each() {
        let behind = to.max(from).max(seen.start)..seen.end;
        product::<L, M, false>(l, &weights[i..i + 1], behind, values, dims, &mut sums[i..i + 1]);
    }
}

/// Turns the scores of a block into weights of those `seen` and returns what earlier sums are multiplied with.
#[inline(always)]
fn weigh<L: Floats>(
    scores: &mut [f32; BLOCK],
    seen: Range<usize>,
    cap: f32,
    max: &mut f32,
    total: &mut f32,
) -> f32 {
    if cap > 0.0 {
        softcap(scores, cap);
    }
    if seen != (0..BLOCK) {
        scores[..seen.start].fill(f32::NEG_INFINITY);
        scores[seen.end..].fill(f32::NEG_INFINITY);
    }
    let mut lanes = [*max; 16];
    for scores in scores.as_chunks::<16>().0 {
        for i in 0..16 {
            lanes[i] = larger(scores[i], lanes[i]);
        }
    }
    let largest = largest(&lanes);
    let carry = exp_down::<L>(*max - largest);
    let mut lanes = [0.0; 16];
    for scores in scores.as_chunks_mut::<16>().0 {
        for i in 0..16 {
            scores[i] = exp_down::<L>(scores[i] - largest);
            lanes[i] += scores[i];
        }
    }
    (*max, *total) = (largest, *total * carry + fold(&lanes));
    carry
}

/// The larger one. NaN is larger than nothing here, and reaches the weights.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The largest of 16 lanes, by halves.
#[inline(always)]
fn largest(lanes: &[f32; 16]) -> f32 {
    let (mut eight, mut four) = ([0.0; 8], [0.0; 4]);
    for i in 0..8 {
        eight[i] = larger(lanes[i + 8], lanes[i]);
    }
    for i in 0..4 {
        four[i] = larger(eight[i + 4], eight[i]);
    }
    larger(larger(four[2], four[0]), larger(four[3], four[1]))
}

/// `e^x` for `x` up to 0: [`crate::ops::exp`] with fewer steps.
#[inline(always)]
fn exp_down<L: Floats>(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    const LOWEST: f32 = -87.3;
    let clamped = if x < LOWEST { LOWEST } else { x };
    let n = mul_add::<L>(clamped, std::f32::consts::LOG2_E, MAGIC);
    let whole = n - MAGIC;
    let r = mul_add::<L>(whole, 2.121_944_4e-4, mul_add::<L>(whole, -0.693_359_4, clamped));
    let mut p = 1.987_569_2e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = mul_add::<L>(p, r, c);
    }
    let y = mul_add::<L>(p, r * r, r) + 1.0;
    // The integer stands in the lowest bits of `n`: 2^n, never less than the smallest normal number.
    let y = y * f32::from_bits((n.to_bits() << 23).wrapping_add(1f32.to_bits()));
    if x < LOWEST { 0.0 } else { y }
}

/// `a * b + c`, with one rounding where the tier has the instruction.
#[inline(always)]
fn mul_add<L: Floats>(a: f32, b: f32, c: f32) -> f32 {
    if L::FUSES { a.mul_add(b, c) } else { a * b + c }
}

/// `(rows, width)` of keys or values as floats, and those that come next are asked for.
#[inline(always)]
fn widen<L: Floats, M: Matrix>(
    l: L,
    m: M,
    (n_rows, width): (usize, usize),
    floats: &mut [[f32; BLOCK]; BLOCK],
) {
    for (row, floats) in floats[..n_rows].iter_mut().enumerate() {
        let floats = floats.as_chunks_mut().0;
        if width == BLOCK {
            m.ask_ahead::<L, { BLOCK / 16 }>(l, row, 0);
            for (v, floats) in m.lanes::<L, { BLOCK / 16 }>(l, row, 0).into_iter().zip(floats) {
                l.store(v, floats);
            }
            continue;
        }
        for (column, floats) in floats[..width.div_ceil(16)].iter_mut().enumerate() {
            m.ask_ahead::<L, 1>(l, row, column);
            let n = width - 16 * column;
            let v = if n < 16 { m.tail(l, row, column, n) } else { m.lanes::<L, 1>(l, row, column)[0] };
            l.store(v, floats);
        }
    }
}

/// `sums[.., ..width] += a[.., steps] x m[steps, ..width]`, for at most [`FEW`] rows, or where there are `MANY`
/// [`Floats::ROWS`]. What lies behind `width` may change.
#[inline(always)]
fn product<L: Floats, M: Matrix, const MANY: bool>(
    l: L,
    a: &Strips,
    steps: Range<usize>,
    m: M,
    width: usize,
    sums: &mut Strips,
) {
    if steps.is_empty() {
        return;
    }
    match a.len() {
        1 => rows::<L, M, 1>(l, a, steps, m, width, sums),
        2 => rows::<L, M, 2>(l, a, steps, m, width, sums),
        3 => rows::<L, M, 3>(l, a, steps, m, width, sums),
        4 => rows::<L, M, 4>(l, a, steps, m, width, sums),
        5 if MANY => rows::<L, M, 5>(l, a, steps, m, width, sums),
        6 if MANY => rows::<L, M, 6>(l, a, steps, m, width, sums),
        7 if MANY && L::ROWS > 6 => rows::<L, M, 7>(l, a, steps, m, width, sums),
        8 if MANY && L::ROWS > 6 => rows::<L, M, 8>(l, a, steps, m, width, sums),
        _ => unreachable!("at most the rows of a tier"),
    }
}

/// The product of `R` rows, in as wide stretches of columns as their sums fit the registers.
#[inline(always)]
fn rows<L: Floats, M: Matrix, const R: usize>(
    l: L,
    a: &Strips,
    steps: Range<usize>,
    m: M,
    width: usize,
    sums: &mut Strips,
) {
    let a: &[_; R] = a.as_array().expect("R rows");
    let sums: &mut [_; R] = sums.as_mut_array().expect("as many");
    if R * 4 <= L::SUMS {
        columns::<L, M, R, 4>(l, a, steps, m, 0, sums);
    } else if R * 2 <= L::SUMS {
        for column in (0..width.div_ceil(16)).step_by(2) {
            columns::<L, M, R, 2>(l, a, steps.clone(), m, column, sums);
        }
    } else {
        for column in 0..width.div_ceil(16) {
            columns::<L, M, R, 1>(l, a, steps.clone(), m, column, sums);
        }
    }
}

/// `C` vectors of columns of it, from vector `column` on.
#[inline(always)]
fn columns<L: Floats, M: Matrix, const R: usize, const C: usize>(
    l: L,
    a: &[[f32; BLOCK]; R],
    steps: Range<usize>,
    m: M,
    column: usize,
    sums: &mut [[f32; BLOCK]; R],
) {
    // In the compiler's sight, so that nothing is checked in the loop.
    let column = column.min(BLOCK / 16 - C);
    let mut acc = [[l.splat(0.0); C]; R];
    for (acc, sums) in acc.iter_mut().zip(&*sums) {
        for (c, acc) in acc.iter_mut().enumerate() {
            *acc = l.load(&sums.as_chunks().0[column + c]);
        }
    }
    for step in steps.start..steps.end.min(BLOCK) {
        m.ask_ahead::<L, C>(l, step, column);
        let b = m.lanes::<L, C>(l, step, column);
        for r in 0..R {
            let a = l.splat(a[r][step]);
            for c in 0..C {
                acc[r][c] = l.fma(a, b[c], acc[r][c]);
            }
        }
    }
    for (acc, sums) in acc.iter().zip(sums) {
        for (c, acc) in acc.iter().enumerate() {
            l.store(*acc, &mut sums.as_chunks_mut().0[column + c]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::floats::Portable;

    #[test]
    fn exponentials_are_those_of_f64_and_bad_numbers_stay_bad() {
        for i in 0..90_000 {
            let x = i as f32 * -1e-3;
            let (y, exact) = (f64::from(exp_down::<Portable>(x)), f64::from(x).exp());
            assert!((y - exact).abs() <= exact * 2e-7 || (y == 0.0 && x < -87.3), "e^{x}: {y}, not {exact}");
        }
        assert_eq!(exp_down::<Portable>(f32::NEG_INFINITY), 0.0);
        for bits in [0x7fc0_0000, 0x7fc0_01ff, 0xffff_ffff] {
            assert!(exp_down::<Portable>(f32::from_bits(bits)).is_nan(), "{bits:x}");
        }
    }
}
