//! Products of packed weights with one token or two: weights go from memory through registers, and no panel of them is written.
//!
//! One token multiplies each weight once, so what [`super::panel`] spends on keeping 256 expanded columns for the next token
//! would be half of the work. Here the expansion hands its bytes to the product as they come. Integers are exact in any
//! order, and floats are added in the order of the panel, so both give the same bits.

use std::cell::Cell;

use super::expand::{Expand, Kind, Sink};
use super::lanes::{Ahead, Lanes};
use super::pack::{AHEAD, Packed};
use super::panel::{Weights, quad};
use crate::acts::Group;

/// The most tokens for which this is faster than a panel. Of superblocks with runs of 32, two tokens read 25 GB/s instead of 32.
#[inline(always)]
pub(crate) fn tokens_max<L: Lanes>(expand: &impl Expand) -> usize {
    if matches!(expand.kind::<L>(), Kind::Supers { run: 32, .. }) { 1 } else { 2 }
}

/// Adds to `sums` the products of `weights`, panel `at` of a strip, with the `T` tokens of `group`.
#[inline(always)]
pub(crate) fn add<L: Lanes, E: Expand, const T: usize>(
    l: L,
    weights: Weights<'_, E>,
    group: &Group<'_>,
    at: usize,
    sums: &mut [L::F; T],
) {
    let there = at * 8..at * 8 + 8;
    let d_a = group.d.as_chunks::<T>().0;
    let d_a = match weights.expand.kind::<L>() {
        Kind::Supers { .. } => &d_a[at..at + 1],
        Kind::Blocks { .. } | Kind::Halves { .. } => &d_a[there.clone()],
    };
    let q = &group.q.as_chunks().0.as_chunks().0[there.clone()];
    let sums_a = &group.sums.as_chunks().0[there];
    let none = l.splat(0);
    let n_asked = Cell::new(0);
    let next = weights.bytes.as_ptr().wrapping_add(AHEAD);
    let ahead = Ahead::new(next, &n_asked);
    let expand = weights.expand;
    let packed =
        Packed::new(weights.bytes, L::N, expand.bytes(), asks_for_fields::<L>(expand).then_some(ahead));
    let mut product = Product {
        weights,
        q: q.as_array().expect("eight blocks"),
        sums_a: sums_a.as_array().expect("eight blocks"),
        d_a,
        ahead,
        next,
        sums: *sums,
        d: l.splat_f32(0.0),
        m: l.splat_f32(0.0),
        scales: [none; 16],
        isums: [none; T],
        second: [none; T],
    };
    expand.expand(l, packed, &mut product);
    *sums = product.end(l);
}

/// Whether half of what is needed next is asked for field by field, and half with the products. Formats with runs of 16 have their
/// fields far apart; where all is asked for with the products q6_K reads 35 GB/s instead of 30.
#[inline(always)]
fn asks_for_fields<L: Lanes>(expand: &impl Expand) -> bool {
    !matches!(expand.kind::<L>(), Kind::Supers { run: 16, .. })
}

/// 256 columns of a strip times the activations of `T` tokens.
struct Product<'a, L: Lanes, E, const T: usize> {
    weights: Weights<'a, E>,
    q: &'a [[[i8; 32]; T]; 8],
    sums_a: &'a [[i32; T]; 8],
    /// Those of 32 columns, or of a superblock.
    d_a: &'a [[f32; T]],
    /// What is needed next, where its fields are asked for too, and otherwise.
    ahead: Ahead<'a>,
    next: *const u8,
    sums: [L::F; T],
    /// Of a superblock: its scales, and its sums so far.
    d: L::F,
    m: L::F,
    scales: [L::V; 16],
    isums: [L::V; T],
    second: [L::V; T],
}

impl<L: Lanes, E: Expand, const T: usize> Product<'_, L, E, T> {
    /// Asks for what is needed next while `n` columns are multiplied.
    #[inline(always)]
    fn ask(&mut self, l: L, n: usize) {
        let n_bytes = L::N * self.weights.expand.bytes() * n / 256;
        if asks_for_fields::<L>(self.weights.expand) {
            self.ahead.ask(l, n_bytes / 2);
            return;
        }
        for at in (0..n_bytes).step_by(64) {
            l.prefetch(self.next.wrapping_add(at));
        }
        self.next = self.next.wrapping_add(n_bytes);
    }

    #[inline(always)]
    fn end(self, l: L) -> [L::F; T] {
        let mut sums = self.sums;
        let Kind::Supers { offset, minima, .. } = self.weights.expand.kind::<L>() else { return sums };
        for (t, sum) in sums.iter_mut().enumerate() {
            let (isum, second, d_a) = (self.isums[t], self.second[t], l.splat_f32(self.d_a[0][t]));
            let whole = offset.map_or(isum, |by| l.sub(isum, l.shl(second, by)));
            *sum = l.fma_f32(l.mul_f32(l.to_f32(whole), self.d), d_a, *sum);
            if minima {
                let taken = l.to_f32(l.sub(l.splat(0), second));
                *sum = l.fma_f32(l.mul_f32(taken, self.m), d_a, *sum);
            }
        }
        sums
    }
}

impl<L: Lanes, E: Expand, const T: usize> Sink<L> for Product<'_, L, E, T> {
    #[inline(always)]
    fn block(&mut self, l: L, b: usize, w: [L::V; 8], d: L::F, m: L::F) {
        let Kind::Blocks { offset, minima } = self.weights.expand.kind::<L>() else {
            unreachable!("a block of a superblock")
        };
        self.ask(l, 32);
        let steps = self.weights.steps;
        for t in 0..T {
            let sum_a = l.splat(self.sums_a[b][t]);
            let mut isum = offset.map_or(l.splat(0), |by| l.sub(l.splat(0), l.shl(sum_a, by)));
            for (i, w) in w.chunks(steps.max(1)).enumerate() {
                isum = l.end(isum, dots(l, w, &self.q[b][t], i * steps.max(1), l.begin(isum), steps == 0));
            }
            let d_a = l.splat_f32(self.d_a[b][t]);
            self.sums[t] = l.fma_f32(l.mul_f32(l.to_f32(isum), d), d_a, self.sums[t]);
            if minima {
                self.sums[t] = l.fma_f32(l.mul_f32(l.to_f32(sum_a), m), d_a, self.sums[t]);
            }
        }
    }

    #[inline(always)]
    fn scales(&mut self, d: L::F, m: L::F) {
        (self.d, self.m) = (d, m);
    }

    #[inline(always)]
    fn scale(&mut self, run: usize, scale: L::V) {
        self.scales[run] = scale;
    }

    #[inline(always)]
    fn second(&mut self, l: L, i: usize, factors: L::V) {
        let Kind::Supers { offset, minima, .. } = self.weights.expand.kind::<L>() else {
            unreachable!("factors of a block")
        };
        if minima || offset.is_some() {
            for t in 0..T {
                self.second[t] = l.add_pairs(self.second[t], factors, l.splat(self.sums_a[i][t]));
            }
        }
    }

    #[inline(always)]
    fn run<const N: usize>(&mut self, l: L, run: usize, w: [L::V; N]) {
        self.ask(l, 4 * N);
        let (q, first, steps) = (&self.q[run * N / 8], run * N % 8, self.weights.steps);
        for (isum, q) in self.isums.iter_mut().zip(q) {
            for (i, w) in w.chunks(steps.max(1)).enumerate() {
                let p = dots(l, w, q, first + i * steps.max(1), l.begin(l.splat(0)), steps == 0);
                *isum = l.end_scaled(*isum, p, self.scales[run]);
            }
        }
    }
}

/// Products of some quads, with activations from quad `first` on, onto `p`.
#[inline(always)]
fn dots<L: Lanes>(l: L, w: &[L::V], q: &[i8; 32], first: usize, p: L::P, wide: bool) -> L::P {
    let mut p = p;
    for (i, &w) in w.iter().enumerate() {
        let a = quad(l, q, first + i);
        p = if wide { l.dot::<true>(p, w, a) } else { l.dot::<false>(p, w, a) };
    }
    p
}
