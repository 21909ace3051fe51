//! Coordinate descent: levels and scales of superblocks, each moved to where the error of its row is least while all others stand.
//!
//! Error feedback decides columns one after the other and never looks back, on scales from a search that took columns as
//! independent. Once a row has levels there is more to be had. With `E = W - V` the error `tr(E H E')` is a parabola in every number
//! that `V` is made of, and `E H` its slope, so each has its best value in closed form:
//! - a level: where `E H` at its own column would vanish (QuantEase, Behdin et al., arXiv 2309.01885);
//! - a group's scale and minimum: two equations, of `H` at its columns along the levels and along ones. Both are codes
//!   themselves, so of the codes around the solution the best are taken;
//! - a superblock's `d` and `dmin`: two equations again, of all its columns, and what f16 makes of the solution.
//!
//! A move that does not lower the error is not made. Weights that were pruned take no part: scales are chosen without them, and
//! whatever becomes of these, their levels follow so that they stay nearest to 0. A superblock goes through its numbers `PASSES`
//! times; superblocks are gone through from the first to the last, each with the errors of all others as they then are, and that
//! `SWEEPS` times.
//!
//! Cost: `1.5 * rows * cols^2` multiplications and additions in f32 a sweep; memory: `4 * cols^2` bytes for `H`. Left out: formats of one
//! scale a block; choosing levels by feedback again for the new scales, which measured no better than going on from here.

use ingle_kernel::dense::{Dense, Panels};
use ingle_kernel::half::{f16_to_f32, f32_to_f16};
use ingle_kernel::par::Pool;
use ingle_kernel::quant::Format;
use ingle_kernel::quant::grid::{GROUP, Grid, Levels, Scales, Scaling, Step};
use ingle_kernel::simd::Kernels;

use super::Zeros;
use crate::linalg;

/// Columns of a superblock.
const SUPER: usize = 256;
/// Rows that are fitted together, whole panels of every tier.
const ROWS: usize = 96;
/// How often a superblock's numbers are gone through before the next has its turn.
const PASSES: usize = 2;
/// How often a row is gone through.
const SWEEPS: usize = 2;
/// A determinant below this part of the product of its diagonal counts as 0.
const SINGULAR: f32 = 1e-5;

/// `H` of an input, as descent reads it.
#[derive(Debug)]
pub struct Products {
    /// All of it, by columns.
    all: Panels<f32>,
    /// What lies between columns of the same superblock. `(cols, SUPER)`
    near: Vec<f32>,
    cols: usize,
}

impl Products {
    /// Of `h` `(cols, cols)`, of which the upper half is read, with `damping` times the mean of its diagonal added to the diagonal.
    pub fn new(h: &[f64], cols: usize, damping: f64, pool: &Pool) -> Self {
        assert_eq!(h.len(), cols * cols, "{cols} columns");
        let added = damping * (0..cols).map(|j| h[j * cols + j]).sum::<f64>() / cols as f64;
        let at = |i: usize, j: usize| {
            let (a, b) = (i.min(j), i.max(j));
            (h[a * cols + b] + if a == b { added } else { 0.0 }) as f32
        };
        let mut all = dense().right(cols, cols);
        all.fill(pool, |k, first, out| {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = at(k, first + i));
        });
        let mut near = vec![0.0; cols * SUPER];
        pool.for_rows(&mut near, SUPER, |k, near| {
            let first = k / SUPER * SUPER;
            near[..SUPER.min(cols - first)].iter_mut().enumerate().for_each(|(i, v)| *v = at(k, first + i));
        });
        Self { all, near, cols }
    }

    /// Adds `rows H` to `out`, of the columns from `steps.start` to `steps.end` of `rows` `(n, cols)` and to the columns of `out`
    /// `(n, cols)` from `first` on.
    fn multiply(&self, rows: &[f32], steps: std::ops::Range<usize>, first: usize, out: &mut [f32]) {
        linalg::multiply(rows, &self.all, self.cols, steps, first, out);
    }
}

fn dense() -> Dense<f32> {
    Kernels::detect().dense_f32()
}

/// Changes levels and scales of `blocks` where that lowers the error against `values` `(rows, cols)`.
///
/// # Panics
/// When the scales of `format` can't be changed, or rows are not whole superblocks.
pub fn descend(
    values: &[f32],
    format: &Format,
    products: &Products,
    zeros: Zeros,
    blocks: &mut [u8],
    pool: &Pool,
) {
    let grid = format.grid.as_ref().expect("a format with a grid");
    let scaling = grid.scaling.as_ref().expect("scales that change");
    let (cols, row_bytes) = (products.cols, format.row_bytes(products.cols));
    let rows = values.chunks(ROWS * cols).zip(blocks.chunks_mut(ROWS * row_bytes));
    let mut tasks: Vec<_> = rows.collect();
    pool.for_rows(&mut tasks, 1, |_, task| {
        let (values, blocks) = &mut task[0];
        for _ in 0..SWEEPS {
            sweep(values, format, (grid, scaling), products, zeros, blocks);
        }
    });
}

/// Goes through some rows once.
fn sweep(
    values: &[f32],
    format: &Format,
    (grid, scaling): (&Grid, &Scaling),
    products: &Products,
    zeros: Zeros,
    blocks: &mut [u8],
) {
    let cols = products.cols;
    let mut errors = vec![0.0; values.len()];
    (format.dequantize)(blocks, &mut errors);
    errors.iter_mut().zip(values).for_each(|(v, w)| *v = w - *v);
    // E H, right from the superblock on that is next.
    let mut gradient = vec![0.0; values.len()];
    products.multiply(&errors, 0..cols, 0, &mut gradient);
    for first in (0..cols).step_by(SUPER) {
        let near = &products.near[first * SUPER..][..SUPER * SUPER];
        let rows = errors.chunks_exact_mut(cols).zip(gradient.chunks_exact_mut(cols));
        let rows = rows.zip(values.chunks_exact(cols));
        for (((errors, gradient), values), row) in rows.zip(blocks.chunks_exact_mut(format.row_bytes(cols))) {
            let block = &mut row[first / SUPER * format.bytes..][..format.bytes];
            let gradient = gradient[first..][..SUPER].as_mut_array().expect("a superblock");
            let mut fit = Fit::new(block, grid, scaling, near, gradient);
            if zeros == Zeros::Stay {
                fit.pruned = std::array::from_fn(|k| values[first + k] == 0.0);
            }
            fit.run();
            (scaling.write)(&fit.scales, block);
            (grid.write)(&fit.levels.map(|level| level as i8), block);
            // From here on what the errors have become larger by; the others' are not needed any more.
            errors[first..][..SUPER].copy_from_slice(&fit.changes.map(|change| -change));
        }
        let next = first + SUPER;
        if next < cols {
            products.multiply(&errors, first..next, next, &mut gradient);
        }
    }
}

/// A superblock of a row.
struct Fit<'a> {
    grid: Levels,
    scaling: &'a Scaling,
    scales: Scales,
    levels: [f32; SUPER],
    /// Weights that stay as near to 0 as can be.
    pruned: [bool; SUPER],
    /// `H` between its columns. `(SUPER, SUPER)`
    near: &'a [f32],
    /// `E H` at its columns.
    gradient: &'a mut [f32; SUPER],
    /// By how much its values have become larger.
    changes: [f32; SUPER],
}

/// `x' H x`, `x' H y`, `y' H y` of two directions, and the gradient along them.
#[derive(Debug, Clone, Copy, Default)]
struct Normal {
    xx: f32,
    xy: f32,
    yy: f32,
    gx: f32,
    gy: f32,
}

impl Normal {
    /// By how much the error falls when the values change by `a x + b y`.
    fn gain(&self, a: f32, b: f32) -> f32 {
        2.0 * (a * self.gx + b * self.gy) - (a * a * self.xx + 2.0 * a * b * self.xy + b * b * self.yy)
    }

    /// The change with the largest gain; along one direction only where they are not told apart.
    fn best(&self) -> (f32, f32) {
        let determinant = self.xx * self.yy - self.xy * self.xy;
        if determinant > SINGULAR * self.xx * self.yy {
            let a = (self.gx * self.yy - self.gy * self.xy) / determinant;
            return (a, (self.gy * self.xx - self.gx * self.xy) / determinant);
        }
        let along = |g: f32, h: f32| if h > 0.0 { g / h } else { 0.0 };
        if self.xx > 0.0 { (along(self.gx, self.xx), 0.0) } else { (0.0, along(self.gy, self.yy)) }
    }
}

impl<'a> Fit<'a> {
    fn new(
        block: &[u8],
        grid: &Grid,
        scaling: &'a Scaling,
        near: &'a [f32],
        gradient: &'a mut [f32; SUPER],
    ) -> Self {
        let mut levels = [0; SUPER];
        (grid.read)(block, &mut [Step::default(); SUPER / GROUP], &mut levels);
        let levels = levels.map(f32::from);
        let (scales, pruned, changes) = ((scaling.read)(block), [false; SUPER], [0.0; SUPER]);
        Self { grid: grid.levels, scaling, scales, levels, pruned, near, gradient, changes }
    }

    fn run(&mut self) {
        let group = self.scaling.group;
        for _ in 0..PASSES {
            for first in (0..SUPER).step_by(group) {
                self.levels(first, group);
                self.codes(first, group);
            }
            self.units();
            for k in 0..SUPER {
                if self.pruned[k] {
                    self.keep_at_zero(k);
                }
            }
        }
    }

    /// What the error's fall depends on when the columns from `first` on change along `x` and `y`. Pruned weights do not stay where
    /// scales put them, so they have no say in these.
    fn normal(&self, first: usize, x: &[f32], y: &[f32]) -> Normal {
        let unpruned = |of: &[f32]| -> Vec<f32> {
            of.iter().zip(&self.pruned[first..]).map(|(&v, &pruned)| if pruned { 0.0 } else { v }).collect()
        };
        let (x, y) = (unpruned(x), unpruned(y));
        let mut normal = Normal::default();
        for i in 0..x.len() {
            let row = &self.near[(first + i) * SUPER + first..][..x.len()];
            let (hx, hy) = (product(row, &x), product(row, &y));
            normal.xx += x[i] * hx;
            normal.xy += x[i] * hy;
            normal.yy += y[i] * hy;
        }
        let gradient = &self.gradient[first..][..x.len()];
        (normal.gx, normal.gy) = (product(gradient, &x), product(gradient, &y));
        normal
    }

    /// Moves each level of the group at `first` to where its own error is least.
    fn levels(&mut self, first: usize, group: usize) {
        let step = self.scales.d * f32::from(self.scales.sc[first / GROUP]);
        for k in first..first + group {
            let (h, g) = (self.near[k * SUPER + k], self.gradient[k]);
            let wanted = self.levels[k] + g / (h * step);
            if self.pruned[k] || !wanted.is_finite() {
                continue;
            }
            let level = f32::from(self.grid.nearest(wanted));
            let change = step * (level - self.levels[k]);
            if 2.0 * change * g - change * change * h > 0.0 {
                self.levels[k] = level;
                self.apply(k, &[change]);
            }
        }
    }

    /// Moves level `k` to where its value is nearest to 0.
    fn keep_at_zero(&mut self, k: usize) {
        let Scales { d, dmin, sc, m } = self.scales;
        let (step, min) = (d * f32::from(sc[k / GROUP]), dmin * f32::from(m[k / GROUP]));
        let level = f32::from(Step { scale: step, min }.nearest(self.grid, 0.0));
        if level != self.levels[k] {
            let change = step * (level - self.levels[k]);
            self.levels[k] = level;
            self.apply(k, &[change]);
        }
    }

    /// Chooses the codes of scale and minimum of the group at `first`.
    fn codes(&mut self, first: usize, group: usize) {
        let (at, Scales { d, dmin, sc, m }) = (first / GROUP, self.scales);
        let levels = &self.levels[first..][..group];
        let minimum = if self.scaling.m > 0 { -1.0 } else { 0.0 };
        let normal = self.normal(first, levels, &[minimum; SUPER][..group]);
        let (a, b) = normal.best();
        let (lo, hi) = self.scaling.sc;
        let around = |code: f32, change: f32, unit: f32, lo: f32, hi: f32| {
            let middle = if unit == 0.0 { code } else { code + change / unit };
            [middle.floor(), middle.ceil()].map(|v| if v.is_finite() { v.clamp(lo, hi) } else { code })
        };
        let mut best = (0.0, sc[at], m[at]);
        for new_sc in around(f32::from(sc[at]), a, d, f32::from(lo), f32::from(hi)) {
            for new_m in around(f32::from(m[at]), b, dmin, 0.0, f32::from(self.scaling.m)) {
                let gain = normal.gain(d * (new_sc - f32::from(sc[at])), dmin * (new_m - f32::from(m[at])));
                if gain > best.0 {
                    best = (gain, new_sc as i16, new_m as u8);
                }
            }
        }
        let (gain, new_sc, new_m) = best;
        if gain > 0.0 {
            let ds = d * f32::from(new_sc) - d * f32::from(sc[at]);
            let dm = dmin * f32::from(new_m) - dmin * f32::from(m[at]);
            let change: Vec<f32> = levels.iter().map(|l| ds * l - dm).collect();
            self.scales.sc[at..at + group / GROUP].fill(new_sc);
            self.scales.m[at..at + group / GROUP].fill(new_m);
            self.apply(first, &change);
        }
    }

    /// Solves `d` and `dmin`.
    fn units(&mut self) {
        let Scales { d, dmin, sc, m } = self.scales;
        let x: Vec<f32> = (0..SUPER).map(|k| f32::from(sc[k / GROUP]) * self.levels[k]).collect();
        let y: Vec<f32> = (0..SUPER).map(|k| -f32::from(m[k / GROUP])).collect();
        let normal = self.normal(0, &x, &y);
        let (a, b) = normal.best();
        let (new_d, new_dmin) = (as_f16(d + a), as_f16((dmin + b).max(0.0)));
        let gain = normal.gain(new_d - d, new_dmin - dmin);
        let allowed = new_d.is_finite() && new_dmin.is_finite();
        if gain > 0.0 && allowed {
            let change = |(x, y): (&f32, &f32)| (new_d - d) * x + (new_dmin - dmin) * y;
            let changes: Vec<f32> = x.iter().zip(&y).map(change).collect();
            (self.scales.d, self.scales.dmin) = (new_d, new_dmin);
            self.apply(0, &changes);
        }
    }

    /// Enters that the values from `first` on have grown by `change`.
    fn apply(&mut self, first: usize, change: &[f32]) {
        for (k, &change) in (first..).zip(change) {
            self.changes[k] += change;
            let row = &self.near[k * SUPER..][..SUPER];
            self.gradient.iter_mut().zip(row).for_each(|(g, h)| *g -= change * h);
        }
    }
}

/// A sum of products in lanes.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum()
}

/// What an f16 makes of `v`.
fn as_f16(v: f32) -> f32 {
    f16_to_f32(f32_to_f16(v))
}

#[cfg(test)]
mod tests {
    use ingle_kernel::quant::FORMATS;

    use super::super::error::Measure;
    use super::super::feedback::tests::{hessian, weights};
    use super::super::rounding::encode_by_importance;
    use super::*;

    const COLS: usize = 768;
    const ROWS: usize = 100;

    fn encoded(format: &Format, n_threads: usize, descended: bool) -> Vec<u8> {
        let (pool, h, w) = (Pool::new(n_threads), hessian(COLS), weights(ROWS, COLS));
        let mut bytes = encode_by_importance(&w, COLS, format, None, &pool);
        if descended {
            descend(&w, format, &Products::new(&h, COLS, 0.01, &pool), Zeros::Change, &mut bytes, &pool);
        }
        bytes
    }

    #[test]
    fn the_error_falls_in_every_format_of_superblocks() {
        let (pool, w) = (Pool::new(2), weights(ROWS, COLS));
        let measure = Measure::new(&hessian(COLS), COLS, &pool);
        for format in FORMATS.iter().filter(|f| f.grid.as_ref().is_some_and(|g| g.scaling.is_some())) {
            let error = |descended: bool| {
                let mut values = vec![0.0; w.len()];
                (format.dequantize)(&encoded(format, 2, descended), &mut values);
                measure.of(&w, &values, &pool)
            };
            let ratio = error(true) / error(false);
            eprintln!("{}: {ratio:.3}", format.name);
            assert!(ratio < 0.6, "{}: {ratio}", format.name);
        }
    }

    #[test]
    fn a_group_that_was_pruned_whole_stays_0() {
        let (pool, mut w) = (Pool::new(2), weights(ROWS, COLS));
        let products = Products::new(&hessian(COLS), COLS, 0.01, &pool);
        // Groups have 16 or 32 columns; beside one there are weights that were pruned alone.
        let is_whole = |j: usize| (SUPER + 32..SUPER + 64).contains(&j);
        let columns = w.iter_mut().enumerate().map(|(i, v)| (i % COLS, v));
        columns.filter(|&(j, _)| is_whole(j) || j % 5 == 0).for_each(|(_, v)| *v = 0.0);
        for format in FORMATS.iter().filter(|f| f.grid.as_ref().is_some_and(|g| g.scaling.is_some())) {
            let mut bytes = encode_by_importance(&w, COLS, format, None, &pool);
            descend(&w, format, &products, Zeros::Stay, &mut bytes, &pool);
            let mut values = vec![0.0; w.len()];
            (format.dequantize)(&bytes, &mut values);
            let n_moved = values.iter().enumerate().filter(|&(i, &v)| is_whole(i % COLS) && v != 0.0).count();
            assert_eq!(n_moved, 0, "{}", format.name);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_byte() {
        let format = ingle_kernel::quant::by_name("q2_K").unwrap();
        assert!(encoded(format, 1, true) == encoded(format, 3, true));
    }

    #[test]
    fn a_change_along_one_direction_is_told_where_two_are_the_same() {
        let normal = Normal { xx: 4.0, xy: 4.0, yy: 4.0, gx: 2.0, gy: 2.0 };
        assert_eq!(normal.best(), (0.5, 0.0));
        assert_eq!(normal.gain(0.5, 0.0), 1.0);
        assert_eq!(Normal::default().best(), (0.0, 0.0));
    }
}
