//! AWQ: columns that meet large inputs are made large before rounding, and the inputs small instead.
//!
//! Lin et al., arXiv 2306.00978. `y = (W s) (x / s)` for any scales `s` by column, and with `W s` rounded in groups a column that is
//! scaled up loses less. [`search`] tries `s_j = mean(abs(x_j))^a`, brought to `sqrt(max s * min s) = 1`, for `a` = 0, 1/20 to
//! 19/20, and takes what leaves the least error, for all matrices that share the input at once: `1 / s` has to go into what makes the
//! input, the gain of a norm or the rows of another matrix, so they share `s` too. Where the paper runs the layer again for each
//! candidate, the error here is `tr(D H D')` with `D = Q(W s) / s - W`, which is the same number for a matrix alone; a matrix's
//! counts by the mean over its rows, as the fewer rows of keys and values are used by more heads. Cost: 20 roundings and `20 * rows * cols^2` multiplications and additions for the rows that are looked at.
//!
//! [`clip`] then lets the largest weights of a group go, for a finer step of the others, where that lowers the error. The paper
//! leaves queries and keys out, as attention multiplies their errors. Formats that search scales by importance do that already;
//! it is for those that reach from smallest to largest.

use ingle_kernel::par::Pool;

use super::error::Measure;

/// Exponents that are tried, in steps of one part of so many.
const EXPONENTS: u16 = 20;
/// Shrunk ranges that are tried, in steps of a twentieth: down to 0.55.
const SHRINKINGS: u16 = 10;
/// No scale is smaller before they are brought to the middle.
const LEAST: f64 = 1e-4;

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Scales {
    /// What each column of the weights is multiplied with, and each input divided by. `(cols)`
    pub by_col: Vec<f32>,
    /// The exponent they come from; 0 where no scales are best.
    pub exponent: f32,
    /// The error they leave: the mean over the rows that were looked at, summed over matrices.
    pub error: f64,
    /// The error without scales.
    pub error_without: f64,
}

/// The scales under which the matrices of `group`, `(rows, cols)` each, lose least when rounded. `rounded(i, w)` is what becomes of some
/// rows `w` of matrix `i`; at most `rows_max` of each matrix are looked at, evenly spaced. `mean_abs` are the means of the
/// inputs' magnitudes by column.
///
/// # Panics
/// When matrices are not whole rows of as many columns as there are means, or `rounded` gives another number of weights.
pub fn search(
    group: &[&[f32]],
    mean_abs: &[f32],
    measure: &Measure,
    rows_max: usize,
    rounded: impl Fn(usize, &[f32]) -> Vec<f32>,
    pool: &Pool,
) -> Scales {
    let cols = mean_abs.len();
    let samples: Vec<Vec<f32>> = group.iter().map(|w| sample(w, cols, rows_max)).collect();
    let error = |scales: &[f32]| -> f64 {
        let of_matrix = |(i, w): (usize, &Vec<f32>)| {
            let mut scaled = w.clone();
            scale_columns(&mut scaled, scales);
            let mut back = rounded(i, &scaled);
            let inverse: Vec<f32> = scales.iter().map(|s| 1.0 / s).collect();
            scale_columns(&mut back, &inverse);
            measure.of(w, &back, pool) / (w.len() / cols) as f64
        };
        samples.iter().enumerate().map(of_matrix).sum()
    };
    let mut best: Option<Scales> = None;
    for step in 0..EXPONENTS {
        let exponent = f32::from(step) / f32::from(EXPONENTS);
        let by_col = of_exponent(mean_abs, exponent);
        let error = error(&by_col);
        let error_without = best.as_ref().map_or(error, |best| best.error_without);
        if best.as_ref().is_none_or(|best| error < best.error) {
            best = Some(Scales { by_col, exponent, error, error_without });
        }
    }
    best.expect("an exponent")
}

/// `mean_abs^exponent`, with the root of the largest times the smallest 1.
fn of_exponent(mean_abs: &[f32], exponent: f32) -> Vec<f32> {
    let scales: Vec<f64> = mean_abs.iter().map(|&x| f64::from(x).powf(exponent.into()).max(LEAST)).collect();
    let (mut least, mut largest) = (f64::INFINITY, 0.0f64);
    for &s in &scales {
        (least, largest) = (least.min(s), largest.max(s));
    }
    let middle = (least * largest).sqrt();
    scales.iter().map(|s| (s / middle) as f32).collect()
}

/// Some rows of `weights`.
fn sample(weights: &[f32], cols: usize, rows_max: usize) -> Vec<f32> {
    assert!(weights.len().is_multiple_of(cols) && rows_max > 0, "rows of {cols} weights");
    let rows = weights.len() / cols;
    let n = rows.min(rows_max);
    (0..n).flat_map(|i| &weights[i * rows / n * cols..][..cols]).copied().collect()
}

/// Multiplies the columns of `weights` `(rows, cols)`.
pub fn scale_columns(weights: &mut [f32], by_col: &[f32]) {
    for row in weights.chunks_exact_mut(by_col.len()) {
        row.iter_mut().zip(by_col).for_each(|(w, s)| *w *= s);
    }
}

/// Clips `weights` `(rows, cols)` in groups of `group` neighbours to the part of their largest magnitude, from all down to 0.55
/// of it, that loses least when rounded. `rounded(w)` is what becomes of all weights; `h` `(cols, cols)`, of which the upper half
/// is read, is taken group by group.
///
/// # Panics
/// When weights are not whole rows, rows not whole groups, or `rounded` gives another number of weights.
pub fn clip(
    weights: &mut [f32],
    h: &[f64],
    cols: usize,
    group: usize,
    rounded: impl Fn(&[f32]) -> Vec<f32>,
    pool: &Pool,
) {
    assert!(
        weights.len().is_multiple_of(cols) && cols.is_multiple_of(group),
        "rows of {cols} in groups of {group}"
    );
    assert_eq!(h.len(), cols * cols, "{cols} columns");
    let mut best: Vec<(f64, f32)> = vec![(f64::INFINITY, f32::INFINITY); weights.len() / group];
    for step in 0..SHRINKINGS {
        let part = 1.0 - f32::from(step) / 20.0;
        let clipped = clipped(weights, group, |_, largest| part * largest);
        let rounded = rounded(&clipped);
        assert_eq!(rounded.len(), weights.len(), "as many weights rounded");
        pool.for_rows(&mut best, cols / group, |row, best| {
            for (g, best) in best.iter_mut().enumerate() {
                let at = row * cols + g * group;
                let error =
                    group_error(&weights[at..at + group], &rounded[at..at + group], h, cols, g * group);
                if error < best.0 {
                    *best = (error, part);
                }
            }
        });
    }
    let clipped = clipped(weights, group, |g, largest| best[g].1 * largest);
    weights.copy_from_slice(&clipped);
}

/// `weights` with each group within what `limit(group, its largest magnitude)` says.
fn clipped(weights: &[f32], group: usize, limit: impl Fn(usize, f32) -> f32) -> Vec<f32> {
    let mut clipped = weights.to_vec();
    for (g, weights) in clipped.chunks_exact_mut(group).enumerate() {
        let largest = weights.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
        let limit = limit(g, largest);
        // A group that is not finite has no limit, and stays.
        if limit.is_finite() {
            weights.iter_mut().for_each(|w| *w = w.clamp(-limit, limit));
        }
    }
    clipped
}

/// `d H d'` of a group's change `d`, whose first column is `first`.
fn group_error(before: &[f32], after: &[f32], h: &[f64], cols: usize, first: usize) -> f64 {
    let change: Vec<f64> = before.iter().zip(after).map(|(b, a)| f64::from(*a) - f64::from(*b)).collect();
    let mut error = 0.0;
    for (i, d) in change.iter().enumerate() {
        let h = &h[(first + i) * cols + first..][..change.len()];
        let behind: f64 = change[i + 1..].iter().zip(&h[i + 1..]).map(|(d, h)| d * h).sum();
        error += d * (d * h[i] + 2.0 * behind);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::noise;

    const COLS: usize = 64;

    /// Rounds to 15 steps from smallest to largest in groups of 32.
    fn rounded(weights: &[f32]) -> Vec<f32> {
        let mut out = weights.to_vec();
        for group in out.chunks_mut(32) {
            let least = group.iter().fold(0.0f32, |a, &b| a.min(b));
            let largest = group.iter().fold(0.0f32, |a, &b| a.max(b));
            let step = ((largest - least) / 15.0).max(1e-9);
            group.iter_mut().for_each(|w| *w = least + step * ((*w - least) / step).round());
        }
        out
    }

    /// Weights, the sizes of their inputs, a few of which are large, and `H` of independent ones.
    fn matrix() -> (Vec<f32>, Vec<f32>, Vec<f64>) {
        let mut state = 3;
        let weights = (0..40 * COLS).map(|_| noise(&mut state)).collect();
        let sizes: Vec<f32> =
            (0..COLS).map(|j| if j % 19 == 5 { 30.0 } else { 1.0 + noise(&mut state) * 0.5 }).collect();
        let mut h = vec![0.0; COLS * COLS];
        (0..COLS).for_each(|j| h[j * COLS + j] = f64::from(sizes[j]).powi(2));
        (weights, sizes, h)
    }

    #[test]
    fn scales_help_columns_with_large_inputs() {
        let pool = Pool::new(2);
        let (w, sizes, h) = matrix();
        let measure = Measure::new(&h, COLS, &pool);
        let found = search(&[&w, &w[..8 * COLS]], &sizes, &measure, 16, |_, w| rounded(w), &pool);
        assert!(found.error < 0.5 * found.error_without, "{found:?}");
        assert!(found.by_col[5] > 2.0 * found.by_col[6]);
        let (least, largest) = found.by_col.iter().fold((f32::MAX, 0f32), |(a, b), &s| (a.min(s), b.max(s)));
        assert!((least * largest - 1.0).abs() < 1e-5);
        // Where all inputs are alike there is nothing to gain.
        let alike = search(&[&w], &[1.0; COLS], &measure, 16, |_, w| rounded(w), &pool);
        assert_eq!((alike.exponent, alike.error), (0.0, alike.error_without));
    }

    #[test]
    fn clipping_lowers_the_error_and_only_touches_what_is_large() {
        let pool = Pool::new(2);
        let (mut w, _, h) = matrix();
        // One weight in a group whose input is small.
        w[3] = 4.0;
        let before = w.clone();
        clip(&mut w, &h, COLS, 32, rounded, &pool);
        let measure = Measure::new(&h, COLS, &pool);
        let error = |clipped: &[f32]| measure.of(&before, &rounded(clipped), &pool);
        assert!(error(&w) < error(&before));
        assert!(w[3] < 4.0 && w[4] == before[4]);
    }
}
