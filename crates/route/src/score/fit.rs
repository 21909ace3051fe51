//! Fitting a scorer: ridge regression of the gain on a prompt's features, solved by conjugate gradients.
//!
//! The gain of a row is 1 where only the strong model was right, -1 where only the weak one was, else 0. Shapes are centred and
//! scaled to the spread they have in the rows; then all of them together weigh about `SHAPE_PART` as much as all words.
//! The penalty is chosen by cross-validation within the rows ([`choose_penalty`]), never by rows that are to be predicted. What comes
//! out has one byte per place, as it will be used.
//!
//! No step depends on chance or on threads: the same rows give the same bytes.

use super::features::{Features, N_BUCKETS, SHAPES};
use super::weights::{Scorer, ShapeWeight};

/// What all shapes together weigh beside all words.
const SHAPE_PART: f32 = 0.3;
/// Penalties that are tried, from the least.
pub const PENALTIES: &[f64] = &[1.0, 2.0, 4.0, 8.0];
const INNER_FOLDS: usize = 3;
const STEPS_MAX: usize = 200;
/// The solution is good enough when what is left of the right side is this part of it.
const RESIDUAL: f64 = 1e-3;

/// A prompt and what asking the strong model changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The prompt.
    pub features: Features,
    /// 1, 0 or -1.
    pub gain: f64,
}

/// Fits to `rows` with a penalty on the squares of the weights.
///
/// # Panics
/// When there are no rows.
pub fn fit(rows: &[&Row], penalty: f64, origin: &str) -> Scorer {
    assert!(!rows.is_empty(), "rows to fit to");
    let mean = rows.iter().map(|row| row.gain).sum::<f64>() / rows.len() as f64;
    let mut shapes = shape_scales(rows);
    let design = Design::new(rows, &shapes);
    let right: Vec<f64> = rows.iter().map(|row| row.gain - mean).collect();
    let weights = design.solve(&right, penalty);
    let unit = shape_unit();
    shapes.iter_mut().zip(&weights[N_BUCKETS..]).for_each(|(s, &w)| s.weight = w as f32 * unit);
    let largest = weights[..N_BUCKETS].iter().fold(0.0f64, |most, w| most.max(w.abs()));
    let scale = if largest > 0.0 { (largest / 127.0) as f32 } else { 1.0 };
    let buckets = weights[..N_BUCKETS].iter().map(|w| (w / f64::from(scale)).round() as i8).collect();
    Scorer { intercept: mean as f32, scale, shapes, buckets, origin: origin.to_owned() }
}

/// The penalty of [`PENALTIES`] that predicts best, in mean square, those rows of each of three parts that it was not fitted to.
/// `part_of` says to which part a row belongs (equal prompts to one).
pub fn choose_penalty(rows: &[&Row], part_of: impl Fn(&Row) -> usize) -> f64 {
    let error = |penalty: f64| -> f64 {
        let of_part = |part: usize| {
            let (unseen, seen): (Vec<&Row>, Vec<&Row>) =
                rows.iter().partition(|row| part_of(row) % INNER_FOLDS == part);
            if seen.is_empty() {
                return 0.0;
            }
            let scorer = fit(&seen, penalty, "");
            unseen.iter().map(|row| (scorer.gain_of(&row.features) - row.gain).powi(2)).sum()
        };
        (0..INNER_FOLDS).map(of_part).sum()
    };
    let errors = PENALTIES.iter().map(|&penalty| (penalty, error(penalty)));
    errors.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(PENALTIES[0], |(penalty, _)| penalty)
}

fn shape_unit() -> f32 {
    (SHAPE_PART / SHAPES.len() as f32).sqrt()
}

/// Mean and spread of each shape.
fn shape_scales(rows: &[&Row]) -> Vec<ShapeWeight> {
    let n = rows.len() as f64;
    let of_shape = |i: usize| {
        let values = || rows.iter().map(|row| f64::from(row.features.shape[i]));
        let mean = values().sum::<f64>() / n;
        let spread = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let per_spread = if spread > 1e-6 { (1.0 / spread) as f32 } else { 0.0 };
        ShapeWeight { mean: mean as f32, per_spread, weight: 0.0 }
    };
    (0..SHAPES.len()).map(of_shape).collect()
}

/// The features of all rows: columns are places, then shapes.
struct Design {
    rows: Vec<Vec<(u32, f32)>>,
}

impl Design {
    fn new(rows: &[&Row], shapes: &[ShapeWeight]) -> Self {
        let unit = shape_unit();
        let one = |row: &&Row| {
            let shape = shapes.iter().zip(&row.features.shape).zip(N_BUCKETS as u32..);
            let shape = shape.map(|((scale, &x), column)| (column, scale.spreads(x) * unit));
            row.features.buckets.iter().copied().chain(shape).collect()
        };
        Self { rows: rows.iter().map(one).collect() }
    }

    /// `X w`. `(n_rows)`
    fn times(&self, w: &[f64]) -> Vec<f64> {
        let dot = |row: &Vec<(u32, f32)>| row.iter().map(|&(c, x)| w[c as usize] * f64::from(x)).sum();
        self.rows.iter().map(dot).collect()
    }

    /// `X' r`. `(n_columns)`
    fn turned_times(&self, r: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; N_BUCKETS + SHAPES.len()];
        for (row, r) in self.rows.iter().zip(r) {
            row.iter().for_each(|&(c, x)| out[c as usize] += r * f64::from(x));
        }
        out
    }

    /// `w` with `(X'X + penalty) w = X' y`.
    fn solve(&self, y: &[f64], penalty: f64) -> Vec<f64> {
        let mut left = self.turned_times(y);
        let (mut w, mut direction) = (vec![0.0; left.len()], left.clone());
        let mut square = dot(&left, &left);
        let enough = square * RESIDUAL * RESIDUAL;
        for _ in 0..STEPS_MAX {
            if square <= enough {
                break;
            }
            let mut image = self.turned_times(&self.times(&direction));
            image.iter_mut().zip(&direction).for_each(|(i, d)| *i += penalty * d);
            let step = square / dot(&direction, &image);
            w.iter_mut().zip(&direction).for_each(|(w, d)| *w += step * d);
            left.iter_mut().zip(&image).for_each(|(l, i)| *l -= step * i);
            let before = std::mem::replace(&mut square, dot(&left, &left));
            direction.iter_mut().zip(&left).for_each(|(d, l)| *d = l + square / before * *d);
        }
        w
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::super::features;
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |i: usize| {
            let hard = i.is_multiple_of(3);
            let what = if hard { "prove the theorem" } else { "say good morning" };
            Row { features: features(&format!("please {what} number {i}")), gain: f64::from(u8::from(hard)) }
        };
        (0..60).map(row).collect()
    }

    #[test]
    fn words_that_tell_are_learned() {
        let rows = rows();
        let rows: Vec<&Row> = rows.iter().collect();
        let scorer = fit(&rows, 0.1, "a test");
        let (hard, easy) = (scorer.gain("please prove the theorem"), scorer.gain("please say good morning"));
        assert!(hard > 0.8 && easy < 0.2, "{hard} {easy}");
        assert_eq!(scorer.to_bytes(), fit(&rows, 0.1, "a test").to_bytes());
        assert_eq!(choose_penalty(&rows, |row| row.features.buckets.len()), PENALTIES[0]);
    }

    #[test]
    fn the_equations_are_solved() {
        let rows = rows();
        let rows: Vec<&Row> = rows.iter().collect();
        let design = Design::new(&rows, &shape_scales(&rows));
        let y: Vec<f64> = rows.iter().map(|row| row.gain).collect();
        let w = design.solve(&y, 2.0);
        let mut image = design.turned_times(&design.times(&w));
        image.iter_mut().zip(&w).for_each(|(i, w)| *i += 2.0 * w);
        let right = design.turned_times(&y);
        let off: Vec<f64> = image.iter().zip(&right).map(|(a, b)| a - b).collect();
        assert!(dot(&off, &off) <= 1.1e-6 * dot(&right, &right));
    }

    #[test]
    fn rows_that_are_all_alike_give_their_mean() {
        let row = Row { features: features("same"), gain: 1.0 };
        let scorer = fit(&[&row, &row], 1.0, "");
        assert!((scorer.gain("same") - 1.0).abs() < 1e-6);
        assert!((scorer.gain("other") - 1.0).abs() < 1e-6);
    }
}
