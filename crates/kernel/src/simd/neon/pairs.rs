//! Two tokens at once, by the matrix product instruction.
//!
//! `smmla` multiplies eight columns of two rows with those of two tokens: 32 products onto four sums, where `sdot` adds 16. So
//! a lane is a row and a token here; a register holds two rows, each with the first token of a pair and then the second. Sums
//! stay so as long as a panel lasts: its scales are doubled to meet them, rather than sums taken apart every 32 columns.
//!
//! A panel comes with a row to a lane and four columns to a vector. It is turned once for all tokens of the tile ([`Turned`]),
//! and what its quants lie too high is taken off on the way. A last token without a second is a pair with itself. Up to
//! three tokens stay with `sdot`: they would not make up for the turning, and one alone would waste half of each instruction. So do
//! formats with a scale per 16 columns, and superblocks whose activations have one per 32.
//!
//! Six tokens are three pairs: 12 registers of products, 12 of floats or of sums with scales, four of quants and one to three
//! of activations, of 32. At eight the sums alone would fill them. No machine that has the instruction was at hand: what is known
//! of its speed is the count of instructions in `docs/performance.md`.

use std::arch::aarch64::*;
use std::arch::asm;
use std::array::from_fn;
use std::hint::black_box;

use super::dotprod;
use super::lanes::Neon;
use crate::acts::Group;
use crate::simd::expand::Kind;
use crate::simd::lanes::Lanes;
use crate::simd::panel::Product;

/// The most tokens of a group.
pub(super) const GROUP: usize = 6;

/// Fewer tokens than this are multiplied by `sdot`, with fewer instructions than turning and multiplying would take.
const FEW: usize = 4;

/// Eight rows of one token.
type Rows = [int32x4_t; 2];
/// Eight rows of two tokens, or eight columns of eight rows.
type Pair = [int32x4_t; 4];

/// A panel as pairs of tokens meet it.
struct Turned {
    /// Quants as signed bytes, columns `8 i..8 i + 8` in entry `i`.
    w: [Pair; 32],
    /// What sums are multiplied with, for both tokens: of blocks the bits of `d` and behind them of `m`, of a superblock the
    /// scale of each run.
    factors: [Pair; 16],
}

impl Turned {
    /// The quants by 32 columns, in a way that hides how many there are: the loop over them is to stay a loop.
    #[inline(always)]
    fn loop_over(&self) -> &[[Pair; 4]] {
        black_box(self.w.as_slice()).as_chunks().0
    }
}

/// The product of a panel with any number of tokens.
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) fn multiply(product: &Product<'_, Neon<true>>, steps: usize, sums: &mut [[float32x4_t; 2]]) {
    if sums.len() < FEW || product.fine || matches!(product.kind, Kind::Halves { .. }) {
        return dotprod::multiply(product, steps, sums);
    }
    let zero = [vdupq_n_s32(0); 4];
    let mut turned = Turned { w: [zero; 32], factors: [zero; 16] };
    turn(product, &mut turned);
    let mut rest = sums;
    for group in product.groups {
        let (sums, behind) = rest.split_at_mut(group.n);
        rest = behind;
        // Groups are as equal as can be, so none has less than three tokens.
        match group.n {
            3 => some::<3, 2>(product, &turned, group, sums),
            4 => some::<4, 2>(product, &turned, group, sums),
            5 => some::<5, 3>(product, &turned, group, sums),
            _ => some::<GROUP, 3>(product, &turned, group, sums),
        }
    }
}

/// The `T` tokens of a group, which are `N` pairs.
#[target_feature(enable = "neon,dotprod,i8mm")]
fn some<const T: usize, const N: usize>(
    product: &Product<'_, Neon<true>>,
    turned: &Turned,
    group: &Group<'_>,
    sums: &mut [[float32x4_t; 2]],
) {
    let sums = sums.as_mut_array().expect("sums of T tokens");
    match product.kind {
        Kind::Blocks { minima: true, .. } => blocks::<T, N, true>(product, turned, group, sums),
        Kind::Blocks { .. } => blocks::<T, N, false>(product, turned, group, sums),
        Kind::Supers { run: 16, .. } => supers::<T, N, 2>(product, turned, group, sums),
        Kind::Supers { .. } => supers::<T, N, 4>(product, turned, group, sums),
        Kind::Halves { .. } => unreachable!("multiplied by `sdot`"),
    }
}

/// Turns a panel. How long its parts are is hidden, and the function not inlined, so that loops stay loops.
#[target_feature(enable = "neon,dotprod,i8mm")]
#[inline(never)]
fn turn(product: &Product<'_, Neon<true>>, turned: &mut Turned) {
    let panel = product.panel;
    let (Kind::Blocks { offset, .. } | Kind::Supers { offset, .. }) = product.kind else {
        unreachable!("multiplied by `sdot`")
    };
    let above = vdupq_n_s8(offset.map_or(0, |by| 1 << by));
    let signed = |w: int32x4_t| vreinterpretq_s32_s8(vsubq_s8(vreinterpretq_s8_s32(w), above));
    for (turned, [a, b]) in turned.w.iter_mut().zip(black_box(panel.w.as_slice()).as_chunks().0) {
        *turned = together(a.map(signed), b.map(signed));
    }
    match product.kind {
        Kind::Blocks { minima, .. } => {
            let (d, m) = turned.factors.split_at_mut(8);
            double(d, black_box(&panel.d), |d| bits(d));
            if minima {
                double(m, black_box(&panel.m), |m| bits(m));
            }
        }
        Kind::Supers { run, .. } => double(&mut turned.factors, &panel.scales[..256 / run], |scale| scale),
        Kind::Halves { .. } => {}
    }
}

/// What one token's sums are multiplied with, for two tokens.
#[target_feature(enable = "neon")]
#[inline]
fn double<F: Copy>(to: &mut [Pair], from: &[F], rows: impl Fn(F) -> Rows) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = together(rows(from), rows(from));
    }
}

/// [`crate::simd::panel::blocks`] in pairs.
#[target_feature(enable = "neon,dotprod,i8mm")]
#[inline]
fn blocks<const T: usize, const N: usize, const MINIMA: bool>(
    product: &Product<'_, Neon<true>>,
    turned: &Turned,
    group: &Group<'_>,
    sums: &mut [[float32x4_t; 2]; T],
) {
    let there = product.at * 8..product.at * 8 + product.n_blocks;
    let q = &group.q.as_chunks::<32>().0.as_chunks::<T>().0[there.clone()];
    let a = group.d.as_chunks::<T>().0[there.clone()].iter().zip(&group.sums.as_chunks::<T>().0[there]);
    let (d, m) = turned.factors.split_at(8);
    let zero = [vdupq_n_s32(0); 4];
    let mut acc: [_; N] = from_fn(|p| {
        together(bits(sums[first(p)]), bits(sums[second::<T>(p)])).map(|v| vreinterpretq_f32_s32(v))
    });
    for (((w, q), (d_a, sums_a)), (d, m)) in turned.loop_over().iter().zip(q).zip(a).zip(d.iter().zip(m)) {
        product.ahead.ask(Neon::<true>::new(), product.n_ask);
        let mut isum = [zero; N];
        for (i, w) in w.iter().enumerate() {
            add_products(&mut isum, *w, q, i);
        }
        for p in 0..N {
            let d_a = vreinterpretq_f32_s32(both(&d_a.map(|d| d.to_bits() as i32), p));
            for r in 0..4 {
                let times = |sum, factor| vmulq_f32(vcvtq_f32_s32(sum), vreinterpretq_f32_s32(factor));
                acc[p][r] = vfmaq_f32(acc[p][r], times(isum[p][r], d[r]), d_a);
                if MINIMA {
                    acc[p][r] = vfmaq_f32(acc[p][r], times(both(sums_a, p), m[r]), d_a);
                }
            }
        }
    }
    for (t, sum) in sums.iter_mut().enumerate() {
        *sum = apart(acc[t / 2].map(|v| vreinterpretq_s32_f32(v)), t).map(|v| vreinterpretq_f32_s32(v));
    }
}

/// [`crate::simd::panel::supers`] in pairs; runs have `8 * RUN` columns.
#[target_feature(enable = "neon,dotprod,i8mm")]
#[inline]
fn supers<const T: usize, const N: usize, const RUN: usize>(
    product: &Product<'_, Neon<true>>,
    turned: &Turned,
    group: &Group<'_>,
    sums: &mut [[float32x4_t; 2]; T],
) {
    let (l, panel) = (Neon::<true>::new(), product.panel);
    let there = product.at * 8..product.at * 8 + 8;
    let q = &group.q.as_chunks::<32>().0.as_chunks::<T>().0[there.clone()];
    let sums_a = &group.sums.as_chunks::<T>().0[there];
    let d_a = &group.d.as_chunks::<T>().0[product.at];
    let zero = [vdupq_n_s32(0); 4];
    let mut isum = [zero; N];
    for ((w, q), scales) in turned.loop_over().iter().zip(q).zip(turned.factors.chunks_exact(4 / RUN)) {
        product.ahead.ask(l, product.n_ask);
        for (run, (w, scale)) in w.as_chunks::<RUN>().0.iter().zip(scales).enumerate() {
            let mut products = [zero; N];
            for (i, w) in w.iter().enumerate() {
                add_products(&mut products, *w, q, run * RUN + i);
            }
            for p in 0..N {
                for r in 0..4 {
                    isum[p][r] = vmlaq_s32(isum[p][r], products[p][r], scale[r]);
                }
            }
        }
    }
    for t in 0..T {
        let d_a = l.splat_f32(d_a[t]);
        let isum = l.to_f32(apart(isum[t / 2], t));
        sums[t] = l.fma_f32(l.mul_f32(isum, panel.d[0]), d_a, sums[t]);
    }
    if matches!(product.kind, Kind::Supers { minima: true, .. }) {
        let mut msum = [l.splat(0); T];
        for (&m, sums_a) in panel.second.iter().zip(sums_a) {
            for t in 0..T {
                msum[t] = l.add_pairs(msum[t], m, l.splat(sums_a[t]));
            }
        }
        for t in 0..T {
            let taken = l.mul_f32(l.to_f32(l.sub(l.splat(0), msum[t])), panel.m[0]);
            sums[t] = l.fma_f32(taken, l.splat_f32(d_a[t]), sums[t]);
        }
    }
}

/// Adds the products of eight columns of eight rows, `w`, with activations `8 i..8 i + 8` of `N` pairs.
#[target_feature(enable = "neon,i8mm")]
#[inline]
fn add_products<const T: usize, const N: usize>(sums: &mut [Pair; N], w: Pair, q: &[[i8; 32]; T], i: usize) {
    for (p, sums) in sums.iter_mut().enumerate() {
        let a = eight(q, p, i);
        for (sum, w) in sums.iter_mut().zip(w) {
            *sum = smmla(*sum, w, a);
        }
    }
}

/// The first token of pair `p`.
const fn first(p: usize) -> usize {
    2 * p
}

/// The second, where there are `T`, or once more the first.
const fn second<const T: usize>(p: usize) -> usize {
    if 2 * p + 1 < T { 2 * p + 1 } else { 2 * p }
}

/// Activations `8 i..8 i + 8` of both tokens of pair `p`.
#[target_feature(enable = "neon")]
#[inline]
fn eight<const T: usize>(q: &[[i8; 32]; T], p: usize, i: usize) -> int32x4_t {
    let [a, b] = [first(p), second::<T>(p)].map(|t| {
        // SAFETY: the array has the eight bytes that are read.
        unsafe { vld1_s8(q[t].as_chunks::<8>().0[i].as_ptr()) }
    });
    vreinterpretq_s32_s8(vcombine_s8(a, b))
}

/// What the tokens of pair `p` have, in the lanes of every row.
#[target_feature(enable = "neon")]
#[inline]
fn both<const T: usize>(all: &[i32; T], p: usize) -> int32x4_t {
    if second::<T>(p) == first(p) {
        return vdupq_n_s32(all[first(p)]);
    }
    let two: &[i32; 2] = all[first(p)..].first_chunk().expect("two tokens");
    // SAFETY: the array has the two numbers that are read.
    let two = unsafe { vld1_s32(two.as_ptr()) };
    vcombine_s32(two, two)
}

/// Lanes of `a` and `b` by turns.
#[target_feature(enable = "neon")]
#[inline]
fn together(a: Rows, b: Rows) -> Pair {
    [vzip1q_s32(a[0], b[0]), vzip2q_s32(a[0], b[0]), vzip1q_s32(a[1], b[1]), vzip2q_s32(a[1], b[1])]
}

/// Of what was put [`together`] the first, or of an odd token the second.
#[target_feature(enable = "neon")]
#[inline]
fn apart(v: Pair, token: usize) -> Rows {
    if token.is_multiple_of(2) {
        [vuzp1q_s32(v[0], v[1]), vuzp1q_s32(v[2], v[3])]
    } else {
        [vuzp2q_s32(v[0], v[1]), vuzp2q_s32(v[2], v[3])]
    }
}

/// Floats as what they are made of, to be moved.
#[target_feature(enable = "neon")]
#[inline]
fn bits(v: [float32x4_t; 2]) -> Rows {
    v.map(|v| vreinterpretq_s32_f32(v))
}

/// `sum` and the products of two rows of eight bytes, `w`, with two others, `a`. It is not told that it is `pure`: so the
/// compiler leaves its order as written, which needs the fewest registers.
#[target_feature(enable = "neon,i8mm")]
#[inline]
pub(in crate::simd) fn smmla(mut sum: int32x4_t, w: int32x4_t, a: int32x4_t) -> int32x4_t {
    // SAFETY: the instruction works on registers alone.
    unsafe {
        asm!(
            "smmla {:v}.4s, {:v}.16b, {:v}.16b",
            inout(vreg) sum, in(vreg) w, in(vreg) a,
            options(nomem, nostack, preserves_flags)
        );
    }
    sum
}
