//! Figures with their uncertainty: a value, its standard error and a 95 % interval.
//!
//! An interval is built with Student's t, whose degrees of freedom are the independent units less one (windows of a text,
//! runs of a test, questions), since a few units are what an evaluation often has. Where a figure lives on a bounded or
//! skewed scale the interval is made on a better one and carried back: shares after Wilson, positive means by their
//! logarithm. What a sample can't tell (the error of a single unit, the bounds of a maximum) is `None` and never a guess.

use std::fmt;

use serde::Serialize;

/// A value, its standard error and its 95 % interval, each `None` where there is none to give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub se: Option<f64>,
    /// Where its 95 % interval begins.
    pub low: Option<f64>,
    /// Where its 95 % interval ends.
    pub high: Option<f64>,
}

impl Estimate {
    /// A value without an error: counted, or one of which a sample tells no more.
    pub fn alone(value: f64) -> Self {
        Self { value, se: None, low: None, high: None }
    }

    /// `value` with `se` from `n` independent units, the interval as far on either side.
    pub fn new(value: f64, se: Option<f64>, n: usize) -> Self {
        let reach = se.map(|se| se * student(n));
        Self { value, se, low: reach.map(|r| value - r), high: reach.map(|r| value + r) }
    }

    /// The same for what is positive and skewed to the right: the interval is as far on either side of the logarithm.
    pub fn positive(value: f64, se: Option<f64>, n: usize) -> Self {
        let plain = Self::new(value, se, n);
        if value <= 0.0 {
            return plain;
        }
        let reach = se.map(|se| se / value * student(n));
        Self { low: reach.map(|r| value * (-r).exp()), high: reach.map(|r| value * r.exp()), ..plain }
    }

    /// The share `value` of as many as `n_alike` independent answers, whose error was learnt from `n` units: Wilson's
    /// interval, which stays within 0 and 1 and is no point when all answers are alike.
    pub fn share(value: f64, n_alike: f64, n: usize) -> Self {
        if n < 2 {
            return Self::alone(value);
        }
        let z2 = student(n).powi(2);
        let centre = (value + z2 / (2.0 * n_alike)) / (1.0 + z2 / n_alike);
        let reach = (z2 * (value * (1.0 - value) / n_alike + z2 / (4.0 * n_alike * n_alike))).sqrt();
        let reach = reach / (1.0 + z2 / n_alike);
        Self {
            value,
            se: Some((value * (1.0 - value) / n_alike).sqrt()),
            low: Some((centre - reach).max(0.0)),
            high: Some((centre + reach).min(1.0)),
        }
    }

    /// What a rising function makes of it; the standard error is carried through to first order, by its slope at the value.
    pub fn rising(self, of: impl Fn(f64) -> f64, slope: f64) -> Self {
        let se = self.se.map(|se| if se > 0.0 { se * slope } else { 0.0 });
        Self { value: of(self.value), se, low: self.low.map(&of), high: self.high.map(&of) }
    }

    /// `e` to it: a perplexity, of a mean negative log-likelihood.
    pub fn exp(self) -> Self {
        self.rising(f64::exp, self.value.exp())
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |x: f64| match x.abs() {
            // Small divergences would be zeros.
            a if a > 0.0 && a < 1e-3 => format!("{x:.3e}"),
            a if a >= 100.0 => format!("{x:.2}"),
            _ => format!("{x:.6}"),
        };
        let bound = |x: Option<f64>| x.map_or_else(|| "?".to_owned(), number);
        let line = match (self.se, self.low.or(self.high)) {
            (Some(se), Some(_)) => {
                let (low, high) = (bound(self.low), bound(self.high));
                format!("{:>12} ± {:<12} {low} to {high}", number(self.value), number(se))
            }
            (Some(se), None) => format!("{:>12} ± {}", number(self.value), number(se)),
            (None, _) => format!("{:>12}", number(self.value)),
        };
        f.write_str(&line)
    }
}

/// How many standard errors a 95 % interval reaches to either side when the error is that of `n` units: the 97.5 % point of
/// Student's t with `n - 1` degrees of freedom.
pub fn student(n: usize) -> f64 {
    const FEW: [f64; 10] = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281];
    const Z: f64 = 1.959_964;
    match n {
        0 | 1 => f64::INFINITY,
        n if n - 2 < FEW.len() => FEW[n - 2],
        // Cornish and Fisher's expansion, from 11 degrees on right to 3e-5.
        n => {
            let (d, z2) = ((n - 1) as f64, Z * Z);
            let first = (z2 + 1.0) / 4.0;
            let second = ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0;
            let third = (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0;
            let fourth = ((((79.0 * z2 + 776.0) * z2 + 1482.0) * z2 - 1920.0) * z2 - 945.0) / 92160.0;
            Z * (1.0 + (first + (second + (third + fourth / d) / d) / d) / d)
        }
    }
}

/// Sums of a sample of independent values, for its mean and the mean's standard error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moments {
    n: usize,
    mean: f64,
    /// Sum of squared distances from the mean (Welford), which does not cancel as a sum of squares does.
    m2: f64,
}

impl Moments {
    /// Adds one value.
    pub fn push(&mut self, x: f64) {
        self.n += 1;
        let before = x - self.mean;
        self.mean += before / self.n as f64;
        self.m2 += before * (x - self.mean);
    }

    /// Values so far.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The mean, its standard error and interval.
    pub fn mean(&self) -> Estimate {
        Estimate::new(self.mean, self.se(), self.n)
    }

    /// The standard error of the mean; `None` of a single value.
    pub fn se(&self) -> Option<f64> {
        (self.n > 1).then(|| (self.m2 / (self.n - 1) as f64 / self.n as f64).sqrt())
    }

    /// The standard deviation of the sample; 0 for a single value.
    pub fn std_dev(&self) -> f64 {
        if self.n > 1 { (self.m2 / (self.n - 1) as f64).sqrt() } else { 0.0 }
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::default();
        values.into_iter().for_each(|x| moments.push(x));
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_the_textbooks() {
        let m: Moments = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().collect();
        assert_eq!(m.n(), 8);
        let mean = m.mean();
        assert!((mean.value - 5.0).abs() < 1e-12);
        assert!((m.std_dev() - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
        let se = (32.0f64 / 7.0 / 8.0).sqrt();
        assert!((mean.se.unwrap() - se).abs() < 1e-12);
        assert!((mean.high.unwrap() - (5.0 + 2.3646 * se)).abs() < 1e-12);
    }

    #[test]
    fn one_value_has_no_error() {
        let m: Moments = [3.0].into_iter().collect();
        assert_eq!(m.mean(), Estimate::alone(3.0));
        assert_eq!(m.std_dev(), 0.0);
    }

    /// Values of published tables.
    #[test]
    fn students_points_are_the_tables() {
        for (df, t) in [(1, 12.7062), (10, 2.2281), (11, 2.2010), (20, 2.0860), (40, 2.0211), (1000, 1.9623)]
        {
            assert!((student(df + 1) - t).abs() < 1e-4, "{df}: {}", student(df + 1));
        }
    }

    /// Wilson's interval of 8 of 10 at z = 2.2622, worked out by hand from (p + z2/2n ± z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n).
    #[test]
    fn shares_stay_between_none_and_all() {
        let share = Estimate::share(0.8, 10.0, 10);
        let (z2, n) = (2.2622f64 * 2.2622, 10.0);
        let root = (z2 * (0.16 / n + z2 / (4.0 * n * n))).sqrt();
        assert!((share.low.unwrap() - (0.8 + z2 / 20.0 - root) / (1.0 + z2 / n)).abs() < 1e-12);
        let all = Estimate::share(1.0, 10.0, 10);
        assert_eq!((all.high, all.se), (Some(1.0), Some(0.0)));
        assert!((all.low.unwrap() - 10.0 / (10.0 + z2)).abs() < 1e-12);
        assert_eq!(Estimate::share(1.0, 1.0, 1), Estimate::alone(1.0));
    }

    #[test]
    fn a_positive_interval_does_not_reach_zero() {
        let e = Estimate::positive(1.0, Some(0.8), 4);
        assert!(e.low.unwrap() > 0.0 && (e.low.unwrap() * e.high.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(Estimate::positive(0.0, Some(0.0), 4).high, Some(0.0));
    }

    #[test]
    fn what_is_not_known_is_not_written() {
        assert_eq!(Estimate::alone(0.5).to_string().trim(), "0.500000");
        let half = Estimate { high: None, ..Estimate::new(0.5, Some(0.1), 1000) };
        assert!(half.to_string().ends_with(" to ?"), "{half}");
        assert!(Estimate::new(4.0e-5, Some(1e-6), 9).to_string().contains("4.000e-5"));
        assert_eq!(Estimate::alone(1234.567).to_string().trim(), "1234.57");
    }
}
