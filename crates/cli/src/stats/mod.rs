//! Statistics of measurements: perplexity, divergence from a base, speed. Pure functions over numbers.

pub mod base_file;
pub mod divergence;

use serde::Serialize;

/// A value and its standard error, `None` where there is none to give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub se: Option<f64>,
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.se {
            Some(se) => write!(f, "{:.6} ± {se:.6}", self.value),
            None => write!(f, "{:.6}", self.value),
        }
    }
}

/// Sums of a sample, for its mean and the mean's standard error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moments {
    n: f64,
    mean: f64,
    /// Sum of squared distances from the mean (Welford), which does not cancel as a sum of squares does.
    m2: f64,
}

impl Moments {
    /// Adds one value.
    pub fn push(&mut self, x: f64) {
        self.n += 1.0;
        let before = x - self.mean;
        self.mean += before / self.n;
        self.m2 += before * (x - self.mean);
    }

    /// Values so far.
    pub fn n(&self) -> usize {
        self.n as usize
    }

    /// The mean and its standard error.
    pub fn mean(&self) -> Estimate {
        Estimate { value: self.mean, se: (self.n > 1.0).then(|| (self.m2 / (self.n - 1.0) / self.n).sqrt()) }
    }

    /// The standard deviation of the sample; 0 for a single value.
    pub fn std_dev(&self) -> f64 {
        if self.n > 1.0 { (self.m2 / (self.n - 1.0)).sqrt() } else { 0.0 }
    }

    /// `e` to the mean: perplexity, when the values are negative log-likelihoods. The error is carried through to first
    /// order.
    pub fn exp_mean(&self) -> Estimate {
        let Estimate { value, se } = self.mean();
        Estimate { value: value.exp(), se: se.map(|se| se * value.exp()) }
    }
}

/// The quantile `q` of sorted values, between neighbours in proportion, and its standard error from the ranks one
/// binomial standard deviation below and above.
pub fn quantile(sorted: &[f32], q: f64) -> Estimate {
    let at = |q: f64| {
        let place = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        f64::from(low) + (f64::from(high) - f64::from(low)) * place.fract()
    };
    let spread = (q * (1.0 - q) / sorted.len() as f64).sqrt();
    Estimate { value: at(q), se: (sorted.len() > 1).then(|| (at(q + spread) - at(q - spread)) / 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_the_textbooks() {
        let mut m = Moments::default();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|x| m.push(x));
        assert_eq!(m.n(), 8);
        let mean = m.mean();
        assert!((mean.value - 5.0).abs() < 1e-12);
        assert!((m.std_dev() - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
        assert!((mean.se.unwrap() - (32.0f64 / 7.0 / 8.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn one_value_has_no_error() {
        let mut m = Moments::default();
        m.push(3.0);
        assert_eq!(m.mean(), Estimate { value: 3.0, se: None });
        assert_eq!(m.std_dev(), 0.0);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        let sorted = [0.0, 1.0, 2.0, 3.0];
        assert_eq!(quantile(&sorted, 0.5).value, 1.5);
        assert_eq!(quantile(&sorted, 0.0).value, 0.0);
        assert_eq!(quantile(&sorted, 1.0).value, 3.0);
        assert_eq!(quantile(&[7.0], 0.99), Estimate { value: 7.0, se: None });
    }

    /// For a uniform sample the median's standard error is `1 / (2 sqrt(n))`.
    #[test]
    fn a_quantiles_error_is_that_of_theory() {
        let sorted: Vec<f32> = (0..10_000).map(|i| i as f32 / 10_000.0).collect();
        let se = quantile(&sorted, 0.5).se.unwrap();
        assert!((se - 0.005).abs() < 1e-4, "{se}");
    }
}
