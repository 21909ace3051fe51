//! The draw: candidates race, and the first at the goal is chosen.
//!
//! Each candidate runs for a random time, exponential with its weight as the rate, so each wins in proportion to its weight (the Gumbel-max trick
//! in another scale; Maddison et al., arXiv 1411.0030). The times depend on the draw's one random number and on the candidate's id alone,
//! not on who else runs: so from distributions that differ a little the same token nearly always wins, where walking along a sum would
//! come out somewhere else. That is what guessing ahead lives on ([`crate::spec`], arXiv 2408.07978).
//!
//! The logarithm is our own, of additions, multiplications and divisions alone, and is the same on every machine.

use super::weight;

/// A time of arrival, and whose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Place among the candidates.
    pub place: usize,
    /// Weight.
    pub weight: u64,
    time: f64,
}

/// The first to arrive of candidates with these `logits`, the best of which is `max`, and the sum of their weights.
///
/// # Panics
/// When none weighs anything.
pub fn first(logits: &[f32], max: f32, id_of: impl Fn(usize) -> u32, draw: u64) -> (Arrival, u64) {
    let mut first: Option<Arrival> = None;
    let (mut place, mut total) = (0, 0u64);
    weight::each(logits, max, |_, weight| {
        total += weight;
        let noise = noise(draw, id_of(place));
        // -ln(u) is at least 1 - u, which is enough to see most of them lose.
        let early = |first: Arrival| (1.0 - noise) < first.time * weight as f64;
        if weight > 0 && first.is_none_or(early) {
            let time = -ln(noise) / weight as f64;
            if first.is_none_or(|first| time < first.time) {
                first = Some(Arrival { place, weight, time });
            }
        }
        place += 1;
    });
    (first.expect("the best candidate weighs something"), total)
}

/// A number between 0 and 1, neither of them, for a token in a draw (SplitMix64's finish).
fn noise(draw: u64, id: u32) -> f64 {
    const UNIT: f64 = 1.0 / (1u64 << 53) as f64;
    let z = draw.wrapping_add(u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // 52 bits and a half: never 0, never rounded to 1.
    (((z ^ (z >> 31)) >> 12) as f64 * 2.0 + 1.0) * UNIT
}

/// The natural logarithm of a positive number that is not subnormal, within some units in the last place.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    // The nearest power of two to the square root of two on either side.
    let exponent = ((bits >> 52) as i64 - 1023) + i64::from(bits << 12 >> 12 > 0x6_a09e_667f_3bcd);
    let m = f64::from_bits(bits.wrapping_sub((exponent as u64) << 52));
    // ln m = 2 artanh s; |s| < 0.1716, so nine terms are enough.
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut sum = 0.0;
    for k in (0..11).rev() {
        sum = sum * z + 1.0 / f64::from(2 * k + 1);
    }
    2.0 * s * sum + exponent as f64 * std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_the_librarys() {
        for i in 1..200_000u64 {
            let x = i as f64 / 200_000.0;
            assert!((ln(x) - x.ln()).abs() <= 1e-14 * x.ln().abs().max(1e-2), "ln({x}) = {}", ln(x));
        }
        for x in [f64::MIN_POSITIVE, 1e-300, 2.0, 1e10, 0.5, 1.0] {
            assert!((ln(x) - x.ln()).abs() <= 1e-14 * x.ln().abs());
        }
        assert!(noise(0, 0) > 0.0 && (0..1000).all(|id| noise(u64::MAX, id) < 1.0));
    }

    /// Chi-square with 9 degrees of freedom; 27.9 is passed once in a thousand.
    #[test]
    fn each_wins_in_proportion_to_its_weight() {
        let logits: Vec<f32> = (0..10).map(|i| -(i as f32) * 0.4).collect();
        let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        let mut wins = [0.0; 10];
        let n = 100_000u64;
        for draw in 0..n {
            let draw = draw.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x1234_5678;
            wins[first(&logits, 0.0, |place| 7 * place as u32, draw).0.place] += 1.0;
        }
        let expected = logits.iter().map(|&l| f64::from(l).exp() / total * n as f64);
        let chi: f64 = wins.iter().zip(expected).map(|(won, e)| (won - e) * (won - e) / e).sum();
        assert!(chi < 27.9, "{chi}: {wins:?}");
    }

    /// With weights that change by a little the winner seldom does, whatever is gone from among the others.
    #[test]
    fn distributions_that_are_near_choose_alike() {
        let logits: Vec<f32> = super::super::tests::logits(2000, 5);
        let other: Vec<f32> = super::super::tests::logits(2000, 6);
        let near: Vec<f32> = logits.iter().zip(&other).map(|(l, o)| l + 0.05 * o).collect();
        let best = |logits: &[f32]| logits.iter().copied().fold(f32::MIN, f32::max);
        let (max, near_max) = (best(&logits), best(&near));
        let p: Vec<f64> = logits.iter().map(|&l| f64::from(l - max).exp()).collect();
        let q: Vec<f64> = near.iter().map(|&l| f64::from(l - near_max).exp()).collect();
        let (sp, sq) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
        let apart = p.iter().zip(&q).map(|(p, q)| (p / sp - q / sq).abs()).sum::<f64>() / 2.0;
        let n = 4000u64;
        let same = (0..n).filter(|&draw| {
            let draw = draw.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let winner = |logits: &[f32], max| first(logits, max, |place| place as u32, draw).0.place;
            winner(&logits, max) == winner(&near, near_max)
        });
        let (share, bound) = (same.count() as f64 / n as f64, (1.0 - apart) / (1.0 + apart));
        assert!(share > bound - 0.02, "{share} of the draws alike, at least {bound} expected");
        // Whoever lost may be missing.
        let draw = 99;
        let (winner, _) = first(&logits, max, |place| place as u32, draw);
        let (again, _) =
            first(&logits[winner.place..=winner.place], logits[winner.place], |_| winner.place as u32, draw);
        assert_eq!(again.place, 0);
    }
}
