//! Tokenizers from the metadata of a GGUF file (`tokenizer.ggml.*`): which stations each kind of model has.

use super::added::{Added, AddedToken};
use super::bpe::{Bpe, Merges, Start, byte_tokens};
use super::byte_level::write_raw;
use super::charsmap::Charsmap;
use super::decode::{Decode, Decoder};
use super::normalise::{self, Normaliser};
use super::pretoken::{Behaviour, Cut, Prepend, Test};
use super::roles::{Role, find_roles};
use super::rwkv::{Rwkv, write_unescaped};
use super::splitters::{self, Splitter, Symbols};
use super::spm::{SPACE, Spm, Words, byte_of, write_spaces};
use super::unigram::Unigram;
use super::vocab::{Kind, Vocab};
use super::wordpiece::WordPiece;
use super::{Encoder, Stations, Tokenizer};
use crate::error::{Error, Result};
use crate::file::Contents;
use crate::file::value::Strings;

const TOKENS: &str = "metadata tokenizer.ggml.tokens";
const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
const MERGES: &str = "metadata tokenizer.ggml.merges";
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
    Model { name: "gpt2", load: gpt2 },
    Model { name: "llama", load: llama },
    Model { name: "gemma4", load: gemma4 },
    Model { name: "t5", load: t5 },
    Model { name: "bert", load: bert },
    Model { name: "rwkv", load: rwkv },
];

/// What a kind of tokenizer is made of.
struct Loaded {
    vocab: Vocab,
    normalisers: Vec<Normaliser>,
    cuts: Vec<Cut>,
    encoder: Box<dyn Encoder>,
    decoder: Decoder,
    /// What comes before and after a text when the file does not say.
    adds: (bool, bool),
}

/// The whole tokenizer.
pub fn load(file: &Contents) -> Result<Tokenizer> {
    const MODEL: &str = "tokenizer.ggml.model";
    let name = file
        .str(MODEL)?
        .ok_or_else(|| Error::malformed(format!("metadata {MODEL}"), "nothing", "the kind of tokenizer"))?;
    let model = MODELS.iter().find(|model| model.name == name).ok_or_else(|| {
        Error::unsupported(format!("metadata {MODEL}"), name, MODELS.iter().map(|model| model.name))
    })?;
    let tokens = Tokens::read(file)?;
    let Loaded { mut vocab, normalisers, cuts, encoder, decoder, adds } = (model.load)(file, &tokens)?;
    let added = special_tokens(&tokens, &vocab)?;
    let named = |name: &str| added.find(name).or_else(|| vocab.find(name.as_bytes()));
    let (roles, mut ending) = find_roles(|key| special_id(file, key, vocab.len()), named)?;
    // A token that ends a turn is structure also where the file calls it text.
    let is_news = ending.iter().any(|&id| vocab.kind(id) != Kind::Control);
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
    let mut after = around("eos", adds.1 && name != "bert", Role::Eos)?;
    if after.is_empty() {
        after = around("sep", name == "bert", Role::Separator)?;
    }
    Ok(Tokenizer {
        model: model.name,
        pre: file.str("tokenizer.ggml.pre")?.map(str::to_owned),
        vocab,
        stations: Stations { added, normalisers, added_normalised: Added::default(), cuts, encoder, decoder },
        roles,
        ending,
        before,
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

/// Byte-level BPE, and what files that use the same name cut differently.
fn gpt2(file: &Contents, tokens: &Tokens) -> Result<Loaded> {
    // Files older than the key mean llama.cpp's default.
    let name = file.str("tokenizer.ggml.pre")?.unwrap_or("default");
    let splitter = splitters::by_name(name)
        .ok_or_else(|| Error::unsupported("metadata tokenizer.ggml.pre", name, splitters::names()))?;
    bpe(file, tokens, splitter)
}

/// Gemma 4: BPE over characters, spaces written as `▁`.
fn gemma4(file: &Contents, tokens: &Tokens) -> Result<Loaded> {
    bpe(file, tokens, splitters::by_name("gemma4").expect("it is on the shelf"))
}

fn bpe(file: &Contents, tokens: &Tokens, splitter: &Splitter) -> Result<Loaded> {
    let is_bytes = splitter.symbols == Symbols::Bytes;
    let mut bytes = byte_tokens(|_| None);
    let mut vocab = Vocab::with_capacity(TOKENS, tokens.len(), tokens.n_bytes())?;
    for ((text, kind), id) in tokens.iter().zip(0u32..) {
        let text = text?;
        match (byte_of(text), kind) {
            _ if is_structure(kind) => vocab.push(kind, |out| out.extend_from_slice(text.as_bytes())),
            (Some(byte), _) if !is_bytes => {
                bytes[byte as usize] = id;
                vocab.push(Kind::Byte, |out| out.push(byte));
            }
            _ if is_bytes => vocab.push(kind, |out| {
                write_raw(text, out);
            }),
            _ => vocab.push(kind, |out| write_spaces(text, out)),
        }
    }
    vocab.index(|_, kind| !is_structure(kind) && (is_bytes || kind != Kind::Byte))?;
    let merges = read_merges(file, &vocab, |text, out| {
        if is_bytes {
            write_raw(text, out);
        } else {
            write_spaces(text, out);
        }
    })?;
    let start = if is_bytes {
        Start::Bytes(byte_tokens(|byte| vocab.find(&[byte])))
    } else {
        Start::Characters { bytes: Some(bytes), prefix: String::new(), suffix: String::new(), space: "▁" }
    };
    let mut decoder = Decoder::default();
    let (normalisers, cuts) = if is_bytes {
        let patterns = splitter.patterns.iter();
        let cuts =
            patterns.map(|p| Cut::isolated("metadata tokenizer.ggml.pre", p)).collect::<Result<_>>()?;
        (file.bool(NFC)?.unwrap_or(false).then_some(Normaliser::Nfc).into_iter().collect(), cuts)
    } else {
        let (normalisers, mut cuts) = spaces(file, false)?;
        decoder.trims_space = file.bool(ADD_SPACE_PREFIX)?.unwrap_or(false);
        cuts.push(Cut::Apart(Box::new(Words::of(&vocab, " "))));
        (normalisers, cuts)
    };
    let unknown = special_id(file, "unknown", vocab.len())?;
    let encoder = Box::new(Bpe::new(&vocab, start, merges, splitter.whole_pieces, unknown, false));
    let adds = (splitter.adds_bos, false);
    Ok(Loaded { vocab, normalisers, cuts, encoder, decoder, adds })
}

fn is_structure(kind: Kind) -> bool {
    matches!(kind, Kind::Control | Kind::UserDefined | Kind::Unknown)
}

fn read_merges(file: &Contents, vocab: &Vocab, write: impl Fn(&str, &mut Vec<u8>)) -> Result<Merges> {
    let lines = file
        .strings("tokenizer.ggml.merges")?
        .ok_or_else(|| Error::malformed(MERGES, "nothing", "the merges of a gpt2 tokenizer"))?;
    let mut merges = Merges::with_capacity(MERGES, lines.len())?;
    let mut both = Vec::new();
    for (rank, line) in lines.enumerate() {
        let text = std::str::from_utf8(line)
            .map_err(|_| Error::malformed(format!("{MERGES}: merge {rank}"), "invalid UTF-8", "UTF-8"))?;
        // The separator is the first space that does not begin the line.
        let space = line.iter().skip(1).position(|&b| b == b' ').map(|i| i + 1);
        let Some((left, right)) = space.map(|at| (&text[..at], &text[at + 1..])) else {
            return Err(Error::malformed(
                format!("{MERGES}: merge {rank}"),
                format!("{text:?}"),
                "two tokens with a space between",
            ));
        };
        both.clear();
        write(left, &mut both);
        let middle = both.len();
        write(right, &mut both);
        merges.push(vocab, &both[..middle], &both[middle..], &both)?;
    }
    Ok(merges)
}

/// SentencePiece BPE.
fn llama(file: &Contents, tokens: &Tokens) -> Result<Loaded> {
    let scores = read_scores(file, tokens)?;
    let (vocab, bytes) = sentence_piece_vocab(tokens)?;
    let unknown = unknown_or_first(file, &vocab)?;
    let encoder = Box::new(Spm::new(&vocab, &scores, bytes, unknown));
    let (normalisers, cuts) = spaces(file, true)?;
    let trims_space = file.bool(ADD_SPACE_PREFIX)?.unwrap_or(true);
    let decoder = Decoder { trims_space, ..Decoder::default() };
    Ok(Loaded { vocab, normalisers, cuts, encoder, decoder, adds: (true, false) })
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
    let is_scored = |id| vocab.kind(id) == Kind::Normal;
    let encoder = Box::new(Unigram::new(TOKENS, &vocab, scores, is_scored, unknown, None)?);
    let before = file.bool(ADD_SPACE_PREFIX)?.unwrap_or(true);
    let joins_spaces = file.bool("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(false);
    const MAP: &str = "tokenizer.ggml.precompiled_charsmap";
    let blob = file.ints(MAP)?.unwrap_or_default();
    let blob: Vec<u8> = blob.into_iter().map(|byte| byte as u8).collect();
    let charsmap =
        if blob.is_empty() { None } else { Some(Charsmap::parse(&format!("metadata {MAP}"), &blob)?) };
    let normalisers = vec![Normaliser::SentencePiece { charsmap, joins_spaces, before }];
    let decoder = Decoder { trims_space: before, ..Decoder::default() };
    Ok(Loaded { vocab, normalisers, cuts: Vec::new(), encoder, decoder, adds: (false, true) })
}

fn read_scores(file: &Contents, tokens: &Tokens) -> Result<Vec<f32>> {
    const SCORES: &str = "metadata tokenizer.ggml.scores";
    let scores = file
        .floats("tokenizer.ggml.scores")?
        .ok_or_else(|| Error::malformed(SCORES, "nothing", "a score for each token"))?;
    if scores.len() != tokens.len() {
        let expected = format!("{}, one for each token", tokens.len());
        return Err(Error::malformed(SCORES, format!("{} scores", scores.len()), expected));
    }
    Ok(scores)
}

/// Tokens with spaces for `▁`, and those of bytes.
fn sentence_piece_vocab(tokens: &Tokens) -> Result<(Vocab, Box<[u32; 256]>)> {
    let mut bytes = byte_tokens(|_| None);
    let mut vocab = Vocab::with_capacity(TOKENS, tokens.len(), tokens.n_bytes())?;
    for (id, (text, kind)) in (0u32..).zip(tokens.iter()) {
        let text = text?;
        let byte = if tokens.have_kinds() && kind != Kind::Byte { None } else { byte_of(text) };
        if let Some(byte) = byte {
            if bytes[byte as usize] == super::merge::NO_TOKEN {
                bytes[byte as usize] = id;
            }
            vocab.push(Kind::Byte, |out| out.push(byte));
            continue;
        }
        vocab.push(kind, |out| match kind {
            Kind::Normal | Kind::Unused | Kind::Byte => write_spaces(text, out),
            Kind::Control | Kind::Unknown | Kind::UserDefined => out.extend_from_slice(text.as_bytes()),
        });
    }
    vocab.index(|_, kind| super::spm::writes_text(kind))?;
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
    let mut vocab = Vocab::with_capacity(TOKENS, tokens.len(), tokens.n_bytes())?;
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
    vocab.index(|_, kind| kind != Kind::Control)?;
    let flag = |key: &str| file.bool(&format!("tokenizer.ggml.normalizer.{key}"));
    let lowercase = flag("lowercase")?.unwrap_or(true);
    let strip_accents = flag("strip_accents")?.unwrap_or(lowercase);
    let bert = normalise::Bert { clean_text: true, handle_chinese_chars: true, strip_accents, lowercase };
    let encoder = Box::new(WordPiece {
        begins: BEGINS.into(),
        goes_on: String::new(),
        word_chars_max: 100,
        unknown: special_id(file, "unknown", vocab.len())?,
        token_bytes_max: vocab.bytes_max(),
    });
    let spaced = Decode::Metaspace { replacement: BEGINS, prepended: false };
    let cleaned = Decode::WordPiece { prefix: String::new(), cleanup: true };
    let decoder = Decoder { chain: Some(vec![spaced, cleaned]), trims_space: true, holds_space: false };
    render(&mut vocab, &decoder)?;
    let normalisers = vec![Normaliser::Bert(bert)];
    Ok(Loaded { vocab, normalisers, cuts: bert_cuts(), encoder, decoder, adds: (true, true) })
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
    let mut vocab = Vocab::with_capacity(TOKENS, tokens.len(), tokens.n_bytes())?;
    for (text, kind) in tokens.iter() {
        let text = text?;
        vocab.push(kind, |out| write_unescaped(text, out));
    }
    vocab.index(|_, kind| !is_structure(kind))?;
    let unknown = special_id(file, "unknown", vocab.len())?;
    let encoder = Box::new(Rwkv { token_bytes_max: vocab.bytes_max(), unknown });
    let (normalisers, cuts, decoder) = (Vec::new(), Vec::new(), Decoder::default());
    Ok(Loaded { vocab, normalisers, cuts, encoder, decoder, adds: (false, false) })
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
            .ok_or_else(|| Error::malformed("metadata tokenizer.ggml.tokens", "nothing", "the vocabulary"))?;
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

    fn n_bytes(&self) -> usize {
        self.texts.clone().map(<[u8]>::len).sum()
    }

    fn have_kinds(&self) -> bool {
        self.kinds.is_some()
    }

    fn iter(&self) -> impl Iterator<Item = (Result<&'a str>, Kind)> {
        self.texts.clone().enumerate().map(|(i, bytes)| {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                Error::malformed(
                    format!("metadata tokenizer.ggml.tokens: token {i}"),
                    "invalid UTF-8",
                    "UTF-8",
                )
            });
            (text, self.kinds.as_ref().map_or(Kind::Normal, |kinds| Kind::from_gguf(kinds[i])))
        })
    }
}
