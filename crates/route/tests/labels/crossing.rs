//! Cross-validation of a prompt score: every question is scored by a fit that has not seen it, nor its like.

use ingle_route::score::fit::{Row, choose_penalty, fit};
use ingle_route::score::{Scorer, features};

use super::Question;

pub const FOLDS: usize = 5;

/// The rows that a scorer is fitted to.
pub fn rows(questions: &[Question]) -> Vec<Row> {
    let row = |q: &Question| Row { features: features(&q.prompt), gain: q.label.gain() };
    questions.iter().map(row).collect()
}

/// FNV-1a, mixed: a fold depends on the text alone, so that equal prompts are never on both sides.
pub fn hash(text: &str, seed: u64) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let z = text.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), fnv);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 31)
}

/// A part of the features that equal prompts share, for folds within a fold.
pub fn inner(row: &Row) -> usize {
    let mix = |hash: u64, &(place, _): &(u32, f32)| (hash ^ u64::from(place)).wrapping_mul(0x0100_0000_01b3);
    (row.features.buckets.iter().fold(0xcbf2_9ce4_8422_2325, mix) >> 33) as usize
}

/// Fits to the given rows with the penalty that they choose themselves.
pub fn fit_choosing(rows: &[&Row], origin: &str) -> Scorer {
    fit(rows, choose_penalty(rows, inner), origin)
}

/// The gain of each row by a scorer that was fitted to the other folds, penalty included.
pub fn crossed(rows: &[Row], fold: &[usize]) -> Vec<f64> {
    let mut out = vec![0.0; rows.len()];
    for held in 0..FOLDS {
        let seen: Vec<&Row> =
            rows.iter().zip(fold).filter(|(_, f)| **f != held).map(|(row, _)| row).collect();
        let scorer = fit_choosing(&seen, "");
        for i in (0..rows.len()).filter(|&i| fold[i] == held) {
            out[i] = scorer.gain_of(&rows[i].features);
        }
    }
    out
}
