//! WordPiece and word-level models: a word is the longest token it begins with, then the longest that goes on, and so on.
//!
//! A word that can't be written so is the unknown token as a whole. tokenizer.json marks the tokens that go on (`##ing`), GGUF
//! those that begin (`▁go`); both marks are data here.

use super::vocab::Indexed;
use super::{Encoder, Scratch};

/// A model of this kind.
#[derive(Debug)]
pub struct WordPiece {
    /// What the vocabulary writes before a token that begins a word.
    pub begins: String,
    /// What it writes before one that goes on.
    pub goes_on: String,
    /// A longer word is unknown.
    pub word_chars_max: usize,
    /// Stands for words that can't be written; without it they vanish.
    pub unknown: Option<u32>,
    /// The longest token.
    pub token_bytes_max: usize,
}

impl Encoder for WordPiece {
    fn encode(&self, vocab: &Indexed, piece: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
        if piece.chars().nth(self.word_chars_max).is_some() {
            return out.extend(self.unknown);
        }
        let n_before = out.len();
        let buffer = &mut scratch.bytes;
        let mut start = 0;
        while start < piece.len() {
            let mark = if start == 0 { &self.begins } else { &self.goes_on };
            buffer.clear();
            buffer.extend_from_slice(mark.as_bytes());
            buffer.extend_from_slice(&piece.as_bytes()[start..]);
            let longest = (piece.len() - start).min(self.token_bytes_max);
            let ends = (1..=longest).rev().filter(|n| piece.is_char_boundary(start + n));
            let found = ends.map(|n| (n, vocab.find(&buffer[..mark.len() + n])));
            let Some((n, id)) = found.filter_map(|(n, id)| Some((n, id?))).next() else {
                out.truncate(n_before);
                return out.extend(self.unknown);
            };
            out.push(id);
            start += n;
        }
    }
}

/// A model whose pieces are tokens or unknown.
#[derive(Debug)]
pub struct WordLevel {
    /// Stands for what is no token; without it that vanishes.
    pub unknown: Option<u32>,
}

impl Encoder for WordLevel {
    fn encode(&self, vocab: &Indexed, piece: &str, _: &mut Scratch, out: &mut Vec<u32>) {
        out.extend(vocab.find(piece.as_bytes()).or(self.unknown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_is_taken_or_none() {
        let vocab = Indexed::of(&["[UNK]", "un", "##aff", "##able", "##a", "##ff"]);
        let model = WordPiece {
            begins: String::new(),
            goes_on: "##".into(),
            word_chars_max: 10,
            unknown: Some(0),
            token_bytes_max: vocab.bytes_max(),
        };
        let ids = |text: &str| {
            let mut out = vec![7];
            model.encode(&vocab, text, &mut Scratch::default(), &mut out);
            out
        };
        assert_eq!(ids("unaffable"), [7, 1, 2, 3]);
        assert_eq!(ids("unaffé"), [7, 0]);
        assert_eq!(ids("unaffaffaff"), [7, 0]);
    }
}
