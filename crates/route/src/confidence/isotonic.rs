//! Isotonic regression: the rising curve from scores to probabilities that is nearest to what was right, by pool adjacent violators
//! (Ayer et al., 1955), read along straight lines between its steps' middles.

/// The most knots of a curve.
pub const KNOTS_MAX: usize = 48;

/// A score and the probability there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Knot {
    pub score: f64,
    pub probability: f64,
    /// The rows that it stands for.
    pub weight: f64,
}

/// The curve of `(score, share right, weight)`, in any order; rows are first put together into groups of equal weight, [`KNOTS_MAX`] at
/// most. Probabilities stay off 0 and 1 by half a row of the whole.
pub(super) fn fit(mut points: Vec<Knot>) -> Vec<Knot> {
    points.retain(|point| point.weight > 0.0);
    points.sort_by(|a, b| a.score.total_cmp(&b.score));
    let total: f64 = points.iter().map(|point| point.weight).sum();
    let mut curve: Vec<Knot> = Vec::new();
    for group in groups(&points, total / KNOTS_MAX as f64) {
        curve.push(group);
        while let [.., before, last] = curve[..]
            && before.probability >= last.probability
        {
            curve.truncate(curve.len() - 2);
            curve.push(pooled(&before, &last));
        }
    }
    let edge = 0.5 / total.max(1.0);
    curve.iter_mut().for_each(|knot| knot.probability = knot.probability.clamp(edge, 1.0 - edge));
    curve
}

/// Neighbours put together until each group has the weight `least`; equal scores are never parted.
fn groups(points: &[Knot], least: f64) -> Vec<Knot> {
    let mut out: Vec<Knot> = Vec::new();
    for point in points {
        match out.last_mut() {
            Some(last) if last.weight < least || last.score == point.score => *last = pooled(last, point),
            _ => out.push(*point),
        }
    }
    out
}

fn pooled(a: &Knot, b: &Knot) -> Knot {
    let weight = a.weight + b.weight;
    let mean = |x: f64, y: f64| if x == y { x } else { (x * a.weight + y * b.weight) / weight };
    Knot { score: mean(a.score, b.score), probability: mean(a.probability, b.probability), weight }
}

/// The probability of `score` on a curve; one half on an empty one.
pub(super) fn read(curve: &[Knot], score: f64) -> f64 {
    let above = curve.partition_point(|knot| knot.score < score);
    match (above.checked_sub(1).and_then(|i| curve.get(i)), curve.get(above)) {
        (Some(a), Some(b)) => {
            let part = (score - a.score) / (b.score - a.score);
            a.probability + part * (b.probability - a.probability)
        }
        (Some(end), None) | (None, Some(end)) => end.probability,
        (None, None) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knots(points: &[(f64, f64)]) -> Vec<Knot> {
        points.iter().map(|&(score, probability)| Knot { score, probability, weight: 1.0 }).collect()
    }

    #[test]
    fn violators_are_pooled() {
        let curve = fit(knots(&[(1.0, 0.0), (4.0, 1.0), (2.0, 1.0), (3.0, 0.0), (5.0, 1.0)]));
        let found: Vec<(f64, f64)> = curve.iter().map(|k| (k.score, k.probability)).collect();
        // Of five rows, the ends stay a tenth off; equal neighbours are one.
        assert_eq!(found, [(1.0, 0.1), (2.5, 0.5), (4.5, 0.9)]);
        assert_eq!([0.0, 1.0, 2.5, 9.0].map(|s| read(&curve, s)), [0.1, 0.1, 0.5, 0.9]);
        assert!((read(&curve, 1.75) - 0.3).abs() < 1e-12);
        assert_eq!(read(&[], 1.0), 0.5);
    }

    #[test]
    fn the_curve_rises_and_keeps_the_mean() {
        let points: Vec<(f64, f64)> =
            (0..1000).map(|i| (f64::from(i), f64::from(u8::from((i * i * 7 + i) % 997 < i)))).collect();
        let curve = fit(knots(&points));
        assert!(curve.len() <= KNOTS_MAX && curve.len() > 5, "{}", curve.len());
        assert!(curve.windows(2).all(|w| w[0].score < w[1].score && w[0].probability < w[1].probability));
        let mean =
            |points: &mut dyn Iterator<Item = (f64, f64)>| points.map(|(p, w)| p * w).sum::<f64>() / 1000.0;
        let (all, of_curve) = (
            mean(&mut points.iter().map(|p| (p.1, 1.0))),
            mean(&mut curve.iter().map(|k| (k.probability, k.weight))),
        );
        assert!((all - of_curve).abs() < 1e-3, "{all} {of_curve}");
    }
}
