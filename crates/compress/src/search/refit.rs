//! Gains corrected by what mixes turned out to be worth.
//!
//! A kind of tensor (`ffn_down`) has one correction. First all are scaled alike, by the geometric mean of measured by predicted;
//! then least squares of the relative residuals, with a price on corrections that differ, since mixes are few and much alike.

use std::collections::BTreeMap;

use super::frontier::Mix;
use super::table::Entry;
use crate::role::kind_of;

/// The price of the square of a correction's deviation from the common one.
const PRICE: f64 = 0.02;
/// How far a correction may be from the common one in a round, either way.
const MOST: f64 = 4.0;

/// Corrects the gains of `entries` by mixes and their measured divergence; gives the factor of each kind.
pub fn refit(entries: &mut [Entry], measured: &[(&Mix, f64)]) -> BTreeMap<String, f64> {
    let mut kinds: Vec<String> = entries.iter().map(|e| kind_of(&e.name).to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    let kind_at = |entry: &Entry| kinds.iter().position(|kind| kind == kind_of(&entry.name)).unwrap_or(0);
    // By mix: what each kind adds, as a part of what was measured. `(n_mixes, n_kinds)`
    let mut parts = Vec::new();
    for &(mix, kld) in measured.iter().filter(|(_, kld)| *kld > 0.0) {
        let mut of_kinds = vec![0.0; kinds.len()];
        for (entry, &k) in entries.iter().zip(mix) {
            of_kinds[kind_at(entry)] += entry.gain * entry.candidates[k].error / kld;
        }
        if of_kinds.iter().sum::<f64>() > 0.0 {
            parts.push(of_kinds);
        }
    }
    if parts.is_empty() {
        return BTreeMap::new();
    }
    let log_sum: f64 = parts.iter().map(|row| row.iter().sum::<f64>().ln()).sum();
    let common = (-log_sum / parts.len() as f64).exp();
    let differs = deviations(&parts, common);
    let factor = |differs: f64| common * (1.0 + differs).clamp(1.0 / MOST, MOST);
    let factors: Vec<f64> = differs.into_iter().map(factor).collect();
    for entry in entries.iter_mut() {
        entry.gain *= factors[kind_at(entry)];
    }
    kinds.into_iter().zip(factors).collect()
}

/// The `d` of least `sum over rows of (common * sum (1 + d_k) p_k - 1)^2 + PRICE * sum d_k^2`.
fn deviations(parts: &[Vec<f64>], common: f64) -> Vec<f64> {
    let n = parts[0].len();
    // The normal equations, the right side behind them. `(n, n + 1)`
    let mut rows = vec![vec![0.0; n + 1]; n];
    for (k, row) in rows.iter_mut().enumerate() {
        row[k] = PRICE;
    }
    for part in parts {
        let rest = 1.0 - common * part.iter().sum::<f64>();
        for i in 0..n {
            for j in 0..n {
                rows[i][j] += common * common * part[i] * part[j];
            }
            rows[i][n] += common * part[i] * rest;
        }
    }
    // Gauss and Jordan; the price keeps all pivots above 0.
    for i in 0..n {
        let pivot = rows[i].clone();
        for (j, row) in rows.iter_mut().enumerate().filter(|(j, _)| *j != i) {
            let factor = row[i] / pivot[i];
            debug_assert!(j != i && factor.is_finite());
            row.iter_mut().zip(&pivot).for_each(|(v, p)| *v -= factor * p);
        }
    }
    (0..n).map(|i| rows[i][n] / rows[i][i]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::table::Candidate;
    use super::*;
    use crate::mixture::named;

    fn entry(name: &str, errors: [f64; 2]) -> Entry {
        let candidate = |error| Candidate { format: named("q4_0"), error, bytes: 1, seconds: 0.0 };
        let candidates = errors.map(candidate).to_vec();
        Entry { at: 0, name: name.into(), group: String::new(), candidates, probed: 1.0, gain: 2.0 }
    }

    #[test]
    fn predictions_come_near_to_what_was_measured() {
        let mut entries =
            [entry("blk.0.attn_q.weight", [1.0, 0.1]), entry("blk.0.ffn_up.weight", [1.0, 0.1])];
        let truth = |mix: &Mix| -> f64 {
            let costs = [[3.0, 0.3], [0.9, 0.09]];
            mix.iter().zip(costs).map(|(&k, costs)| costs[k]).sum()
        };
        let mixes = [vec![0, 0], vec![0, 1], vec![1, 0], vec![1, 1]];
        let measured: Vec<(&Mix, f64)> = mixes.iter().map(|mix| (mix, truth(mix))).collect();
        refit(&mut entries, &measured);
        for mix in &mixes {
            let predicted: f64 = entries.iter().zip(mix).map(|(e, &k)| e.gain * e.candidates[k].error).sum();
            assert!((predicted / truth(mix) - 1.0).abs() < 0.05, "{predicted} {}", truth(mix));
        }
    }

    #[test]
    fn nothing_measured_corrects_nothing() {
        let mut entries = [entry("blk.0.attn_q.weight", [1.0, 0.1])];
        assert!(refit(&mut entries, &[]).is_empty());
        assert!(refit(&mut entries, &[(&vec![0], 0.0)]).is_empty());
        assert_eq!(entries[0].gain, 2.0);
    }
}
