//! Right answers to questions: a share with Wilson's interval, and the answers themselves for comparisons in pairs.

use serde::Serialize;

use super::estimate::Estimate;

/// A model's answers to one set of questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// What the questions are called.
    pub name: String,
    /// Questions.
    pub n: usize,
    /// The share of right answers.
    pub accuracy: Estimate,
    /// By question: whether the answer was right.
    #[serde(skip)]
    pub right: Vec<bool>,
}

impl Task {
    /// Counts the right answers; there must be a question.
    pub fn new(name: impl Into<String>, right: Vec<bool>) -> Self {
        let n = right.len();
        assert!(n > 0, "a task without questions");
        let n_right = right.iter().filter(|&&r| r).count();
        let accuracy = Estimate::share(n_right as f64 / n as f64, n as f64, n);
        Self { name: name.into(), n, accuracy, right }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers_are_counted() {
        let task = Task::new("sums", vec![true, true, false, true]);
        assert_eq!((task.n, task.accuracy.value), (4, 0.75));
        assert!(task.accuracy.high.unwrap() < 1.0);
        let json = serde_json::to_value(&task).unwrap();
        assert_eq!((json["name"].as_str(), json.get("right")), (Some("sums"), None));
    }
}
