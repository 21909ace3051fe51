//! Tokenizers from the metadata of a GGUF file (`tokenizer.ggml.*`): which stations each kind of model has.
//!
//! A kind reads its tokens at once and returns what makes the rest: merges and patterns wait, as windows into the file, until
//! a text is encoded.

mod bpe;

use std::sync::{Arc, LazyLock};

use super::added::{Added, AddedToken};
use super::bpe::byte_tokens;
use super::charsmap::Charsmap;
use super::decode::{Decode, Decoder};
use super::merge::NO_TOKEN;
use super::normalise::{self, Normaliser};
use super::pretoken::{Behaviour, Cut, Prepend, Test};
use super::roles::{self, Role, find_roles};
use super::rwkv::{Rwkv, write_unescaped};
use super::spm::{self, SPACE, Spm, byte_of, write_spaces};
use super::unigram::Unigram;
use super::vocab::{Indexed, Kind, Vocab};
use super::wordpiece::WordPiece;
use super::{Encoder, Stations, Tables, Tokenizer};
use crate::error::{Error, Result};
use crate::file::Contents;
use crate::file::value::Strings;

const TOKENS: &str = "metadata tokenizer.ggml.tokens";
const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
/// Whether text is brought to Unicode's form NFC first: a key of ours, which other programs pass over.
pub const NFC: &str = "tokenizer.ggml.normalizer.nfc";
/// Which texts get a space where they do not begin with one, as [`SCHEMES`] has it, instead of all: a key of ours too.
pub const SPACE_PREFIX: &str = "tokenizer.ggml.space_prefix";
/// The whole text, or every stretch between special tokens.
pub const SCHEMES: [(&str, Prepend); 2] = [("first", Prepend::First), ("always", Prepend::Always)];

/// How a kind of tokenizer is loaded, under its name in `tokenizer.ggml.model`.
pub struct Model {
    /// The name.
    pub name: &'static str,
    load: fn(&Contents, &Tokens) -> Result<Loaded>,
}

/// The shelf of tokenizer models.
pub static MODELS: &[Model] = &[
    Model { name: "gpt2", load: bpe::gpt2 },
    Model { name: "llama", load: llama },
    Model { name: "gemma4", load: bpe::gemma4 },
    Model { name: "t5", load: t5 },
    Model { name: "bert", load: bert },
    Model { name: "rwkv", load: rwkv },
];

/// What a kind of tokenizer is made of.
struct Loaded {
    vocab: Vocab,
    /// Which tokens are found by what they write.
    is_matched: fn(Kind) -> bool,
    normalisers: Vec<Normaliser>,
    decoder: Decoder,
    /// Whether BOS comes before a text and what comes after it, when the file does not say.
    adds: (bool, Option<Role>),
    make: Make,
}

/// Makes the rest, once somebody encodes.
type Make = Box<dyn FnOnce(&Indexed) -> Result<(Vec<Cut>, Box<dyn Encoder>)> + Send>;

/// The whole tokenizer.
pub fn load(file: &Contents) -> Result<Tokenizer> {
    const MODEL: &str = "tokenizer.ggml.model";
    let name = file
        .str(MODEL)?
        .ok_or_else(|| Error::missing(format!("metadata {MODEL}"), "the kind of tokenizer"))?;
    let model = MODELS.iter().find(|model| model.name == name).ok_or_else(|| {
        Error::unsupported(format!("metadata {MODEL}"), name, MODELS.iter().map(|model| model.name))
    })?;
    let tokens = Tokens::read(file)?;
    let Loaded { mut vocab, is_matched, normalisers, decoder, adds, make } = (model.load)(file, &tokens)?;
    let added = special_tokens(&tokens, &vocab)?;
    let others = vocab.named(&roles::names(), is_matched);
    let other = |name: &str| others.iter().find(|(other, _)| *other == name).map(|&(_, id)| id);
    let named = |name: &str| added.find(name).or_else(|| other(name));
    let (roles, mut ending) = find_roles(|key| special_id(file, key, vocab.len()), named)?;
    // A token that ends a turn is structure also where the file calls it text.
    let is_news = ending.iter().any(|&id| vocab.kind(id) != Kind::Control);
    // One that is text by its kind, such as the token of a byte, stays what text is made of.
    let also: Vec<u32> = ending.iter().copied().filter(|&id| is_matched(vocab.kind(id))).collect();
    vocab.make_control(&ending);
    let added = if is_news { special_tokens(&tokens, &vocab)? } else { added };
    ending.extend(roles[Role::Eos as usize]);
    ending.sort_unstable();
    ending.dedup();
    let around = |key: &str, default: bool, role: Role| -> Result<Vec<u32>> {
        let adds = file.bool(&format!("tokenizer.ggml.add_{key}_token"))?.unwrap_or(default);
        Ok(roles[role as usize].filter(|_| adds).into_iter().collect())
    };
    let before = around("bos", adds.0, Role::Bos)?;
    let mut after = around("eos", adds.1 == Some(Role::Eos), Role::Eos)?;
    if after.is_empty() {
        after = around("sep", adds.1 == Some(Role::Separator), Role::Separator)?;
    }
    // RoBERTa's end of sequence stands twice between two texts, BERT's separator once.
    let n_ends = if model.name == "bert" { 1 } else { 2 };
    let between = after.repeat(n_ends);
    let vocab = Arc::new(vocab);
    let shared = vocab.clone();
    let tables = LazyLock::new(Box::new(move || {
        let vocab = Indexed::new(shared, |id, kind| is_matched(kind) || also.contains(&id))?;
        let (cuts, encoder) = make(&vocab)?;
        Ok(Tables { vocab, cuts, encoder })
    }) as super::MakeTables);
    Ok(Tokenizer {
        model: model.name,
        pre: file.str("tokenizer.ggml.pre")?.map(str::to_owned),
        vocab,
        stations: Stations { added, normalisers, added_normalised: Added::default(), tables, decoder },
        roles,
        ending,
        before,
        between,
        after,
    })
}

/// The tokens that are found in a text as a whole, by their kinds in `vocab`.
fn special_tokens(tokens: &Tokens, vocab: &Vocab) -> Result<Added> {
    let mut found = Vec::new();
    for ((id, text), kind) in
        (0u32..).zip(tokens.texts.clone()).zip((0..vocab.len() as u32).map(|id| vocab.kind(id)))
    {
        if matches!(kind, Kind::Control | Kind::Unknown | Kind::UserDefined) {
            // A text is UTF-8, so a token that is not can't occur in it.
            let text = std::str::from_utf8(text).unwrap_or_default().to_owned();
            found.push(AddedToken { text, id, is_text: kind == Kind::UserDefined, ..AddedToken::default() });
        }
    }
    Added::new(TOKENS, found)
}

fn is_structure(kind: Kind) -> bool {
    matches!(kind, Kind::Control | Kind::UserDefined | Kind::Unknown)
}

/// SentencePiece BPE.
fn llama(file: &Contents, tokens: &Tokens) -> Result<Loaded> {
    let scores = read_scores(file, tokens)?;
    let (vocab, bytes) = sentence_piece_vocab(tokens)?;
    let unknown = unknown_or_first(file, &vocab)?;
    let (normalisers, cuts) = spaces(file, true)?;
    let trims_space = file.bool(ADD_SPACE_PREFIX)?.unwrap_or(true);
    let decoder = Decoder { trims_space, ..Decoder::default() };
    let make: Make = Box::new(move |vocab| Ok((cuts, Box::new(Spm::new(vocab, &scores, bytes, unknown)))));
    Ok(Loaded { vocab, is_matched: spm::writes_text, normalisers, decoder, adds: (true, None), make })
}

/// Reads `▁` as a space and puts one before texts: before every one unless the file says else.
fn spaces(file: &Contents, default: bool) -> Result<(Vec<Normaliser>, Vec<Cut>)> {
    let Some(scheme) = file.str(SPACE_PREFIX)? else {
        let before = file.bool(ADD_SPACE_PREFIX)?.unwrap_or(default);
        return Ok((vec![Normaliser::Spaces { before }], Vec::new()));
    };
    let prepend = SCHEMES.into_iter().find(|(name, _)| *name == scheme).map(|(_, prepend)| prepend);
    let prepend = prepend.ok_or_else(|| {
        Error::unsupported(format!("metadata {SPACE_PREFIX}"), scheme, SCHEMES.map(|(name, _)| name))
    })?;
    let cut = Cut::Metaspace { replacement: ' ', prepend, split: false };
    Ok((vec![Normaliser::Spaces { before: false }], vec![cut]))
}

/// SentencePiece Unigram, as T5 has it.
fn t5(file: &Contents, tokens: &Tokens) -> Result<Loaded> {
    let scores = read_scores(file, tokens)?.into_iter().map(f64::from);
    let (vocab, _) = sentence_piece_vocab(tokens)?;
    // Text that is always one token costs nothing.
    let scores = (0u32..)
        .zip(scores)
        .map(|(id, s)| if vocab.kind(id) == Kind::UserDefined { 0.0 } else { s })
        .collect();
    let unknown = special_id(file, "unknown", vocab.len())?.or((vocab.len() > 2).then_some(2));
    let make: Make = Box::new(move |vocab| {
        let is_scored = |id| vocab.kind(id) == Kind::Normal;
        Ok((Vec::new(), Box::new(Unigram::new(TOKENS, vocab, scores, is_scored, unknown, None)?)))
    });
    let before = file.bool(ADD_SPACE_PREFIX)?.unwrap_or(true);
    let joins_spaces = file.bool("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(false);
    const MAP: &str = "tokenizer.ggml.precompiled_charsmap";
    let blob = file.ints(MAP)?.unwrap_or_default();
    let blob: Vec<u8> = blob.into_iter().map(|byte| byte as u8).collect();
    let charsmap =
        if blob.is_empty() { None } else { Some(Charsmap::parse(&format!("metadata {MAP}"), &blob)?) };
    let normalisers = vec![Normaliser::SentencePiece { charsmap, joins_spaces, before }];
    let decoder = Decoder { trims_space: before, ..Decoder::default() };
    Ok(Loaded {
        vocab,
        is_matched: spm::writes_text,
        normalisers,
        decoder,
        adds: (false, Some(Role::Eos)),
        make,
    })
}

fn read_scores(file: &Contents, tokens: &Tokens) -> Result<Vec<f32>> {
    const SCORES: &str = "metadata tokenizer.ggml.scores";
    let scores = file
        .floats("tokenizer.ggml.scores")?
        .ok_or_else(|| Error::missing(SCORES, "a score for each token"))?;
    if scores.len() != tokens.len() {
        let expected = format!("{}, one for each token", tokens.len());
        return Err(Error::malformed(SCORES, format!("{} scores", scores.len()), expected));
    }
    Ok(scores)
}

/// Tokens with spaces for `▁`, and those of bytes.
fn sentence_piece_vocab(tokens: &Tokens) -> Result<(Vocab, Box<[u32; 256]>)> {
    let mut bytes = byte_tokens(|_| None);
    let mut vocab = tokens.vocab()?;
    for (id, (text, kind)) in (0u32..).zip(tokens.iter()) {
        let text = text?;
        let byte = if tokens.have_kinds() && kind != Kind::Byte { None } else { byte_of(text) };
        if let Some(byte) = byte {
            if bytes[byte as usize] == NO_TOKEN {
                bytes[byte as usize] = id;
            }
            vocab.push(Kind::Byte, |out| out.push(byte));
            continue;
        }
        vocab.push(kind, |out| match kind {
            Kind::Normal | Kind::Unused | Kind::Byte => write_spaces(text.as_bytes(), out),
            Kind::Control | Kind::Unknown | Kind::UserDefined => out.extend_from_slice(text.as_bytes()),
        });
    }
    Ok((vocab, bytes))
}

/// SentencePiece's own default for the unknown token is 0.
fn unknown_or_first(file: &Contents, vocab: &Vocab) -> Result<Option<u32>> {
    let first = (vocab.len() > 0 && vocab.kind(0) == Kind::Unknown).then_some(0);
    Ok(special_id(file, "unknown", vocab.len())?.or(first))
}

/// WordPiece as BERT has it. Files write a token that begins a word with `▁`, one that goes on without. As a text may have a
/// `▁` of its own, the mark becomes a character that none has after normalising.
fn bert(file: &Contents, tokens: &Tokens) -> Result<Loaded> {
    const BEGINS: char = '\0';
    let mut vocab = tokens.vocab()?;
    for (text, kind) in tokens.iter() {
        let text = text?;
        vocab.push(kind, |out| match text.strip_prefix(SPACE).filter(|_| !is_structure(kind)) {
            Some(word) => {
                out.extend_from_slice(BEGINS.encode_utf8(&mut [0; 4]).as_bytes());
                out.extend_from_slice(word.as_bytes());
            }
            None => out.extend_from_slice(text.as_bytes()),
        });
    }
    let flag = |key: &str| file.bool(&format!("tokenizer.ggml.normalizer.{key}"));
    let lowercase = flag("lowercase")?.unwrap_or(true);
    let strip_accents = flag("strip_accents")?.unwrap_or(lowercase);
    let bert = normalise::Bert { clean_text: true, handle_chinese_chars: true, strip_accents, lowercase };
    let unknown = special_id(file, "unknown", vocab.len())?;
    let make: Make = Box::new(move |vocab| {
        let (begins, goes_on) = (BEGINS.into(), String::new());
        let token_bytes_max = vocab.bytes_max();
        let model = WordPiece { begins, goes_on, word_chars_max: 100, unknown, token_bytes_max };
        Ok((bert_cuts(), Box::new(model)))
    });
    let spaced = Decode::Metaspace { replacement: BEGINS, prepended: false };
    let cleaned = Decode::WordPiece { prefix: String::new(), cleanup: true };
    let decoder = Decoder { chain: Some(vec![spaced, cleaned]), trims_space: true, holds_space: false };
    render(&mut vocab, &decoder)?;
    let normalisers = vec![Normaliser::Bert(bert)];
    let is_matched = |kind| kind != Kind::Control;
    Ok(Loaded { vocab, is_matched, normalisers, decoder, adds: (true, Some(Role::Separator)), make })
}

/// BERT's pre-tokenizer: white space goes, punctuation stands alone.
pub fn bert_cuts() -> Vec<Cut> {
    vec![
        Cut::Characters { is_delimiter: Test::WhiteSpace, behaviour: Behaviour::Removed },
        Cut::Characters { is_delimiter: Test::Punctuation, behaviour: Behaviour::Isolated },
    ]
}

/// Gives every token of `vocab` what `decoder` has it write later in a text.
pub fn render(vocab: &mut Vocab, decoder: &Decoder) -> Result<()> {
    if decoder.chain.is_none() {
        return Ok(());
    }
    vocab.render(|_, key, _, out| match std::str::from_utf8(key) {
        Ok(text) => decoder.write(text, false, out),
        Err(_) => out.extend_from_slice(key),
    })
}

/// RWKV World.
fn rwkv(file: &Contents, tokens: &Tokens) -> Result<Loaded> {
    let mut vocab = tokens.vocab()?;
    for (text, kind) in tokens.iter() {
        let text = text?;
        vocab.push(kind, |out| write_unescaped(text, out));
    }
    let unknown = special_id(file, "unknown", vocab.len())?;
    let make: Make = Box::new(move |vocab| {
        Ok((Vec::new(), Box::new(Rwkv { token_bytes_max: vocab.bytes_max(), unknown })))
    });
    let (is_matched, decoder) = (|kind| !is_structure(kind), Decoder::default());
    Ok(Loaded { vocab, is_matched, normalisers: Vec::new(), decoder, adds: (false, None), make })
}

/// `tokenizer.ggml.KEY_token_id`. One outside the vocabulary counts as absent, as in files that write -1.
fn special_id(file: &Contents, key: &str, n_tokens: usize) -> Result<Option<u32>> {
    let id = file.uint(&format!("tokenizer.ggml.{key}_token_id"))?;
    Ok(id.filter(|&id| id < n_tokens as u64).map(|id| id as u32))
}

/// `tokenizer.ggml.tokens` and `token_type`, as the file has them.
struct Tokens<'a> {
    texts: Strings<'a>,
    kinds: Option<Vec<i64>>,
}

impl<'a> Tokens<'a> {
    fn read(file: &'a Contents) -> Result<Self> {
        let texts = file
            .strings("tokenizer.ggml.tokens")?
            .ok_or_else(|| Error::missing("metadata tokenizer.ggml.tokens", "the vocabulary"))?;
        let kinds = file.ints("tokenizer.ggml.token_type")?;
        if let Some(kinds) = kinds.as_ref().filter(|kinds| kinds.len() != texts.len()) {
            return Err(Error::malformed(
                "metadata tokenizer.ggml.token_type",
                format!("{} types", kinds.len()),
                format!("{}, one for each token", texts.len()),
            ));
        }
        Ok(Self { texts, kinds })
    }

    fn len(&self) -> usize {
        self.texts.len()
    }

    fn have_kinds(&self) -> bool {
        self.kinds.is_some()
    }

    /// An empty vocabulary with room for them.
    fn vocab(&self) -> Result<Vocab> {
        Vocab::with_capacity(TOKENS, self.len(), self.texts.n_bytes())
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> {
        (0..self.len()).map(|i| self.kinds.as_ref().map_or(Kind::Normal, |kinds| Kind::from_gguf(kinds[i])))
    }

    /// The text of token `i`.
    fn utf8<'t>(&self, i: usize, text: &'t [u8]) -> Result<&'t str> {
        let part = || format!("metadata tokenizer.ggml.tokens: token {i}");
        std::str::from_utf8(text).map_err(|_| Error::malformed(part(), "invalid UTF-8", "UTF-8"))
    }

    fn iter(&self) -> impl Iterator<Item = (Result<&'a str>, Kind)> {
        let texts = self.texts.clone().enumerate().map(|(i, text)| self.utf8(i, text));
        texts.zip(self.kinds())
    }
}
