//! Asymmetric calibration: what a matrix should be so that its outputs are those of the unchanged model.
//!
//! Behind layers that are encoded already, an input is `X` where the unchanged model has `X0`. Encoding `W` against `X` alone keeps `W X`,
//! drift included. Here what is encoded is the `V` whose `V X` is nearest to `W X0` (GPTAQ, arXiv 2504.02692, writes the same as one
//! more term of the feedback):
//!
//! `V = W (I + D inv(H))`, with `D = 2 (X0 - X) X' / T` and `H = 2 X X' / T`.
//!
//! `W X0 - V X` is then orthogonal to `X`, so the error that `V`'s codes add is the rest of what there is to lose, and methods that
//! minimise `tr(E H E')` go on as they are. `H` is damped as for feedback, which keeps `V` near `W` where `X` says little. What the drift
//! cost so far is not made good by the matrices that write to the stream, only what these matrices themselves would add to it.
//!
//! Cost: the unchanged stream beside the other one; twice the products; `(cols + rows) * cols^2` multiplications and additions.

use ingle_kernel::dense::Panels;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;

use crate::linalg;

/// Rows that are corrected together, whole panels of every tier.
const ROWS: usize = 96;

/// `D inv(H)` of an input.
#[derive(Debug)]
pub struct Correction {
    /// `(cols, cols)`
    by: Panels<f32>,
    cols: usize,
}

impl Correction {
    /// Of `h` `(cols, cols)`, of which the upper half is read, damped by `damping` times the mean of its diagonal, and `drift`, which is
    /// `D`. `None` where `h` can't be factored so.
    pub fn new(h: &[f64], mut drift: Vec<f64>, cols: usize, damping: f64, pool: &Pool) -> Option<Self> {
        assert!(h.len() == cols * cols && drift.len() == h.len(), "{cols} columns");
        let added = damping * (0..cols).map(|j| h[j * (cols + 1)]).sum::<f64>() / cols as f64;
        let mut r = h.to_vec();
        r.iter_mut().step_by(cols + 1).for_each(|v| *v += added);
        if !linalg::factor(&mut r, cols, pool) {
            return None;
        }
        linalg::divide(&mut drift, &r, cols, pool);
        let mut by = Kernels::detect().dense_f32().right(cols, cols);
        by.fill(pool, |k, first, out| {
            out.iter_mut().zip(&drift[k * cols + first..]).for_each(|(out, &v)| *out = v as f32);
        });
        Some(Self { by, cols })
    }

    /// Replaces the weights `(rows, cols)` by what they should be.
    pub fn apply(&self, weights: &mut [f32], pool: &Pool) {
        let mut tiles: Vec<&mut [f32]> = weights.chunks_mut(ROWS * self.cols).collect();
        pool.for_rows(&mut tiles, 1, |_, tile| {
            let before = tile[0].to_vec();
            linalg::multiply(&before, &self.by, self.cols, 0..self.cols, 0, tile[0]);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::noise;

    #[test]
    fn a_corrected_matrix_gives_the_outputs_of_before() {
        const COLS: usize = 100;
        let (pool, mut state, n_tokens, rows) = (Pool::new(2), 5, 400, 7);
        let unchanged: Vec<f32> = (0..n_tokens * COLS).map(|_| noise(&mut state)).collect();
        // Half of what is drifted depends on the input, so that half can be made good.
        let mut x = unchanged.clone();
        for row in x.chunks_exact_mut(COLS) {
            for j in 1..COLS {
                row[j] += 0.3 * row[j - 1] + 0.1 * noise(&mut state);
            }
        }
        let difference: Vec<f32> = unchanged.iter().zip(&x).map(|(u, x)| u - x).collect();
        let (mut h, mut drift) = (vec![0.0; COLS * COLS], vec![0.0; COLS * COLS]);
        linalg::gram(&mut h, &x, COLS, &pool);
        linalg::cross(&mut drift, &difference, &x, COLS, &pool);
        let correction = Correction::new(&h, drift, COLS, 1e-6, &pool).unwrap();
        let weights: Vec<f32> = (0..rows * COLS).map(|_| noise(&mut state)).collect();
        let mut corrected = weights.clone();
        correction.apply(&mut corrected, &pool);
        let output = |weights: &[f32], row: &[f32]| -> Vec<f32> {
            weights.chunks_exact(COLS).map(|w| w.iter().zip(row).map(|(w, x)| w * x).sum()).collect()
        };
        let (mut before, mut after, mut across) = (0.0, 0.0, vec![0.0; COLS]);
        for (row0, row) in unchanged.chunks_exact(COLS).zip(x.chunks_exact(COLS)) {
            let (wanted, had, has) = (output(&weights, row0), output(&weights, row), output(&corrected, row));
            before += wanted.iter().zip(&had).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            after += wanted.iter().zip(&has).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            across.iter_mut().zip(row).for_each(|(sum, x)| *sum += (wanted[0] - has[0]) * x);
        }
        assert!(after < 0.1 * before, "{after} of {before}");
        // What is left has nothing to do with the input.
        assert!(across.iter().all(|sum| sum.abs() < 0.02), "{across:?}");
    }

    #[test]
    fn nothing_drifted_is_nothing_corrected_and_nonsense_is_refused() {
        let pool = Pool::new(1);
        let correction = Correction::new(&[2.0, 0.5, 0.0, 1.0], vec![0.0; 4], 2, 0.01, &pool).unwrap();
        let mut weights = [1.0, -2.0, 3.0, 4.0];
        correction.apply(&mut weights, &pool);
        assert_eq!(weights, [1.0, -2.0, 3.0, 4.0]);
        assert!(Correction::new(&[-1.0], vec![0.0], 1, 0.01, &pool).is_none());
    }
}
