//! Logistic regression of weighted rows by Newton's method, drawn towards given weights.
//!
//! Minimises the negative log-likelihood plus half the strength times the squared distance from the starting weights. With the defaults as
//! the start, few rows change little and many rows decide: a prior of so many rows.

use super::margins::N_FEATURES;

/// Weights of the features and, last, the intercept.
pub(super) const N_WEIGHTS: usize = N_FEATURES + 1;

/// Features on one scale, and a 1 for the intercept.
pub(super) type Point = [f64; N_WEIGHTS];

const STEPS_MAX: usize = 50;
const CHANGE_MIN: f64 = 1e-8;

/// The probability that a score stands for.
pub(super) fn sigmoid(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

/// The score of a point.
pub(super) fn score(weights: &Point, point: &Point) -> f64 {
    weights.iter().zip(point).map(|(w, x)| w * x).sum()
}

/// The weights that fit `(point, right, weight)` best. `strength` must be above 0, which also makes every step solvable.
pub(super) fn fit(rows: &[(Point, bool, f64)], start: &Point, strength: f64) -> Point {
    let mut weights = *start;
    for _ in 0..STEPS_MAX {
        let (mut gradient, mut curvature) = ([0.0; N_WEIGHTS], [[0.0; N_WEIGHTS]; N_WEIGHTS]);
        for j in 0..N_WEIGHTS {
            gradient[j] = strength * (weights[j] - start[j]);
            curvature[j][j] = strength;
        }
        for (point, right, weight) in rows {
            let p = sigmoid(score(&weights, point));
            let (off, bend) = (weight * (p - f64::from(u8::from(*right))), weight * p * (1.0 - p));
            for j in 0..N_WEIGHTS {
                gradient[j] += off * point[j];
                for k in 0..N_WEIGHTS {
                    curvature[j][k] += bend * point[j] * point[k];
                }
            }
        }
        let step = solve(curvature, gradient);
        // Far from the minimum a whole step can overshoot.
        let longest = step.iter().fold(0.0f64, |most, s| most.max(s.abs()));
        let part = if longest > 2.0 { 2.0 / longest } else { 1.0 };
        weights.iter_mut().zip(step).for_each(|(w, s)| *w -= part * s);
        if longest < CHANGE_MIN {
            break;
        }
    }
    weights
}

/// `x` with `a x = b`, for a positive definite `a`, by elimination.
fn solve(mut a: [[f64; N_WEIGHTS]; N_WEIGHTS], mut b: Point) -> Point {
    for i in 0..N_WEIGHTS {
        let row = a[i];
        for j in i + 1..N_WEIGHTS {
            let part = a[j][i] / row[i];
            a[j].iter_mut().zip(row).for_each(|(x, r)| *x -= part * r);
            b[j] -= part * b[i];
        }
    }
    for i in (0..N_WEIGHTS).rev() {
        let known: f64 = (i + 1..N_WEIGHTS).map(|j| a[i][j] * b[j]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64) -> Point {
        let mut out = [0.0; N_WEIGHTS];
        (out[0], out[N_WEIGHTS - 1]) = (x, 1.0);
        out
    }

    #[test]
    fn the_share_of_each_group_is_found() {
        // x = 0: 1 of 4 right; x = 1: 3 of 4. Logits -ln 3 and ln 3.
        let rows: Vec<_> =
            (0..8).map(|i| (point(f64::from(i / 4)), if i < 4 { i == 0 } else { i != 4 }, 1.0)).collect();
        let weights = fit(&rows, &[0.0; N_WEIGHTS], 1e-9);
        assert!((weights[N_WEIGHTS - 1] + 3f64.ln()).abs() < 1e-5, "{weights:?}");
        assert!((weights[0] - 2.0 * 3f64.ln()).abs() < 1e-5, "{weights:?}");
        // A row of weight 2 is two rows.
        let twice: Vec<_> = rows.iter().chain(&rows).copied().collect();
        let heavy: Vec<_> = rows.iter().map(|&(p, r, _)| (p, r, 2.0)).collect();
        let (twice, heavy) = (fit(&twice, &weights, 0.5), fit(&heavy, &weights, 0.5));
        assert!(twice.iter().zip(&heavy).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn without_rows_and_without_wrong_ones_it_stays_finite() {
        let start = point(0.5);
        assert_eq!(fit(&[], &start, 1.0), start);
        let rows = [(point(1.0), true, 1.0), (point(-1.0), false, 1.0)];
        let parted = fit(&rows, &[0.0; N_WEIGHTS], 0.01);
        assert!(parted[0].is_finite() && parted[0] > 1.0);
    }
}
