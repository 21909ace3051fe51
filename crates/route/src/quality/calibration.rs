//! Whether a confidence tells right from wrong, and whether its probabilities mean what they say.

/// The probability that a right answer has a higher confidence than a wrong one, ties counted half: the area under the ROC curve.
/// `None` where all are right or all wrong.
pub fn auroc(confidence: &[f64], right: &[bool]) -> Option<f64> {
    assert_eq!(confidence.len(), right.len(), "a confidence for each answer");
    let n_right = right.iter().filter(|&&r| r).count();
    let n_wrong = right.len() - n_right;
    if n_right == 0 || n_wrong == 0 {
        return None;
    }
    let mut order: Vec<usize> = (0..right.len()).collect();
    order.sort_by(|&a, &b| confidence[a].total_cmp(&confidence[b]));
    let (mut wins, mut wrong_below) = (0.0, 0);
    for equal in order.chunk_by(|&a, &b| confidence[a] == confidence[b]) {
        let n = equal.iter().filter(|&&i| right[i]).count();
        let wrong = equal.len() - n;
        wins += n as f64 * (wrong_below as f64 + wrong as f64 / 2.0);
        wrong_below += wrong;
    }
    Some(wins / (n_right as f64 * n_wrong as f64))
}

/// Expected calibration error: the mean distance between confidence and share of right answers, over `n_bins` bins of equal width
/// weighted by their answers (Naeini et al., 2015). 0 without answers.
pub fn expected_calibration_error(confidence: &[f64], right: &[bool], n_bins: usize) -> f64 {
    assert_eq!(confidence.len(), right.len(), "a confidence for each answer");
    assert!(n_bins > 0, "at least one bin");
    let mut sums = vec![0.0; n_bins];
    for (&p, &right) in confidence.iter().zip(right) {
        let bin = ((p * n_bins as f64) as usize).min(n_bins - 1);
        sums[bin] += p - f64::from(u8::from(right));
    }
    sums.iter().map(|sum: &f64| sum.abs()).sum::<f64>() / (confidence.len().max(1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auroc_counts_pairs() {
        let (p, right) = ([0.9, 0.8, 0.8, 0.1], [true, true, false, false]);
        // Of four pairs: three won, one tied.
        assert_eq!(auroc(&p, &right), Some(3.5 / 4.0));
        assert_eq!(auroc(&p, &right.map(|r| !r)), Some(0.5 / 4.0));
        assert_eq!(auroc(&p, &[true; 4]), None);
        assert_eq!(auroc(&[0.5; 4], &right), Some(0.5));
    }

    #[test]
    fn calibration_error_by_hand() {
        // One bin: mean confidence 0.75, half right. Two answers in another: 0.2 and 0.1, none right.
        let (p, right) = ([0.7, 0.8, 0.2, 0.1], [true, false, false, false]);
        assert!((expected_calibration_error(&p, &right, 2) - (0.5 + 0.3) / 4.0).abs() < 1e-12);
        assert_eq!(expected_calibration_error(&[1.0, 0.0], &[true, false], 10), 0.0);
        assert_eq!(expected_calibration_error(&[], &[], 10), 0.0);
    }
}
