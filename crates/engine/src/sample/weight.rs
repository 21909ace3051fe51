//! Probabilities as integers: `exp` of a logit's distance from the best one, in units of 2^-40.
//!
//! Integer sums don't depend on their order, so cutting and drawing are exact. The best token weighs 2^40; a vocabulary of
//! 2^23 tokens can't overflow the sum; what is less than 2^-41 as probable as the best weighs nothing.
//! The exponential is our own so that it is the same on every machine (libraries differ in the last bit).

/// Weight of the best token.
const ONE: f64 = (1u64 << 40) as f64;

/// The weight of a token `below` the best one's logit: `below <= 0`, minus infinity weighs 0.
pub fn of(below: f32) -> u64 {
    // The sum's low 52 bits are the rounded product: a conversion that vectorises without special instructions.
    const ROUND: f64 = (1u64 << 52) as f64;
    (f64::from(exp(below)) * ONE + ROUND).to_bits() - ROUND.to_bits()
}

/// The weights of `logits` together, whose best, here or elsewhere, is `max`.
pub fn sum(logits: &[f32], max: f32) -> u64 {
    let mut lanes = [0u64; 8];
    each_chunk(logits, max, |_, weights| {
        for eight in weights.chunks_exact(8) {
            lanes.iter_mut().zip(eight).for_each(|(lane, w)| *lane += w);
        }
    });
    lanes.iter().sum()
}

/// The weights together, and the mean distance of a drawn token's logit from `max`: never above 0.
pub fn sum_and_mean(logits: &[f32], max: f32) -> (u64, f64) {
    let mut total = 0u64;
    let mut lanes = [0f64; 8];
    each_chunk(logits, max, |below, weights| {
        for (below, eight) in below.chunks_exact(8).zip(weights.chunks_exact(8)) {
            total += eight.iter().sum::<u64>();
            // What weighs nothing may be infinitely far.
            let moment = |b: f32, w: u64| f64::from(if b > -87.0 { b } else { -87.0 }) * as_f64(w);
            lanes.iter_mut().enumerate().for_each(|(i, lane)| *lane += moment(below[i], eight[i]));
        }
    });
    (total, lanes.iter().sum::<f64>() / total as f64)
}

/// A weight as a float, exactly: below 2^52, its bits are the low ones of 2^52 plus it. Vectorises, unlike a cast.
fn as_f64(weight: u64) -> f64 {
    const BASE: f64 = (1u64 << 52) as f64;
    f64::from_bits(weight | BASE.to_bits()) - BASE
}

/// A logit's distance from the best, never above 0, that is a little further away than any weight of at least `enough`.
pub fn reach(enough: f64) -> f32 {
    ((enough / ONE).ln() - 1e-3) as f32
}

/// The logarithm of the sum of exponentials of the distances from the best, for a sum of weights.
pub fn ln(total: u64) -> f64 {
    (total as f64 / ONE).ln()
}

/// Calls `f(logit, weight)` for each.
pub fn each(logits: &[f32], max: f32, mut f: impl FnMut(f32, u64)) {
    let mut rest = logits;
    each_chunk(logits, max, |_, weights| {
        let (chunk, later) = rest.split_at(rest.len().min(CHUNK));
        rest = later;
        chunk.iter().zip(weights).for_each(|(&l, &w)| f(l, w));
    });
}

/// Logits that are weighed together.
pub const CHUNK: usize = 128;

/// Calls `f(distances, weights)` for chunks of a fixed size, padded with what weighs nothing.
fn each_chunk(logits: &[f32], max: f32, mut f: impl FnMut(&[f32], &[u64])) {
    let mut below = [0f32; CHUNK];
    let mut weights = [0u64; CHUNK];
    for chunk in logits.chunks(CHUNK) {
        below[chunk.len()..].fill(f32::NEG_INFINITY);
        // Separate loops, so that each vectorises.
        below.iter_mut().zip(chunk).for_each(|(b, l)| *b = l - max);
        weights.iter_mut().zip(&below).for_each(|(w, b)| *w = of(*b));
        f(&below, &weights);
    }
}

/// `e^x` for `x <= 0`, within 2 units in the last place; 0 below -87.
///
/// Splits `x = n ln 2 + r` with `|r| <= ln 2 / 2`; a polynomial for `e^r` (Cephes), the exponent's bits for `2^n`.
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    // One instruction, where `f32::max` would also care for NaN.
    let near = if x > -87.0 { x } else { -87.0 };
    let shifted = near * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = near - n * LN2_HI - n * LN2_LO;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let e_r = p * (r * r) + r + 1.0;
    let two_n = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    if x < -87.0 { 0.0 } else { e_r * two_n }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for i in 0..=87_000 {
            let x = -(i as f32) / 1000.0;
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got / want - 1.0).abs() < 2.4e-7, "exp({x}) = {got}, expected {want}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-100.0), 0.0);
    }

    #[test]
    fn the_best_weighs_one_and_minus_infinity_nothing() {
        assert_eq!(of(0.0), 1 << 40);
        assert_eq!(of(-0.0), 1 << 40);
        assert_eq!(of(f32::NEG_INFINITY), 0);
        assert_eq!(of(-1e30), 0);
    }
}
