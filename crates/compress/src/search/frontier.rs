//! Which of its formats each tensor gets: the least of one cost under limits on the others. Pure.
//!
//! Every candidate of a tensor has three costs that add up over tensors: divergence, bytes, seconds. With a price on each, every
//! tensor's best candidate can be seen alone (Lagrange); going through prices gives the lower hull of what there is
//! ([`surface`]). For limits ([`choose`]) the best mixes within them are then mended: single steps and pairs of steps that
//! stay within the limits and lower the cost, until there are none. The result is not proved to be the least, which would be a
//! knapsack; the tests hold it against all mixes of small models.

use std::cmp::Ordering;

/// Divergence, bytes, seconds.
pub type Costs = [f64; 3];

/// Which of [`Costs`] the divergence is.
pub const KLD: usize = 0;
/// Which of [`Costs`] the bytes are.
pub const BYTES: usize = 1;
/// Which of [`Costs`] the seconds are.
pub const SECONDS: usize = 2;

/// A candidate for each tensor, by its number.
pub type Mix = Vec<usize>;

/// Prices of each cost that are gone through, beside 0.
const PRICES: usize = 48;
/// Rounds of prices, each around the best ones of the last.
const ROUNDS: usize = 3;
/// Mixes that are mended.
const MENDED: usize = 6;
/// Steps that mending may take.
const STEPS: usize = 4096;

/// What `mix` costs.
pub fn costs(tensors: &[Vec<Costs>], mix: &[usize]) -> Costs {
    let mut sum = [0.0; 3];
    for (tensor, &k) in tensors.iter().zip(mix) {
        sum.iter_mut().zip(tensor[k]).for_each(|(sum, cost)| *sum += cost);
    }
    sum
}

/// The mix whose priced costs are the least.
fn cheapest(tensors: &[Vec<Costs>], prices: Costs) -> Mix {
    let priced = |costs: &Costs| costs.iter().zip(prices).map(|(cost, price)| cost * price).sum::<f64>();
    let best = |tensor: &Vec<Costs>| {
        let order = |a: &usize, b: &usize| priced(&tensor[*a]).total_cmp(&priced(&tensor[*b]));
        (0..tensor.len()).min_by(order).unwrap_or(0)
    };
    tensors.iter().map(best).collect()
}

/// What a cost may be at most over all mixes: what prices are measured by.
fn spans(tensors: &[Vec<Costs>]) -> Costs {
    let span = |j: usize| {
        let of = |tensor: &Vec<Costs>| {
            let (least, most) =
                tensor.iter().fold((f64::INFINITY, 0.0f64), |(a, b), c| (a.min(c[j]), b.max(c[j])));
            most - least
        };
        tensors.iter().map(of).sum::<f64>().max(f64::MIN_POSITIVE)
    };
    [span(0), span(1), span(2)]
}

/// Prices around `center`, over `width` powers of ten.
fn around(center: f64, width: f64) -> impl Iterator<Item = f64> {
    (0..PRICES).map(move |i| center * 10f64.powf(width * (i as f64 / (PRICES - 1) as f64 - 0.5)))
}

/// Mixes that no other beats in all costs, from few bytes to many: those on the lower hull.
pub fn surface(tensors: &[Vec<Costs>]) -> Vec<Mix> {
    let spans = spans(tensors);
    let scale = |j: usize| spans[KLD] / spans[j];
    let mut mixes: Vec<Mix> = Vec::new();
    for bytes in around(scale(BYTES), 12.0).chain([0.0]) {
        for seconds in around(scale(SECONDS), 12.0).step_by(4).chain([0.0]) {
            mixes.push(cheapest(tensors, [1.0, bytes, seconds]));
        }
    }
    mixes.sort();
    mixes.dedup();
    let mut known: Vec<(Costs, Mix)> = mixes.into_iter().map(|mix| (costs(tensors, &mix), mix)).collect();
    let beaten = |a: &Costs| {
        let beats = |b: &Costs| b.iter().zip(a).all(|(b, a)| b <= a) && b != a;
        known.iter().any(|(b, _)| beats(b))
    };
    let keep: Vec<bool> = known.iter().map(|(costs, _)| !beaten(costs)).collect();
    let mut keep = keep.into_iter();
    known.retain(|_| keep.next().unwrap_or(false));
    known.sort_by(|(a, _), (b, _)| a[BYTES].total_cmp(&b[BYTES]).then(a[KLD].total_cmp(&b[KLD])));
    known.into_iter().map(|(_, mix)| mix).collect()
}

/// The mix of least cost number `wanted` whose other costs are within `limits`; `None` where none was found.
pub fn choose(tensors: &[Vec<Costs>], wanted: usize, limits: Costs) -> Option<Mix> {
    let others: Vec<usize> = (0..3).filter(|&j| j != wanted).collect();
    let (spans, [a, b]) = (spans(tensors), [others[0], others[1]]);
    let mut centers = [spans[wanted] / spans[a], spans[wanted] / spans[b]];
    let mut best: Vec<(f64, Mix)> = Vec::new();
    let fits = |costs: &Costs| others.iter().all(|&j| costs[j] <= limits[j]);
    for round in 0..ROUNDS {
        let width = 14.0 / 8f64.powi(round as i32);
        let prices = |center: f64, limit: f64| {
            let all = around(center, width).filter(move |_| limit.is_finite());
            all.chain([0.0]).collect::<Vec<_>>()
        };
        let mut found = (f64::INFINITY, centers);
        for &of_a in &prices(centers[0], limits[a]) {
            for &of_b in &prices(centers[1], limits[b]) {
                let mut all = [0.0; 3];
                (all[wanted], all[a], all[b]) = (1.0, of_a, of_b);
                let mix = cheapest(tensors, all);
                let costs = costs(tensors, &mix);
                if fits(&costs) {
                    if costs[wanted] < found.0 {
                        let or = |price: f64, old: f64| if price > 0.0 { price } else { old };
                        found = (costs[wanted], [or(of_a, centers[0]), or(of_b, centers[1])]);
                    }
                    best.push((costs[wanted], mix));
                }
            }
        }
        centers = found.1;
    }
    // Where prices lead nowhere, from the least of each cost that is limited.
    for &j in &others {
        let mut all = [0.0; 3];
        (all[j], all[wanted]) = (1.0, 1e-12 * spans[j] / spans[wanted]);
        let mix = cheapest(tensors, all);
        let costs = costs(tensors, &mix);
        if fits(&costs) {
            best.push((costs[wanted], mix));
        }
    }
    best.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    best.dedup_by(|a, b| a.1 == b.1);
    best.truncate(MENDED);
    let mended = best.into_iter().map(|(_, mix)| {
        let mix = mend(tensors, mix, wanted, limits);
        (costs(tensors, &mix)[wanted], mix)
    });
    mended.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, mix)| mix)
}

/// A change of one tensor.
#[derive(Clone, Copy)]
struct Step {
    tensor: usize,
    to: usize,
    /// What it adds to each cost.
    adds: Costs,
}

/// Takes single steps and pairs of them that lower the cost number `wanted` within `limits`, the largest first.
fn mend(tensors: &[Vec<Costs>], mut mix: Mix, wanted: usize, limits: Costs) -> Mix {
    let mut sum = costs(tensors, &mix);
    for _ in 0..STEPS {
        let room: Costs =
            std::array::from_fn(|j| if j == wanted { f64::INFINITY } else { limits[j] - sum[j] });
        let fits = |adds: &Costs| adds.iter().zip(room).all(|(add, room)| *add <= room);
        let steps = steps(tensors, &mix);
        // By what they lower, so that a pair's second need not be looked for once it can't win.
        let mut lowering: Vec<Step> = steps.iter().copied().filter(|s| s.adds[wanted] < 0.0).collect();
        lowering.sort_by(|a, b| by_cost(a, b, wanted));
        let mut best: (f64, Vec<Step>) = (-1e-12 * sum[wanted].abs(), Vec::new());
        for first in &lowering {
            if first.adds[wanted] >= best.0 {
                break;
            }
            if fits(&first.adds) {
                best = (first.adds[wanted], vec![*first]);
            }
        }
        for first in &lowering {
            // A second step that lowers too is found in the next round.
            if first.adds[wanted] >= best.0 {
                break;
            }
            for second in steps.iter().filter(|s| s.tensor != first.tensor) {
                let adds: Costs = std::array::from_fn(|j| first.adds[j] + second.adds[j]);
                if adds[wanted] < best.0 && fits(&adds) {
                    best = (adds[wanted], vec![*first, *second]);
                }
            }
        }
        if best.1.is_empty() {
            break;
        }
        best.1.iter().for_each(|step| mix[step.tensor] = step.to);
        // Anew, so that rounding does not add up.
        sum = costs(tensors, &mix);
    }
    mix
}

fn by_cost(a: &Step, b: &Step, wanted: usize) -> Ordering {
    a.adds[wanted].total_cmp(&b.adds[wanted]).then(a.tensor.cmp(&b.tensor)).then(a.to.cmp(&b.to))
}

/// All changes of one tensor.
fn steps(tensors: &[Vec<Costs>], mix: &[usize]) -> Vec<Step> {
    let of_tensor = |(tensor, (candidates, &now)): (usize, (&Vec<Costs>, &usize))| {
        let from = candidates[now];
        let step = move |(to, costs): (usize, &Costs)| Step {
            tensor,
            to,
            adds: std::array::from_fn(|j| costs[j] - from[j]),
        };
        candidates.iter().enumerate().map(step).filter(|s| s.to != now).collect::<Vec<_>>()
    };
    tensors.iter().zip(mix).enumerate().flat_map(of_tensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tensors whose candidates cost less divergence the more bytes they have, with seconds that follow bytes loosely.
    fn random(seed: u64, n: usize, n_candidates: usize) -> Vec<Vec<Costs>> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1u64 << 24) as f64
        };
        let mut tensor = || {
            let (size, weight) = (100.0 + 900.0 * next(), 10f64.powf(2.0 * next() - 4.0));
            let candidate = |i: usize| {
                let bits = 2.0 + i as f64 + next() * 0.5;
                [weight * 4f64.powf(-bits), size * bits, size * (bits + 2.0 * next())]
            };
            (0..n_candidates).map(candidate).collect()
        };
        (0..n).map(|_| tensor()).collect()
    }

    /// All mixes.
    fn all(tensors: &[Vec<Costs>]) -> Vec<Mix> {
        tensors.iter().fold(vec![Vec::new()], |mixes, tensor| {
            let with = |mix: &Mix| {
                let mix = mix.clone();
                (0..tensor.len()).map(move |k| [&mix[..], &[k]].concat())
            };
            mixes.iter().flat_map(with).collect()
        })
    }

    #[test]
    fn choices_are_within_limits_and_next_to_the_best_there_is() {
        let (mut worst, mut sum, mut n) = (1.0f64, 0.0, 0);
        for seed in 0..40 {
            let tensors = random(seed, 6, 4);
            let mixes: Vec<Costs> = all(&tensors).iter().map(|mix| costs(&tensors, mix)).collect();
            let range = |j: usize, part: f64| {
                let (low, high) =
                    mixes.iter().fold((f64::INFINITY, 0.0f64), |(a, b), c| (a.min(c[j]), b.max(c[j])));
                low + part * (high - low)
            };
            let inf = f64::INFINITY;
            for (wanted, limits) in [
                (KLD, [inf, range(BYTES, 0.5), inf]),
                (KLD, [inf, range(BYTES, 0.4), range(SECONDS, 0.45)]),
                (KLD, [inf, inf, range(SECONDS, 0.3)]),
                (BYTES, [range(KLD, 0.05), inf, inf]),
                (BYTES, [range(KLD, 0.1), inf, range(SECONDS, 0.6)]),
            ] {
                let fits = |c: &Costs| (0..3).all(|j| j == wanted || c[j] <= limits[j]);
                let best = mixes.iter().filter(|c| fits(c)).map(|c| c[wanted]).fold(inf, f64::min);
                let found = choose(&tensors, wanted, limits).map(|mix| costs(&tensors, &mix));
                assert_eq!(found.is_some(), best < inf, "seed {seed}");
                let Some(found) = found else { continue };
                assert!(fits(&found), "seed {seed}: {found:?} of {limits:?}");
                worst = worst.max(found[wanted] / best);
                sum += found[wanted] / best;
                n += 1;
            }
        }
        eprintln!("worst {worst:.4}, mean {:.5}", sum / f64::from(n));
        assert!(worst < 1.1 && sum / f64::from(n) < 1.005, "{worst} {}", sum / f64::from(n));
    }

    #[test]
    fn nothing_is_chosen_where_nothing_fits() {
        let tensors = random(7, 5, 4);
        assert_eq!(choose(&tensors, KLD, [f64::INFINITY, 1.0, f64::INFINITY]), None);
        assert_eq!(choose(&tensors, BYTES, [0.0, f64::INFINITY, f64::INFINITY]), None);
    }

    #[test]
    fn no_mix_of_the_surface_is_beaten() {
        let tensors = random(3, 5, 4);
        let mixes: Vec<Costs> = all(&tensors).iter().map(|mix| costs(&tensors, mix)).collect();
        let surface = surface(&tensors);
        assert!(surface.len() > 10, "{}", surface.len());
        for mix in &surface {
            let found = costs(&tensors, mix);
            let beats = |c: &Costs| c.iter().zip(found).all(|(c, f)| *c < f * (1.0 - 1e-9));
            assert!(!mixes.iter().any(beats), "{mix:?}");
        }
        let bytes: Vec<f64> = surface.iter().map(|mix| costs(&tensors, mix)[BYTES]).collect();
        assert!(bytes.is_sorted());
    }
}
