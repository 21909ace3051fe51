//! SentencePiece BPE (`tokenizer.ggml.model` = `llama`): merge characters by score, write what has no token as bytes.
//!
//! SentencePiece writes a space as `▁` (U+2581), so that tokens hold no spaces. Here both sides go the other way: `▁`
//! becomes a space when tokens are loaded and when a text is read, and what a token writes is its text.
//!
//! Any two neighbours whose text together is a token may join, the one with the highest score first. A model has no
//! pre-tokenizer, but where no token continues past a word into the next one's space, none of the merges can, and the text
//! is cut there: the same tokens for less work.

use super::merge::{Join, NO_TOKEN, Scratch, Symbol, merge};
use super::vocab::{Kind, Vocab};
use super::{Encoder, Model, PIECE_BYTES_MAX, Tokens};
use crate::error::{Error, Result};
use crate::file::Contents;

/// The shelf's entry.
pub static LLAMA: Model = Model { name: "llama", load };

/// SentencePiece's space.
const SPACE: char = '▁';

#[derive(Debug)]
struct Spm {
    /// Per token, its place among the scores, best first.
    ranks: Vec<u32>,
    /// The token `<0xXX>` of each byte, or [`NO_TOKEN`].
    bytes: [u32; 256],
    unknown: Option<u32>,
    adds_space: bool,
    /// No token has a space after something else, so that words are independent.
    words_are_apart: bool,
    token_bytes_max: usize,
}

fn load(file: &Contents, tokens: &Tokens) -> Result<(Vocab, Box<dyn Encoder>)> {
    let scores = file.floats("tokenizer.ggml.scores")?.ok_or_else(|| {
        Error::malformed("metadata tokenizer.ggml.scores", "nothing", "a score for each token")
    })?;
    if scores.len() != tokens.len() {
        return Err(Error::malformed(
            "metadata tokenizer.ggml.scores",
            format!("{} scores", scores.len()),
            format!("{}, one for each token", tokens.len()),
        ));
    }

    let mut bytes = [NO_TOKEN; 256];
    let mut vocab = Vocab::with_capacity(tokens.len(), tokens.n_bytes())?;
    let mut token_bytes_max = 0;
    let mut words_are_apart = true;
    for (id, (text, kind)) in (0u32..).zip(tokens.iter()) {
        let text = text?;
        let byte = if tokens.have_kinds() && kind != Kind::Byte { None } else { byte_of(text) };
        if let Some(byte) = byte {
            if bytes[byte as usize] == NO_TOKEN {
                bytes[byte as usize] = id;
            }
            vocab.push(Kind::Byte, |arena| arena.push(byte));
            continue;
        }
        vocab.push(kind, |arena| match kind {
            Kind::Normal | Kind::Unused | Kind::Byte => write_spaces(text, arena),
            Kind::Control | Kind::Unknown | Kind::UserDefined => arena.extend_from_slice(text.as_bytes()),
        });
        if writes_text(kind) {
            let written = vocab.bytes(id);
            token_bytes_max = token_bytes_max.max(written.len());
            words_are_apart &= !written.windows(2).any(|pair| pair[0] != b' ' && pair[1] == b' ');
        }
    }
    vocab.index(writes_text)?;

    let ranks = scores.iter().map(|&score| rank_of(score)).collect();
    // SentencePiece's own default for the unknown token is 0.
    let unknown = match super::special_id(file, "unknown", vocab.len())? {
        Some(id) => Some(id),
        None => (vocab.len() > 0 && vocab.kind(0) == Kind::Unknown).then_some(0),
    };
    let adds_space = file.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    Ok((vocab, Box::new(Spm { ranks, bytes, unknown, adds_space, words_are_apart, token_bytes_max })))
}

fn writes_text(kind: Kind) -> bool {
    matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Unused)
}

/// Higher scores first: the float's order as an integer's, turned round. Zeros are one score.
fn rank_of(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !ascending
}

/// The byte that `<0xXX>` names.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    two.then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Appends `text` with `▁` as spaces.
fn write_spaces(text: &str, out: &mut Vec<u8>) {
    for (i, part) in text.split(SPACE).enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(part.as_bytes());
    }
}

impl Encoder for Spm {
    fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<u32>) {
        let mut spaced = Vec::with_capacity(text.len() + 1);
        if self.adds_space {
            spaced.push(b' ');
        }
        write_spaces(text, &mut spaced);
        let spaced = String::from_utf8(spaced).expect("a text with some characters replaced is a text");

        let mut symbols = Vec::new();
        let mut scratch = Scratch::default();
        let mut left = spaced.as_str();
        while !left.is_empty() {
            let (piece, rest) = left.split_at(self.piece_bytes(left));
            self.encode_piece(vocab, piece, &mut symbols, &mut scratch, out);
            left = rest;
        }
    }

    fn adds_space(&self) -> bool {
        self.adds_space
    }

    fn adds_bos(&self) -> bool {
        true
    }
}

impl Spm {
    /// Bytes up to where the next word's space begins, or as many as a piece may have.
    fn piece_bytes(&self, text: &str) -> usize {
        let longest = text.floor_char_boundary(PIECE_BYTES_MAX);
        if !self.words_are_apart {
            return longest;
        }
        let within = &text.as_bytes()[..longest];
        within.windows(2).position(|pair| pair[0] != b' ' && pair[1] == b' ').map_or(longest, |i| i + 1)
    }

    fn encode_piece(
        &self,
        vocab: &Vocab,
        piece: &str,
        symbols: &mut Vec<Symbol>,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) {
        let text = |start: u32, end: u32| &piece.as_bytes()[start as usize..end as usize];
        symbols.clear();
        symbols.extend(piece.char_indices().map(|(at, c)| {
            let (start, end) = (at as u32, (at + c.len_utf8()) as u32);
            Symbol { id: vocab.find(text(start, end)).unwrap_or(NO_TOKEN), start, end }
        }));
        merge(symbols, scratch, |a, b| {
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
    fn byte_tokens_are_recognised_by_their_name() {
        assert_eq!(byte_of("<0x0A>"), Some(10));
        assert_eq!(byte_of("<0xfg>"), None);
        assert_eq!(byte_of("<0x+A>"), None);
        assert_eq!(byte_of("<0x00A>"), None);
    }
}
