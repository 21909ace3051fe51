//! Intervals by resampling: how much a measured number would move with other questions.
//!
//! Questions are drawn with replacement and the number is computed anew, `n_draws` times; the interval is the middle 95 % of what
//! came (Efron's percentile interval). Where two routers are compared, the statistic is their difference on the same draw, so what
//! makes a question hard for both cancels.

use std::ops::RangeInclusive;

/// A number and the middle 95 % of its resampled values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Of all questions as they are.
    pub value: f64,
    /// 2.5 % of the draws are below.
    pub low: f64,
    /// 2.5 % of the draws are above.
    pub high: f64,
}

impl Interval {
    /// Whether a number lies within.
    pub fn contains(&self, number: f64) -> bool {
        RangeInclusive::new(self.low, self.high).contains(&number)
    }
}

/// The interval of `statistic`, which is given the places of the questions to compute it from; `n` is how many there are. Draws for
/// which it is not a number are left out.
///
/// # Panics
/// When there are no questions or no draws.
pub fn interval(n: usize, n_draws: usize, seed: u64, mut statistic: impl FnMut(&[usize]) -> f64) -> Interval {
    assert!(n > 0 && n_draws > 0, "questions to draw, and draws");
    let mut places: Vec<usize> = (0..n).collect();
    let value = statistic(&places);
    let mut rng = Draws(seed);
    let mut values: Vec<f64> = (0..n_draws)
        .map(|_| {
            places.iter_mut().for_each(|place| *place = rng.below(n));
            statistic(&places)
        })
        .filter(|value| !value.is_nan())
        .collect();
    values.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = part * values.len().saturating_sub(1) as f64;
        values.get(place.round() as usize).copied().unwrap_or(f64::NAN)
    };
    Interval { value, low: at(0.025), high: at(0.975) }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Draws(u64);

impl Draws {
    /// A number in `0..n`; its bias is below 2^-40 for a million questions.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_the_normal_one() {
        // 400 coins, 100 heads: the standard error is sqrt(0.25 * 0.75 / 400) = 0.02165.
        let heads = |places: &[usize]| places.iter().filter(|&&i| i < 100).count() as f64 / 400.0;
        let found = interval(400, 4000, 1, heads);
        assert_eq!(found.value, 0.25);
        assert!((found.low - (0.25 - 1.96 * 0.02165)).abs() < 0.005, "{found:?}");
        assert!((found.high - (0.25 + 1.96 * 0.02165)).abs() < 0.005, "{found:?}");
        assert!(found.contains(0.25) && !found.contains(0.31));
        assert_eq!(found, interval(400, 4000, 1, heads));
    }
}
