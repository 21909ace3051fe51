//! Statistics of values that come in windows of text: what a whole run says, with errors that hold.
//!
//! The tokens of a window share a topic, a difficulty and the mistakes of a model that lost the thread, so their values go
//! together; counted one by one they make errors two to four times too small. Windows share nothing, so the window is the
//! unit here: a mean's error is that of the windows' means, a quantile's that of the share of values below it in each window
//! (Woodruff), and a share's shrinks the number of tokens to that of as many independent ones. All windows of a run have as
//! many values. `tests/evaluate.rs` holds the intervals against simulations.

use super::estimate::{Estimate, Moments, student};

/// The mean.
pub fn mean(values: &[f64], per_window: usize) -> Estimate {
    of_windows(values, per_window).mean()
}

/// The mean of values that are 0 or more and skewed, such as divergences.
pub fn mean_positive(values: &[f64], per_window: usize) -> Estimate {
    let windows = of_windows(values, per_window);
    Estimate::positive(windows.mean().value, windows.se(), windows.n())
}

/// The root of the mean square.
pub fn root_mean_square(values: &[f64], per_window: usize) -> Estimate {
    let squares: Vec<f64> = values.iter().map(|v| v * v).collect();
    let square = mean_positive(&squares, per_window);
    square.rising(|x| x.max(0.0).sqrt(), 0.5 / square.value.sqrt())
}

/// The share of values for which `is` holds.
pub fn share(values: &[f64], per_window: usize, is: impl Fn(f64) -> bool) -> Estimate {
    let ones: Vec<f64> = values.iter().map(|&v| f64::from(u8::from(is(v)))).collect();
    let windows = of_windows(&ones, per_window);
    let (value, n) = (windows.mean().value, ones.len() as f64);
    // What windows have in common makes them worth fewer tokens; chance must not make them worth more.
    let n_alike = match windows.se() {
        Some(se) if se > 0.0 => (value * (1.0 - value) / (se * se)).min(n),
        _ => n,
    };
    Estimate::share(value, n_alike, windows.n())
}

/// The quantile `q`, between neighbours in proportion. A bound that lies beyond the values is `None`.
pub fn quantile(values: &[f64], per_window: usize, q: f64) -> Estimate {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |q: f64| {
        let place = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        // Equal neighbours may be infinite.
        if low == high { low } else { low + (high - low) * place.fract() }
    };
    let value = at(q);
    let below: Vec<f64> = values.iter().map(|&v| f64::from(u8::from(v <= value))).collect();
    let windows = of_windows(&below, per_window);
    let n = values.len() as f64;
    let Some(spread) = windows.se().map(|se| se.max((q * (1.0 - q) / n).sqrt())) else {
        return Estimate::alone(value);
    };
    let reach = student(windows.n()) * spread;
    let within = |p: f64| (p > 0.5 / n && p < 1.0 - 0.5 / n).then(|| at(p));
    Estimate {
        value,
        se: Some((at(q + spread) - at(q - spread)) / 2.0),
        low: within(q - reach),
        high: within(q + reach),
    }
}

/// The largest value. A sample tells nothing of what lies beyond it.
pub fn largest(values: &[f64]) -> Estimate {
    Estimate::alone(values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

/// The windows' means.
fn of_windows(values: &[f64], per_window: usize) -> Moments {
    assert!(values.len().is_multiple_of(per_window), "{} values of {per_window}", values.len());
    values.chunks_exact(per_window).map(|w| w.iter().sum::<f64>() / per_window as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let values = [3.0, 1.0, 0.0, 2.0];
        assert_eq!(quantile(&values, 1, 0.5).value, 1.5);
        assert_eq!(quantile(&values, 1, 0.0).value, 0.0);
        assert_eq!(quantile(&values, 1, 1.0).value, 3.0);
        assert_eq!(quantile(&[7.0], 1, 0.99), Estimate::alone(7.0));
    }

    /// For independent uniform values the median's standard error is `1 / (2 sqrt(n))`.
    #[test]
    fn a_quantiles_error_is_that_of_theory() {
        // A walk that visits every 10 000th once, in an order without structure of its own.
        let values: Vec<f64> = (0..10_000u64).map(|i| (i * 6_181 % 10_000) as f64 / 10_000.0).collect();
        let se = quantile(&values, 100, 0.5).se.unwrap();
        assert!((se - 0.005).abs() < 1e-4, "{se}");
    }

    #[test]
    fn a_bound_beyond_the_sample_is_not_known() {
        let values: Vec<f64> = (0..400).map(f64::from).collect();
        let far = quantile(&values, 4, 0.999);
        assert!(far.se.is_some() && far.high.is_none() && far.low.is_some(), "{far:?}");
    }

    /// Two windows that are each of one kind are two values, not eight.
    #[test]
    fn tokens_of_a_window_are_not_independent() {
        let values = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(mean(&values, 4).se, Some(0.5));
        assert!((share(&values, 4, |v| v > 0.5).se.unwrap() - 0.5).abs() < 1e-12);
        assert!(mean(&values, 1).se.unwrap() < 0.2);
    }

    #[test]
    fn the_root_of_a_mean_square() {
        let rms = root_mean_square(&[3.0, -4.0, 3.0, -4.0], 2);
        assert!((rms.value - 12.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(rms.se, Some(0.0));
        let none = root_mean_square(&[0.0; 4], 2);
        assert_eq!((none.value, none.se, none.high), (0.0, Some(0.0), Some(0.0)));
    }
}
