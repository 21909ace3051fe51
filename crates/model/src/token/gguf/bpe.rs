//! Byte-pair encoding with a list of merges: over bytes, which files write as GPT-2 does, or over characters.

use super::{ADD_SPACE_PREFIX, Kind, Loaded, Make, NFC, Tokens, is_structure, spaces, special_id};
use crate::error::{Error, Result};
use crate::file::Contents;
use crate::file::value::{Strings, Value};
use crate::token::bpe::{Bpe, Start, byte_tokens};
use crate::token::byte_level::write_all_raw;
use crate::token::decode::Decoder;
use crate::token::normalise::Normaliser;
use crate::token::pairs::{Pairs, Reader};
use crate::token::pretoken::Cut;
use crate::token::splitters::{self, Splitter, Symbols};
use crate::token::spm::{Words, byte_of, write_spaces};
use crate::token::vocab::{Indexed, Vocab};

const MERGES: &str = "metadata tokenizer.ggml.merges";

/// Byte-level BPE, and what files that use the same name cut differently.
pub(super) fn gpt2(file: &Contents, tokens: &Tokens) -> Result<Loaded> {
    // Files older than the key mean llama.cpp's default.
    let name = file.str("tokenizer.ggml.pre")?.unwrap_or("default");
    let splitter = splitters::by_name(name)
        .ok_or_else(|| Error::unsupported("metadata tokenizer.ggml.pre", name, splitters::names()))?;
    bpe(file, tokens, splitter)
}

/// Gemma 4: BPE over characters, spaces written as `▁`.
pub(super) fn gemma4(file: &Contents, tokens: &Tokens) -> Result<Loaded> {
    bpe(file, tokens, splitters::by_name("gemma4").expect("it is on the shelf"))
}

fn bpe(file: &Contents, tokens: &Tokens, splitter: &'static Splitter) -> Result<Loaded> {
    let is_bytes = splitter.symbols == Symbols::Bytes;
    let (vocab, bytes) = bpe_vocab(tokens, is_bytes)?;
    let merges = file.value("tokenizer.ggml.merges").cloned();
    if file.strings("tokenizer.ggml.merges")?.is_none() {
        return Err(Error::missing(MERGES, "a list of merges"));
    }
    let unknown = special_id(file, "unknown", vocab.len())?;
    let mut decoder = Decoder::default();
    let (normalisers, mut cuts) = if is_bytes {
        (file.bool(NFC)?.unwrap_or(false).then_some(Normaliser::Nfc).into_iter().collect(), Vec::new())
    } else {
        decoder.trims_space = file.bool(ADD_SPACE_PREFIX)?.unwrap_or(false);
        spaces(file, false)?
    };
    let make: Make = Box::new(move |vocab| {
        let lines = merges.as_ref().and_then(Value::as_strings).expect("it was there and a list of texts");
        let pairs = read_merges(lines, vocab, is_bytes)?;
        let start = if is_bytes {
            for pattern in splitter.patterns {
                cuts.push(Cut::isolated("metadata tokenizer.ggml.pre", pattern)?);
            }
            Start::Bytes(byte_tokens(|byte| vocab.find_any(&[byte])))
        } else {
            cuts.push(Cut::Apart(Box::new(Words::of(vocab, " "))));
            let (prefix, suffix) = (String::new(), String::new());
            Start::Characters { bytes: Some(bytes), prefix, suffix, space: "▁" }
        };
        let bpe = Bpe::new(vocab, start, pairs, splitter.whole_pieces, unknown, false);
        Ok((cuts, Box::new(bpe)))
    });
    let is_matched: fn(Kind) -> bool =
        if is_bytes { |kind| !is_structure(kind) } else { |kind| !is_structure(kind) && kind != Kind::Byte };
    let adds = (splitter.adds_bos, None);
    Ok(Loaded { vocab, is_matched, normalisers, decoder, adds, make })
}

/// Tokens as bytes, or with spaces for `▁` and those of bytes.
fn bpe_vocab(tokens: &Tokens, is_bytes: bool) -> Result<(Vocab, Box<[u32; 256]>)> {
    let mut bytes = byte_tokens(|_| None);
    let mut vocab = tokens.vocab()?;
    for ((i, text), kind) in tokens.texts.clone().enumerate().zip(tokens.kinds()) {
        let utf8 = || tokens.utf8(i, text);
        if is_structure(kind) {
            utf8()?;
            vocab.push(kind, |out| out.extend_from_slice(text));
        } else if is_bytes {
            let mut is_written = false;
            vocab.push(kind, |out| is_written = write_bytes(text, out));
            if !is_written {
                utf8()?;
            }
        } else {
            let text = utf8()?;
            match byte_of(text) {
                Some(byte) => {
                    bytes[byte as usize] = i as u32;
                    vocab.push(Kind::Byte, |out| out.push(byte));
                }
                None => vocab.push(kind, |out| write_spaces(text.as_bytes(), out)),
            }
        }
    }
    Ok((vocab, bytes))
}

/// Appends the bytes that `text` stands for, or else itself; then it need not be UTF-8, and the answer is false.
fn write_bytes(text: &[u8], out: &mut Vec<u8>) -> bool {
    let is_written = write_all_raw(text, out);
    if !is_written {
        out.extend_from_slice(text);
    }
    is_written
}

/// Merges, as texts of the kind that the vocabulary's tokens are.
fn read_merges(lines: Strings, vocab: &Indexed, is_bytes: bool) -> Result<Pairs> {
    let n = lines.len();
    let mut merges = Reader::new(MERGES, vocab, "", n)?;
    for (rank, line) in lines.enumerate() {
        let malformed =
            |found: String, expected| Error::malformed(format!("{MERGES}: merge {rank}"), found, expected);
        let is_utf8 = || std::str::from_utf8(line).is_ok();
        // The separator is the first space that does not begin the line.
        let space = line.get(1..).and_then(|rest| rest.iter().position(|&b| b == b' ')).map(|i| i + 1);
        let Some(space) = space else {
            let found = format!("{:?}", String::from_utf8_lossy(line));
            let error = malformed(found, "two tokens with a space between");
            return Err(if is_utf8() { error } else { malformed("invalid UTF-8".into(), "UTF-8") });
        };
        let (left, right) = (&line[..space], &line[space + 1..]);
        // Bytes that were all read as characters of the table are UTF-8. So is what spells a token of texts, and its parts
        // are where it is cut before a character. All else is looked at as a whole.
        let mut seen_utf8 = false;
        let makes_token = merges.push(|both| {
            if is_bytes {
                let left_is_utf8 = write_bytes(left, both);
                let middle = both.len();
                seen_utf8 = write_bytes(right, both) && left_is_utf8;
                return Ok(middle);
            }
            write_spaces(left, both);
            let middle = both.len();
            write_spaces(right, both);
            Ok(middle)
        })?;
        let begins_character = right.first().is_none_or(|byte| !(0x80..0xc0).contains(byte));
        let seen_utf8 = seen_utf8 || !is_bytes && makes_token && begins_character;
        if !seen_utf8 && !is_utf8() {
            return Err(malformed("invalid UTF-8".into(), "UTF-8"));
        }
    }
    if (merges.n_read() as usize) < n {
        let found = format!("{} merges of {n}", merges.n_read());
        return Err(Error::malformed(MERGES, found, "a file that stays as it was when it was opened"));
    }
    Ok(merges.finish())
}
