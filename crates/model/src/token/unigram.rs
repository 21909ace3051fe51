//! Unigram: of all ways to write a piece with tokens, the one with the best sum of scores (Kudo 2018, arXiv:1804.10959).
//!
//! One pass from left to right: at every character the best way to get there is known, and every token that begins there may
//! better the way to where it ends. Sums are 64-bit and ties go to the token that begins first, as in the tokenizers
//! library. A character without a token of its own may be the unknown token, for ten less than the worst score; neighbours
//! that are unknown become one.

use super::merge::NO_TOKEN;
use super::vocab::Indexed;
use super::{Encoder, Scratch};
use crate::error::{Error, Result};

/// A longer token would make every character's search as long.
const TOKEN_BYTES_MAX: usize = 1024;
const UNKNOWN_PENALTY: f64 = 10.0;

/// A model of this kind.
#[derive(Debug)]
pub struct Unigram {
    scores: Vec<f64>,
    unknown: Option<u32>,
    unknown_score: f64,
    /// The tokens of bytes that write what is unknown, or [`NO_TOKEN`].
    bytes: Option<Box<[u32; 256]>>,
    /// Which lengths in bytes tokens have.
    lengths: Vec<bool>,
}

/// The best way to a place in the piece.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    score: f64,
    /// The last token, and where it begins; [`NO_TOKEN`] where no way leads.
    id: u32,
    start: u32,
}

impl Unigram {
    /// A model over the tokens of `vocab` with a score for each, in `part` of a file. The worst score is taken over `scored`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a score that is not finite and a token longer than 1024 bytes.
    pub fn new(
        part: &str,
        vocab: &Indexed,
        scores: Vec<f64>,
        scored: impl Fn(u32) -> bool,
        unknown: Option<u32>,
        bytes: Option<Box<[u32; 256]>>,
    ) -> Result<Self> {
        if let Some(id) = scores.iter().position(|score| !score.is_finite()) {
            let found = format!("the score {}", scores[id]);
            return Err(Error::malformed(format!("{part}: token {id}"), found, "a finite number"));
        }
        let longest = vocab.bytes_max();
        if longest > TOKEN_BYTES_MAX {
            let found = format!("a token of {longest} bytes");
            return Err(Error::malformed(part, found, format!("at most {TOKEN_BYTES_MAX}")));
        }
        let worst = (0u32..).zip(&scores).filter(|&(id, _)| scored(id)).map(|(_, &score)| score);
        let worst = worst.fold(f64::INFINITY, f64::min);
        let worst = if worst.is_finite() { worst } else { 0.0 };
        let mut lengths = vec![false; longest + 1];
        (0..vocab.len() as u32).for_each(|id| lengths[vocab.bytes(id).len()] = true);
        Ok(Self { scores, unknown, unknown_score: worst - UNKNOWN_PENALTY, bytes, lengths })
    }

    /// The best way to every place in `piece`.
    fn walk(&self, vocab: &Indexed, piece: &str, paths: &mut Vec<Step>) {
        paths.clear();
        paths.resize(piece.len() + 1, Step { score: 0.0, id: NO_TOKEN, start: NO_TOKEN });
        for (start, c) in piece.char_indices() {
            let score = paths[start].score;
            let mut reach = |end: usize, id: u32, score: f64| {
                let path = &mut paths[end];
                if path.start == NO_TOKEN || score > path.score {
                    *path = Step { score, id, start: start as u32 };
                }
            };
            let mut has_own = false;
            let rest = &piece.as_bytes()[start..];
            for n in 1..=rest.len().min(self.lengths.len() - 1) {
                if self.lengths[n]
                    && piece.is_char_boundary(start + n)
                    && let Some(id) = vocab.find(&rest[..n])
                {
                    has_own |= n == c.len_utf8();
                    reach(start + n, id, self.scores[id as usize] + score);
                }
            }
            if !has_own {
                reach(start + c.len_utf8(), self.unknown.unwrap_or(NO_TOKEN), self.unknown_score + score);
            }
        }
    }

    /// What has no token: the tokens of its bytes, or else the unknown token once.
    fn encode_unknown(&self, vocab: &Indexed, text: &str, out: &mut Vec<u32>) {
        match &self.bytes {
            // The text may be how the unknown token itself is written.
            _ if vocab.find(text.as_bytes()).is_some() => out.extend(vocab.find(text.as_bytes())),
            Some(bytes) if text.bytes().all(|byte| bytes[byte as usize] != NO_TOKEN) => {
                out.extend(text.bytes().map(|byte| bytes[byte as usize]));
            }
            _ => out.extend(self.unknown),
        }
    }
}

impl Encoder for Unigram {
    fn encode(&self, vocab: &Indexed, piece: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
        let paths = &mut scratch.paths;
        self.walk(vocab, piece, paths);
        // Turn the way back round: each place on it learns where the next one is.
        let (mut at, mut next) = (piece.len(), piece.len() as u32);
        while at > 0 {
            let start = paths[at].start;
            paths[at].start = next;
            (at, next) = (start as usize, at as u32);
        }
        let is_unknown = |id: u32| id == NO_TOKEN || Some(id) == self.unknown;
        let (mut at, mut end) = (0, next as usize);
        let mut unknown_from = None;
        while at < piece.len() {
            let Step { id, start: next, .. } = paths[end];
            if is_unknown(id) {
                unknown_from.get_or_insert(at);
            } else {
                if let Some(from) = unknown_from.take() {
                    self.encode_unknown(vocab, &piece[from..at], out);
                }
                out.push(id);
            }
            (at, end) = (end, next as usize);
        }
        if let Some(from) = unknown_from {
            self.encode_unknown(vocab, &piece[from..], out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(tokens: &[(&str, f64)]) -> Result<(Indexed, Unigram)> {
        let vocab = Indexed::of(&tokens.iter().map(|&(text, _)| text).collect::<Vec<_>>());
        let scores = tokens.iter().map(|&(_, score)| score).collect();
        let model = Unigram::new("tokens", &vocab, scores, |_| true, Some(0), None)?;
        Ok((vocab, model))
    }

    fn ids(tokens: &[(&str, f64)], text: &str) -> Vec<u32> {
        let (vocab, model) = model(tokens).unwrap();
        let mut out = Vec::new();
        model.encode(&vocab, text, &mut Scratch::default(), &mut out);
        out
    }

    #[test]
    fn the_best_sum_wins_and_unknown_neighbours_are_one() {
        let tokens = [
            ("<unk>", 0.0),
            ("a", -2.0),
            ("b", -2.0),
            ("ab", -3.0),
            ("abc", -9.0),
            ("c", -1.0),
            ("bc", -2.5),
        ];
        assert_eq!(ids(&tokens, "abc"), [3, 5]);
        assert_eq!(ids(&tokens, "abcé日a"), [3, 5, 0, 1]);
        assert_eq!(ids(&tokens, "éa日"), [0, 1, 0]);
    }

    #[test]
    fn scores_that_are_no_numbers_and_endless_tokens_are_refused() {
        assert!(model(&[("a", f64::NAN)]).unwrap_err().to_string().contains("token 0: the score NaN"));
        assert!(model(&[(&"a".repeat(1025), 0.0)]).unwrap_err().to_string().contains("at most 1024"));
    }
}
