//! From an answer's numbers to the probability that it is right, and how that is learned.
//!
//! Features are brought to one scale, a logistic regression makes a score of them, an isotonic curve makes the score a probability.
//! [`Confidence::built_in`] was fitted to the built-in demo model's own answers to tasks it was not trained on
//! (`examples/train_confidence.rs`); another model's margins mean something similar but not the same, so [`Confidence::refit`] learns
//! from what the user made of answers here. It starts from what it has, which counts as [`PRIOR_ROWS`] rows: few rows of one's own
//! correct it a little, hundreds replace it. What it can't tell: an answer all of whose tokens are unsure looks to it like a story,
//! which may be told in many ways and is seldom wrong.
//!
//! A file of it is JSON of a few KB, read as hostile: names of features, counts and ranges are checked.

use serde::{Deserialize, Serialize};

use super::isotonic::{self, KNOTS_MAX, Knot};
use super::logistic::{self, N_WEIGHTS, Point};
use super::margins::{FEATURES, N_FEATURES};

/// Rows of feedback that the starting point is worth.
pub const PRIOR_ROWS: f64 = 300.0;
/// Mean curvature of a row's likelihood, `p (1 - p)` at 0.9: turns rows into strength.
const CURVATURE: f64 = 0.09;
/// Strength towards no weights at all, of a first fit.
const RIDGE: f64 = 1.0;
/// Bytes of a file, at most.
pub const FILE_BYTES_MAX: usize = 32 << 10;
const VERSION: u32 = 1;
/// Spreads from the mean that a feature counts at most.
const SPREADS_MAX: f64 = 5.0;
const NUMBER_MAX: f64 = 1e6;

static BUILT_IN: &str = include_str!("built_in.json");

/// An answer's numbers, and whether it was right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// In the order of [`FEATURES`].
    pub features: [f32; N_FEATURES],
    /// Whether it was right, or the user was content.
    pub right: bool,
    /// How much that counts; 1 for a judge's word.
    pub weight: f32,
}

/// A fitted confidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Confidence {
    /// Mean and one over the spread of each feature.
    scales: [(f64, f64); N_FEATURES],
    weights: Point,
    curve: Vec<Knot>,
    /// What it was fitted to.
    pub origin: String,
}

/// Why a file is no confidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a confidence's file: {what}")]
pub struct ConfidenceError {
    what: String,
}

impl Confidence {
    /// The one that the program comes with.
    ///
    /// # Panics
    /// Never: a test reads it.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in confidence is well-formed")
    }

    /// Fits to judged rows alone.
    ///
    /// # Panics
    /// When there are no rows.
    pub fn fit(rows: &[Row], origin: &str) -> Self {
        assert!(!rows.is_empty(), "rows to fit to");
        let n = rows.len() as f64;
        let scale = |i: usize| {
            let values = || rows.iter().map(|row| f64::from(row.features[i]));
            let mean = values().sum::<f64>() / n;
            let spread = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            (mean, if spread > 1e-6 { 1.0 / spread } else { 0.0 })
        };
        let scales = std::array::from_fn(scale);
        let start = Self { scales, weights: [0.0; N_WEIGHTS], curve: Vec::new(), origin: origin.to_owned() };
        start.towards(rows, RIDGE, 0.0)
    }

    /// Learns from rows of one's own, starting from what it is.
    pub fn refit(&self, rows: &[Row]) -> Self {
        if rows.is_empty() { self.clone() } else { self.towards(rows, PRIOR_ROWS * CURVATURE, PRIOR_ROWS) }
    }

    /// Weights near these, and a curve of the rows and `prior_rows` of the present curve.
    fn towards(&self, rows: &[Row], strength: f64, prior_rows: f64) -> Self {
        let points: Vec<(Point, bool, f64)> =
            rows.iter().map(|row| (self.point(&row.features), row.right, f64::from(row.weight))).collect();
        let weights = logistic::fit(&points, &self.weights, strength);
        let total: f64 = self.curve.iter().map(|knot| knot.weight).sum();
        let old = self.curve.iter().map(|knot| Knot { weight: knot.weight / total * prior_rows, ..*knot });
        let own = points.iter().map(|(point, right, weight)| Knot {
            score: logistic::score(&weights, point),
            probability: f64::from(u8::from(*right)),
            weight: *weight,
        });
        let curve = isotonic::fit(old.chain(own).collect());
        Self { scales: self.scales, weights, curve, origin: self.origin.clone() }
    }

    /// The probability that an answer with these numbers is right.
    pub fn probability(&self, features: &[f32; N_FEATURES]) -> f64 {
        isotonic::read(&self.curve, logistic::score(&self.weights, &self.point(features)))
    }

    fn point(&self, features: &[f32; N_FEATURES]) -> Point {
        let mut out = [1.0; N_WEIGHTS];
        for ((out, &x), (mean, per_spread)) in out.iter_mut().zip(features).zip(self.scales) {
            let spreads = (f64::from(x) - mean) * per_spread;
            *out = if spreads.is_nan() { 0.0 } else { spreads.clamp(-SPREADS_MAX, SPREADS_MAX) };
        }
        out
    }

    /// The text of its file.
    pub fn to_json(&self) -> String {
        let short = |x: f64| (x * 1e5).round() / 1e5;
        let feature = |i: usize| FeatureLine {
            name: FEATURES[i].name.to_owned(),
            mean: short(self.scales[i].0),
            per_spread: short(self.scales[i].1),
            weight: short(self.weights[i]),
        };
        let knot = |k: &Knot| (short(k.score), short(k.probability), short(k.weight));
        let file = File {
            version: VERSION,
            origin: self.origin.clone(),
            intercept: short(self.weights[N_FEATURES]),
            features: (0..N_FEATURES).map(feature).collect(),
            curve: self.curve.iter().map(knot).collect(),
        };
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`ConfidenceError`] says what is not as it should be.
    pub fn parse(text: &str) -> Result<Self, ConfidenceError> {
        let refuse = |what: String| Err(ConfidenceError { what });
        if text.len() > FILE_BYTES_MAX {
            return refuse(format!("{} bytes, expected at most {FILE_BYTES_MAX}", text.len()));
        }
        let file: File = serde_json::from_str(text).map_err(|e| ConfidenceError { what: e.to_string() })?;
        let names: Vec<&str> = file.features.iter().map(|f| f.name.as_str()).collect();
        let expected = FEATURES.each_ref().map(|f| f.name);
        if file.version != VERSION || names != expected {
            let found = file.version;
            return refuse(format!("version {found}, features {names:?}, expected {VERSION}, {expected:?}"));
        }
        let numbers = file.features.iter().flat_map(|f| [f.mean, f.per_spread, f.weight]);
        let knots = file.curve.iter().flat_map(|&(score, probability, weight)| [score, probability, weight]);
        // Not a number is not smaller either.
        let far = |x: &f64| !matches!(x.abs().partial_cmp(&NUMBER_MAX), Some(o) if o.is_le());
        if let Some(x) = numbers.chain(knots).chain([file.intercept]).find(far) {
            return refuse(format!("the number {x}, expected one between -{NUMBER_MAX} and {NUMBER_MAX}"));
        }
        let n = file.curve.len();
        if n == 0 || n > KNOTS_MAX {
            return refuse(format!("a curve of {n} knots, expected 1 to {KNOTS_MAX}"));
        }
        let in_range = |&(_, p, weight): &(f64, f64, f64)| (0.0..=1.0).contains(&p) && weight > 0.0;
        let rises = file.curve.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1);
        if !rises || !file.curve.iter().all(in_range) {
            return refuse("a curve that falls or leaves 0 to 1, expected rising probabilities".into());
        }
        let mut weights = [file.intercept; N_WEIGHTS];
        weights.iter_mut().zip(&file.features).for_each(|(w, f)| *w = f.weight);
        let scales = std::array::from_fn(|i| (file.features[i].mean, file.features[i].per_spread));
        let knot = |(score, probability, weight)| Knot { score, probability, weight };
        let curve = file.curve.into_iter().map(knot).collect();
        Ok(Self { scales, weights, curve, origin: file.origin })
    }
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    origin: String,
    intercept: f64,
    features: Vec<FeatureLine>,
    /// Score, probability, rows.
    curve: Vec<(f64, f64, f64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureLine {
    name: String,
    mean: f64,
    per_spread: f64,
    weight: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of which feature 0 tells, with noise that no run changes.
    fn rows(n: usize, shift: f32) -> Vec<Row> {
        let row = |i: usize| {
            let x = (i * 7919 % n) as f32 / n as f32;
            let noise = (i * 104_729 % 1009) as f32 / 1009.0;
            let mut features = [0.5; N_FEATURES];
            (features[0], features[1]) = (x, noise);
            Row { features, right: (i * 31 % 101) as f32 / 101.0 < x - shift, weight: 1.0 }
        };
        (0..n).map(row).collect()
    }

    #[test]
    fn what_is_learned_comes_back_from_its_file() {
        let fitted = Confidence::fit(&rows(1000, 0.0), "a test");
        let read = Confidence::parse(&fitted.to_json()).unwrap();
        for row in rows(50, 0.0) {
            let (a, b) = (fitted.probability(&row.features), read.probability(&row.features));
            // The file has five decimals.
            assert!((a - b).abs() < 1e-3, "{a} {b}");
            assert!((a - f64::from(row.features[0])).abs() < 0.15, "{a} {}", row.features[0]);
        }
        assert_eq!(Confidence::parse(&read.to_json()).unwrap(), read);
        assert!(fitted.to_json().len() < FILE_BYTES_MAX / 2);
    }

    #[test]
    fn rows_of_ones_own_correct_it_little_by_little() {
        let start = Confidence::fit(&rows(1000, 0.0), "a test");
        assert_eq!(start.refit(&[]), start);
        // Here answers are right far less often than where it was fitted.
        let unseen = rows(400, 0.4);
        let off = |c: &Confidence| {
            let sum: f64 =
                unseen.iter().map(|r| c.probability(&r.features) - f64::from(u8::from(r.right))).sum();
            sum / unseen.len() as f64
        };
        let own = rows(997, 0.4);
        let [none, few, many] = [0, 40, 997].map(|n| off(&start.refit(&own[..n])));
        assert!(none > 0.25 && few < none && few > many && many.abs() < 0.05, "{none} {few} {many}");
    }

    #[test]
    fn hostile_files_are_refused() {
        let good = Confidence::fit(&rows(300, 0.0), "a test").to_json();
        let says = |text: &str, what: &str| {
            let error = Confidence::parse(text).expect_err(what).to_string();
            assert!(error.contains(what), "{error}, expected {what}");
        };
        says(&" ".repeat(FILE_BYTES_MAX + 1), "at most");
        says("", "EOF");
        says(&"[".repeat(10_000), "invalid type");
        says(&good.replace("\"version\": 1", "\"version\": 2"), "version 2");
        says(&good.replace("quantile 50", "quantile 51"), "expected 1");
        says(&good.replace("\"intercept\": ", "\"intercept\": 1e9, \"x\": "), "unknown field");
        let mut file: serde_json::Value = serde_json::from_str(&good).unwrap();
        let mut far = file.clone();
        far["intercept"] = serde_json::json!(1e300);
        says(&far.to_string(), "between");
        file["curve"].as_array_mut().unwrap().reverse();
        says(&file.to_string(), "falls");
        file["curve"] = serde_json::json!([]);
        says(&file.to_string(), "0 knots");
    }

    #[test]
    fn the_built_in_one_is_well_formed_and_sure_of_sure_answers() {
        let built_in = Confidence::built_in();
        let of = |margins: [f32; 6]| {
            let mut answer = super::super::Margins::default();
            margins.iter().for_each(|&margin| answer.push(margin));
            built_in.probability(&answer.features(super::super::Ending::Itself))
        };
        let (sure, one_doubt) = (of([8.0; 6]), of([8.0, 8.0, 0.02, 8.0, 8.0, 8.0]));
        assert!(sure > 0.95 && one_doubt < 0.7, "{sure} {one_doubt}");
        // Features out of this world have a probability too.
        let p = built_in.probability(&[f32::NAN; N_FEATURES]);
        assert!((0.0..=1.0).contains(&p));
    }
}
