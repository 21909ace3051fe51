//! Two models on one text, in pairs.
//!
//! What makes a token hard makes it hard for both, so the difference of their values varies far less than the values: the
//! error of a comparison is that of the differences, window by window. "Better" and "worse" are said only where the 95 %
//! interval of a difference leaves out no difference; of twenty comparisons of equals one may say so all the same.

use std::fmt;

use serde::Serialize;

use super::estimate::Estimate;
use super::scores::{Beside, Scores};
use super::tasks::Task;
use super::windows;

/// What a comparison showed of the first of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// The interval leaves out that they are equal, in the first's favour.
    #[serde(rename = "better")]
    Better,
    /// The same, in the second's.
    #[serde(rename = "worse")]
    Worse,
    /// They may be equal, or either may be better.
    #[serde(rename = "no difference shown")]
    Unshown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Unshown => "no difference shown",
        })
    }
}

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Losses.
    Lower,
    /// Gains.
    Higher,
}

/// What a difference (the first less the second) shows. Without an interval nothing is shown.
pub fn verdict(difference: &Estimate, better: Better) -> Verdict {
    let (below, above) = match better {
        Better::Lower => (Verdict::Better, Verdict::Worse),
        Better::Higher => (Verdict::Worse, Verdict::Better),
    };
    match (difference.low, difference.high) {
        (_, Some(high)) if high < 0.0 => below,
        (Some(low), _) if low > 0.0 => above,
        _ => Verdict::Unshown,
    }
}

/// A figure of the first less that of the second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// What is compared.
    pub figure: String,
    /// The mean difference.
    pub difference: Estimate,
    /// What it shows.
    pub verdict: Verdict,
}

impl Difference {
    /// The difference of a figure, judged.
    pub fn new(figure: impl Into<String>, difference: Estimate, better: Better) -> Self {
        Self { figure: figure.into(), difference, verdict: verdict(&difference, better) }
    }
}

/// Compares two runs on one text, and beside one reference where both have it.
///
/// # Panics
/// When they are not of the same text.
pub fn scores(first: &Scores, second: &Scores) -> Vec<Difference> {
    assert_eq!((first.per_window, first.n_tokens()), (second.per_window, second.n_tokens()), "one text");
    let n = first.per_window;
    let mean = |a: &[f64], b: &[f64]| {
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        windows::mean(&differences, n)
    };
    let mut found =
        vec![Difference::new("ln of the perplexities' ratio", mean(&first.nll, &second.nll), Better::Lower)];
    if let (Some(a), Some(b)) = (&first.beside, &second.beside) {
        let squares = |of: &Beside| of.delta_p.iter().map(|d| d * d).collect::<Vec<_>>();
        found.extend([
            Difference::new("divergence, mean", mean(&a.kld, &b.kld), Better::Lower),
            Difference::new("same best token", mean(&a.same_top, &b.same_top), Better::Higher),
            Difference::new("mean square change of p(true)", mean(&squares(a), &squares(b)), Better::Lower),
        ]);
    }
    found
}

/// Compares two models' answers to the same questions, question by question.
///
/// # Panics
/// When they did not answer as many.
pub fn task(first: &Task, second: &Task) -> Difference {
    assert_eq!(first.right.len(), second.right.len(), "one set of questions");
    let value = |right: bool| f64::from(u8::from(right));
    let differences: Vec<f64> =
        first.right.iter().zip(&second.right).map(|(&a, &b)| value(a) - value(b)).collect();
    Difference::new(first.name.clone(), windows::mean(&differences, 1), Better::Higher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_is_said_only_outside_the_interval() {
        let e = |value, se| Estimate::new(value, Some(se), 1000);
        assert_eq!(verdict(&e(-1.0, 0.1), Better::Lower), Verdict::Better);
        assert_eq!(verdict(&e(-1.0, 0.1), Better::Higher), Verdict::Worse);
        assert_eq!(verdict(&e(1.0, 0.1), Better::Lower), Verdict::Worse);
        assert_eq!(verdict(&e(-1.0, 0.6), Better::Lower), Verdict::Unshown);
        assert_eq!(verdict(&e(0.0, 0.0), Better::Lower), Verdict::Unshown);
        assert_eq!(verdict(&Estimate::alone(-9.0), Better::Lower), Verdict::Unshown);
        assert_eq!(verdict(&e(f64::NAN, 0.1), Better::Lower), Verdict::Unshown);
        assert_eq!(serde_json::to_string(&Verdict::Unshown).unwrap(), "\"no difference shown\"");
    }

    /// Windows differ by far more than the models; in pairs that cancels.
    #[test]
    fn pairs_show_what_means_hide() {
        let run = |by: f64| {
            let mut scores = Scores::new(4);
            (0..80).for_each(|i| scores.push(f64::from(i / 4 % 7) + by * f64::from(1 + i % 3)));
            scores
        };
        let (first, second) = (run(0.0), run(0.01));
        let apart = first.perplexity().high.unwrap() > second.perplexity().low.unwrap();
        assert!(apart, "one by one their intervals overlap");
        let differences = scores(&first, &second);
        assert_eq!((differences.len(), differences[0].verdict), (1, Verdict::Better));
        assert_eq!(scores(&second, &first)[0].verdict, Verdict::Worse);
        assert_eq!(scores(&first, &first)[0].verdict, Verdict::Unshown);
    }

    #[test]
    fn answers_are_compared_question_by_question() {
        let with = |n_right: usize| Task::new("sums", (0..100).map(|i| i < n_right).collect());
        assert_eq!(task(&with(90), &with(60)).verdict, Verdict::Better);
        assert_eq!(task(&with(60), &with(62)).verdict, Verdict::Unshown);
    }
}
