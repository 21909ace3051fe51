//! Error feedback: what rounding one weight costs is made good by those of its row that are not rounded yet.
//!
//! A matrix `W` is to become `V`, whose values a [`Rule`] allows, such that `tr((W - V) H (W - V)')` is small. Columns are decided
//! one after the other, and before each the expected change of the others' contribution is taken back from it. In the words of GPTQ
//! (Frantar et al., arXiv 2210.17323), with `inv(H) = U' U`, column `j` leaves the error `e = (w_j - v_j) / U_jj`, and
//! every later column `k` is changed by `-e U_jk`.
//!
//! # Without an inverse
//! Let `E` have the columns `e`. Unrolled, the changes say `W - V = E U`, with `W` the weights as they were. With `R = inv(U)`,
//! that is `H = R R'`, `E = (W - V) R`, and the value that column `j` has when its turn comes is
//!
//! `w_j + sum over k < j of (w_k - v_k) R_kj / R_jj`.
//!
//! It is what the column has when its turn comes; what it has before, as long as others are open, is in this form no value by
//! itself: the columns between count as well, with the change that they have undergone so far, even if they keep their value then.
//! Where a rule looks ahead, that is worked out first ([`Rule::begin`]).
//!
//! So the factor of `H` itself is enough (as in LDLQ, Chee et al., arXiv 2307.13304, which is the same recursion), and `U_jj = 1 /
//! R_jj` where a score needs it. A column's change `w_k - v_k`, which is against the original weight, is multiplied with row
//! `k` of `R` and added to the columns to come: in a block of [`BLOCK`] columns by halves, and to everything behind a block at
//! once, so that nearly all work is dense products.
//!
//! Rows don't know of each other; a tile of [`ROWS`] of them is one task. Cost: `rows * cols^2` multiplications and additions in
//! f64; memory: `1.5 * cols^2` f64 while the factor is made, a third of it afterwards.

use ingle_kernel::dense::{Dense, Panels};
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;

use crate::linalg;

/// Columns whose changes are carried to all behind them at once.
pub const BLOCK: usize = 192;
/// Columns that are changed one by one; whole panels of every tier.
const LEAF: usize = 24;
/// Rows of a tile, whole panels of every tier.
pub const ROWS: usize = 96;

/// The damping to begin with, as a part of the mean of the diagonal.
const DAMPING: f64 = 0.01;
/// The damping from which on it is the matrix that is wrong.
const DAMPING_MAX: f64 = 1e5;

/// In which order columns are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they lie.
    Natural,
    /// Those with the largest diagonal of `H` first ("act-order"); which group a column belongs to does not change.
    Descending,
}

/// `H` of a matrix input, made ready for feedback: shared by all matrices that have the input.
#[derive(Debug)]
pub struct Factor {
    /// The column that is decided at each place.
    order: Vec<usize>,
    /// Whether the input of a place was always 0.
    dead: Vec<bool>,
    /// `1 / R_jj` by place, which is `U_jj`.
    inverse_diagonal: Vec<f64>,
    /// For every block of places, `R_kj / R_jj` of its columns `j` and all `k` up to its end.
    blocks: Vec<Panels<f64>>,
    /// The same of neighbours: at `(k, i)` of column `i` of the leaf of `k`, 0 unless it lies behind `k`. `(cols, LEAF)`
    near: Vec<f64>,
    damping: f64,
}

impl Factor {
    /// Factors `h` `(cols, cols)`, of which the upper half is read, with a hundredth of the mean of its diagonal added to the diagonal;
    /// with ten times as much as often as that is too little. A column that was always 0 counts as one that
    /// depends on no other.
    ///
    /// `None` where no damping helps, which is where `h` is not what it should be: some number is not finite, or the diagonal
    /// is negative.
    pub fn new(h: &[f64], cols: usize, order: Order, pool: &Pool) -> Option<Self> {
        assert!(cols > 0 && h.len() == cols * cols, "{cols} columns");
        let mut diagonal: Vec<f64> = (0..cols).map(|j| h[j * cols + j]).collect();
        let dead: Vec<bool> = diagonal.iter().map(|&v| v == 0.0).collect();
        diagonal.iter_mut().filter(|v| **v == 0.0).for_each(|v| *v = 1.0);
        let mut places: Vec<usize> = (0..cols).collect();
        if order == Order::Descending {
            places.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]));
        }
        let mean = diagonal.iter().sum::<f64>() / cols as f64;
        let (mut r, mut damping) = (vec![0.0; cols * cols], DAMPING);
        loop {
            pool.for_rows(&mut r, cols, |i, row| {
                for (j, row) in row.iter_mut().enumerate().skip(i) {
                    let (a, b) = (places[i].min(places[j]), places[i].max(places[j]));
                    *row = h[a * cols + b];
                }
                row[i] = diagonal[places[i]] + damping * mean;
            });
            if linalg::factor(&mut r, cols, pool) {
                break;
            }
            damping *= 10.0;
            if damping > DAMPING_MAX {
                return None;
            }
        }
        let dead = places.iter().map(|&col| dead[col]).collect();
        Some(Self::of(&r, places, dead, damping, pool))
    }

    fn of(r: &[f64], order: Vec<usize>, dead: Vec<bool>, damping: f64, pool: &Pool) -> Self {
        let (n, dense) = (order.len(), Kernels::detect().dense_f64());
        let inverse_diagonal: Vec<f64> = (0..n).map(|j| 1.0 / r[j * n + j]).collect();
        let scaled = |k: usize, first: usize, out: &mut [f64]| {
            for (i, out) in out.iter_mut().enumerate() {
                let j = first + i;
                *out = if k < j { r[k * n + j] * inverse_diagonal[j] } else { 0.0 };
            }
        };
        let mut near = vec![0.0; n * LEAF];
        for (k, near) in near.chunks_exact_mut(LEAF).enumerate() {
            let first = k / LEAF * LEAF;
            scaled(k, first, &mut near[..LEAF.min(n - first)]);
        }
        let blocks = (0..n).step_by(BLOCK).map(|start| {
            let mut block = dense.left(n.min(start + BLOCK), BLOCK.min(n - start));
            block.fill(pool, |k, first, out| scaled(k, start + first, out));
            block
        });
        Self { blocks: blocks.collect(), order, dead, inverse_diagonal, near, damping }
    }

    /// Adds the change of column `k` to the columns `later` of its leaf, which follow it. `(n, ROWS)`
    #[inline(always)]
    fn carry_near(&self, k: usize, changes: &[f64; ROWS], later: &mut [f64]) {
        let near = &self.near[k * LEAF + k % LEAF + 1..(k + 1) * LEAF];
        for (later, &by) in later.chunks_exact_mut(ROWS).zip(near) {
            for (later, change) in later.iter_mut().zip(changes) {
                *later += by * change;
            }
        }
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.order.len()
    }

    /// Whether columns are decided as they lie.
    pub fn is_natural(&self) -> bool {
        self.order.is_sorted()
    }

    /// `U_jj` of each column.
    pub fn inverse_diagonal_by_col(&self) -> Vec<f64> {
        let mut by_col = vec![0.0; self.cols()];
        for (&col, &u) in self.order.iter().zip(&self.inverse_diagonal) {
            by_col[col] = u;
        }
        by_col
    }

    /// The damping that was needed, as a part of the mean of the diagonal: 0.01 unless that was too little.
    pub fn damping(&self) -> f64 {
        self.damping
    }
}

/// What values weights may take. Rows are decided by several threads, each tile of rows with a memory of its own.
pub trait Rule: Sync {
    /// What is remembered of the columns that are decided together.
    type Memory: Default;
    /// Columns that are decided together: a divisor of 24, or [`BLOCK`]. A rule for single columns is told nothing ahead.
    const TOGETHER: usize;

    /// Told the values that some columns have when the turn of the first has come, or will have if those before keep theirs.
    fn begin(&self, memory: &mut Self::Memory, columns: &Columns<'_>);

    /// The value for the weight in `row` and column `col`, where `value` would be best.
    fn choose(&self, memory: &Self::Memory, place: Place, value: f64) -> f32;
}

/// Where a weight is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its row.
    pub row: usize,
    /// Its column.
    pub col: usize,
    /// Its row, counted from the first of the tile.
    pub row_in_tile: usize,
    /// Its column, counted from the first of those that are decided together.
    pub col_together: usize,
}

/// Columns that are decided together.
#[derive(Debug)]
pub struct Columns<'a> {
    /// Their values. `(n_cols, ROWS)`
    pub values: &'a [f64],
    /// Rows that count.
    pub n_rows: usize,
    /// `U_jj` of each. `(n_cols)`
    pub inverse_diagonal: &'a [f64],
}

/// Replaces `weights` `(rows, factor.cols())` by values that `rule` allows. Columns whose input was always 0 count as if their
/// weights were 0.
///
/// # Panics
/// When `weights` are not whole rows.
pub fn feedback<R: Rule>(weights: &mut [f32], factor: &Factor, rule: &R, pool: &Pool) {
    let cols = factor.cols();
    assert!(weights.len().is_multiple_of(cols), "rows of {cols} weights");
    assert!(R::TOGETHER == BLOCK || LEAF.is_multiple_of(R::TOGETHER), "columns decided together");
    let mut tiles: Vec<&mut [f32]> = weights.chunks_mut(ROWS * cols).collect();
    pool.for_rows(&mut tiles, 1, |i, weights| Tile::new(factor, weights[0]).run(rule, i * ROWS, weights[0]));
}

/// Some rows on their way. Columns lie in the order of their turns.
struct Tile<'a> {
    factor: &'a Factor,
    dense: Dense<f64>,
    n_rows: usize,
    /// The weights as they were. `(cols, ROWS)`
    original: Vec<f32>,
    /// What they should be now; of decided columns, what they are. `(cols, ROWS)`
    current: Vec<f64>,
    /// Changes of a block's columns, against the original.
    changes: Panels<f64>,
}

impl<'a> Tile<'a> {
    fn new(factor: &'a Factor, weights: &[f32]) -> Self {
        let (cols, dense) = (factor.cols(), Kernels::detect().dense_f64());
        let mut original = vec![0.0; cols * ROWS];
        let of_column = original.chunks_exact_mut(ROWS).zip(&factor.order).zip(&factor.dead);
        for ((original, &col), _) in of_column.filter(|(_, dead)| !**dead) {
            for (original, row) in original.iter_mut().zip(weights.chunks_exact(cols)) {
                *original = row[col];
            }
        }
        let current = original.iter().map(|&v| f64::from(v)).collect();
        let changes = dense.right(BLOCK.min(cols), ROWS);
        Self { factor, dense, n_rows: weights.len() / cols, original, current, changes }
    }

    /// Decides all columns and writes them to `weights`.
    fn run<R: Rule>(mut self, rule: &R, first_row: usize, weights: &mut [f32]) {
        let cols = self.factor.cols();
        let mut memory = R::Memory::default();
        for start in (0..cols).step_by(BLOCK) {
            let end = cols.min(start + BLOCK);
            if R::TOGETHER == BLOCK {
                let values = self.outlook_of_block(start..end);
                self.begin(rule, &mut memory, start..end, &values);
            }
            self.decide(rule, &mut memory, first_row, start, start..end);
            for behind in (end..cols).step_by(BLOCK) {
                self.carry(start, start..end, behind..cols.min(behind + BLOCK));
            }
        }
        for (current, &col) in self.current.chunks_exact(ROWS).zip(&self.factor.order) {
            for (&current, row) in current.iter().zip(weights.chunks_exact_mut(cols)) {
                row[col] = current as f32;
            }
        }
    }

    /// Decides the columns `range` of the block that begins at `block`.
    fn decide<R: Rule>(
        &mut self,
        rule: &R,
        memory: &mut R::Memory,
        first_row: usize,
        block: usize,
        range: std::ops::Range<usize>,
    ) {
        if range.len() <= LEAF {
            return self.decide_one_by_one(rule, memory, first_row, block, range);
        }
        let middle = range.start + (range.len() / 2).next_multiple_of(LEAF);
        self.decide(rule, memory, first_row, block, range.start..middle);
        self.carry(block, range.start..middle, middle..range.end);
        self.decide(rule, memory, first_row, block, middle..range.end);
    }

    /// Carries the changes of columns `from` of a block to the columns `to` of one block.
    fn carry(&mut self, block: usize, from: std::ops::Range<usize>, to: std::ops::Range<usize>) {
        let panels = &self.factor.blocks[to.start / BLOCK];
        let first = to.start / BLOCK * BLOCK;
        let left = panels.part(from.clone(), to.start - first..to.end - first);
        let right = self.changes.part(from.start - block..from.end - block, 0..ROWS);
        self.dense.add(&left, &right, &mut self.current[to.start * ROWS..to.end * ROWS], ROWS);
    }

    fn decide_one_by_one<R: Rule>(
        &mut self,
        rule: &R,
        memory: &mut R::Memory,
        first_row: usize,
        block: usize,
        range: std::ops::Range<usize>,
    ) {
        let cols = self.factor.cols();
        let mut changes = [0.0; ROWS];
        for k in range.clone() {
            let together = k % R::TOGETHER;
            if together == 0 && (2..BLOCK).contains(&R::TOGETHER) {
                let next = k..cols.min(k + R::TOGETHER);
                let values = self.outlook(next.clone());
                self.begin(rule, memory, next, &values);
            }
            let (decided, later) = self.current[k * ROWS..range.end * ROWS].split_at_mut(ROWS);
            let original = &self.original[k * ROWS..][..ROWS];
            for r in 0..self.n_rows {
                let place = Place {
                    row: first_row + r,
                    col: self.factor.order[k],
                    row_in_tile: r,
                    col_together: together,
                };
                let chosen = f64::from(rule.choose(memory, place, decided[r]));
                decided[r] = chosen;
                changes[r] = f64::from(original[r]) - chosen;
            }
            self.changes.set(k - block, &changes);
            self.factor.carry_near(k, &changes, later);
        }
    }

    fn begin<R: Rule>(
        &self,
        rule: &R,
        memory: &mut R::Memory,
        columns: std::ops::Range<usize>,
        values: &[f64],
    ) {
        let inverse_diagonal = &self.factor.inverse_diagonal[columns];
        rule.begin(memory, &Columns { values, n_rows: self.n_rows, inverse_diagonal });
    }

    /// The values of some columns of a leaf, the first of which is next, if all are kept.
    fn outlook(&self, columns: std::ops::Range<usize>) -> Vec<f64> {
        let mut values = self.current[columns.start * ROWS..columns.end * ROWS].to_vec();
        for (i, k) in columns.enumerate() {
            let (kept, later) = values[i * ROWS..].split_at_mut(ROWS);
            let original = &self.original[k * ROWS..][..ROWS];
            let changes = std::array::from_fn(|r| f64::from(original[r]) - kept[r]);
            self.factor.carry_near(k, &changes, later);
        }
        values
    }

    /// The same of the columns of a block.
    fn outlook_of_block(&mut self, columns: std::ops::Range<usize>) -> Vec<f64> {
        let range = columns.start * ROWS..columns.end * ROWS;
        let before = self.current[range.clone()].to_vec();
        self.decide(&Keep, &mut (), 0, columns.start, columns);
        let values = self.current[range.clone()].to_vec();
        self.current[range].copy_from_slice(&before);
        values
    }
}

/// Any value may stay.
struct Keep;

impl Rule for Keep {
    type Memory = ();
    const TOGETHER: usize = 1;

    fn begin(&self, (): &mut (), _: &Columns<'_>) {}

    fn choose(&self, (): &(), _: Place, value: f64) -> f32 {
        value as f32
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::noise::noise;

    /// `X' X` of columns that depend on each other, one of them always 0.
    pub fn hessian(cols: usize) -> Vec<f64> {
        let (mut h, mut state) = (vec![0.0; cols * cols], 5);
        for _ in 0..2 * cols {
            let mut x: Vec<f64> = (0..cols).map(|_| f64::from(noise(&mut state))).collect();
            for i in 1..cols {
                x[i] += 0.8 * x[i - 1];
            }
            x[cols / 2] = 0.0;
            for i in 0..cols {
                for j in i..cols {
                    h[i * cols + j] += x[i] * x[j];
                }
            }
        }
        h
    }

    pub fn weights(rows: usize, cols: usize) -> Vec<f32> {
        let mut state = 9;
        (0..rows * cols).map(|_| noise(&mut state)).collect()
    }

    /// Multiples of a step that differs by row.
    struct Steps;

    impl Rule for Steps {
        type Memory = ();
        const TOGETHER: usize = 1;
        fn begin(&self, (): &mut (), _: &Columns<'_>) {}
        fn choose(&self, (): &(), place: Place, value: f64) -> f32 {
            let step = 0.25 + 0.125 * (place.row % 3) as f64;
            (step * (value / step).round_ties_even()) as f32
        }
    }

    /// GPTQ as it is written: the inverse, its Cholesky factor, column by column. `choose` is given the place, the values of
    /// the row from it on, and `U_jj` of these columns.
    pub fn by_the_book(
        w: &[f32],
        h: &[f64],
        cols: usize,
        order: Order,
        mut choose: impl FnMut(Place, &[f64], &[f64]) -> f32,
    ) -> Vec<f32> {
        let at = |i: usize, j: usize| h[i.min(j) * cols + i.max(j)];
        let diagonal: Vec<f64> = (0..cols).map(|j| if at(j, j) == 0.0 { 1.0 } else { at(j, j) }).collect();
        let mut places: Vec<usize> = (0..cols).collect();
        if order == Order::Descending {
            places.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]));
        }
        let damping = 0.01 * diagonal.iter().sum::<f64>() / cols as f64;
        // Gauss and Jordan.
        let mut a = vec![vec![0.0; 2 * cols]; cols];
        for i in 0..cols {
            for j in 0..cols {
                a[i][j] = if i == j { diagonal[places[i]] + damping } else { at(places[i], places[j]) };
            }
            a[i][cols + i] = 1.0;
        }
        for k in 0..cols {
            let pivot = a[k][k];
            a[k].iter_mut().for_each(|v| *v /= pivot);
            let row = a[k].clone();
            for (i, other) in a.iter_mut().enumerate().filter(|(i, _)| *i != k) {
                let _ = i;
                let by = other[k];
                other.iter_mut().zip(&row).for_each(|(v, r)| *v -= by * r);
            }
        }
        // inv(H) = U' U.
        let mut u = vec![vec![0.0; cols]; cols];
        for i in 0..cols {
            for j in i..cols {
                let sum = a[i][cols + j] - (0..i).map(|k| u[k][i] * u[k][j]).sum::<f64>();
                u[i][j] = if i == j { sum.sqrt() } else { sum / u[i][i] };
            }
        }
        let diagonal_of_u: Vec<f64> = (0..cols).map(|j| u[j][j]).collect();
        let mut out = w.to_vec();
        for (r, out) in out.chunks_exact_mut(cols).enumerate() {
            let mut row: Vec<f64> =
                places.iter().map(|&c| if at(c, c) == 0.0 { 0.0 } else { f64::from(out[c]) }).collect();
            for j in 0..cols {
                let place = Place { row: r, col: places[j], row_in_tile: 0, col_together: 0 };
                let chosen = choose(place, &row[j..], &diagonal_of_u[j..]);
                let e = (row[j] - f64::from(chosen)) / u[j][j];
                for k in j + 1..cols {
                    row[k] -= e * u[j][k];
                }
                out[places[j]] = chosen;
            }
        }
        out
    }

    #[test]
    fn feedback_without_an_inverse_is_gptq() {
        let pool = Pool::new(2);
        for (rows, cols) in [(3, 1), (5, 16), (100, 150), (2, 300)] {
            for order in [Order::Natural, Order::Descending] {
                let (h, mut w) = (hessian(cols), weights(rows, cols));
                let steps = |place, row: &[f64], _: &[f64]| Steps.choose(&(), place, row[0]);
                let expected = by_the_book(&w, &h, cols, order, steps);
                let factor = Factor::new(&h, cols, order, &pool).unwrap();
                assert_eq!(factor.damping(), 0.01);
                feedback(&mut w, &factor, &Steps, &pool);
                assert_eq!(w, expected, "{rows} x {cols}, {order:?}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (rows, cols) = (250, 200);
        let all = [1, 2, 3].map(|n_threads| {
            let pool = Pool::new(n_threads);
            let mut w = weights(rows, cols);
            let factor = Factor::new(&hessian(cols), cols, Order::Descending, &pool).unwrap();
            feedback(&mut w, &factor, &Steps, &pool);
            w
        });
        assert!(all[0] == all[1] && all[0] == all[2]);
    }

    #[test]
    fn damping_grows_until_it_suffices_and_nonsense_is_refused() {
        let pool = Pool::new(1);
        // Two columns that are said to move together more than they move.
        let h = [1.0, 1.05, 1.05, 1.0];
        assert_eq!(Factor::new(&h, 2, Order::Natural, &pool).unwrap().damping(), 0.1);
        assert!(Factor::new(&[f64::NAN, 0.0, 0.0, 1.0], 2, Order::Natural, &pool).is_none());
        assert!(Factor::new(&[f64::INFINITY, 0.0, 0.0, 1.0], 2, Order::Natural, &pool).is_none());
        assert!(Factor::new(&[-1.0, 0.0, 0.0, 0.5], 2, Order::Natural, &pool).is_none());
    }
}
