//! Pruning: which weights become 0, and how the others make good for them.
//!
//! | | score of a weight | compared within | others change | cost |
//! |---|---|---|---|---|
//! | [`magnitude`] | `abs(w_ij)` | the matrix | no | `rows * cols` |
//! | [`wanda`] | `abs(w_ij) * norm(x_j)` | a row | no | `rows * cols * log(cols)` |
//! | [`sparse_gpt`] | `w_ij^2 / U_jj^2` | a block of 192 columns | yes | `rows * cols^2` |
//!
//! Wanda is Sun et al., arXiv 2306.11695; SparseGPT is Frantar and Alistarh, arXiv 2301.00774: GPTQ's recursion
//! ([`super::feedback`]) with 0 for the one value that some weights may take, and any value for the rest. With
//! [`Sparsity::TwoOfFour`] every score is compared within four neighbouring columns of a row instead. SparseGPT's blocks have
//! 96 rows here, where the paper compares 128 columns of all rows: so tiles of rows are independent of each other.
//!
//! Zeros alone make nothing smaller or faster: a format must leave them out.

use ingle_kernel::par::Pool;

use super::feedback::{self, BLOCK, Columns, Factor, Place, ROWS, Rule};

/// How many weights become 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sparsity {
    /// This part of them, from 0 to 1.
    Part(f64),
    /// Two of every four neighbours in a row.
    TwoOfFour,
}

impl Sparsity {
    /// How many of `n` weights that are compared.
    fn count(self, n: usize) -> usize {
        match self {
            // Rounded down; more than all there are can't be.
            Self::Part(part) => ((n as f64 * part) as usize).min(n),
            Self::TwoOfFour => n / 2,
        }
    }
}

/// Calls `drop` with the places of the `count` least scores; of equals, with the first.
fn least(scores: &[f64], count: usize, mut drop: impl FnMut(usize)) {
    if count == 0 {
        return;
    }
    let mut places: Vec<usize> = (0..scores.len()).collect();
    if count < places.len() {
        places.select_nth_unstable_by(count - 1, |&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
    }
    places[..count].iter().for_each(|&place| drop(place));
}

/// Sets the smallest of `weights` `(rows, cols)` to 0.
///
/// # Panics
/// When `weights` are not whole rows, or for [`Sparsity::TwoOfFour`] rows not whole groups of four.
pub fn magnitude(weights: &mut [f32], cols: usize, sparsity: Sparsity) {
    let together = match sparsity {
        Sparsity::Part(_) => weights.len().max(1),
        Sparsity::TwoOfFour => fours(cols),
    };
    assert!(weights.len().is_multiple_of(cols), "rows of {cols} weights");
    for weights in weights.chunks_mut(together) {
        let scores: Vec<f64> = weights.iter().map(|w| f64::from(w.abs())).collect();
        least(&scores, sparsity.count(weights.len()), |place| weights[place] = 0.0);
    }
}

/// Sets those of each row of `weights` `(rows, cols)` to 0 that matter least to it, `mean_squares` being those of its inputs
/// by column.
///
/// # Panics
/// As [`magnitude`], and when there is not a mean square per column.
pub fn wanda(weights: &mut [f32], mean_squares: &[f32], sparsity: Sparsity, pool: &Pool) {
    let cols = mean_squares.len();
    let together = match sparsity {
        Sparsity::Part(_) => cols,
        Sparsity::TwoOfFour => fours(cols),
    };
    let norms: Vec<f64> = mean_squares.iter().map(|&v| f64::from(v).sqrt()).collect();
    pool.for_rows(weights, cols, |_, row| {
        for (weights, norms) in row.chunks_mut(together).zip(norms.chunks(together)) {
            let scores: Vec<f64> = weights.iter().zip(norms).map(|(w, x)| f64::from(w.abs()) * x).collect();
            least(&scores, sparsity.count(weights.len()), |place| weights[place] = 0.0);
        }
    });
}

fn fours(cols: usize) -> usize {
    assert!(cols.is_multiple_of(4), "{cols} columns in fours");
    4
}

/// Sets those of `weights` `(rows, factor.cols())` to 0 whose loss the others of their row can best make good, and has them
/// do so.
///
/// # Panics
/// When `weights` are not whole rows, or for [`Sparsity::TwoOfFour`] columns are not decided as they lie, in whole groups of four.
pub fn sparse_gpt(weights: &mut [f32], factor: &Factor, sparsity: Sparsity, pool: &Pool) {
    match sparsity {
        Sparsity::Part(_) => feedback::feedback(weights, factor, &OfBlock(sparsity), pool),
        Sparsity::TwoOfFour => {
            fours(factor.cols());
            assert!(factor.is_natural(), "neighbours are decided together");
            feedback::feedback(weights, factor, &OfFour, pool);
        }
    }
}

/// The same with the weights that become 0 chosen from the start, over the whole matrix, by the score that they have unchanged.
pub fn sparse_gpt_from_start(weights: &mut [f32], factor: &Factor, sparsity: Sparsity, pool: &Pool) {
    let cols = factor.cols();
    let by_col = factor.inverse_diagonal_by_col();
    let score = |(i, &w): (usize, &f32)| (f64::from(w) / by_col[i % cols]).powi(2);
    let scores: Vec<f64> = weights.iter().enumerate().map(score).collect();
    let mut dropped = vec![false; weights.len()];
    least(&scores, sparsity.count(weights.len()), |place| dropped[place] = true);
    feedback::feedback(weights, factor, &Chosen { dropped: &dropped, cols }, pool);
}

/// Which of the columns that are decided together become 0, `(n_cols, ROWS)`.
type Dropped = Vec<bool>;

/// A part of the weights of a tile's block.
struct OfBlock(Sparsity);

impl Rule for OfBlock {
    type Memory = Dropped;
    const TOGETHER: usize = BLOCK;

    fn begin(&self, dropped: &mut Dropped, columns: &Columns<'_>) {
        dropped.clear();
        dropped.resize(columns.values.len(), false);
        let of_column = columns.values.chunks_exact(ROWS).zip(columns.inverse_diagonal);
        let scores =
            of_column.flat_map(|(values, u)| values[..columns.n_rows].iter().map(move |v| (v / u).powi(2)));
        let scores: Vec<f64> = scores.collect();
        least(&scores, self.0.count(scores.len()), |place| {
            dropped[place / columns.n_rows * ROWS + place % columns.n_rows] = true;
        });
    }

    #[inline(always)]
    fn choose(&self, dropped: &Dropped, place: Place, value: f64) -> f32 {
        if dropped[place.col_together * ROWS + place.row_in_tile] { 0.0 } else { value as f32 }
    }
}

/// Two of four neighbours.
struct OfFour;

impl Rule for OfFour {
    type Memory = Dropped;
    const TOGETHER: usize = 4;

    fn begin(&self, dropped: &mut Dropped, columns: &Columns<'_>) {
        dropped.clear();
        dropped.resize(4 * ROWS, false);
        for row in 0..columns.n_rows {
            let scores: [f64; 4] = std::array::from_fn(|i| {
                (columns.values[i * ROWS + row] / columns.inverse_diagonal[i]).powi(2)
            });
            least(&scores, 2, |i| dropped[i * ROWS + row] = true);
        }
    }

    #[inline(always)]
    fn choose(&self, dropped: &Dropped, place: Place, value: f64) -> f32 {
        if dropped[place.col_together * ROWS + place.row_in_tile] { 0.0 } else { value as f32 }
    }
}

/// Weights that were chosen before.
struct Chosen<'a> {
    /// `(rows, cols)`
    dropped: &'a [bool],
    cols: usize,
}

impl Rule for Chosen<'_> {
    type Memory = ();
    const TOGETHER: usize = 1;

    fn begin(&self, (): &mut (), _: &Columns<'_>) {}

    #[inline(always)]
    fn choose(&self, (): &(), place: Place, value: f64) -> f32 {
        if self.dropped[place.row * self.cols + place.col] { 0.0 } else { value as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Measure;
    use super::super::feedback::Order;
    use super::*;
    use crate::linalg;
    use crate::noise::noise;

    const COLS: usize = 300;
    const N_ROWS: usize = 130;

    fn matrix(pool: &Pool) -> (Vec<f32>, Vec<f64>) {
        let mut state = 1;
        let mut x: Vec<f32> = (0..2000 * COLS).map(|_| noise(&mut state)).collect();
        for row in x.chunks_exact_mut(COLS) {
            for i in 1..COLS {
                row[i] = (0.5 * row[i] + 0.7 * row[i - 1]) * (1.0 + 0.5 * ((i % 7) as f32 - 3.0) / 3.0);
            }
        }
        let mut h = vec![0.0; COLS * COLS];
        linalg::gram(&mut h, &x, COLS, pool);
        ((0..N_ROWS * COLS).map(|_| noise(&mut state)).collect(), h)
    }

    fn n_zeros(weights: &[f32]) -> usize {
        weights.iter().filter(|&&w| w == 0.0).count()
    }

    #[test]
    fn each_method_drops_what_it_says_and_the_better_informed_lose_less() {
        let pool = Pool::new(2);
        let (w, h) = matrix(&pool);
        let squares: Vec<f32> = (0..COLS).map(|j| h[j * COLS + j] as f32).collect();
        let factor = Factor::new(&h, COLS, Order::Natural, &pool).unwrap();
        let measure = Measure::new(&h, COLS, &pool);
        for sparsity in [Sparsity::Part(0.5), Sparsity::Part(0.3), Sparsity::TwoOfFour] {
            let (mut by_size, mut by_wanda, mut by_gpt) = (w.clone(), w.clone(), w.clone());
            magnitude(&mut by_size, COLS, sparsity);
            wanda(&mut by_wanda, &squares, sparsity, &pool);
            sparse_gpt(&mut by_gpt, &factor, sparsity, &pool);
            for pruned in [&by_size, &by_wanda, &by_gpt] {
                let expected = match sparsity {
                    Sparsity::Part(part) => part,
                    Sparsity::TwoOfFour => 0.5,
                };
                assert!((n_zeros(pruned) as f64 / w.len() as f64 - expected).abs() < 1e-3, "{sparsity:?}");
                let fours = pruned.chunks(4).all(|four| n_zeros(four) == 2);
                assert_eq!(fours, sparsity == Sparsity::TwoOfFour, "{sparsity:?}");
            }
            assert!(by_wanda.chunks(COLS).all(|row| n_zeros(row) == n_zeros(&by_wanda[..COLS])));
            let [size, wanda, gpt] = [&by_size, &by_wanda, &by_gpt].map(|after| measure.of(&w, after, &pool));
            assert!(gpt < wanda && wanda < size, "{sparsity:?}: {gpt} {wanda} {size}");
        }
        let mut whole = w.clone();
        sparse_gpt_from_start(&mut whole, &factor, Sparsity::Part(0.5), &pool);
        assert_eq!(n_zeros(&whole), w.len() / 2);
    }

    #[test]
    fn sparse_gpt_is_what_the_paper_says() {
        let pool = Pool::new(2);
        // Blocks are compared over tiles of rows, so in one row by itself.
        for (rows, cols, sparsity) in
            [(100, 200, Sparsity::TwoOfFour), (3, 28, Sparsity::TwoOfFour), (1, 300, Sparsity::Part(0.6))]
        {
            let (h, mut w) = (feedback::tests::hessian(cols), feedback::tests::weights(rows, cols));
            let mut dropped = [false; BLOCK];
            let together = if sparsity == Sparsity::TwoOfFour { 4 } else { BLOCK };
            let by_score = |place: Place, row: &[f64], u: &[f64]| {
                if place.col.is_multiple_of(together) {
                    let scores: Vec<f64> =
                        row.iter().zip(u).map(|(w, u)| (w / u).powi(2)).take(together).collect();
                    dropped.fill(false);
                    least(&scores, sparsity.count(scores.len()), |i| dropped[i] = true);
                }
                if dropped[place.col % together] { 0.0 } else { row[0] as f32 }
            };
            let expected = feedback::tests::by_the_book(&w, &h, cols, Order::Natural, by_score);
            let factor = Factor::new(&h, cols, Order::Natural, &pool).unwrap();
            sparse_gpt(&mut w, &factor, sparsity, &pool);
            for (i, (found, expected)) in w.iter().zip(&expected).enumerate() {
                assert!((found - expected).abs() < 1e-5, "{sparsity:?}: weight {i}: {found} {expected}");
                assert_eq!(*found == 0.0, *expected == 0.0, "{sparsity:?}: weight {i}");
            }
        }
    }

    #[test]
    fn none_and_all_can_be_dropped() {
        let pool = Pool::new(1);
        for (part, zeros) in [(0.0, 0), (1.0, 12), (7.0, 12)] {
            let all: Vec<f32> = (1..13).map(|v| v as f32).collect();
            let mut w = all.clone();
            magnitude(&mut w, 4, Sparsity::Part(part));
            assert_eq!(n_zeros(&w), zeros);
            w.clone_from(&all);
            wanda(&mut w, &[1.0; 4], Sparsity::Part(part), &pool);
            assert_eq!(n_zeros(&w), zeros);
        }
    }
}
