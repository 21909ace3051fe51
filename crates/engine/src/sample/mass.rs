//! The fewest candidates, first in some order, that together have a probability: the heart of top-p and typical.
//!
//! The order is by a key, which is the lower the earlier a candidate is kept. Keys are looked at in rings around the lowest, each
//! twice as wide as the one before. Nearly always the probability is reached in the first ring or two, which hold few
//! tokens; only the ring where it is reached is searched, by halving: split at the middle, see on which side the
//! probability is reached, go there. Linear on average, and nothing is sorted.

use super::pool::{Candidate, Pool};
use super::weight;

/// Width of the first ring in logits: its tokens are at least 1/20 as probable as the best.
const FIRST: f32 = 3.0;

/// Keeps the fewest with the lowest `key(logit)`, the lower id among equals, whose probabilities add up to `p` in 0 to 1.
/// No key is below `lowest`.
pub fn keep(pool: &mut Pool<'_>, p: f32, lowest: f32, key: impl Fn(f32) -> f32 + Copy) {
    let max = pool.max();
    let total = weight::sum(pool.logits(), max);
    // The sum is below 2^63 and f64 the same everywhere: what its 53 bits round away is the same on every machine.
    let mut needed = ((total as f64 * f64::from(p)).ceil() as u64).clamp(1, total);
    let scratch = std::mem::take(pool.scratch);
    let (mut ring, mut inner, mut outer) = (scratch, f32::NEG_INFINITY, lowest + FIRST);
    loop {
        ring.clear();
        let in_ring = |l| key(l) > inner && key(l) <= outer;
        pool.scan(in_ring, |id, logit| ring.push(Candidate { id, logit }));
        let sum: u64 = ring.iter().map(|c| weight::of(c.logit - max)).sum();
        if sum >= needed {
            break;
        }
        needed -= sum;
        // Beyond 60 logits a ring holds nothing that weighs, unless rounding says so: take all at once.
        let width = (outer - lowest) * 2.0;
        (inner, outer) = (outer, if width < 60.0 { lowest + width } else { f32::INFINITY });
    }
    let order = |a: &Candidate, b: &Candidate| {
        (key(a.logit) + 0.0).total_cmp(&(key(b.logit) + 0.0)).then(a.id.cmp(&b.id))
    };
    // Invariant: the last token to keep is in `rest`, and those in `rest` up to it weigh at least `needed`.
    let mut rest = &mut ring[..];
    while rest.len() > 1 {
        let middle = rest.len() / 2;
        rest.select_nth_unstable_by(middle, order);
        let (early, late) = rest.split_at_mut(middle);
        let sum: u64 = early.iter().map(|c| weight::of(c.logit - max)).sum();
        if sum >= needed {
            rest = early;
        } else {
            needed -= sum;
            rest = late;
        }
    }
    let last = rest[0];
    *pool.scratch = ring;
    let end = key(last.logit);
    pool.keep(|l| key(l) <= end, |id, logit| order(&Candidate { id, logit }, &last).is_le());
}
