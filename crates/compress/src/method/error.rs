//! What a changed matrix costs: `tr(D H D')`, the mean square of the change of its outputs.
//!
//! With `H = 2 X X' / T` and `D` the change of the weights, this is twice the mean over tokens of `|D x|^2`, summed over
//! outputs: the error that importances by column only estimate, as they leave out how columns move together.

use ingle_kernel::dense::Panels;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;

/// Columns of a block.
const BLOCK: usize = 96;
/// Columns whose panels lie in the first caches.
const STEPS: usize = 256;
/// Rows that are measured at a time.
const ROWS: usize = 96;

/// `H` of an input, ready to measure changes of the matrices that have it. It holds a copy of `H`.
#[derive(Debug)]
pub struct Measure {
    /// The lower half with the diagonal halved, by columns: `D H D' = 2 D L D'`.
    lower: Panels<f64>,
    cols: usize,
}

impl Measure {
    /// Of `h` `(cols, cols)`, of which the upper half is read.
    pub fn new(h: &[f64], cols: usize, pool: &Pool) -> Self {
        assert_eq!(h.len(), cols * cols, "{cols} columns");
        let mut lower = Kernels::detect().dense_f64().left(cols, cols);
        // Step k has row k of the upper half: the values at and behind the diagonal.
        lower.fill(pool, |k, first, out| {
            for (i, out) in out.iter_mut().enumerate() {
                *out = match (first + i).cmp(&k) {
                    std::cmp::Ordering::Less => 0.0,
                    std::cmp::Ordering::Equal => 0.5 * h[k * cols + k],
                    std::cmp::Ordering::Greater => h[k * cols + first + i],
                };
            }
        });
        Self { lower, cols }
    }

    /// `tr(D H D')` of the change from `before` to `after`, `(rows, cols)` both. Cost: `rows * cols^2` multiplications and additions.
    pub fn of(&self, before: &[f32], after: &[f32], pool: &Pool) -> f64 {
        let cols = self.cols;
        assert!(before.len() == after.len() && before.len().is_multiple_of(cols), "rows of {cols} weights");
        let mut tiles = vec![0.0; (before.len() / cols).div_ceil(ROWS)];
        pool.for_rows(&mut tiles, 1, |i, error| {
            let range = i * ROWS * cols..before.len().min((i + 1) * ROWS * cols);
            error[0] = self.of_rows(&before[range.clone()], &after[range]);
        });
        // In rising order, whatever thread had which.
        tiles.iter().sum()
    }

    fn of_rows(&self, before: &[f32], after: &[f32]) -> f64 {
        let (cols, dense, n) = (self.cols, Kernels::detect().dense_f64(), before.len() / self.cols);
        let mut changes = dense.right(cols, n);
        let mut column = vec![0.0; n];
        let change = |k: usize, column: &mut [f64]| {
            for (r, change) in column.iter_mut().enumerate() {
                *change = f64::from(after[r * cols + k]) - f64::from(before[r * cols + k]);
            }
        };
        for k in 0..cols {
            change(k, &mut column);
            changes.set(k, &column);
        }
        let (mut sum, mut products) = (0.0, vec![0.0; BLOCK * n]);
        for first in (0..cols).step_by(BLOCK) {
            let end = cols.min(first + BLOCK);
            products.fill(0.0);
            // Columns first..end have products with rows of the upper half up to their own.
            for step in (0..end).step_by(STEPS) {
                let steps = step..end.min(step + STEPS);
                let left = self.lower.part(steps.clone(), first..end);
                dense.add(&left, &changes.part(steps, 0..n), &mut products, n);
            }
            for (k, products) in (first..end).zip(products.chunks_exact(n)) {
                change(k, &mut column);
                sum += column.iter().zip(products).map(|(change, product)| change * product).sum::<f64>();
            }
        }
        2.0 * sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_that_of_the_definition() {
        for (rows, cols) in [(1, 1), (3, 5), (100, 130)] {
            let value = |i: usize| ((i * 37 + 11) % 64) as f32 / 8.0 - 4.0;
            let (before, after): (Vec<f32>, Vec<f32>) =
                (0..rows * cols).map(|i| (value(i), value(i * i + 3))).unzip();
            let h: Vec<f64> =
                (0..cols * cols).map(|at| f64::from(value((at / cols) * (at % cols) + 1))).collect();
            let mut expected = 0.0;
            for (before, after) in before.chunks(cols).zip(after.chunks(cols)) {
                let d: Vec<f64> = before.iter().zip(after).map(|(b, a)| f64::from(a - b)).collect();
                for i in 0..cols {
                    for j in 0..cols {
                        expected += d[i] * d[j] * h[i.min(j) * cols + i.max(j)];
                    }
                }
            }
            for n_threads in [1, 2] {
                let pool = Pool::new(n_threads);
                // Numbers of few bits: the sums are exact.
                assert_eq!(Measure::new(&h, cols, &pool).of(&before, &after, &pool), expected);
            }
        }
    }
}
