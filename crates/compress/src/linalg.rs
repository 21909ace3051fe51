//! The linear algebra of calibration: `X' X` summed over tokens, and the triangular factor of what comes out.
//!
//! Everything is made of one product, `C += A' B` in tiles of registers ([`ingle_kernel::dense`]), in blocks that suit the caches,
//! shared among threads by block rows. Only the upper half of a symmetric matrix is computed and read: element `(i, j)` with
//! `i <= j`. Results are the same for any number of threads; tiers of CPUs may differ in the last bits.
//!
//! The factor is `H = R R'` with `R` upper triangular, found from the last column to the first. Methods with error feedback
//! (GPTQ, SparseGPT) are written in terms of `U`, the upper Cholesky factor of the inverse: `inv(H) = U' U`. Since `inv(H) = inv(R)'
//! inv(R)` and factors with positive diagonals are unique, `U = inv(R)`; and as [`crate::method::feedback`] shows, their
//! recursion can be had from `R` itself. So nothing is inverted here, which halves the work and loses less precision.

use std::ops::Range;

use ingle_kernel::dense::{Dense, Panels};
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;

/// Rows of a block, and steps of a blocked factorisation: whole panels of every tier.
const BLOCK: usize = 96;
/// Columns of a block of `X' X`.
const BLOCK_COLS: usize = 192;
/// Tokens whose products are added up in f32 before they join the sums.
const TOKENS: usize = 2048;
/// Tokens of which the panels of a block lie in the first caches.
const TOKENS_AT_ONCE: usize = 256;
/// Columns of [`multiply`] whose panels lie in the first caches.
const STEPS_AT_ONCE: usize = 256;

/// Adds the products of columns to the upper half of `sums` `(cols, cols)`: element `(i, j)` gains the sum over tokens of `x_i
/// x_j`, `x` being `(n_tokens, cols)`.
///
/// Products are summed in f32 over runs of 256 tokens, these over 2048 tokens, and from there on in f64. Cost: `n_tokens *
/// cols^2` multiplications and additions, and two packed copies of 2048 tokens.
///
/// # Panics
/// When `x` or `sums` don't have `cols` columns.
pub fn gram(sums: &mut [f64], x: &[f32], cols: usize, pool: &Pool) {
    assert!(x.len().is_multiple_of(cols) && sums.len() == cols * cols, "{cols} columns");
    add_products(sums, x, x, cols, pool, |row| row);
}

/// Adds `a_i b_j` to `sums`, in each block row from the column that `from` says of its first row.
fn add_products(
    sums: &mut [f64],
    a: &[f32],
    b: &[f32],
    cols: usize,
    pool: &Pool,
    from: impl Fn(usize) -> usize + Sync,
) {
    let dense = Kernels::detect().dense_f32();
    let n_packed = TOKENS.min(a.len() / cols);
    let (mut left, mut right) = (dense.left(n_packed, cols), dense.right(n_packed, cols));
    for (a, b) in a.chunks(TOKENS * cols).zip(b.chunks(TOKENS * cols)) {
        let n_tokens = a.len() / cols;
        let columns = |x: &[f32], token: usize, first: usize, out: &mut [f32]| {
            // The last tokens may not fill what is packed.
            if token < n_tokens {
                out.copy_from_slice(&x[token * cols + first..][..out.len()]);
            }
        };
        left.fill(pool, |token, first, out| columns(a, token, first, out));
        right.fill(pool, |token, first, out| columns(b, token, first, out));
        each_block_row(sums, cols, pool, |first, rows| {
            let n_rows = rows.len() / cols;
            let mut block = vec![0.0; n_rows * BLOCK_COLS];
            for col in (from(first)..cols).step_by(BLOCK_COLS) {
                let n = BLOCK_COLS.min(cols - col);
                block.fill(0.0);
                for token in (0..n_tokens).step_by(TOKENS_AT_ONCE) {
                    let tokens = token..n_tokens.min(token + TOKENS_AT_ONCE);
                    let left = left.part(tokens.clone(), first..first + n_rows);
                    dense.add(&left, &right.part(tokens, col..col + n), &mut block, BLOCK_COLS);
                }
                for (row, block) in rows.chunks_exact_mut(cols).zip(block.chunks_exact(BLOCK_COLS)) {
                    for (sum, &product) in row[col..col + n].iter_mut().zip(block) {
                        *sum += f64::from(product);
                    }
                }
            }
        });
    }
}

/// Adds the products of columns of `a` with columns of `b`, both `(n_tokens, cols)`, to `sums` `(cols, cols)`: element `(i, j)` gains
/// the sum over tokens of `a_i b_j`. In the way of [`gram`], at twice its cost.
///
/// # Panics
/// When `a`, `b` or `sums` don't have `cols` columns, or `a` and `b` not the same tokens.
pub fn cross(sums: &mut [f64], a: &[f32], b: &[f32], cols: usize, pool: &Pool) {
    assert!(
        a.len().is_multiple_of(cols) && a.len() == b.len() && sums.len() == cols * cols,
        "{cols} columns"
    );
    add_products(sums, a, b, cols, pool, |_| 0);
}

/// Adds `rows by` to `out`: of the columns `steps` of `rows` `(n, cols)`, and to the columns of `out` `(n, cols)` from `first` on,
/// which begins a panel of `by` `(cols, cols)`.
pub fn multiply(
    rows: &[f32],
    by: &Panels<f32>,
    cols: usize,
    steps: Range<usize>,
    first: usize,
    out: &mut [f32],
) {
    let (dense, n) = (Kernels::detect().dense_f32(), rows.len() / cols);
    let mut column = vec![0.0; n];
    for start in steps.clone().step_by(STEPS_AT_ONCE) {
        let part = start..steps.end.min(start + STEPS_AT_ONCE);
        let mut left = dense.left(part.len(), n);
        for (step, k) in part.clone().enumerate() {
            column.iter_mut().zip(rows.chunks_exact(cols)).for_each(|(v, row)| *v = row[k]);
            left.set(step, &column);
        }
        let (left, right) = (left.part(0..part.len(), 0..n), by.part(part, first..cols));
        dense.add(&left, &right, &mut out[first..], cols);
    }
}

/// Calls `f` with the first row and the rows of every block row of `matrix`.
fn each_block_row(matrix: &mut [f64], width: usize, pool: &Pool, f: impl Fn(usize, &mut [f64]) + Sync) {
    let mut blocks: Vec<&mut [f64]> = matrix.chunks_mut(BLOCK * width).collect();
    pool.for_rows(&mut blocks, 1, |i, block| f(i * BLOCK, block[0]));
}

/// Copies the upper half of `matrix` `(n, n)` to the lower.
pub fn mirror(matrix: &mut [f64], n: usize) {
    assert_eq!(matrix.len(), n * n, "a square matrix");
    for row in (0..n).step_by(BLOCK) {
        for col in (0..=row).step_by(BLOCK) {
            for i in row..n.min(row + BLOCK) {
                for j in col..i.min(col + BLOCK) {
                    matrix[i * n + j] = matrix[j * n + i];
                }
            }
        }
    }
}

/// Replaces the upper half of the symmetric matrix `h` `(n, n)` by the upper triangular `R` with `H = R R'`; what lies below the
/// diagonal afterwards means nothing. `false`, with `h` spoilt, where `h` is not positive definite.
///
/// Cost: `n^3 / 3` multiplications and additions in f64.
pub fn factor(h: &mut [f64], n: usize, pool: &Pool) -> bool {
    assert_eq!(h.len(), n * n, "a square matrix");
    let dense = Kernels::detect().dense_f64();
    for start in (0..n).step_by(BLOCK).rev() {
        let size = BLOCK.min(n - start);
        // The block on the diagonal, factored alone.
        let mut corner = vec![0.0; size * size];
        for (row, corner) in corner.chunks_exact_mut(size).enumerate() {
            corner.copy_from_slice(&h[(start + row) * n + start..][..size]);
        }
        if !factor_corner(&mut corner, size) {
            return false;
        }
        for (row, corner) in corner.chunks_exact(size).enumerate() {
            h[(start + row) * n + start..][..size].copy_from_slice(corner);
        }
        if start == 0 {
            break;
        }
        // The block column above it: R_above = H_above inv(R_corner)'.
        let inverse = invert_corner(&corner, size);
        let mut above = vec![0.0; start * size];
        {
            let (mut left, mut right) = (dense.left(size, start), dense.right(size, size));
            fill_transposed(&mut left, pool, 1.0, |row| &h[row * n + start..][..size]);
            fill_transposed(&mut right, pool, 1.0, |row| &inverse[row * size..][..size]);
            each_block_row(&mut above, size, pool, |first, rows| {
                let part = left.part(0..size, first..first + rows.len() / size);
                dense.add(&part, &right.all(), rows, size);
            });
        }
        // What is left of H: H - R_above R_above'.
        let (mut left, mut right) = (dense.left(size, start), dense.right(size, start));
        fill_transposed(&mut left, pool, -1.0, |row| &above[row * size..][..size]);
        fill_transposed(&mut right, pool, 1.0, |row| &above[row * size..][..size]);
        each_block_row(&mut h[..start * n], n, pool, |first, rows| {
            let n_rows = rows.len() / n;
            for (row, above) in rows.chunks_exact_mut(n).zip(above[first * size..].chunks_exact(size)) {
                row[start..start + size].copy_from_slice(above);
            }
            let left = left.part(0..size, first..first + n_rows);
            dense.add(&left, &right.part(0..size, first..start), &mut rows[first..], n);
        });
    }
    true
}

/// Fills an operand with `factor` times the rows of a matrix, which become columns.
fn fill_transposed<'a>(
    panels: &mut Panels<f64>,
    pool: &Pool,
    factor: f64,
    row: impl Fn(usize) -> &'a [f64] + Sync,
) {
    panels.fill(pool, |step, first, out| {
        for (i, out) in out.iter_mut().enumerate() {
            *out = factor * row(first + i)[step];
        }
    });
}

/// Replaces the rows of `values` `(rows, n)` by what they are divided by `H = R R'`: `values inv(H)`, `r` being what [`factor`] made of
/// `H`.
///
/// Cost: `rows * n^2` multiplications and additions in f64; memory: two copies of some hundred rows, and one of a block column of
/// `R`.
pub fn divide(values: &mut [f64], r: &[f64], n: usize, pool: &Pool) {
    assert!(r.len() == n * n && values.len().is_multiple_of(n), "rows of {n} columns");
    let dense = Kernels::detect().dense_f64();
    for values in values.chunks_mut(ROWS_AT_ONCE * n) {
        let mut tiles: Vec<Divided> = values.chunks(BLOCK * n).map(|rows| Divided::new(rows, n)).collect();
        // X R R' = B: first Y R' = B, from the last column to the first, then X R = Y, from the first to the last.
        for turn in [Turn::Backward, Turn::Forward] {
            let mut starts: Vec<usize> = (0..n).step_by(BLOCK).collect();
            if turn == Turn::Backward {
                starts.reverse();
            }
            for start in starts {
                let end = n.min(start + BLOCK);
                let done = if turn == Turn::Backward { end..n } else { 0..start };
                let mut left = dense.left(done.len(), end - start);
                left.fill(pool, |step, first, out| {
                    let (k, columns) = (done.start + step, start + first..);
                    out.iter_mut().zip(columns).for_each(|(out, j)| *out = -turn.element(r, n, k, j));
                });
                pool.for_rows(&mut tiles, 1, |_, tile| {
                    tile[0].take_off(&dense, &left, done.clone(), start..end);
                    tile[0].divide_block(r, n, start..end, turn);
                });
            }
        }
        for (rows, tile) in values.chunks_mut(BLOCK * n).zip(&tiles) {
            tile.put_back(rows, n);
        }
    }
}

/// Rows that [`divide`] has in hand together.
const ROWS_AT_ONCE: usize = 8 * BLOCK;

/// Which triangle is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// By `R'`.
    Backward,
    /// By `R`.
    Forward,
}

impl Turn {
    /// What column `k` counts in column `j`.
    #[inline(always)]
    fn element(self, r: &[f64], n: usize, k: usize, j: usize) -> f64 {
        match self {
            Self::Backward => r[j * n + k],
            Self::Forward => r[k * n + j],
        }
    }
}

/// Some rows that are divided, by columns.
struct Divided {
    /// `(n, BLOCK)`
    columns: Vec<f64>,
    /// Those that are done, as an operand.
    done: Panels<f64>,
}

impl Divided {
    fn new(rows: &[f64], n: usize) -> Self {
        let mut columns = vec![0.0; n * BLOCK];
        for (i, row) in rows.chunks_exact(n).enumerate() {
            columns.iter_mut().skip(i).step_by(BLOCK).zip(row).for_each(|(to, &v)| *to = v);
        }
        Self { columns, done: Kernels::detect().dense_f64().right(n, BLOCK) }
    }

    /// Takes off the columns `block` what the columns `done` count there.
    fn take_off(&mut self, dense: &Dense<f64>, left: &Panels<f64>, done: Range<usize>, block: Range<usize>) {
        if !done.is_empty() {
            let right = self.done.part(done, 0..BLOCK);
            dense.add(&left.all(), &right, &mut self.columns[block.start * BLOCK..block.end * BLOCK], BLOCK);
        }
    }

    /// Divides the columns `block` by the corner of `R` on the diagonal.
    fn divide_block(&mut self, r: &[f64], n: usize, block: Range<usize>, turn: Turn) {
        let columns = &mut self.columns[block.start * BLOCK..block.end * BLOCK];
        for i in 0..block.len() {
            let (at, others) = match turn {
                Turn::Backward => (block.len() - 1 - i, 0..block.len() - 1 - i),
                Turn::Forward => (i, i + 1..block.len()),
            };
            let pivot = 1.0 / r[(block.start + at) * (n + 1)];
            let mut column = [0.0; BLOCK];
            column.copy_from_slice(&columns[at * BLOCK..][..BLOCK]);
            column.iter_mut().for_each(|v| *v *= pivot);
            columns[at * BLOCK..][..BLOCK].copy_from_slice(&column);
            for j in others {
                let by = turn.element(r, n, block.start + at, block.start + j);
                let other = columns[j * BLOCK..][..BLOCK].iter_mut();
                other.zip(&column).for_each(|(v, done)| *v -= by * done);
            }
            self.done.set(block.start + at, &column);
        }
    }

    fn put_back(&self, rows: &mut [f64], n: usize) {
        for (i, row) in rows.chunks_exact_mut(n).enumerate() {
            row.iter_mut().zip(self.columns.iter().skip(i).step_by(BLOCK)).for_each(|(to, &v)| *to = v);
        }
    }
}

/// [`factor`] of a small matrix, whose lower half becomes 0.
fn factor_corner(h: &mut [f64], n: usize) -> bool {
    let mut column = vec![0.0; n];
    for k in (0..n).rev() {
        let pivot = h[k * n + k].sqrt();
        // Neither 0, nor infinite, nor the root of a negative number.
        if !pivot.is_normal() {
            return false;
        }
        h[k * n + k] = pivot;
        h[k * n..k * n + k].fill(0.0);
        for (i, column) in column[..k].iter_mut().enumerate() {
            h[i * n + k] /= pivot;
            *column = h[i * n + k];
        }
        for i in 0..k {
            let by = column[i];
            for (h, column) in h[i * n + i..i * n + k].iter_mut().zip(&column[i..k]) {
                *h -= by * column;
            }
        }
    }
    true
}

/// The inverse of a small upper triangular matrix.
fn invert_corner(r: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    for i in (0..n).rev() {
        // Row i of R times the inverse is row i of the unit matrix.
        let (above, below) = inverse.split_at_mut((i + 1) * n);
        let row = &mut above[i * n..];
        row[i] = 1.0;
        for k in i + 1..n {
            let by = r[i * n + k];
            for (row, below) in row[k..].iter_mut().zip(&below[(k - i - 1) * n + k..]) {
                *row -= by * below;
            }
        }
        let pivot = 1.0 / r[i * n + i];
        row.iter_mut().for_each(|v| *v *= pivot);
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::noise;

    /// Tokens whose columns depend on each other.
    fn tokens(n: usize, cols: usize) -> Vec<f32> {
        let mut state = 1;
        let mut x: Vec<f32> = (0..n * cols).map(|_| noise(&mut state)).collect();
        for row in x.chunks_exact_mut(cols) {
            for i in 1..cols {
                row[i] += 0.7 * row[i - 1];
            }
        }
        x
    }

    fn products(n: usize, cols: usize, pool: &Pool) -> Vec<f64> {
        let mut h = vec![0.0; cols * cols];
        gram(&mut h, &tokens(n, cols), cols, pool);
        h
    }

    #[test]
    fn products_are_those_of_the_definition_and_sums_go_on() {
        let pool = Pool::new(2);
        for (n, cols) in [(1, 1), (3000, 50), (300, 205)] {
            let x = tokens(n, cols);
            let mut h = vec![1.0; cols * cols];
            gram(&mut h, &x, cols, &pool);
            for i in 0..cols {
                for j in i..cols {
                    let product = |row: &[f32]| f64::from(row[i]) * f64::from(row[j]);
                    let sum: f64 = x.chunks_exact(cols).map(product).sum();
                    // n roundings of f32 at most, of sums that are some n large.
                    let tolerance = n as f64 * 4e-7;
                    assert!((h[i * cols + j] - 1.0 - sum).abs() <= tolerance, "{n} x {cols}: {i} {j}");
                }
            }
        }
    }

    #[test]
    fn a_factor_times_itself_is_the_matrix() {
        let pool = Pool::new(2);
        for n in [1, 5, 96, 97, 300] {
            let mut h = products(2 * n + 5, n, &pool);
            let mut r = h.clone();
            assert!(factor(&mut r, n, &pool));
            mirror(&mut h, n);
            for i in 0..n {
                for j in 0..n {
                    let sum: f64 = (i.max(j)..n).map(|k| r[i * n + k] * r[j * n + k]).sum();
                    let size = (h[i * n + i] * h[j * n + j]).sqrt();
                    assert!((sum - h[i * n + j]).abs() < 1e-12 * size, "{n}: {i} {j}");
                }
            }
        }
    }

    #[test]
    fn the_inverse_of_the_factor_is_the_factor_of_the_inverse() {
        let (n, pool) = (40, Pool::new(1));
        let mut h = products(90, n, &pool);
        let mut r = h.clone();
        assert!(factor(&mut r, n, &pool));
        mirror(&mut h, n);
        let u = invert_corner(&r, n);
        for i in 0..n {
            for j in 0..n {
                // (U' U H)_ij
                let of_inverse = |k: usize| (0..n).map(|l| u[l * n + i] * u[l * n + k]).sum::<f64>();
                let unit: f64 = (0..n).map(|k| of_inverse(k) * h[k * n + j]).sum();
                assert!((unit - f64::from(u8::from(i == j))).abs() < 1e-9, "{i} {j}: {unit}");
            }
        }
    }

    #[test]
    fn what_is_divided_times_the_matrix_is_what_it_was() {
        let pool = Pool::new(2);
        for (rows, n) in [(1, 1), (3, 5), (97, 96), (800, 205)] {
            let mut h = products(2 * n + 5, n, &pool);
            let mut r = h.clone();
            assert!(factor(&mut r, n, &pool));
            mirror(&mut h, n);
            let mut state = 7;
            let before: Vec<f64> = (0..rows * n).map(|_| f64::from(noise(&mut state))).collect();
            let mut divided = before.clone();
            divide(&mut divided, &r, n, &pool);
            for (before, divided) in before.chunks_exact(n).zip(divided.chunks_exact(n)).step_by(37) {
                for (j, before) in before.iter().enumerate() {
                    let back: f64 = divided.iter().zip(&h[j * n..]).map(|(v, h)| v * h).sum();
                    assert!((back - before).abs() < 1e-9, "{rows} x {n}: {back} {before}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        let pool = Pool::new(1);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let n = 100;
            let mut h = vec![0.0; n * n];
            (0..n).for_each(|i| h[i * n + i] = 1.0);
            h[3 * n + 3] = bad;
            assert!(!factor(&mut h, n, &pool), "{bad}");
        }
        // Fewer tokens than columns.
        assert!(!factor(&mut products(30, 64, &pool), 64, &pool));
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let n = 250;
        let all = [1, 2, 3].map(|n_threads| {
            let pool = Pool::new(n_threads);
            let mut h = products(700, n, &pool);
            let sums = h.clone();
            assert!(factor(&mut h, n, &pool));
            let mut divided = sums.clone();
            divide(&mut divided, &h, n, &pool);
            (sums, h, divided)
        });
        assert!(all[0] == all[1] && all[0] == all[2]);
    }
}
