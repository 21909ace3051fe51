//! The gate: what a recipe demands of its result.
//!
//! A result passes when none of its figures is beyond the recipe's limit. The interval says how sure that is: a figure whose
//! interval reaches over the limit is called unsure, passed or not, and more text would tell; a figure that is no number, or
//! was not measured, fails.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::estimate::Estimate;
use super::report::Report;

/// A recipe's limits, its `[gate]`; what is `None` is not demanded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most mean divergence from the full-precision model, in nats.
    pub kld: Option<f64>,
    /// The least share of tokens with the same best token.
    pub top1: Option<f64>,
    /// The most perplexity, as a multiple of the full-precision model's.
    pub ppl_ratio: Option<f64>,
}

/// One limit beside its figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// The figure's name.
    pub figure: &'static str,
    /// What it is; `None` where it was not measured.
    pub found: Option<Estimate>,
    /// What it may be at most, or must be at least.
    pub limit: f64,
    /// How far it is beyond the limit; 0 or less within it, not finite where there is no number.
    pub beyond: f64,
    /// Whether it is within the limit.
    pub passed: bool,
    /// Whether all of its interval is on the same side of the limit.
    pub sure: bool,
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Whether every limit is kept.
    pub passed: bool,
    /// Each limit.
    pub checks: Vec<Check>,
}

impl Limits {
    /// Whether any limit is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Holds a report against the limits.
    pub fn check(&self, report: &Report) -> Outcome {
        let far = report.divergence.as_ref();
        let rows = [
            ("divergence, mean", self.kld, far.map(|d| d.kld.mean), 1.0),
            ("same best token", self.top1, far.map(|d| d.top1), -1.0),
            ("ratio of perplexities", self.ppl_ratio, far.map(|d| d.ppl_ratio), 1.0),
        ];
        let checks: Vec<Check> = rows
            .into_iter()
            .filter_map(|(figure, limit, found, sign)| Some(check(figure, limit?, found, sign)))
            .collect();
        Outcome { passed: checks.iter().all(|c| c.passed), checks }
    }
}

/// `sign` is 1 where less is better, else -1.
fn check(figure: &'static str, limit: f64, found: Option<Estimate>, sign: f64) -> Check {
    let beyond = |x: f64| sign * (x - limit);
    let value = found.map_or(f64::INFINITY, |e| beyond(e.value));
    let passed = value <= 0.0;
    let bounds = found.and_then(|e| Some([beyond(e.low?), beyond(e.high?)]));
    let sure = bounds.is_some_and(|b| b.iter().all(|&b| if passed { b <= 0.0 } else { b > 0.0 }));
    Check { figure, found, limit, beyond: value, passed, sure }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(found) = self.found else {
            return write!(f, "{}: not measured, limit {}", self.figure, self.limit);
        };
        let side = if self.passed { "within" } else { "beyond" };
        write!(f, "{}: {:.6}, {side} the limit {}", self.figure, found.value, self.limit)?;
        if !self.passed {
            write!(f, " by {:.6}", self.beyond)?;
        }
        match (self.sure, found.low, found.high) {
            (false, Some(low), Some(high)) => {
                write!(f, " (unsure: the interval is {low:.6} to {high:.6}, more text would tell)")
            }
            (false, ..) => f.write_str(" (unsure: no interval, more text would tell)"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::divergence::Position;
    use super::super::scores::Scores;
    use super::*;

    /// A report of `n` windows of two tokens whose divergence is `kld` give or take a tenth.
    fn report(n: usize, kld: f64) -> Report {
        let mut scores = Scores::new(2);
        for i in 0..2 * n {
            let kld = kld * if i / 2 % 2 == 0 { 0.9 } else { 1.1 };
            scores.push_position(Position { kld, nll: 1.01, nll_reference: 1.0, same_top: i % 8 != 0 });
        }
        Report { divergence: scores.divergence(), ..Report::default() }
    }

    #[test]
    fn a_result_within_its_limits_passes() {
        let limits = Limits { kld: Some(0.05), top1: Some(0.8), ppl_ratio: Some(1.02) };
        let outcome = limits.check(&report(40, 0.03));
        assert!(outcome.passed && outcome.checks.iter().all(|c| c.passed), "{outcome:?}");
        assert!(outcome.checks[0].sure && outcome.checks[2].sure);
        assert!(Limits::default().check(&report(4, 9.0)).passed && Limits::default().is_empty());
    }

    #[test]
    fn a_result_beyond_a_limit_fails_by_so_much() {
        let limits = Limits { kld: Some(0.05), top1: Some(0.95), ..Limits::default() };
        let outcome = limits.check(&report(40, 0.08));
        assert!(!outcome.passed);
        assert!((outcome.checks[0].beyond - 0.03).abs() < 1e-9 && outcome.checks[0].sure);
        assert!((outcome.checks[1].beyond - 0.075).abs() < 1e-9 && !outcome.checks[1].passed);
        let said = outcome.checks[0].to_string();
        assert_eq!(said, "divergence, mean: 0.080000, beyond the limit 0.05 by 0.030000");
    }

    #[test]
    fn an_interval_over_the_limit_is_unsure() {
        let limits = Limits { kld: Some(0.05), ..Limits::default() };
        for (kld, passed) in [(0.049, true), (0.051, false)] {
            let outcome = limits.check(&report(4, kld));
            assert_eq!((outcome.passed, outcome.checks[0].sure), (passed, false));
            assert!(outcome.checks[0].to_string().contains("more text would tell"));
        }
        let one_window = limits.check(&report(1, 0.01));
        assert!(one_window.passed && !one_window.checks[0].sure);
    }

    #[test]
    fn what_is_no_number_or_missing_fails() {
        let limits = Limits { kld: Some(0.05), ..Limits::default() };
        assert!(!limits.check(&report(4, f64::NAN)).passed);
        let outcome = limits.check(&Report::default());
        assert!(!outcome.passed && outcome.checks[0].to_string().contains("not measured"));
    }

    #[test]
    fn limits_are_a_table_of_a_recipe() {
        let read = |json: &str| serde_json::from_str::<Limits>(json);
        assert_eq!(read("{\"kld\": 0.05}").unwrap().kld, Some(0.05));
        assert!(read("{\"kdl\": 0.05}").is_err());
    }
}
