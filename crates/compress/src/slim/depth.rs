//! Which layers a model misses least, by what it says without them.
//!
//! In each round every layer that is left is tried: without it, how far are the model's distributions from those of the whole model, as
//! Kullback and Leibler measure it, on average over the tokens? The layer with the least goes, and the next round begins. Block influence
//! (ShortGPT, arXiv 2403.03853), one less the mean cosine of what goes into a layer and what comes out, is told beside it.
//!
//! All models without one layer go through the next layer together, so a round reads each layer's weights once and passes half as many
//! layers as there are pairs; their streams, `4 * dim` bytes a token and layer, are what it holds. [`TOKENS_MAX`] tokens bound that. Of the
//! whole model's distribution the `BEST` best tokens are kept and the others count as one, which can only make a divergence less: what
//! those outside say among themselves is not seen.

use ingle_model::config::Config;
use ingle_model::decoder::Runtime;
use ingle_model::file::Contents;
use ingle_model::walk::Walk;
use serde::Serialize;

use super::{Progress, Watch, layer, lightly, unless_stopped};
use crate::error::Result;
use crate::evaluate::divergence::{log_sum_exp, term};
use crate::role::layer_of;

/// Tokens that layers are tried on.
pub const TOKENS_MAX: usize = 4096;
/// Tokens of a distribution that are kept apart.
const BEST: usize = 512;

/// What was found about layers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Depth {
    /// Tokens it was measured on.
    pub n_tokens: usize,
    /// Block influence of each layer in the whole model.
    pub influence: Vec<f64>,
    /// A round for each layer that went, in that order.
    pub rounds: Vec<Round>,
}

/// A layer that went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Round {
    /// Which, counted in the whole model.
    pub layer: usize,
    /// Divergence from the whole model without it, in nats a token.
    pub kld: f64,
    /// The same of every layer that could have gone.
    pub tried: Vec<(usize, f64)>,
}

/// Chooses `n` layers of `file` to go, one less than there are at most.
///
/// # Errors
/// When the family can't be gone through layer by layer, or `watch` stops the work.
pub fn choose(
    file: &Contents,
    config: &Config,
    n: usize,
    sequences: &[Vec<u32>],
    run: &Runtime<'_>,
    watch: Watch<'_>,
) -> Result<Depth> {
    let sequences = some(sequences);
    let mut walk = Walk::begin(file, config, &sequences, run)?;
    let start = walk.states().to_vec();
    let has_output = file.tensor("output.weight").is_some();
    let in_ends = |name: &str| layer_of(name).is_none() && (name != "token_embd.weight" || !has_output);
    let ends = lightly(file, run, in_ends)?;
    let mut left: Vec<usize> = (0..config.layers.len()).collect();
    let mut depth = Depth { n_tokens: start.len() / config.dim, ..Depth::default() };
    let mut reference = None;
    for round in 0..n {
        walk.states_mut().copy_from_slice(&start);
        let influence = (round == 0).then_some(&mut depth.influence);
        let mut tell = |share| watch(Progress::Layers(round, n, share));
        let mut without = streams_without(&mut walk, file, config, &left, influence, run, &mut tell)?;
        let reference = match &mut reference {
            Some(reference) => reference,
            None => reference.insert(Reference::of(&mut walk, &ends, config.vocab, run)?),
        };
        let mut tried = Vec::with_capacity(left.len());
        for (&i, stream) in left.iter().zip(&mut without) {
            walk.states_mut().swap_with_slice(stream);
            tried.push((i, reference.divergence(&mut walk, &ends, run)?));
            unless_stopped(tell(1.0))?;
        }
        // The first of equals; what is no number comes last.
        let Some(&(layer, kld)) = tried.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { break };
        left.retain(|&i| i != layer);
        depth.rounds.push(Round { layer, kld, tried });
    }
    Ok(depth)
}

/// The streams behind the layers `left` without each of them in turn; `walk` goes through all of them. Tells `influence` that of each.
fn streams_without(
    walk: &mut Walk<'_>,
    file: &Contents,
    config: &Config,
    left: &[usize],
    mut influence: Option<&mut Vec<f64>>,
    run: &Runtime<'_>,
    tell: &mut dyn FnMut(f64) -> bool,
) -> Result<Vec<Vec<f32>>> {
    let n_passes = left.len() * (left.len() + 1) / 2;
    let mut n_done = 0;
    let mut without: Vec<Vec<f32>> = Vec::with_capacity(left.len());
    for &i in left {
        let weights = layer(file, config, i, run)?;
        let mut pass = |walk: &mut Walk<'_>| {
            let n_tokens = walk.states().len() / config.dim;
            let goes_on = walk.through(&weights, i, true, run, |n| {
                tell((n_done as f64 + n as f64 / n_tokens as f64) / n_passes as f64)
            });
            n_done += 1;
            unless_stopped(goes_on)
        };
        for stream in &mut without {
            walk.states_mut().swap_with_slice(stream);
            pass(walk)?;
            walk.states_mut().swap_with_slice(stream);
        }
        let before = walk.states().to_vec();
        pass(walk)?;
        if let Some(influence) = &mut influence {
            influence.push(block_influence(&before, walk.states(), config.dim));
        }
        without.push(before);
        file.tensors().iter().filter(|t| layer_of(&t.name) == Some(i)).for_each(|t| t.release());
    }
    Ok(without)
}

/// One less the mean cosine of rows before and after, `(n_tokens, dim)`.
fn block_influence(before: &[f32], after: &[f32], dim: usize) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let cosine = |(a, b): (&[f32], &[f32])| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE);
    let cosines = before.chunks_exact(dim).zip(after.chunks_exact(dim)).map(cosine);
    1.0 - cosines.sum::<f64>() / (before.len() / dim) as f64
}

/// Of `sequences` some, evenly, with [`TOKENS_MAX`] tokens at most.
fn some(sequences: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let n_tokens: usize = sequences.iter().map(Vec::len).sum();
    if n_tokens <= TOKENS_MAX {
        return sequences.to_vec();
    }
    let n = (sequences.len() * TOKENS_MAX / n_tokens).max(1);
    let mut room = TOKENS_MAX;
    let mut chosen: Vec<Vec<u32>> = (0..n).map(|k| sequences[k * sequences.len() / n].clone()).collect();
    for sequence in &mut chosen {
        sequence.truncate(room);
        room -= sequence.len();
    }
    chosen.retain(|sequence| !sequence.is_empty());
    chosen
}

/// What the whole model says: of each token's distribution the best, and the others together.
struct Reference {
    vocab: usize,
    n_best: usize,
    /// `(n_tokens, n_best)`
    ids: Vec<u32>,
    /// Their log-probabilities. `(n_tokens, n_best)`
    logs: Vec<f64>,
    /// That of all others. `(n_tokens)`
    rest: Vec<f64>,
}

impl Reference {
    /// Of the stream of `walk`, by the norm and the output matrix of `ends`.
    fn of(walk: &mut Walk<'_>, ends: &Contents, vocab: usize, run: &Runtime<'_>) -> Result<Self> {
        let n_best = BEST.min(vocab);
        let mut all = Self { vocab, n_best, ids: Vec::new(), logs: Vec::new(), rest: Vec::new() };
        walk.logits(ends, run, |_, rows| {
            for row in rows.chunks_exact(vocab) {
                let mut ids: Vec<u32> = (0..vocab as u32).collect();
                if n_best < vocab {
                    let by_logit = |a: &u32, b: &u32| {
                        row[*b as usize].total_cmp(&row[*a as usize]).then_with(|| a.cmp(b))
                    };
                    ids.select_nth_unstable_by(n_best, by_logit);
                    ids.truncate(n_best);
                    ids.sort_unstable();
                }
                let mut logs = vec![0.0; n_best];
                all.rest.push(log_probabilities(row, &ids, &mut logs));
                all.ids.extend(ids);
                all.logs.extend(logs);
            }
            true
        })?;
        Ok(all)
    }

    /// Mean divergence of what the stream of `walk` says from this.
    fn divergence(&self, walk: &mut Walk<'_>, ends: &Contents, run: &Runtime<'_>) -> Result<f64> {
        let mut by_token = vec![0.0; self.rest.len()];
        walk.logits(ends, run, |first, rows| {
            let n = rows.len() / self.vocab;
            run.pool.for_rows(&mut by_token[first..first + n], 1, |i, kld| {
                kld[0] = self.of_token(first + i, &rows[i * self.vocab..(i + 1) * self.vocab]);
            });
            true
        })?;
        Ok(by_token.iter().sum::<f64>() / by_token.len() as f64)
    }

    fn of_token(&self, token: usize, logits: &[f32]) -> f64 {
        let best = token * self.n_best..(token + 1) * self.n_best;
        let mut logs = vec![0.0; self.n_best];
        let rest = log_probabilities(logits, &self.ids[best.clone()], &mut logs);
        let apart = self.logs[best].iter().zip(&logs).map(|(&p, &q)| term(p, q)).sum::<f64>();
        if self.n_best == self.vocab { apart } else { apart + term(self.rest[token], rest) }
    }
}

/// The log-probabilities of the tokens `ids`, in rising order, into `logs`, and that of all others together.
fn log_probabilities(logits: &[f32], ids: &[u32], logs: &mut [f64]) -> f64 {
    let all = log_sum_exp(logits);
    for (log, &id) in logs.iter_mut().zip(ids) {
        *log = f64::from(logits[id as usize]) - all;
    }
    // Not from what the best leave: where that is next to nothing, little of it would be right.
    let mut others = logits.to_vec();
    ids.iter().for_each(|&id| others[id as usize] = f32::NEG_INFINITY);
    if ids.len() < logits.len() { log_sum_exp(&others) - all } else { f64::NEG_INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn influence_is_one_less_the_cosine() {
        assert_eq!(block_influence(&[1.0, 0.0, 3.0, 4.0], &[2.0, 0.0, 6.0, 8.0], 2), 0.0);
        assert_eq!(block_influence(&[1.0, 0.0, 0.0, 1.0], &[0.0, 1.0, 0.0, 1.0], 2), 0.5);
    }

    #[test]
    fn so_many_tokens_at_most_are_spread() {
        let sequences: Vec<Vec<u32>> = (0..100).map(|i| vec![i; 100]).collect();
        let chosen = some(&sequences);
        assert_eq!(chosen.len(), 40);
        assert!(chosen[39][0] >= 97);
        assert_eq!(some(&[vec![1; TOKENS_MAX + 1]]), [vec![1; TOKENS_MAX]]);
        assert_eq!(some(&sequences[..2]), sequences[..2]);
    }

    /// The best two of three apart: (1/2, 1/4, 1/4) and the model's (1/4, 1/2, 1/4).
    #[test]
    fn the_others_count_as_one() {
        let mut logs = [0.0; 2];
        let rest = log_probabilities(&[2f32.ln(), 0.0, 0.0], &[0, 1], &mut logs);
        assert!((rest - 0.25f64.ln()).abs() < 1e-7 && (logs[0] - 0.5f64.ln()).abs() < 1e-7);
        let reference =
            Reference { vocab: 3, n_best: 2, ids: vec![0, 1], logs: logs.to_vec(), rest: vec![rest] };
        let kld = reference.of_token(0, &[0.0, 2f32.ln(), 0.0]);
        assert!((kld - 0.25 * 2f64.ln()).abs() < 1e-7, "{kld}");
        assert!(reference.of_token(0, &[2f32.ln(), 0.0, 0.0]).abs() < 1e-12);
    }
}
