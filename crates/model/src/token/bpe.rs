//! Byte-pair encoding: merge neighbours by rank, beginning with the bytes or the characters of a piece.
//!
//! Merges are a flat table from the ids of two neighbours to the rank of their merge and the id it makes.
//!
//! A piece that is itself a token nearly always merges to that token. Whether it does is found once per token and
//! remembered, so that most of a text costs one search per piece.

use std::sync::atomic::{AtomicU8, Ordering};

use super::merge::{Join, NO_TOKEN, Symbol, merge};
use super::splitters::WholePieces;
use super::table::{Table, VALUES_MAX, mix};
use super::vocab::Vocab;
use super::{Encoder, Scratch};
use crate::error::{Error, Result};

/// A model of this kind.
#[derive(Debug)]
pub struct Bpe {
    start: Start,
    merges: Merges,
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
        vocab: &Vocab,
        start: Start,
        merges: Merges,
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
        Self { start, merges, whole_pieces, merges_to_itself, unknown, fuses_unknown }
    }

    /// What merging starts from in `piece`.
    fn symbols(&self, vocab: &Vocab, piece: &str, buffer: &mut Vec<u8>, symbols: &mut Vec<Symbol>) {
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
    fn encode(&self, vocab: &Vocab, piece: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
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
        merge(symbols, inner, |a, b| self.merges.find(a.id, b.id));
        if let (Some(id), Some(remembered)) = (whole, remembered) {
            let answer =
                if matches!(symbols[..], [Symbol { id: only, .. }] if only == id) { YES } else { NO };
            remembered.store(answer, Ordering::Relaxed);
        }
        out.extend(symbols.iter().map(|symbol| symbol.id));
    }
}

/// The ids of two neighbours to the rank of their merge and the id it makes.
#[derive(Debug)]
pub struct Merges {
    /// What errors call them.
    part: &'static str,
    /// By rank; two of [`NO_TOKEN`] where a merge can't apply.
    merges: Vec<Merge>,
    /// Ranks by both ids.
    index: Table,
}

#[derive(Debug, Clone, Copy)]
struct Merge {
    left: u32,
    right: u32,
    made: u32,
}

impl Merges {
    /// None yet, with room for `n`, called `part` in errors.
    pub fn with_capacity(part: &'static str, n: usize) -> Result<Self> {
        if n > VALUES_MAX {
            return Err(Error::malformed(part, format!("{n} merges"), format!("at most {VALUES_MAX}")));
        }
        Ok(Self { part, merges: Vec::with_capacity(n), index: Table::with_room_for(n) })
    }

    /// Number of merges.
    pub fn len(&self) -> usize {
        self.merges.len()
    }

    /// Adds the next rank: `both` is what the merge makes, which may leave something out between `left` and `right`. What is
    /// not in the vocabulary can't be merged; the answer is whether all three are.
    ///
    /// # Errors
    /// [`Error::Malformed`] for pairs made to collide.
    pub fn push(&mut self, vocab: &Vocab, left: &[u8], right: &[u8], both: &[u8]) -> Result<bool> {
        // Files list merges in the order of the tokens they make, some of them several times in a row.
        let last = self.merges.last().map_or(0, |merge| merge.made);
        let guess = [last, last.wrapping_add(1)].into_iter().find(|&id| vocab.is_text(id, both));
        let found = (guess.or_else(|| vocab.find_any(both)), vocab.find_any(left), vocab.find_any(right));
        let (Some(made), Some(left), Some(right)) = found else {
            self.merges.push(Merge { left: NO_TOKEN, right: NO_TOKEN, made: NO_TOKEN });
            return Ok(false);
        };
        let rank = self.merges.len() as u32;
        self.merges.push(Merge { left, right, made });
        // Of two merges of the same pair the first counts.
        let merges = &self.merges;
        let same = |other: u32| (merges[other as usize].left, merges[other as usize].right) == (left, right);
        self.index
            .insert(pair_hash(left, right), rank, same)
            .map_err(|_| Error::malformed(self.part, "merges made to collide", "a real tokenizer's"))?;
        Ok(true)
    }

    fn find(&self, left: u32, right: u32) -> Option<Join> {
        let merge = |rank: u32| &self.merges[rank as usize];
        let rank = self
            .index
            .find(pair_hash(left, right), |rank| (merge(rank).left, merge(rank).right) == (left, right))?;
        Some(Join { rank, id: merge(rank).made })
    }
}

fn pair_hash(left: u32, right: u32) -> u64 {
    mix(u64::from(left) << 32 | u64::from(right))
}
