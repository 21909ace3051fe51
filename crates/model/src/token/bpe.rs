//! Byte-pair encoding: merge neighbours by rank, beginning with the bytes or the characters of a piece.
//!
//! Which neighbours may join is [`Pairs`]' business.
//!
//! A piece that is itself a token nearly always merges to that token. Whether it does is found once per token and
//! remembered, so that most of a text costs one search per piece.

use std::sync::atomic::{AtomicU8, Ordering};

use super::merge::{NO_TOKEN, Symbol, merge};
use super::pairs::Pairs;
use super::splitters::WholePieces;
use super::vocab::Indexed;
use super::{Encoder, Scratch};

/// A model of this kind.
#[derive(Debug)]
pub struct Bpe {
    start: Start,
    pairs: Pairs,
    whole_pieces: WholePieces,
    /// Per token, whether its own bytes merge to it: [`UNTRIED`], [`YES`] or [`NO`]. A cache; racing writers agree. Empty
    /// where a piece is not looked up as it stands.
    merges_to_itself: Vec<AtomicU8>,
    unknown: Option<u32>,
    /// Neighbours that are unknown become one.
    fuses_unknown: bool,
}

/// What merging starts from.
#[derive(Debug)]
pub enum Start {
    /// Bytes: the token of each, or [`NO_TOKEN`].
    Bytes(Box<[u32; 256]>),
    /// Characters.
    Characters {
        /// The tokens of bytes that write what has no token of its own, or [`NO_TOKEN`].
        bytes: Option<Box<[u32; 256]>>,
        /// What stands before every character but the first when it is looked up.
        prefix: String,
        /// What stands behind the last character when it is looked up.
        suffix: String,
        /// How the vocabulary writes a space, where that is not a space.
        space: &'static str,
    },
}

const UNTRIED: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

/// The token of each byte, as `name` writes bytes.
pub fn byte_tokens(find: impl Fn(u8) -> Option<u32>) -> Box<[u32; 256]> {
    Box::new(std::array::from_fn(|byte| find(byte as u8).unwrap_or(NO_TOKEN)))
}

impl Bpe {
    /// A model over the tokens of `vocab`. A byte or character without a token becomes `unknown`, or nothing.
    pub fn new(
        vocab: &Indexed,
        start: Start,
        pairs: Pairs,
        whole_pieces: WholePieces,
        unknown: Option<u32>,
        fuses_unknown: bool,
    ) -> Self {
        let as_it_stands = match &start {
            Start::Bytes(_) => true,
            Start::Characters { prefix, suffix, .. } => prefix.is_empty() && suffix.is_empty(),
        };
        let remembered = if as_it_stands { vocab.len() } else { 0 };
        let merges_to_itself = (0..remembered).map(|_| AtomicU8::new(UNTRIED)).collect();
        Self { start, pairs, whole_pieces, merges_to_itself, unknown, fuses_unknown }
    }

    /// What merging starts from in `piece`.
    fn symbols(&self, vocab: &Indexed, piece: &str, buffer: &mut Vec<u8>, symbols: &mut Vec<Symbol>) {
        symbols.clear();
        let mut last_is_unknown = false;
        let mut push = |id: u32, symbols: &mut Vec<Symbol>| {
            let is_unknown = id == NO_TOKEN;
            let id = if is_unknown { self.unknown } else { Some(id) };
            let Some(id) = id.filter(|_| !(is_unknown && last_is_unknown && self.fuses_unknown)) else {
                return;
            };
            last_is_unknown = is_unknown;
            let at = symbols.len() as u32;
            symbols.push(Symbol { id, start: at, end: at + 1 });
        };
        let (bytes, prefix, suffix, space) = match &self.start {
            Start::Bytes(bytes) => return piece.bytes().for_each(|byte| push(bytes[byte as usize], symbols)),
            Start::Characters { bytes, prefix, suffix, space } => (bytes, prefix, suffix, space),
        };
        for (at, c) in piece.char_indices() {
            let end = at + c.len_utf8();
            buffer.clear();
            if at > 0 {
                buffer.extend_from_slice(prefix.as_bytes());
            }
            buffer.extend_from_slice(&piece.as_bytes()[at..end]);
            if end == piece.len() {
                buffer.extend_from_slice(suffix.as_bytes());
            }
            if let Some(id) = vocab.find(buffer) {
                push(id, symbols);
                continue;
            }
            let written = if buffer == b" " { space.as_bytes() } else { &buffer[..] };
            match bytes {
                Some(bytes) if written.iter().all(|&byte| bytes[byte as usize] != NO_TOKEN) => {
                    written.iter().for_each(|&byte| push(bytes[byte as usize], symbols));
                }
                _ => push(NO_TOKEN, symbols),
            }
        }
    }
}

impl Encoder for Bpe {
    fn encode(&self, vocab: &Indexed, piece: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
        let whole = vocab.find(piece.as_bytes());
        let remembered = whole.and_then(|id| self.merges_to_itself.get(id as usize));
        if let Some(id) = whole
            && (self.whole_pieces == WholePieces::AreTokens
                || remembered.is_some_and(|answer| answer.load(Ordering::Relaxed) == YES))
        {
            return out.push(id);
        }
        let Scratch { symbols, merge: inner, bytes, .. } = scratch;
        self.symbols(vocab, piece, bytes, symbols);
        merge(symbols, inner, |a, b| self.pairs.join(vocab, a.id, b.id, bytes));
        if let (Some(id), Some(remembered)) = (whole, remembered) {
            let answer =
                if matches!(symbols[..], [Symbol { id: only, .. }] if only == id) { YES } else { NO };
            remembered.store(answer, Ordering::Relaxed);
        }
        out.extend(symbols.iter().map(|symbol| symbol.id));
    }
}
