//! Products of packed weights with one token: weights go from memory through registers, and no panel of them is written.
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

/// `sum` and the products of `weights`, panel `at` of a strip, with the one token of `group`.
#[inline(always)]
pub(crate) fn add<L: Lanes, E: Expand>(
    l: L,
    weights: Weights<'_, E>,
    group: &Group<'_>,
    at: usize,
    sum: L::F,
) -> L::F {
    let there = at * 8..at * 8 + 8;
    let d_a = match weights.expand.kind::<L>() {
        Kind::Supers { .. } => &group.d[at..=at],
        Kind::Blocks { .. } | Kind::Halves { .. } => &group.d[there.clone()],
    };
    let (q, sums_a) = (&group.q.as_chunks().0[there.clone()], &group.sums[there]);
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
        sum,
        d: l.splat_f32(0.0),
        m: l.splat_f32(0.0),
        scales: [none; 16],
        isum: none,
        second: none,
    };
    expand.expand(l, packed, &mut product);
    product.end(l)
}

/// Whether half of what is needed next is asked for field by field, and half with the products. Formats with runs of 16 have their
/// fields far apart; where all is asked for with the products q6_K reads 35 GB/s instead of 30.
#[inline(always)]
fn asks_for_fields<L: Lanes>(expand: &impl Expand) -> bool {
    !matches!(expand.kind::<L>(), Kind::Supers { run: 16, .. })
}

/// 256 columns of a strip times one token's activations.
struct Product<'a, L: Lanes, E> {
    weights: Weights<'a, E>,
    q: &'a [[i8; 32]; 8],
    sums_a: &'a [i32; 8],
    /// One per 32 columns, of a superblock the one.
    d_a: &'a [f32],
    /// What is needed next, where its fields are asked for too, and otherwise.
    ahead: Ahead<'a>,
    next: *const u8,
    sum: L::F,
    /// Of a superblock: its scales, and its sums so far.
    d: L::F,
    m: L::F,
    scales: [L::V; 16],
    isum: L::V,
    second: L::V,
}

impl<L: Lanes, E: Expand> Product<'_, L, E> {
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
    fn end(self, l: L) -> L::F {
        let Kind::Supers { offset, minima, .. } = self.weights.expand.kind::<L>() else { return self.sum };
        let d_a = l.splat_f32(self.d_a[0]);
        let whole = offset.map_or(self.isum, |by| l.sub(self.isum, l.shl(self.second, by)));
        let sum = l.fma_f32(l.mul_f32(l.to_f32(whole), self.d), d_a, self.sum);
        if !minima {
            return sum;
        }
        let taken = l.to_f32(l.sub(l.splat(0), self.second));
        l.fma_f32(l.mul_f32(taken, self.m), d_a, sum)
    }
}

impl<L: Lanes, E: Expand> Sink<L> for Product<'_, L, E> {
    #[inline(always)]
    fn block(&mut self, l: L, b: usize, w: [L::V; 8], d: L::F, m: L::F) {
        let Kind::Blocks { offset, minima } = self.weights.expand.kind::<L>() else {
            unreachable!("a block of a superblock")
        };
        self.ask(l, 32);
        let sum_a = l.splat(self.sums_a[b]);
        let mut isum = offset.map_or(l.splat(0), |by| l.sub(l.splat(0), l.shl(sum_a, by)));
        let steps = self.weights.steps;
        for (i, w) in w.chunks(steps.max(1)).enumerate() {
            isum = l.end(isum, dots(l, w, &self.q[b], i * steps.max(1), l.begin(isum), steps == 0));
        }
        let d_a = l.splat_f32(self.d_a[b]);
        self.sum = l.fma_f32(l.mul_f32(l.to_f32(isum), d), d_a, self.sum);
        if minima {
            self.sum = l.fma_f32(l.mul_f32(l.to_f32(sum_a), m), d_a, self.sum);
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
            self.second = l.add_pairs(self.second, factors, l.splat(self.sums_a[i]));
        }
    }

    #[inline(always)]
    fn run<const N: usize>(&mut self, l: L, run: usize, w: [L::V; N]) {
        self.ask(l, 4 * N);
        let (q, first, steps) = (&self.q[run * N / 8], run * N % 8, self.weights.steps);
        for (i, w) in w.chunks(steps.max(1)).enumerate() {
            let p = dots(l, w, q, first + i * steps.max(1), l.begin(l.splat(0)), steps == 0);
            self.isum = l.end_scaled(self.isum, p, self.scales[run]);
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
