//! The fewest candidates, first in some order, that together have a probability: the heart of top-p and typical.
//!
//! The order is by a key, which is the lower the earlier a candidate is kept. Keys are looked at in rings around the lowest,
//! each sliced finely. Nearly always the probability is reached in the first ring or two, which hold few tokens; only the
//! slice where it is reached is searched, by halving: split at the middle, see on which side the probability is reached, go
//! there. Linear on average, and nothing is sorted.

use super::pool::{Candidate, Pool};
use super::weight;

/// Where rings end, in logits from the lowest key. The tokens of the first ring are at least 1/20 as probable as the best;
/// beyond the second, only a nearly flat distribution has anything to keep.
const ENDS: [f32; 3] = [3.0, 12.0, f32::INFINITY];
/// Slices of a ring.
const N_SLICES: usize = 128;
/// Slices for each unit of logit.
const PER_LOGIT: f32 = 12.0;

/// Keeps the fewest with the lowest `key(logit)`, the lower id among equals, whose probabilities add up to `p` in 0 to 1.
/// `total` is the candidates' weight; no key is below `lowest`.
pub fn keep(pool: &mut Pool<'_>, p: f32, total: u64, lowest: f32, key: impl Fn(f32) -> f32 + Copy) {
    let max = pool.max();
    // The sum is below 2^63 and f64 the same everywhere: what its 53 bits round away is the same on every machine.
    let mut needed = ((total as f64 * f64::from(p)).ceil() as u64).clamp(1, total);
    let mut ends = ENDS[1..].iter().map(|end| lowest + end);
    let (mut inner, mut outer) = (f32::NEG_INFINITY, lowest + ENDS[0]);
    let in_ring = |key: f32, inner: f32, outer: f32| (key > inner) & (key <= outer);
    // Slices count from the lowest key or the ring's inner end.
    let slice = |key: f32, inner: f32| {
        // Adding 2^23 leaves the nearest integer in the low bits, cheaper than a cast.
        let at = ((key - inner.max(lowest)) * PER_LOGIT).min((N_SLICES - 1) as f32);
        (at + 8_388_608.0).to_bits() as usize % N_SLICES
    };
    let mut slices;
    loop {
        slices = [0u64; N_SLICES];
        let mut weigh = |logits: &[f32]| {
            weight::each(logits, max, |l, w| slices[slice(key(l), inner)] += w);
        };
        // Weighed by the chunk, which vectorises.
        let (mut chunk, mut n) = ([0f32; weight::CHUNK], 0);
        pool.scan(
            |l| in_ring(key(l), inner, outer),
            |_, l| {
                chunk[n] = l;
                n += 1;
                if n == chunk.len() {
                    weigh(&chunk);
                    n = 0;
                }
            },
        );
        weigh(&chunk[..n]);
        let sum: u64 = slices.iter().sum();
        if sum >= needed {
            break;
        }
        needed -= sum;
        (inner, outer) = (outer, ends.next().expect("the last ring reaches all that weighs"));
    }
    let mut cut = 0;
    while slices[cut] < needed {
        needed -= slices[cut];
        cut += 1;
    }
    // The slice's bounds, a little wide, in the numbers `slice` rounds; what it says decides.
    let (base, low) = (inner.max(lowest), cut as f32 - 0.75);
    let high = if cut + 1 == N_SLICES { f32::INFINITY } else { cut as f32 + 0.75 };
    let near = |key: f32| ((key - base) * PER_LOGIT >= low) & ((key - base) * PER_LOGIT <= high);
    let mut found = std::mem::take(pool.scratch);
    found.clear();
    pool.scan(
        |l| in_ring(key(l), inner, outer) & near(key(l)),
        |id, logit| {
            if slice(key(logit), inner) == cut {
                found.push(Candidate { id, logit });
            }
        },
    );
    let order = |a: &Candidate, b: &Candidate| {
        (key(a.logit) + 0.0).total_cmp(&(key(b.logit) + 0.0)).then(a.id.cmp(&b.id))
    };
    // Invariant: the last token to keep is in `rest`, and those in `rest` up to it weigh at least `needed`.
    let mut rest = &mut found[..];
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
    *pool.scratch = found;
    let end = key(last.logit);
    pool.keep(|l| key(l) <= end, |id, logit| order(&Candidate { id, logit }, &last).is_le());
}
