//! What feedback makes of the built-in confidence, and what it changed.
//!
//! Every row of one's own counts against the 300 that the starting point is worth, so no single one moves much. Below [`ENOUGH`] the
//! built-in confidence stays as it is: so few rows are as likely to be chance as news (`tests/feedback.rs`).

use serde::Serialize;

use super::feedback::{Feedback, settled};
use super::model::{Confidence, Row};

/// The weight of rows below which nothing is learned.
pub const ENOUGH: f64 = 40.0;

/// A confidence that has learned, and from what.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// The built-in one, corrected where there is enough to learn from.
    pub confidence: Confidence,
    /// What it learned from.
    pub lesson: Lesson,
}

/// What there was to learn from, and what it changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Lesson {
    /// Answers that users spoke of.
    pub n: usize,
    /// Of these, the ones that were good, bad, asked for again, and edited.
    pub signals: [usize; 4],
    /// Rows by their weight.
    pub weight: f64,
    /// Whether that is [`ENOUGH`].
    pub is_enough: bool,
    /// The share of these answers, by weight, that users were content with; 0 without any.
    pub content: f64,
    /// The mean probability that the built-in confidence gives them.
    pub before: f64,
    /// The same of what was learned.
    pub after: f64,
}

impl Learned {
    /// From the rows of a file.
    pub fn from_rows(rows: &[Feedback]) -> Self {
        let (built_in, settled) = (Confidence::built_in(), settled(rows));
        let rows: Vec<Row> = settled.iter().map(Feedback::row).collect();
        let weight: f64 = rows.iter().map(|row| f64::from(row.weight)).sum();
        let is_enough = weight >= ENOUGH;
        let confidence = if is_enough { built_in.refit(&rows) } else { built_in.clone() };
        let mean = |of: &dyn Fn(&Row) -> f64| {
            let sum: f64 = rows.iter().map(|row| f64::from(row.weight) * of(row)).sum();
            if weight > 0.0 { sum / weight } else { 0.0 }
        };
        let mut signals = [0; 4];
        for row in &settled {
            if let Some(n) = signals.get_mut(row.signal as usize) {
                *n += 1;
            }
        }
        let lesson = Lesson {
            n: rows.len(),
            signals,
            weight,
            is_enough,
            content: mean(&|row| f64::from(u8::from(row.right))),
            before: mean(&|row| built_in.probability(&row.features)),
            after: mean(&|row| confidence.probability(&row.features)),
        };
        Self { confidence, lesson }
    }
}
