//! Byte-level BPE (`tokenizer.ggml.model` = `gpt2`): cut into pieces, then merge bytes by rank.
//!
//! Files write every byte as a printable character (GPT-2's table: a space is `Ġ`); here tokens and merges become raw
//! bytes when they are loaded, and text is never translated. Merges are a flat table from the ids of two neighbours to the
//! rank of their merge and the id it makes.
//!
//! A piece that is itself a token nearly always merges to that token. Whether it does is found once per token and
//! remembered, so that most of a text costs one search per piece.

use std::sync::atomic::{AtomicU8, Ordering};

use super::merge::{Join, NO_TOKEN, Scratch, Symbol, merge};
use super::splitters::{self, Splitter, WholePieces, split};
use super::table::{Table, VALUES_MAX, mix};
use super::vocab::{Kind, Vocab};
use super::{Encoder, Model, PIECE_BYTES_MAX, Tokens};
use crate::error::{Error, Result};
use crate::file::Contents;

/// The shelf's entry.
pub static GPT2: Model = Model { name: "gpt2", load };

#[derive(Debug)]
struct Bpe {
    splitter: &'static Splitter,
    /// The token of each byte, or [`NO_TOKEN`].
    bytes: [u32; 256],
    merges: Merges,
    /// Per token, whether its own bytes merge to it: [`UNTRIED`], [`YES`] or [`NO`]. A cache; racing writers agree.
    merges_to_itself: Vec<AtomicU8>,
    unknown: Option<u32>,
}

const UNTRIED: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

fn load(file: &Contents, tokens: &Tokens) -> Result<(Vocab, Box<dyn Encoder>)> {
    // Files older than the key mean llama.cpp's default.
    let name = file.str("tokenizer.ggml.pre")?.unwrap_or("default");
    let splitter = splitters::by_name(name)
        .ok_or_else(|| Error::unsupported("metadata tokenizer.ggml.pre", name, splitters::names()))?;

    let raw = raw_bytes();
    let mut vocab = Vocab::with_capacity(tokens.len(), tokens.n_bytes())?;
    for (text, kind) in tokens.iter() {
        let text = text?;
        vocab.push(kind, |arena| match kind {
            Kind::Control | Kind::UserDefined | Kind::Unknown => arena.extend_from_slice(text.as_bytes()),
            Kind::Normal | Kind::Unused | Kind::Byte => write_raw(text, &raw, arena),
        });
    }
    vocab.index(|kind| matches!(kind, Kind::Normal | Kind::Unused | Kind::Byte))?;

    let merges = Merges::load(file, &vocab, &raw)?;
    let bytes = std::array::from_fn(|byte| vocab.find(&[byte as u8]).unwrap_or(NO_TOKEN));
    let merges_to_itself = (0..vocab.len()).map(|_| AtomicU8::new(UNTRIED)).collect();
    let unknown = super::special_id(file, "unknown", vocab.len())?;
    Ok((vocab, Box::new(Bpe { splitter, bytes, merges, merges_to_itself, unknown })))
}

impl Encoder for Bpe {
    fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<u32>) {
        let mut symbols = Vec::new();
        let mut scratch = Scratch::default();
        split(self.splitter.stages, text, &mut |piece| {
            for part in piece.as_bytes().chunks(PIECE_BYTES_MAX) {
                self.encode_piece(vocab, part, &mut symbols, &mut scratch, out);
            }
        });
    }

    fn adds_bos(&self) -> bool {
        self.splitter.adds_bos
    }
}

impl Bpe {
    fn encode_piece(
        &self,
        vocab: &Vocab,
        piece: &[u8],
        symbols: &mut Vec<Symbol>,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) {
        let whole = vocab.find(piece);
        if let Some(id) = whole
            && (self.splitter.whole_pieces == WholePieces::AreTokens
                || self.merges_to_itself[id as usize].load(Ordering::Relaxed) == YES)
        {
            return out.push(id);
        }
        symbols.clear();
        symbols.extend((0u32..).zip(piece).map(|(start, &byte)| Symbol {
            id: self.bytes[byte as usize],
            start,
            end: start + 1,
        }));
        merge(symbols, scratch, |a, b| self.merges.find(a.id, b.id));
        if let Some(id) = whole {
            let answer =
                if matches!(symbols[..], [Symbol { id: only, .. }] if only == id) { YES } else { NO };
            self.merges_to_itself[id as usize].store(answer, Ordering::Relaxed);
        }
        for symbol in &*symbols {
            // A byte that the vocabulary can't write leaves the unknown token, or nothing where there is none.
            out.extend(if symbol.id == NO_TOKEN { self.unknown } else { Some(symbol.id) });
        }
    }
}

/// The ids of two neighbours to the rank of their merge and the id it makes.
#[derive(Debug)]
struct Merges {
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
    fn load(file: &Contents, vocab: &Vocab, raw: &[Option<u8>; RAW_CODES]) -> Result<Self> {
        const KEY: &str = "metadata tokenizer.ggml.merges";
        let lines = file
            .strings("tokenizer.ggml.merges")?
            .ok_or_else(|| Error::malformed(KEY, "nothing", "the merges of a gpt2 tokenizer"))?;
        let n = lines.len();
        if n > VALUES_MAX {
            return Err(Error::malformed(KEY, format!("{n} merges"), format!("at most {VALUES_MAX}")));
        }
        let mut merges = Vec::with_capacity(n);
        let mut index = Table::with_room_for(n);
        let mut both = Vec::new();
        let mut made = 0;
        for (rank, line) in (0u32..).zip(lines) {
            let text = std::str::from_utf8(line)
                .map_err(|_| Error::malformed(format!("{KEY}: merge {rank}"), "invalid UTF-8", "UTF-8"))?;
            // The separator is the first space that does not begin the line.
            let space = line.iter().skip(1).position(|&b| b == b' ').map(|i| i + 1);
            let Some((left, right)) = space.map(|at| (&text[..at], &text[at + 1..])) else {
                return Err(Error::malformed(
                    format!("{KEY}: merge {rank}"),
                    format!("{text:?}"),
                    "two tokens with a space between",
                ));
            };
            both.clear();
            write_raw(left, raw, &mut both);
            let middle = both.len();
            write_raw(right, raw, &mut both);
            // Files list merges in the order of the tokens they make, some of them several times in a row.
            let guess = [made, made + 1].into_iter().find(|&id| vocab.is_text(id, &both));
            let ids = (
                guess.or_else(|| vocab.find(&both)),
                vocab.find(&both[..middle]),
                vocab.find(&both[middle..]),
            );
            let (Some(id), Some(left), Some(right)) = ids else {
                // A merge of, or to, what is no token can never apply.
                merges.push(Merge { left: NO_TOKEN, right: NO_TOKEN, made: NO_TOKEN });
                continue;
            };
            made = id;
            merges.push(Merge { left, right, made });
            // Of two merges of the same pair the first counts.
            let same =
                |other: u32| (merges[other as usize].left, merges[other as usize].right) == (left, right);
            index
                .insert(pair_hash(left, right), rank, same)
                .map_err(|_| Error::malformed(KEY, "merges made to collide", "a real tokenizer's"))?;
        }
        Ok(Self { merges, index })
    }

    fn find(&self, left: u32, right: u32) -> Option<Join> {
        if left == NO_TOKEN || right == NO_TOKEN {
            return None;
        }
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

/// GPT-2 writes a byte as the character of the same number where that one is printable, and the 68 others, in order, as the
/// characters from U+0100 on.
const RAW_CODES: usize = 0x144;

/// The byte that each character below [`RAW_CODES`] stands for.
fn raw_bytes() -> [Option<u8>; RAW_CODES] {
    let mut table = [None; RAW_CODES];
    let mut next = 0x100;
    for byte in 0..=255u8 {
        let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        let code = if printable { byte as usize } else { next };
        next += usize::from(!printable);
        table[code] = Some(byte);
    }
    table
}

/// Appends the bytes that `text` stands for. A character outside the table stands for itself.
fn write_raw(text: &str, raw: &[Option<u8>; RAW_CODES], out: &mut Vec<u8>) {
    for c in text.chars() {
        match raw.get(c as usize).copied().flatten() {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let mut bytes: Vec<u8> = raw_bytes().into_iter().flatten().collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        let mut out = Vec::new();
        write_raw("ĠĊaÃ©｜", &raw_bytes(), &mut out);
        assert_eq!(out, " \naé｜".as_bytes());
    }
}
