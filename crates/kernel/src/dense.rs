//! Dense products for work that is done once: `C += A' B` of f32 or f64, about as fast as a CPU adds products.
//!
//! Inference multiplies few activations with weights in blocks ([`crate::gemm`]); compression adds up `X' X` over thousands of
//! tokens and factors the result. All of that is one product: both operands lie with the summed dimension outermost, so that a
//! *step* of it takes some neighbouring values of each and adds all their products to a tile of sums that stays in registers.
//! Operands are packed into [`Panels`] first: a few columns side by side, step behind step, filled up with zeros to whole panels.
//!
//! A sum runs over its steps in rising order, from zero, and is then added to `C`; so it does not depend on the tile it lies in,
//! on what else is multiplied, or on threads. Tiers may fuse products and additions and so differ in the last bits. The code
//! is plain Rust, compiled once per tier with a tile that suits its registers; `--example dense` measures it, as it has to be for every
//! change of a tile: of shapes that look alike the compiler keeps some in registers and some not (on AVX-512 12 x 32 sums are made
//! thirty times as fast as 8 x 32). What is left out: blocks for caches and the sharing of work among threads, which are the
//! caller's, who knows what is computed.

use std::fmt;
use std::ops::{AddAssign, Range};

use crate::par::Pool;

/// A number that products are made of.
pub trait Float: Copy + Default + Send + Sync + AddAssign + fmt::Debug + 'static {
    /// `a * b + c`, rounded once if `FUSED`.
    fn product<const FUSED: bool>(a: Self, b: Self, c: Self) -> Self;
}

macro_rules! float {
    ($type:ty) => {
        impl Float for $type {
            #[inline(always)]
            fn product<const FUSED: bool>(a: Self, b: Self, c: Self) -> Self {
                if FUSED { a.mul_add(b, c) } else { a * b + c }
            }
        }
    };
}
float!(f32);
float!(f64);

/// A tier's product of `T`, with its tile.
#[derive(Debug, Clone, Copy)]
pub struct Dense<T: 'static> {
    /// Columns of a panel of the left operand, which are rows of the result.
    rows: usize,
    /// Columns of a panel of the right operand.
    cols: usize,
    add: Add<T>,
}

/// `(left, right, out, width)`, see [`Dense::add`].
type Add<T> = fn(&Part<'_, T>, &Part<'_, T>, &mut [T], usize);

/// Products of both kinds of numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Both {
    pub f32: Dense<f32>,
    pub f64: Dense<f64>,
}

/// A packed operand: panels of some columns, each `(n_steps, width)`, one behind the other.
#[derive(Debug, Clone)]
pub struct Panels<T> {
    data: Vec<T>,
    n_steps: usize,
    /// Columns of a panel.
    width: usize,
    /// Columns that count; those that fill up the last panel are 0.
    n: usize,
}

/// Some steps of some neighbouring columns of an operand.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a, T> {
    /// From the first step of the first panel on.
    data: &'a [T],
    /// From panel to panel.
    stride: usize,
    width: usize,
    n_steps: usize,
    n: usize,
}

impl<T: Float> Dense<T> {
    /// Room for a left operand of `n` columns, all zeros.
    pub fn left(&self, n_steps: usize, n: usize) -> Panels<T> {
        Panels::zeros(n_steps, n, self.rows)
    }

    /// Room for a right operand of `n` columns, all zeros.
    pub fn right(&self, n_steps: usize, n: usize) -> Panels<T> {
        Panels::zeros(n_steps, n, self.cols)
    }

    /// Adds `left' right` to `out`, whose rows, one per column of `left`, begin every `width` values.
    ///
    /// # Panics
    /// When the parts are not of this tier's panels, or of different numbers of steps, or `out` is too small.
    pub fn add(&self, left: &Part<'_, T>, right: &Part<'_, T>, out: &mut [T], width: usize) {
        assert_eq!((left.width, right.width), (self.rows, self.cols), "panels of this tier");
        assert_eq!(left.n_steps, right.n_steps, "steps of both operands");
        assert!(left.n == 0 || (left.n - 1) * width + right.n <= out.len(), "room for the product");
        (self.add)(left, right, out, width);
    }
}

impl<T: Float> Panels<T> {
    fn zeros(n_steps: usize, n: usize, width: usize) -> Self {
        Self { data: vec![T::default(); n.next_multiple_of(width) * n_steps], n_steps, width, n }
    }

    /// Has `values(step, first, out)` write the columns `first..first + out.len()` of each step.
    pub fn fill(&mut self, pool: &Pool, values: impl Fn(usize, usize, &mut [T]) + Sync) {
        if self.data.is_empty() {
            return;
        }
        let (n, width) = (self.n, self.width);
        pool.for_rows(&mut self.data, self.n_steps * width, |p, panel| {
            let first = p * width;
            for (step, out) in panel.chunks_exact_mut(width).enumerate() {
                values(step, first, &mut out[..width.min(n - first)]);
            }
        });
    }

    /// Sets one step of all columns. `(n)`
    pub fn set(&mut self, step: usize, values: &[T]) {
        assert!(step < self.n_steps && values.len() == self.n, "step {step} of {}", self.n_steps);
        let panels = self.data.chunks_exact_mut(self.n_steps * self.width);
        for (panel, values) in panels.zip(values.chunks(self.width)) {
            panel[step * self.width..][..values.len()].copy_from_slice(values);
        }
    }

    /// Steps `steps` of columns `cols`.
    ///
    /// # Panics
    /// When there are none such, or `cols` does not begin with a panel.
    pub fn part(&self, steps: Range<usize>, cols: Range<usize>) -> Part<'_, T> {
        assert!(steps.start <= steps.end && steps.end <= self.n_steps, "steps {steps:?} of {}", self.n_steps);
        assert!(cols.start <= cols.end && cols.end <= self.n, "columns {cols:?} of {}", self.n);
        assert!(
            cols.start.is_multiple_of(self.width) || cols.is_empty(),
            "column {} begins a panel",
            cols.start
        );
        let stride = self.n_steps * self.width;
        let first = cols.start / self.width * stride + steps.start * self.width;
        Part {
            data: &self.data[first.min(self.data.len())..],
            stride,
            width: self.width,
            n_steps: steps.len(),
            n: cols.len(),
        }
    }

    /// All of it.
    pub fn all(&self) -> Part<'_, T> {
        self.part(0..self.n_steps, 0..self.n)
    }
}

impl<T> Part<'_, T> {
    /// The steps of panel `p`.
    #[inline(always)]
    fn panel<const N: usize>(&self, p: usize) -> &[[T; N]] {
        self.data[p * self.stride..][..self.n_steps * N].as_chunks().0
    }
}

/// [`Dense::add`] with tiles of `R` by `C` sums.
#[inline(always)]
pub(crate) fn add<T: Float, const R: usize, const C: usize, const FUSED: bool>(
    left: &Part<'_, T>,
    right: &Part<'_, T>,
    out: &mut [T],
    width: usize,
) {
    for p in 0..left.n.div_ceil(R) {
        for q in 0..right.n.div_ceil(C) {
            let sums = tile::<T, R, C, FUSED>(left.panel(p), right.panel(q));
            let n = C.min(right.n - q * C);
            for (i, sums) in sums.iter().enumerate().take(left.n - p * R) {
                let out = &mut out[(p * R + i) * width + q * C..][..n];
                for (out, &sum) in out.iter_mut().zip(sums) {
                    *out += sum;
                }
            }
        }
    }
}

#[inline(always)]
fn tile<T: Float, const R: usize, const C: usize, const FUSED: bool>(
    a: &[[T; R]],
    b: &[[T; C]],
) -> [[T; C]; R] {
    let mut sums = [[T::default(); C]; R];
    for (a, b) in a.iter().zip(b) {
        for i in 0..R {
            for j in 0..C {
                sums[i][j] = T::product::<FUSED>(a[i], b[j], sums[i][j]);
            }
        }
    }
    sums
}

/// Both products of a tier, compiled with `$features`, in tiles of `$rows` by so many sums.
macro_rules! dense {
    ($features:literal, $rows:literal x ($f32:literal, $f64:literal)) => {
        $crate::dense::Both {
            f32: $crate::dense::dense!(f32, $features, $rows, $f32),
            f64: $crate::dense::dense!(f64, $features, $rows, $f64),
        }
    };
    ($type:ty, $features:literal, $rows:literal, $cols:literal) => {
        $crate::dense::Dense::of::<$rows, $cols>({
            #[target_feature(enable = $features)]
            fn build(
                left: &$crate::dense::Part<'_, $type>,
                right: &$crate::dense::Part<'_, $type>,
                out: &mut [$type],
                width: usize,
            ) {
                $crate::dense::add::<$type, $rows, $cols, true>(left, right, out, width);
            }
            // SAFETY: called only where the tier's `detect` found the features.
            |left, right, out, width| unsafe { build(left, right, out, width) }
        })
    };
}
pub(crate) use dense;

impl<T> Dense<T> {
    /// `add` works in tiles of `R` by `C`.
    pub(crate) const fn of<const R: usize, const C: usize>(add: Add<T>) -> Self {
        Self { rows: R, cols: C, add }
    }
}

/// Plain Rust, for every CPU: eight vectors of four, or of two.
pub(crate) const PORTABLE: Both =
    Both { f32: Dense::of::<4, 8>(add::<f32, 4, 8, false>), f64: Dense::of::<4, 4>(add::<f64, 4, 4, false>) };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Kernels;

    /// From -32 to 31, so that all sums here are exact.
    fn number(k: usize, i: usize) -> i8 {
        (((k * 101 + i) as u32).wrapping_mul(0x9e37_79b1) as i32 >> 26) as i8
    }

    fn is_exact<T: Float + From<i8> + Into<f64>>(dense: Dense<T>, tier: &str) {
        let pool = Pool::new(2);
        for (n_steps, m, n) in [(1, 1, 1), (7, 5, 33), (64, 40, 70), (3, 0, 4)] {
            let (mut left, mut right) = (dense.left(n_steps, m), dense.right(n_steps, n));
            left.fill(&pool, |k, first, out| {
                for (i, out) in out.iter_mut().enumerate() {
                    *out = number(k, first + i).into();
                }
            });
            for k in 0..n_steps {
                right.set(k, &(0..n).map(|j| number(k + 7, j).into()).collect::<Vec<_>>());
            }
            // Some steps, then the rest; and columns beside the product, which stay.
            let width = n + 3;
            let mut out = vec![T::from(1); m * width];
            for steps in [0..n_steps / 3, n_steps / 3..n_steps] {
                dense.add(&left.part(steps.clone(), 0..m), &right.part(steps, 0..n), &mut out, width);
            }
            for (at, &found) in out.iter().enumerate() {
                let (i, j) = (at / width, at % width);
                let sum =
                    (0..n_steps).map(|k| i32::from(number(k, i)) * i32::from(number(k + 7, j))).sum::<i32>();
                let expected = if j < n { 1 + sum } else { 1 };
                assert_eq!(found.into(), f64::from(expected), "{tier}: {n_steps} steps, row {i}, column {j}");
            }
        }
    }

    #[test]
    fn every_tier_finds_exact_sums() {
        for tier in Kernels::names() {
            let kernels = Kernels::named(tier).expect("its own name");
            is_exact(kernels.dense_f32(), tier);
            is_exact(kernels.dense_f64(), tier);
        }
    }

    #[test]
    fn parts_begin_with_panels() {
        let dense = PORTABLE.f64;
        let mut left = dense.left(2, 9);
        left.set(1, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let mut right = dense.right(2, 1);
        right.set(1, &[2.0]);
        let mut out = [0.0; 5];
        dense.add(&left.part(1..2, 4..9), &right.part(1..2, 0..1), &mut out, 1);
        assert_eq!(out, [8.0, 10.0, 12.0, 14.0, 16.0]);
    }
}
