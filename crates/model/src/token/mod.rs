//! Text to token ids and back, from a GGUF file's metadata or a tokenizer.json.
//!
//! Every tokenizer is the same line of stations, in the order of [`Tokenizer::encode`]: `added` finds special tokens in the
//! text, `normalise` rewrites the stretches between, `pretoken` cuts them into pieces (by the patterns on the shelf of
//! `splitters`), and an encoder turns pieces into ids: `bpe`, `spm`, `unigram`, `wordpiece` or `wordlevel`. `vocab` holds the
//! tokens; `decode` says what each of them writes and `detokenize` puts that together. `gguf` and `json` only choose and fill
//! the stations. Nothing here adds BOS or EOS by itself: [`Tokenizer::before`] and [`Tokenizer::after`] say what the model
//! wants, the caller does it.
//!
//! A vocabulary of 150,000 tokens and as many merges takes longer to be ready for encoding than anything else between a path
//! and the first token, and decoding or showing a model needs none of it. So opening one reads what tokens are and write; the
//! index, the merges and the patterns (`Tables`) are made by the first [`Tokenizer::encode`], which is where a fault in them
//! is reported.
//!
//! The yardstick is the tokenizers library and the published patterns, not other engines' rewriting of them: where those
//! differ, ids here are the library's.

mod added;
mod bpe;
mod byte_level;
mod categories;
mod charsmap;
mod decode;
mod detokenize;
mod gguf;
mod json;
mod merge;
mod normalise;
mod pairs;
mod pattern;
mod pretoken;
mod roles;
mod rwkv;
pub mod splitters;
mod spm;
mod table;
mod unigram;
mod vocab;
mod wordpiece;

pub use detokenize::{Detokenizer, Place, Render};
pub use gguf::{MODELS, Model};
pub use json::export::Written;
pub use roles::Role;
pub use vocab::Kind;

use std::sync::{Arc, LazyLock};

use crate::error::Result;
use crate::file::Contents;
use added::{Added, Part, Which};
use decode::Decoder;
use normalise::Normaliser;
use pretoken::Cut;
use roles::Roles;
use vocab::{Indexed, Vocab};

/// A piece without a cut is at most this long; a longer one is cut here, which bounds memory and changes ids only for
/// megabytes of text without a space.
const PIECE_BYTES_MAX: usize = 4 << 20;

/// Turns a piece of text into ids.
trait Encoder: Send + Sync + std::fmt::Debug {
    /// Appends the ids of `piece`, which is not empty.
    fn encode(&self, vocab: &Indexed, piece: &str, scratch: &mut Scratch, out: &mut Vec<u32>);
}

/// What encoders need while they work, kept between pieces so that none of them allocates.
#[derive(Debug, Default)]
struct Scratch {
    symbols: Vec<merge::Symbol>,
    merge: merge::Scratch,
    paths: Vec<unigram::Step>,
    bytes: Vec<u8>,
}

/// The stations of a tokenizer, as a loader filled them.
#[derive(Debug)]
struct Stations {
    /// Tokens found in the text as it is written.
    added: Added,
    normalisers: Vec<Normaliser>,
    /// Tokens found in the normalised text.
    added_normalised: Added,
    /// The stations that only encoding passes, made when it first does.
    tables: LazyLock<Result<Tables>, MakeTables>,
    decoder: Decoder,
}

/// From pieces to ids.
#[derive(Debug)]
struct Tables {
    vocab: Indexed,
    cuts: Vec<Cut>,
    encoder: Box<dyn Encoder>,
}

type MakeTables = Box<dyn FnOnce() -> Result<Tables> + Send>;

/// What special tokens written in a text are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parse {
    /// Tokens: `<|im_end|>` is one id. For prompts that a template made.
    Special,
    /// Text like any other, so that what a user writes can't become structure. User-defined tokens still match.
    Text,
}

/// A vocabulary and how text becomes ids of it. Shared freely between threads.
#[derive(Debug)]
pub struct Tokenizer {
    model: &'static str,
    pre: Option<String>,
    vocab: Arc<Vocab>,
    stations: Stations,
    roles: Roles,
    /// Sorted ids that end generation.
    ending: Vec<u32>,
    before: Vec<u32>,
    between: Vec<u32>,
    after: Vec<u32>,
}

impl Tokenizer {
    /// Reads `tokenizer.ggml.*`. Needs no tensors: vocabulary-only files do.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a tokenizer model or pre-tokenizer that is not on its shelf;
    /// [`Error::Malformed`](crate::Error::Malformed) when a key is missing, has the wrong type or length, or a token is not
    /// UTF-8. What is wrong with merges and scores, [`Self::encode`] says.
    pub fn from_gguf(file: &Contents) -> Result<Self> {
        gguf::load(file)
    }

    /// Reads a tokenizer.json, and the tokenizer_config.json beside it where there is one: it names the special tokens.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a component that this build does not have;
    /// [`Error::Malformed`](crate::Error::Malformed) when a file is not JSON or not what its format says.
    pub fn from_json(tokenizer: &[u8], config: Option<&[u8]>) -> Result<Self> {
        json::load(tokenizer, config)
    }

    /// The keys `tokenizer.ggml.*` of a GGUF file for the vocabulary of a tokenizer.json and the tokenizer_config.json beside
    /// it; `ending` are ids that end an answer besides those the two say, `n_rows` is the height of the embedding.
    ///
    /// # Errors
    /// Those of [`Self::from_json`]; [`Error::Unsupported`](crate::Error::Unsupported) for a tokenizer of a make that GGUF has
    /// no name for.
    pub fn gguf_keys(
        tokenizer: &[u8],
        config: Option<&[u8]>,
        ending: &[u32],
        n_rows: usize,
    ) -> Result<Written> {
        json::export::keys(tokenizer, config, ending, n_rows)
    }

    /// Appends the ids of `text`, never adding BOS or EOS. The first call makes the tables that this needs: some tens of
    /// milliseconds for 150,000 tokens.
    ///
    /// # Errors
    /// Where the vocabulary can't be encoded with, whatever the text:
    /// [`Error::Malformed`](crate::Error::Malformed) for merges that are no merges, scores that are no numbers, tokens made to
    /// collide.
    pub fn encode(&self, text: &str, parse: Parse, out: &mut Vec<u32>) -> Result<()> {
        let tables = self.stations.tables.as_ref().map_err(Clone::clone)?;
        let which = match parse {
            Parse::Special => Which::All,
            Parse::Text => Which::Text,
        };
        let mut scratch = Scratch::default();
        self.stations.added.split(text, which, |part| match part {
            Part::Token(id) => out.push(id),
            Part::Text(stretch, at) => {
                self.stations.encode_stretch(tables, stretch, at == 0, which, &mut scratch, out);
            }
        });
        Ok(())
    }

    /// The text of `ids` taken as a whole.
    pub fn decode(&self, ids: &[u32], render: Render) -> String {
        let mut out = String::new();
        let mut detokenizer = Detokenizer::new(render, Place::Start);
        ids.iter().for_each(|&id| detokenizer.push(self, id, &mut out));
        detokenizer.flush(&mut out);
        out
    }

    /// The bytes that token `id` adds to a text, not always whole characters; none for control and unknown tokens. `None`
    /// outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        Some(match self.kind(id)? {
            Kind::Control | Kind::Unknown => &[],
            Kind::Normal | Kind::UserDefined | Kind::Unused | Kind::Byte => self.vocab.text(id),
        })
    }

    /// [`Self::token_bytes`], with the names of control and unknown tokens.
    pub fn token_name(&self, id: u32) -> Option<&[u8]> {
        self.kind(id).map(|_| self.vocab.text(id))
    }

    /// What kind of token `id` is; `None` outside the vocabulary.
    pub fn kind(&self, id: u32) -> Option<Kind> {
        ((id as usize) < self.vocab.len()).then(|| self.vocab.kind(id))
    }

    /// The token that writes exactly `text` (a space, not `▁` or `Ġ`) or is called so (`<|im_end|>`). It is looked up in the
    /// tables of [`Self::encode`]; where that fails, only special tokens have an answer.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        let Stations { added, added_normalised, tables, .. } = &self.stations;
        let added = added.find(text).or_else(|| added_normalised.find(text));
        added.or_else(|| tables.as_ref().ok()?.vocab.find(text.as_bytes()))
    }

    /// Number of tokens.
    pub fn n_vocab(&self) -> usize {
        self.vocab.len()
    }

    /// The token of `role`.
    pub fn special(&self, role: Role) -> Option<u32> {
        self.roles[role as usize]
    }

    /// Begin of sequence.
    pub fn bos(&self) -> Option<u32> {
        self.special(Role::Bos)
    }

    /// End of sequence.
    pub fn eos(&self) -> Option<u32> {
        self.special(Role::Eos)
    }

    /// End of turn.
    pub fn eot(&self) -> Option<u32> {
        self.special(Role::Eot)
    }

    /// Padding.
    pub fn pad(&self) -> Option<u32> {
        self.special(Role::Pad)
    }

    /// What the model wants before a text: nothing, BOS, or several tokens.
    pub fn before(&self) -> &[u32] {
        &self.before
    }

    /// What the model wants between two texts that it reads as a pair, [`Self::before`] the first and [`Self::after`] the second.
    pub fn between(&self) -> &[u32] {
        &self.between
    }

    /// What the model wants after a text: nothing, EOS, a separator.
    pub fn after(&self) -> &[u32] {
        &self.after
    }

    /// Whether the model wants BOS before a text.
    pub fn adds_bos(&self) -> bool {
        self.bos().is_some_and(|bos| self.before.first() == Some(&bos))
    }

    /// Whether the model wants EOS after a text.
    pub fn adds_eos(&self) -> bool {
        self.eos().is_some_and(|eos| self.after.last() == Some(&eos))
    }

    /// Whether generation ends with `id`.
    pub fn is_eog(&self, id: u32) -> bool {
        self.ending.binary_search(&id).is_ok()
    }

    /// The ids that end generation, ascending.
    pub fn ending(&self) -> &[u32] {
        &self.ending
    }

    /// Makes `ids` end generation too: what generation_config.json lists. Ids outside the vocabulary are left out.
    pub fn end_with(&mut self, ids: &[u32]) {
        self.ending.extend(ids.iter().filter(|&&id| (id as usize) < self.vocab.len()));
        self.ending.sort_unstable();
        self.ending.dedup();
    }

    /// `tokenizer.ggml.model`, or the name of the model in tokenizer.json.
    pub fn model_name(&self) -> &'static str {
        self.model
    }

    /// `tokenizer.ggml.pre`, as the file has it.
    pub fn pre_name(&self) -> Option<&str> {
        self.pre.as_deref()
    }

    fn decoder(&self) -> &Decoder {
        &self.stations.decoder
    }

    /// What token `id` writes at the beginning of a text, for decoders to which that makes a difference.
    fn first_bytes(&self, id: u32) -> Vec<u8> {
        let mut out = Vec::new();
        self.decoder().write(&String::from_utf8_lossy(self.vocab.bytes(id)), true, &mut out);
        out
    }
}

impl Stations {
    /// What stands between two special tokens; `is_first` at the text's beginning.
    fn encode_stretch(
        &self,
        tables: &Tables,
        stretch: &str,
        is_first: bool,
        which: Which,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) {
        let mut is_first = is_first;
        let text = normalise::apply_from(&self.normalisers, stretch, &mut is_first);
        self.added_normalised.split(&text, which, |part| match part {
            Part::Token(id) => out.push(id),
            Part::Text(text, at) => {
                pretoken::cut(&tables.cuts, text, is_first && at == 0, &mut |piece| {
                    let mut left = piece;
                    while !left.is_empty() {
                        let (part, rest) = left.split_at(left.floor_char_boundary(PIECE_BYTES_MAX));
                        tables.encoder.encode(&tables.vocab, part, scratch, out);
                        left = rest;
                    }
                });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokenizer_is_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Tokenizer>();
    }
}
