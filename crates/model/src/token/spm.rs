//! SentencePiece BPE (`tokenizer.ggml.model` = `llama`): merge characters by score, write what has no token as bytes.
//!
//! SentencePiece writes a space as `▁` (U+2581), so that tokens hold no spaces. Here both sides go the other way: `▁`
//! becomes a space when tokens are loaded and when a text is read, and what a token writes is its text.
//!
//! Any two neighbours whose text together is a token may join, the one with the highest score first. A model has no
//! pre-tokenizer, but where no token goes on, no merge can, and the text is cut there: the same tokens for less work.

use super::merge::{Join, NO_TOKEN, Symbol, merge};
use super::vocab::{Indexed, Kind};
use super::{Encoder, Scratch};

/// SentencePiece's space.
pub const SPACE: char = '▁';

/// A model of this kind.
#[derive(Debug)]
pub struct Spm {
    /// Per token, its place among the scores, best first.
    ranks: Vec<u32>,
    /// The token `<0xXX>` of each byte, or [`NO_TOKEN`].
    bytes: Box<[u32; 256]>,
    unknown: Option<u32>,
    words: Words,
    token_bytes_max: usize,
}

impl Spm {
    /// A model over the tokens of `vocab`, which write spaces as such, with a score for each.
    pub fn new(vocab: &Indexed, scores: &[f32], bytes: Box<[u32; 256]>, unknown: Option<u32>) -> Self {
        let ranks = scores.iter().map(|&score| rank_of(score)).collect();
        Self { ranks, bytes, unknown, words: Words::of(vocab, " "), token_bytes_max: vocab.bytes_max() }
    }
}

/// Where a text may be cut without changing what merges: where no token goes on.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// What begins words.
    mark: &'static str,
    /// The bytes after which some token has `mark`, so that no word begins there.
    joins: [bool; 256],
    /// No token has a newline beside something else.
    newlines_are_apart: bool,
}

impl Words {
    /// What holds for `vocab`, whose tokens begin words with `mark`.
    pub fn of(vocab: &Indexed, mark: &'static str) -> Self {
        // What is no token itself could be unknown together with its neighbour.
        let is_token = |text: &str| vocab.find(text.as_bytes()).is_some();
        let (mut joins, mut newlines_are_apart) = ([!is_token(mark); 256], is_token("\n"));
        for id in (0..vocab.len() as u32).filter(|&id| writes_text(vocab.kind(id))) {
            let token = vocab.bytes(id);
            for at in 1..token.len() {
                joins[token[at - 1] as usize] |= begins(token, at, mark.as_bytes());
                newlines_are_apart &= (token[at - 1] == b'\n') == (token[at] == b'\n');
            }
        }
        Self { mark, joins, newlines_are_apart }
    }

    /// Bytes up to where the next word begins.
    pub fn first(&self, text: &str) -> usize {
        let text = text.as_bytes();
        let is_border = |&at: &usize| {
            begins(text, at, self.mark.as_bytes()) && !self.joins[text[at - 1] as usize]
                || self.newlines_are_apart && (text[at - 1] == b'\n') != (text[at] == b'\n')
        };
        (1..text.len()).find(is_border).unwrap_or(text.len())
    }
}

/// Whether `mark` stands at byte `at` of `text` and not before it.
fn begins(text: &[u8], at: usize, mark: &[u8]) -> bool {
    text[at] == mark[0] && text[at..].starts_with(mark) && !text[..at].ends_with(mark)
}

/// Whether tokens of this kind are found in a text by merging.
pub fn writes_text(kind: Kind) -> bool {
    matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Unused)
}

/// Higher scores first: the float's order as an integer's, turned round. Zeros are one score.
fn rank_of(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !ascending
}

/// The byte that `<0xXX>` names.
pub fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    two.then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Appends `text` with `▁` as spaces. Runs over every token and merge of a vocabulary, where it may not be known to be UTF-8.
pub fn write_spaces(text: &[u8], out: &mut Vec<u8>) {
    const MARK: &[u8] = "▁".as_bytes();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == MARK[0]) {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        rest = match from.strip_prefix(MARK) {
            Some(after) => {
                out.push(b' ');
                after
            }
            None => {
                out.push(MARK[0]);
                &from[1..]
            }
        };
    }
    out.extend_from_slice(rest);
}

impl Encoder for Spm {
    fn encode(&self, vocab: &Indexed, piece: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
        let mut left = piece;
        while !left.is_empty() {
            let (word, rest) = left.split_at(self.words.first(left));
            self.encode_word(vocab, word, scratch, out);
            left = rest;
        }
    }
}

impl Spm {
    fn encode_word(&self, vocab: &Indexed, word: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
        let Scratch { symbols, merge: inner, .. } = scratch;
        let text = |start: u32, end: u32| &word.as_bytes()[start as usize..end as usize];
        symbols.clear();
        symbols.extend(word.char_indices().map(|(at, c)| {
            let (start, end) = (at as u32, (at + c.len_utf8()) as u32);
            Symbol { id: vocab.find(text(start, end)).unwrap_or(NO_TOKEN), start, end }
        }));
        merge(symbols, inner, |a, b| {
            if (b.end - a.start) as usize > self.token_bytes_max {
                return None;
            }
            vocab.find(text(a.start, b.end)).map(|id| Join { rank: self.ranks[id as usize], id })
        });
        for symbol in &*symbols {
            match text(symbol.start, symbol.end) {
                _ if symbol.id != NO_TOKEN => out.push(symbol.id),
                b" " => self.encode_bytes(SPACE.encode_utf8(&mut [0; 4]).as_bytes(), out),
                other => self.encode_bytes(other, out),
            }
        }
    }

    /// A character without a token: its bytes' tokens, or else the unknown token once.
    fn encode_bytes(&self, bytes: &[u8], out: &mut Vec<u32>) {
        let ids = bytes.iter().map(|&b| self.bytes[b as usize]);
        if ids.clone().all(|id| id != NO_TOKEN) { out.extend(ids) } else { out.extend(self.unknown) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_scores_rank_first() {
        let scores = [f32::INFINITY, 3.5, 0.0, -0.5, -1.0, -1000.0, f32::NEG_INFINITY];
        assert!(scores.windows(2).all(|w| rank_of(w[0]) < rank_of(w[1])));
        assert_eq!(rank_of(0.0), rank_of(-0.0));
    }

    #[test]
    fn marks_become_spaces_and_what_begins_like_one_stays() {
        let written = |text: &[u8]| {
            let mut out = Vec::new();
            write_spaces(text, &mut out);
            out
        };
        assert_eq!(written("▁a▁▁—–▁".as_bytes()), " a  —– ".as_bytes());
        assert_eq!(written(b"\xe2\x96 \x81\xe2"), b"\xe2\x96 \x81\xe2");
    }

    #[test]
    fn byte_tokens_are_recognised_by_their_name() {
        assert_eq!(byte_of("<0x0A>"), Some(10));
        assert_eq!(byte_of("<0xfg>"), None);
        assert_eq!(byte_of("<0x+A>"), None);
        assert_eq!(byte_of("<0x00A>"), None);
    }
}
