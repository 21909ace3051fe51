//! SmoothQuant: what makes inputs hard to round goes into the weights, which are easy to round.
//!
//! Xiao et al., arXiv 2211.10438. Inputs rounded to eight bits with one scale per token, or per some columns of it, lose most
//! where few columns are much larger than the others. `y = (W s) (x / s)` for any scales `s` by column; with
//!
//! `s_j = max(abs(x_j))^a / max(abs(w_j))^(1 - a)`
//!
//! the difficulty is shared, `a` = 1 giving the weights all of it. Models of today do well with 0.8 to 0.9. The maximum of the weights is
//! taken over all matrices that share the input, and `1 / s` goes into what makes it, as in [`super::awq`]. Cost: one look at
//! every weight. Whether it helps is measured, not assumed: models without large columns only lose.

/// Scales and what they are divided by are not smaller.
const LEAST: f32 = 1e-5;

/// What to multiply the columns of the matrices in `group`, `(rows, cols)` each, with, and to divide their input by. `max_abs` are
/// the largest magnitudes of the input by column; a column that was always 0 keeps its scale.
///
/// # Panics
/// When matrices are not whole rows of as many columns as there are maxima.
pub fn scales(group: &[&[f32]], max_abs: &[f32], strength: f32) -> Vec<f32> {
    let cols = max_abs.len();
    let mut of_weights = vec![0.0f32; cols];
    for weights in group {
        assert!(weights.len().is_multiple_of(cols), "rows of {cols} weights");
        for row in weights.chunks_exact(cols) {
            of_weights.iter_mut().zip(row).for_each(|(most, w)| *most = most.max(w.abs()));
        }
    }
    let scale = |(&x, &w): (&f32, &f32)| {
        let scale = x.powf(strength) / w.max(LEAST).powf(1.0 - strength);
        if x > 0.0 && scale.is_finite() { scale.max(LEAST) } else { 1.0 }
    };
    max_abs.iter().zip(&of_weights).map(scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulty_is_shared_between_inputs_and_weights() {
        let (a, b) = ([0.5, -0.25, 1.0, 2.0], [0.125, -1.0, 0.0, 1.0]);
        // Largest by column: 1 and 2 of the weights.
        let s = scales(&[&a, &b], &[16.0, 2.0], 0.5);
        assert_eq!(s, [4.0, 1.0]);
        // Half the way, both are as large afterwards.
        assert_eq!((16.0 / s[0], s[0] * 1.0), (4.0, 4.0));
        assert_eq!(scales(&[&a], &[16.0, 2.0], 1.0), [16.0, 2.0]);
    }

    #[test]
    fn a_column_without_input_is_left_alone() {
        assert_eq!(scales(&[&[1.0, 1.0]], &[0.0, f32::INFINITY], 0.5), [1.0, 1.0]);
        assert!(scales(&[&[0.0]], &[3.0], 0.5)[0].is_finite());
    }
}
