//! A tokenizer.json as GGUF's keys, `tokenizer.ggml.*`, for files that are written from folders.
//!
//! GGUF knows a few makes of tokenizers and names, not pipelines: [`Make::of`] finds the make, by what the components do.
//! Byte-level BPE gets the name under which the shelf of [`splitters`] has its patterns. BPE over characters with `▁` for
//! spaces is SentencePiece's where every way to make a token is a merge, so that a score for each token says all; otherwise
//! it keeps its merges, as Gemma 4's does. Unigram keeps its scores. What is of no make is refused.
//!
//! Two keys are ours, for what would be lost otherwise: [`NFC`] and [`SPACE_PREFIX`]; other programs pass over them. What no key
//! can say (white space that a token swallows, such things) is found by trying: the keys are read back, and texts of all kinds must
//! become the same ids and the same text again ([`Written::differs`]).

mod trial;

use std::collections::HashMap;

use trial::difference;

use super::components::Components;
use super::model::{Tokens, halves};
use super::read::File;
use super::{place_added, roles};
use crate::error::{Error, Result};
use crate::file::{Contents, Value};
use crate::token::gguf::{NFC, SCHEMES, SPACE_PREFIX};
use crate::token::normalise::Normaliser;
use crate::token::pattern::Pattern;
use crate::token::pretoken::{Cut, Prepend};
use crate::token::splitters::{SPLITTERS, Symbols, WholePieces};
use crate::token::spm::{SPACE, byte_of};
use crate::token::vocab::Kind;
use crate::token::{Role, Tokenizer};

/// Every way to make a token is looked at; a longer one would have too many.
const TOKEN_BYTES_MAX: usize = 1024;

/// A vocabulary as GGUF has it.
#[derive(Debug)]
pub struct Written {
    /// The keys.
    pub keys: Contents,
    /// What they make of some text, where that is not what tokenizer.json makes of it: a sentence.
    pub differs: Option<String>,
}

/// See [`Tokenizer::gguf_keys`].
pub fn keys(tokenizer: &[u8], config: Option<&[u8]>, ending: &[u32], n_rows: usize) -> Result<Written> {
    let mut whole = super::load(tokenizer, config)?;
    whole.end_with(ending);
    let file: File<'_> = serde_json::from_slice(tokenizer)
        .map_err(|e| Error::malformed("tokenizer.json", e, "what the tokenizers library writes"))?;
    let components = Components::read(&file, file.model.may_see_bytes())?;
    let mut tokens = Tokens::read(&file.model)?;
    place_added(&mut tokens, &file.added_tokens)?;
    if tokens.entries.len() > n_rows {
        let found = format!("{} tokens", tokens.entries.len());
        return Err(Error::malformed(
            "tokenizer.json",
            found,
            format!("at most {n_rows}, the embedding's rows"),
        ));
    }
    let written = |make: Make| write(make, &whole, &file, &tokens, (components.is_bytes, n_rows));
    let first = written(Make::of(&file, &components, &tokens, true)?)?;
    if first.differs.is_none() {
        return Ok(first);
    }
    // Where scores don't do, merges may.
    let second = written(Make::of(&file, &components, &tokens, false)?)?;
    Ok(if second.differs.is_none() { second } else { first })
}

fn write(
    make: Make,
    whole: &Tokenizer,
    file: &File<'_>,
    tokens: &Tokens<'_>,
    (is_bytes, n_rows): (bool, usize),
) -> Result<Written> {
    let mut keys = Contents::new("tokenizer.json");
    let mut set = |key: &str, value: Value| keys.set(format!("{GGML}{key}"), value);
    set("model", Value::text(make.model))?;
    if let Some(pre) = make.pre {
        set("pre", Value::text(pre))?;
    }
    let (texts, kinds) = listed(file, tokens, is_bytes, n_rows);
    set("tokens", Value::strings(texts.iter().map(|text| text.as_bytes())))?;
    set("token_type", Value::ints(&kinds.iter().map(|kind| kind.to_gguf()).collect::<Vec<_>>()))?;
    if let Some(mut scores) = make.scores {
        scores.resize(n_rows, 0.0);
        set("scores", Value::floats(&scores))?;
    }
    if let Some(merges) = &make.merges {
        set("merges", Value::strings(merges.iter().map(|merge| merge.as_bytes())))?;
    }
    for (role, key) in roles::keys() {
        let unknown = (role == Role::Unknown).then(|| unknown(file, tokens)).flatten();
        if let Some(id) = unknown.or(whole.special(role)) {
            set(&format!("{key}_token_id"), Value::Uint(id.into()))?;
        }
    }
    set("add_bos_token", Value::Bool(whole.adds_bos()))?;
    set("add_eos_token", Value::Bool(whole.adds_eos()))?;
    for (key, value) in make.flags {
        set(key, Value::Bool(value))?;
    }
    if let Some(scheme) = make.scheme {
        set(SPACE_PREFIX.trim_start_matches(GGML), Value::text(scheme))?;
    }
    if let Some(charsmap) = make.charsmap {
        set("precompiled_charsmap", Value::bytes(charsmap))?;
    }
    let mut again = Tokenizer::from_gguf(&keys)?;
    // GGUF has no list of what ends an answer: roles that nothing has take what is missing.
    for (role, key) in [(Role::Eos, "eos"), (Role::Eot, "eot"), (Role::Eom, "eom")] {
        let missing = whole.ending().iter().find(|id| !again.is_eog(**id));
        if let Some(&id) = missing.filter(|_| whole.special(role).is_none()) {
            keys.set(format!("{GGML}{key}_token_id"), Value::Uint(id.into()))?;
            again = Tokenizer::from_gguf(&keys)?;
        }
    }
    let differs = difference(whole, &again, file)?;
    Ok(Written { keys, differs })
}

/// The token that the model gives for what it has none for.
fn unknown(file: &File<'_>, tokens: &Tokens<'_>) -> Option<u32> {
    let text = file.model.unk_token.as_deref();
    let of_text = text.and_then(|text| tokens.entries.iter().position(|entry| entry.text == text));
    of_text.and_then(|id| u32::try_from(id).ok()).or(u32::try_from(file.model.unk_id?).ok())
}

/// Text and kind of every token, of ids without one too.
fn listed(file: &File<'_>, tokens: &Tokens<'_>, is_bytes: bool, n_rows: usize) -> (Vec<String>, Vec<Kind>) {
    let unknown = file.model.unk_token.as_deref();
    let writes_bytes = file.model.byte_fallback.unwrap_or(false);
    let of = |id: usize| {
        let Some(entry) = tokens.entries.get(id).filter(|entry| !entry.text.is_empty()) else {
            return (format!("[PAD{id}]"), Kind::Unused);
        };
        let is_unknown = Some(&*entry.text) == unknown || file.model.unk_id == Some(id as u64);
        let kind = match entry.kind {
            _ if is_bytes => entry.kind,
            _ if is_unknown => Kind::Unknown,
            Kind::Normal if writes_bytes && byte_of(&entry.text).is_some() => Kind::Byte,
            // Found among spaces, which is what the model writes so.
            Kind::UserDefined if entry.in_model && entry.text.contains(SPACE) => Kind::Normal,
            kind => kind,
        };
        (entry.text.clone().into_owned(), kind)
    };
    (0..n_rows).map(of).unzip()
}

const GGML: &str = "tokenizer.ggml.";
const GEMMA4: &str = "gemma4";
const NOT_OF_GGUF: &str = "what GGUF's kinds of vocabularies do";

/// What GGUF calls a kind of tokenizer, and what it must know of it.
#[derive(Default)]
struct Make {
    model: &'static str,
    pre: Option<&'static str>,
    merges: Option<Vec<String>>,
    scores: Option<Vec<f32>>,
    flags: Vec<(&'static str, bool)>,
    /// Which texts get a space, where that is not all or none.
    scheme: Option<&'static str>,
    charsmap: Option<Vec<u8>>,
}

impl Make {
    /// The make of a tokenizer; `by_scores` where scores are preferred to merges.
    fn of(file: &File<'_>, components: &Components, tokens: &Tokens<'_>, by_scores: bool) -> Result<Self> {
        match file.model.kind() {
            "BPE" if components.is_bytes => Self::byte_level(file, components),
            "BPE" if file.model.may_see_bytes() => Self::characters(file, components, tokens, by_scores),
            "Unigram" => Self::unigram(file, components, tokens),
            other => {
                let known = ["BPE over bytes, BPE and Unigram over characters with ▁ for spaces"];
                Err(Error::unsupported("tokenizer.json: model", format!("{other} in a GGUF file"), known))
            }
        }
    }

    fn byte_level(file: &File<'_>, components: &Components) -> Result<Self> {
        let nfc = match components.normalisers[..] {
            [] => false,
            [Normaliser::Nfc] => true,
            _ => return Err(not_of_gguf("normalizer")),
        };
        let patterns: Option<Vec<&str>> = components.cuts.iter().map(Cut::as_isolated).collect();
        let patterns = patterns.ok_or_else(|| not_of_gguf("pre_tokenizer"))?;
        let are_tokens = file.model.ignore_merges.unwrap_or(false);
        let mut named = SPLITTERS.iter().filter(|s| s.symbols == Symbols::Bytes && s.patterns == patterns);
        let suits = |whole: WholePieces| (whole == WholePieces::AreTokens) == are_tokens;
        let best = named.clone().find(|s| suits(s.whole_pieces)).or_else(|| named.next());
        let pre = best.map(|splitter| splitter.names[0]).ok_or_else(|| {
            let found = format!("the pattern {}", patterns.join(" inside of "));
            Error::unsupported(
                "tokenizer.json: pre_tokenizer",
                found,
                ["those that tokenizer.ggml.pre has names for"],
            )
        })?;
        let flags = if nfc { vec![(NFC.trim_start_matches(GGML), true)] } else { Vec::new() };
        let merges = Some(merges(file)?);
        Ok(Self { model: "gpt2", pre: Some(pre), merges, flags, ..Self::default() })
    }

    fn characters(
        file: &File<'_>,
        components: &Components,
        tokens: &Tokens<'_>,
        by_scores: bool,
    ) -> Result<Self> {
        let spaces = |step: &Normaliser| matches!(step, Normaliser::Replace { pattern: Pattern::Text(from), content } if from == " " && content == "▁");
        let before = |step: &Normaliser| matches!(step, Normaliser::Prepend(text) if text == "▁");
        let prefixed = match &components.normalisers[..] {
            [a] if spaces(a) => Some(false),
            [a, b] if before(a) && spaces(b) => Some(true),
            [] => None,
            _ => return Err(not_of_gguf("normalizer")),
        };
        let mut scheme = None;
        let prefixed = match (prefixed, &components.cuts[..]) {
            (Some(prefixed), []) => prefixed,
            // Where all spaces are `▁` already there is nothing to cut.
            (Some(prefixed), [Cut::Split { pattern: Pattern::Text(text), .. }]) if text == " " => prefixed,
            (None, [Cut::Metaspace { replacement: SPACE, prepend, .. }]) => {
                scheme = SCHEMES.iter().find(|(_, prepends)| prepends == prepend).map(|(name, _)| *name);
                scheme.is_some()
            }
            _ => return Err(not_of_gguf("pre_tokenizer")),
        };
        let flags = vec![("add_space_prefix", prefixed)];
        let may_be_scores = by_scores && file.model.ignore_merges != Some(true);
        let scores = if may_be_scores { scores(file, tokens)? } else { None };
        if scores.is_some() {
            let (model, pre) = ("llama", Some("default"));
            return Ok(Self { model, pre, scores, flags, scheme, ..Self::default() });
        }
        let merges = Some(merges(file)?);
        Ok(Self { model: GEMMA4, pre: Some(GEMMA4), merges, flags, scheme, ..Self::default() })
    }

    fn unigram(file: &File<'_>, components: &Components, tokens: &Tokens<'_>) -> Result<Self> {
        let joins = |step: &Normaliser| match step {
            Normaliser::Replace { pattern: Pattern::Regex(regex), content } => {
                regex.as_str() == " {2,}" && content == " "
            }
            _ => false,
        };
        let mut joins_spaces = false;
        for step in &components.normalisers {
            match step {
                Normaliser::Charsmap(_) => {}
                step if joins(step) => joins_spaces = true,
                _ => return Err(not_of_gguf("normalizer")),
            }
        }
        let prepend = match &components.cuts[..] {
            [Cut::Metaspace { replacement: SPACE, prepend, .. }] => prepend,
            [Cut::Characters { .. }, Cut::Metaspace { replacement: SPACE, prepend, .. }] => {
                joins_spaces = true;
                prepend
            }
            _ => return Err(not_of_gguf("pre_tokenizer")),
        };
        if file.model.byte_fallback == Some(true) {
            let found = "Unigram that writes what is unknown as bytes";
            return Err(Error::unsupported(
                "tokenizer.json: model",
                found,
                ["Unigram with an unknown token"],
            ));
        }
        let flags = vec![
            ("add_space_prefix", *prepend != Prepend::Never),
            ("remove_extra_whitespaces", joins_spaces),
        ];
        let scores = Some(tokens.scores.iter().map(|&score| score as f32).collect());
        let charsmap = super::components::charsmap_blob(&file.normalizer);
        Ok(Self { model: "t5", scores, flags, charsmap, ..Self::default() })
    }
}

fn not_of_gguf(component: &str) -> Error {
    Error::unsupported(
        format!("tokenizer.json: {component}"),
        "what this one does, in a GGUF file,",
        [NOT_OF_GGUF],
    )
}

/// A line for each merge.
fn merges(file: &File<'_>) -> Result<Vec<String>> {
    let lines = file.model.merges.as_deref().unwrap_or_default();
    let mut out = Vec::with_capacity(lines.len());
    for line in lines {
        let Some((left, right)) = halves(line, out.len())? else { continue };
        if left.contains(' ') || right.contains(' ') {
            let part = format!("tokenizer.json: model.merges: merge {}", out.len());
            return Err(Error::malformed(part, "a token with a space in it", "none, in a GGUF file"));
        }
        out.push(format!("{left} {right}"));
    }
    Ok(out)
}

/// A score for each token of the model, the higher the sooner it is made, if scores alone say what merges do: every two
/// tokens that make a third are a merge, and the merges that make a token stand together, or among those of other runs of
/// one character, which are made from the left whatever their order.
fn scores(file: &File<'_>, tokens: &Tokens<'_>) -> Result<Option<Vec<f32>>> {
    let ids: HashMap<&str, usize> = tokens.entries.iter().enumerate().map(|(id, e)| (&*e.text, id)).collect();
    let id_of = |text: &str| ids.get(text).copied().filter(|&id| tokens.entries[id].in_model);
    // Of each token that is made: its first merge and its last, how many there are, itself.
    let mut made: HashMap<usize, (usize, usize, usize)> = HashMap::new();
    let mut both = String::new();
    for (rank, line) in file.model.merges.as_deref().unwrap_or_default().iter().enumerate() {
        let Some((left, right)) = halves(line, rank)? else { continue };
        both.clear();
        both.extend([left, right]);
        let Some(id) = id_of(&both) else { return Ok(None) };
        let (_, last, n) = made.entry(id).or_insert((rank, rank, 0));
        (*last, *n) = (rank, *n + 1);
    }
    for (id, entry) in tokens.entries.iter().enumerate().filter(|(_, entry)| entry.in_model) {
        let text = &*entry.text;
        if text.len() > TOKEN_BYTES_MAX {
            return Ok(None);
        }
        let cuts = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        let n = cuts.filter(|(left, right)| id_of(left).is_some() && id_of(right).is_some()).count();
        let ways = made.get(&id).map_or(0, |&(_, _, n)| n);
        // Tokens that are no text are made by nobody.
        let is_text = entry.kind == Kind::Normal && byte_of(text).is_none();
        if n != ways && (is_text || ways > 0) {
            return Ok(None);
        }
    }
    let mut order: Vec<(usize, usize, usize)> =
        made.into_iter().map(|(id, (first, last, _))| (first, last, id)).collect();
    order.sort_unstable();
    let is_run = |id: usize| {
        let text = &tokens.entries[id].text;
        text.chars().next().is_some_and(|first| text.chars().all(|c| c == first))
    };
    let mut scores = vec![f32::NAN; tokens.entries.len()];
    let (mut n_groups, mut end, mut last_id) = (0, None, 0);
    for (first, last, id) in order {
        if end.is_none_or(|end| first > end) {
            n_groups += 1;
        } else if !is_run(id) || !is_run(last_id) {
            return Ok(None);
        }
        (end, last_id) = (end.max(Some(last)), id);
        scores[id] = -(n_groups as f32);
    }
    let usual = |score: f32| if score.is_nan() { -(n_groups as f32) - 1.0 } else { score };
    Ok(Some(scores.into_iter().map(usual).collect()))
}
