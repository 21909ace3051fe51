//! Normaliser, pre-tokenizer and decoder of a tokenizer.json, as stations.
//!
//! Every component has a type and its settings. The shelves below say what each type becomes; what is not on them is refused.

use serde_json::Value;

use super::part::Part;
use super::read::File;
use crate::error::{Error, Result};
use crate::token::charsmap::Charsmap;
use crate::token::decode::{Decode, Decoder};
use crate::token::gguf::bert_cuts;
use crate::token::normalise::{Bert, Normaliser};
use crate::token::pretoken::{Behaviour, Cut, Prepend, Test};
use crate::token::splitters;

/// Sequences may hold so many components, and more than the JSON reader's depth lets none hold sequences.
const COMPONENTS_MAX: usize = 256;

/// The stations around a model.
pub struct Components {
    pub normalisers: Vec<Normaliser>,
    pub cuts: Vec<Cut>,
    /// The model sees bytes: GPT-2's writing of them was the last that the pre-tokenizer did, and is left out.
    pub is_bytes: bool,
    pub decoder: Decoder,
}

/// What a type of component becomes.
struct Kind<T> {
    name: &'static str,
    read: fn(&Part, &mut Vec<T>) -> Result<()>,
}

static NORMALISERS: &[Kind<Normaliser>] = &[
    Kind { name: "NFC", read: |_, out| one(out, Normaliser::Nfc) },
    Kind { name: "NFD", read: |_, out| one(out, Normaliser::Nfd) },
    Kind { name: "NFKC", read: |_, out| one(out, Normaliser::Nfkc) },
    Kind { name: "NFKD", read: |_, out| one(out, Normaliser::Nfkd) },
    Kind { name: "Lowercase", read: |_, out| one(out, Normaliser::Lowercase) },
    Kind { name: "StripAccents", read: |_, out| one(out, Normaliser::StripAccents) },
    Kind { name: "Nmt", read: |_, out| one(out, Normaliser::Nmt) },
    Kind { name: "ByteLevel", read: |_, out| one(out, Normaliser::ByteLevel) },
    Kind {
        name: "Prepend",
        read: |part, out| one(out, Normaliser::Prepend(part.text("prepend")?.to_owned())),
    },
    Kind {
        name: "Strip",
        read: |part, out| {
            let (left, right) = (part.flag("strip_left", true)?, part.flag("strip_right", true)?);
            one(out, Normaliser::Strip { left, right })
        },
    },
    Kind {
        name: "Replace",
        read: |part, out| {
            let content = part.text("content")?.to_owned();
            one(out, Normaliser::Replace { pattern: part.pattern()?, content })
        },
    },
    Kind {
        name: "BertNormalizer",
        read: |part, out| {
            let lowercase = part.flag("lowercase", true)?;
            one(
                out,
                Normaliser::Bert(Bert {
                    clean_text: part.flag("clean_text", true)?,
                    handle_chinese_chars: part.flag("handle_chinese_chars", true)?,
                    strip_accents: part.flag("strip_accents", lowercase)?,
                    lowercase,
                }),
            )
        },
    },
    Kind {
        name: "Precompiled",
        read: |part, out| {
            // A model without a table of its own writes null.
            let Some(Value::String(text)) = part.get("precompiled_charsmap") else { return Ok(()) };
            let name = part.of("precompiled_charsmap");
            let blob = base64(text).ok_or_else(|| Error::malformed(&name, "other characters", "base64"))?;
            one(out, Normaliser::Charsmap(Charsmap::parse(&name, &blob)?))
        },
    },
];

static PRE_TOKENIZERS: &[Kind<Cut>] = &[
    Kind {
        name: "ByteLevel",
        read: |part, out| {
            if part.flag("add_prefix_space", true)? {
                out.push(Cut::SpaceBefore);
            }
            if part.flag("use_regex", true)? {
                out.push(Cut::isolated(&part.name, splitters::GPT2)?);
            }
            one(out, Cut::ByteLevel)
        },
    },
    Kind {
        name: "Split",
        read: |part, out| {
            let (behaviour, invert) = (part.behaviour("behavior", None)?, part.flag("invert", false)?);
            one(
                out,
                match part.object("pattern")?.get("Regex").and_then(Value::as_str) {
                    Some(source) => Cut::split(&part.of("pattern"), source, behaviour, invert)?,
                    None => Cut::Split { pattern: part.pattern()?, behaviour, invert },
                },
            )
        },
    },
    Kind {
        name: "Metaspace",
        read: |part, out| {
            let (replacement, prepend) = (part.char("replacement")?, part.prepend()?);
            one(out, Cut::Metaspace { replacement, prepend, split: part.flag("split", true)? })
        },
    },
    Kind { name: "Whitespace", read: |_, out| one(out, Cut::WordsAndSigns) },
    Kind {
        name: "WhitespaceSplit",
        read: |_, out| {
            one(out, Cut::Characters { is_delimiter: Test::WhiteSpace, behaviour: Behaviour::Removed })
        },
    },
    Kind {
        name: "BertPreTokenizer",
        read: |_, out| {
            out.extend(bert_cuts());
            Ok(())
        },
    },
    Kind {
        name: "Digits",
        read: |part, out| {
            let single = part.flag("individual_digits", false)?;
            let behaviour = if single { Behaviour::Isolated } else { Behaviour::Contiguous };
            one(out, Cut::Characters { is_delimiter: Test::Number, behaviour })
        },
    },
    Kind {
        name: "Punctuation",
        read: |part, out| {
            let behaviour = part.behaviour("behavior", Some(Behaviour::Isolated))?;
            one(out, Cut::Characters { is_delimiter: Test::Punctuation, behaviour })
        },
    },
    Kind {
        name: "CharDelimiterSplit",
        read: |part, out| {
            let is_delimiter = Test::Is(part.char("delimiter")?);
            one(out, Cut::Characters { is_delimiter, behaviour: Behaviour::Removed })
        },
    },
    Kind {
        name: "FixedLength",
        read: |part, out| {
            let n = part.count("length", 5)?;
            if n == 0 {
                return Err(Error::malformed(part.of("length"), 0, "at least 1"));
            }
            one(out, Cut::Length(n))
        },
    },
];

/// `Fuse` joins what the tokens before it wrote; [`Step::Fuse`] marks its place.
enum Step {
    Token(Decode),
    Fuse,
}

static DECODERS: &[Kind<Step>] = &[
    Kind { name: "ByteLevel", read: |_, out| one(out, Step::Token(Decode::ByteLevel)) },
    Kind { name: "ByteFallback", read: |_, out| one(out, Step::Token(Decode::ByteFallback)) },
    Kind { name: "Fuse", read: |_, out| one(out, Step::Fuse) },
    Kind {
        name: "Metaspace",
        read: |part, out| {
            let prepended = part.prepend()? != Prepend::Never;
            one(out, Step::Token(Decode::Metaspace { replacement: part.char("replacement")?, prepended }))
        },
    },
    Kind {
        name: "WordPiece",
        read: |part, out| {
            let prefix = part.text("prefix")?.to_owned();
            one(out, Step::Token(Decode::WordPiece { prefix, cleanup: part.flag("cleanup", true)? }))
        },
    },
    Kind {
        name: "Replace",
        read: |part, out| {
            let content = part.text("content")?.to_owned();
            one(out, Step::Token(Decode::Replace { pattern: part.pattern()?, content }))
        },
    },
    Kind {
        name: "Strip",
        read: |part, out| {
            let (start, stop) = (part.count("start", 0)?, part.count("stop", 0)?);
            one(out, Step::Token(Decode::Strip { content: part.char("content")?, start, stop }))
        },
    },
    Kind {
        name: "BPEDecoder",
        read: |part, out| one(out, Step::Token(Decode::Suffix(part.text("suffix")?.to_owned()))),
    },
];

fn one<T>(out: &mut Vec<T>, item: T) -> Result<()> {
    out.push(item);
    Ok(())
}

impl Components {
    /// What stands around the model of `file`; `may_be_bytes` when that is one which can see bytes.
    pub fn read(file: &File, may_be_bytes: bool) -> Result<Self> {
        let normalisers = read_all("normalizer", &["normalizers"], &file.normalizer, NORMALISERS)?;
        let mut cuts = read_all("pre_tokenizer", &["pretokenizers"], &file.pre_tokenizer, PRE_TOKENIZERS)?;
        let n_writing = cuts.iter().filter(|cut| matches!(cut, Cut::ByteLevel)).count();
        let is_bytes = may_be_bytes && n_writing == 1 && matches!(cuts.last(), Some(Cut::ByteLevel));
        if is_bytes {
            cuts.pop();
        }
        let decoder = decoder(&file.decoder, is_bytes)?;
        Ok(Self { normalisers, cuts, is_bytes, decoder })
    }
}

fn decoder(value: &Value, is_bytes: bool) -> Result<Decoder> {
    if value.is_null() {
        return Ok(Decoder { chain: Some(vec![Decode::Spaced]), ..Decoder::default() });
    }
    let steps = read_all("decoder", &["decoders"], value, DECODERS)?;
    if is_bytes && matches!(steps[..], [Step::Token(Decode::ByteLevel)]) {
        return Ok(Decoder::default());
    }
    let refused = |what: &str| {
        Err(Error::Unsupported {
            part: "tokenizer.json: decoder".into(),
            found: what.into(),
            supported: "what looks at one token at a time".into(),
        })
    };
    let (mut chain, mut trims_space, mut is_fused) = (Vec::new(), false, false);
    for step in steps {
        match step {
            Step::Fuse => is_fused = true,
            Step::Token(Decode::Strip { content: ' ', start: 0 | 1, stop: 0 }) if is_fused => {
                trims_space = true;
            }
            Step::Token(_) if is_fused => {
                return refused("a step after Fuse other than Strip of one space at the start");
            }
            Step::Token(step) => {
                // What it writes are bytes, all of them together.
                is_fused = matches!(step, Decode::ByteLevel);
                chain.push(step);
            }
        }
    }
    let holds_space = chain.iter().any(|step| matches!(step, Decode::Suffix(_)));
    Ok(Decoder { chain: Some(chain), trims_space, holds_space })
}

/// The components of a value: none, one, or a sequence of them, whose list has one of the names `lists`.
fn read_all<T>(name: &str, lists: &[&str], value: &Value, shelf: &[Kind<T>]) -> Result<Vec<T>> {
    let mut out = Vec::new();
    read_into(&format!("tokenizer.json: {name}"), lists, value, shelf, &mut out)?;
    Ok(out)
}

fn read_into<T>(
    name: &str,
    lists: &[&str],
    value: &Value,
    shelf: &[Kind<T>],
    out: &mut Vec<T>,
) -> Result<()> {
    if value.is_null() {
        return Ok(());
    }
    let part = Part::new(name, value)?;
    let kind = part.text("type")?;
    if kind == "Sequence" {
        let list = lists.iter().find_map(|list| part.get(list)).and_then(Value::as_array);
        let list = list.ok_or_else(|| Error::malformed(name, "a Sequence without a list", lists[0]))?;
        for (i, value) in list.iter().enumerate() {
            if out.len() >= COMPONENTS_MAX {
                return Err(Error::malformed(name, "more components", format!("at most {COMPONENTS_MAX}")));
            }
            read_into(&format!("{name}[{i}]"), lists, value, shelf, out)?;
        }
        return Ok(());
    }
    let found = shelf.iter().find(|entry| entry.name == kind).ok_or_else(|| {
        Error::unsupported(name, kind, shelf.iter().map(|entry| entry.name).chain(["Sequence"]))
    })?;
    (found.read)(&part, out)
}

/// SentencePiece's table among the normalisers, as it is written.
pub fn charsmap_blob(normalizer: &Value) -> Option<Vec<u8>> {
    let list = normalizer.get("normalizers").and_then(Value::as_array);
    let mut all = list.map_or(std::slice::from_ref(normalizer), Vec::as_slice).iter();
    all.find_map(|value| base64(value.get("precompiled_charsmap")?.as_str()?))
}

/// The bytes that base64 stands for.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| {
        Some(match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0u32;
        for &b in four {
            bits = bits << 6 | u32::from(digit(b)?);
        }
        bits <<= 6 * (4 - four.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len().max(1)]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_becomes_bytes() {
        for (text, bytes) in
            [("", &b""[..]), ("TQ==", b"M"), ("TWE=", b"Ma"), ("TWFu", b"Man"), ("+/8A", b"\xfb\xff\0")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes));
        }
        assert_eq!(base64("T Q="), None);
    }
}
