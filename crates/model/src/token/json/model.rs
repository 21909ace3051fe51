//! The vocabulary and the encoder of a tokenizer.json.

use std::borrow::Cow;
use std::sync::Arc;

use super::components::Components;
use super::read::{Entries, Merge, Model as ModelJson};
use crate::error::{Error, Result};
use crate::token::bpe::{Bpe, Start, byte_tokens};
use crate::token::byte_level::write_raw;
use crate::token::decode::{Decode, Decoder};
use crate::token::normalise::Normaliser;
use crate::token::pairs::{Pairs, Reader};
use crate::token::pretoken::Cut;
use crate::token::splitters::WholePieces;
use crate::token::spm::{Words, byte_of};
use crate::token::unigram::Unigram;
use crate::token::vocab::{Indexed, Kind, Vocab};
use crate::token::wordpiece::{WordLevel, WordPiece};
use crate::token::{Encoder, Tables};

const VOCAB: &str = "tokenizer.json: model.vocab";
const MERGES: &str = "tokenizer.json: model.merges";
/// Ids that no token has may be as many as those that one has, and so many more: some vocabularies are padded, none by more.
const HOLES_MAX: usize = 1 << 10;

/// The tokens by id, the model's and those added.
pub struct Tokens<'a> {
    pub entries: Vec<Entry<'a>>,
    pub n_in_model: usize,
    /// Of the model's tokens, where it has some.
    pub scores: Vec<f64>,
    n_max: usize,
}

/// What is known of a token. The default is a hole.
pub struct Entry<'a> {
    pub text: Cow<'a, str>,
    pub kind: Kind,
    /// Whether the model can give it.
    pub in_model: bool,
    /// What it is written as, where that is not `text`.
    pub shown: Option<String>,
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Self { text: Cow::Borrowed(""), kind: Kind::Unused, in_model: false, shown: None }
    }
}

impl<'a> Tokens<'a> {
    /// The model's tokens.
    pub fn read(model: &'a ModelJson) -> Result<Self> {
        let vocab = model.vocab.as_ref().ok_or_else(|| Error::missing(VOCAB, "the vocabulary"))?;
        let n = match vocab {
            Entries::Numbered(list) => list.len(),
            Entries::Scored(list) => list.len(),
        };
        let mut tokens =
            Self { entries: Vec::new(), n_in_model: n, scores: Vec::new(), n_max: 2 * n + HOLES_MAX };
        let mut place = |id: u64, text: &'a str| -> Result<()> {
            let entry = tokens.at(u32::try_from(id).unwrap_or(u32::MAX))?;
            if entry.in_model {
                let found = format!("id {id} for {:?} and {text:?}", entry.text);
                return Err(Error::malformed(VOCAB, found, "one token for an id"));
            }
            *entry = Entry { text: Cow::Borrowed(text), kind: Kind::Normal, in_model: true, shown: None };
            Ok(())
        };
        match vocab {
            Entries::Numbered(list) => list.iter().try_for_each(|(text, id)| place(*id, text))?,
            Entries::Scored(list) => (0..).zip(list).try_for_each(|(id, (text, _))| place(id, text))?,
        }
        if let Entries::Scored(list) = vocab {
            tokens.scores = list.iter().map(|&(_, score)| score).collect();
        }
        Ok(tokens)
    }

    /// The token with this id, a new one where there was none.
    ///
    /// # Errors
    /// [`Error::Malformed`] for an id that leaves most others without a token.
    pub fn at(&mut self, id: u32) -> Result<&mut Entry<'a>> {
        let at = id as usize;
        if at >= self.n_max {
            let found = format!("id {id} among {} tokens", self.n_in_model);
            return Err(Error::malformed(VOCAB, found, "ids with few holes between"));
        }
        if at >= self.entries.len() {
            self.entries.resize_with(at + 1, Entry::default);
        }
        Ok(&mut self.entries[at])
    }
}

/// A model with its stations, but for the added tokens.
pub struct Model {
    pub normalisers: Vec<Normaliser>,
    pub tables: Tables,
    pub decoder: Decoder,
    pub name: &'static str,
}

/// Builds the vocabulary and the encoder.
pub fn build(model: &ModelJson, mut tokens: Tokens, components: Components) -> Result<Model> {
    const TYPES: [&str; 4] = ["BPE", "Unigram", "WordPiece", "WordLevel"];
    let name = TYPES
        .into_iter()
        .find(|&name| name == model.kind())
        .ok_or_else(|| Error::unsupported("tokenizer.json: model", model.kind(), TYPES))?;
    let Components { normalisers, mut cuts, is_bytes, decoder } = components;
    let vocab = Arc::new(vocab(&tokens, is_bytes, &decoder)?);
    let vocab = Indexed::new(vocab, |id, _| tokens.entries[id as usize].in_model)?;
    let encoder: Box<dyn Encoder> = match name {
        "BPE" => Box::new(bpe(model, &vocab, is_bytes, unknown(model, &vocab, &tokens)?, &mut cuts)?),
        "Unigram" => {
            let mut scores = std::mem::take(&mut tokens.scores);
            if scores.len() != tokens.n_in_model {
                return Err(Error::malformed(VOCAB, "tokens without scores", "a score for each token"));
            }
            scores.resize(vocab.len(), 0.0);
            let in_model = |id: u32| tokens.entries[id as usize].in_model;
            let unknown = unknown(model, &vocab, &tokens)?;
            Box::new(Unigram::new(VOCAB, &vocab, scores, in_model, unknown, bytes(model, &vocab))?)
        }
        // These may name an unknown token they lack, as long as none is needed.
        "WordPiece" => Box::new(WordPiece {
            begins: String::new(),
            goes_on: model.continuing_subword_prefix.clone().unwrap_or_else(|| "##".into()),
            word_chars_max: model.max_input_chars_per_word.unwrap_or(100).try_into().unwrap_or(usize::MAX),
            unknown: unknown(model, &vocab, &tokens).unwrap_or_default(),
            token_bytes_max: vocab.bytes_max(),
        }),
        _ => Box::new(WordLevel { unknown: unknown(model, &vocab, &tokens).unwrap_or_default() }),
    };
    Ok(Model { normalisers, tables: Tables { vocab, cuts, encoder }, decoder, name })
}

/// The tokens as they are matched, and what they write.
fn vocab(tokens: &Tokens, is_bytes: bool, decoder: &Decoder) -> Result<Vocab> {
    let n_bytes = tokens.entries.iter().map(|entry| entry.text.len()).sum();
    let mut vocab = Vocab::with_capacity(VOCAB, tokens.entries.len(), n_bytes)?;
    let writes_bytes = decoder
        .chain
        .as_ref()
        .is_some_and(|chain| chain.iter().any(|step| matches!(step, Decode::ByteFallback)));
    for entry in &tokens.entries {
        let is_byte = writes_bytes && entry.kind == Kind::Normal && byte_of(&entry.text).is_some();
        let kind = if is_byte { Kind::Byte } else { entry.kind };
        vocab.push(kind, |out| {
            if is_bytes {
                write_raw(&entry.text, out);
            } else {
                out.extend_from_slice(entry.text.as_bytes());
            }
        });
    }
    let is_shown_otherwise = tokens.entries.iter().any(|entry| entry.shown.is_some());
    if decoder.chain.is_some() || is_shown_otherwise {
        vocab.render(|id, key, _, out| {
            let entry = &tokens.entries[id as usize];
            match (&decoder.chain, &entry.shown) {
                (Some(_), shown) => decoder.write(shown.as_deref().unwrap_or(&entry.text), false, out),
                (None, Some(shown)) if is_bytes => {
                    write_raw(shown, out);
                }
                (None, Some(shown)) => out.extend_from_slice(shown.as_bytes()),
                (None, None) => out.extend_from_slice(key),
            }
        })?;
    }
    Ok(vocab)
}

/// The token that the model names for what it can't write.
fn unknown(model: &ModelJson, vocab: &Indexed, tokens: &Tokens) -> Result<Option<u32>> {
    match (&model.unk_token, model.unk_id) {
        (Some(text), _) => vocab.find_any(text.as_bytes()).map(Some).ok_or_else(|| {
            let part = "tokenizer.json: model.unk_token";
            Error::malformed(part, format!("{text:?}"), "a token of the vocabulary")
        }),
        (None, Some(id)) if id < tokens.n_in_model as u64 => Ok(Some(id as u32)),
        (None, Some(id)) => {
            let expected = format!("an id below {}", tokens.n_in_model);
            Err(Error::malformed("tokenizer.json: model.unk_id", id, expected))
        }
        (None, None) => Ok(None),
    }
}

/// The tokens of bytes, for a model that writes with them what it has no token for.
fn bytes(model: &ModelJson, vocab: &Indexed) -> Option<Box<[u32; 256]>> {
    let token = |byte| vocab.find_any(format!("<0x{byte:02X}>").as_bytes());
    model.byte_fallback.unwrap_or(false).then(|| byte_tokens(token))
}

fn bpe(
    model: &ModelJson,
    vocab: &Indexed,
    is_bytes: bool,
    unknown: Option<u32>,
    cuts: &mut Vec<Cut>,
) -> Result<Bpe> {
    let prefix = model.continuing_subword_prefix.clone().unwrap_or_default();
    let suffix = model.end_of_word_suffix.clone().unwrap_or_default();
    let pairs = read_merges(model, vocab, is_bytes, &prefix)?;
    let whole_pieces = match model.ignore_merges {
        Some(true) => WholePieces::AreTokens,
        _ => WholePieces::AreMerged,
    };
    let is_plain = prefix.is_empty() && suffix.is_empty();
    let start = if is_bytes {
        Start::Bytes(byte_tokens(|byte| vocab.find(&[byte])))
    } else {
        if is_plain && whole_pieces == WholePieces::AreMerged {
            cuts.push(Cut::Apart(Box::new(Words::of(vocab, "▁"))));
        }
        Start::Characters { bytes: bytes(model, vocab), prefix, suffix, space: " " }
    };
    Ok(Bpe::new(vocab, start, pairs, whole_pieces, unknown, model.fuse_unk.unwrap_or(false)))
}

/// What a merge joins; `None` for a line that is none.
pub fn halves<'a>(line: &'a Merge<'_>, rank: usize) -> Result<Option<(&'a str, &'a str)>> {
    match line {
        // A file of merges begins so.
        Merge::Line(line) if line.starts_with("#version") => Ok(None),
        Merge::Line(line) => {
            let halves = line.split_once(' ').filter(|(_, right)| !right.contains(' '));
            halves.map(Some).ok_or_else(|| {
                let part = format!("{MERGES}: merge {rank}");
                Error::malformed(part, format!("{line:?}"), "two tokens with a space between")
            })
        }
        Merge::Pair(left, right) => Ok(Some((left, right))),
    }
}

fn read_merges(model: &ModelJson, vocab: &Indexed, is_bytes: bool, prefix: &str) -> Result<Pairs> {
    let lines = model.merges.as_ref().ok_or_else(|| Error::missing(MERGES, "a list of merges"))?;
    let mut merges = Reader::new(MERGES, vocab, prefix, lines.len())?;
    for line in lines {
        let rank = merges.n_read();
        let Some((left, right)) = halves(line, rank as usize)? else { continue };
        let (mut are_bytes, mut are_known) = (true, false);
        let is_made = merges.push(|both| {
            let mut write = |text: &str, both: &mut Vec<u8>| match is_bytes {
                true => are_bytes &= write_raw(text, both),
                false => both.extend_from_slice(text.as_bytes()),
            };
            write(left, both);
            let middle = both.len();
            write(right, both);
            are_known = [&both[..middle], &both[middle..]].iter().all(|part| vocab.find_any(part).is_some());
            Ok(middle)
        })?;
        if !(is_made && are_known) && are_bytes {
            return Err(Error::malformed(
                format!("{MERGES}: merge {rank}"),
                format!("{left:?} and {right:?}"),
                "two tokens of the vocabulary that make a third",
            ));
        }
    }
    Ok(merges.finish())
}
