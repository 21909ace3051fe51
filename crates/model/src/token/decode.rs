//! What tokens write: the decoder of a tokenizer.json, applied token by token.
//!
//! Decoders are defined on all tokens of a text at once, but nearly all look at one token at a time and at whether it is the
//! first. Those are supported: what a token writes is found when the tokenizer is loaded, and only the first of a text is
//! looked at again. Bytes are bytes until `detokenize` makes characters of them, so a run of byte tokens that is no text
//! becomes as many U+FFFD as UTF-8 decoders agree on, not one for each token as in the tokenizers library.

use super::byte_level::write_raw;
use super::normalise::replace;
use super::pattern::Pattern;
use super::spm::byte_of;

/// How tokens become text.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Applied to each token; `None` where what the vocabulary holds is what a token writes.
    pub chain: Option<Vec<Decode>>,
    /// One space goes from the beginning of the text.
    pub trims_space: bool,
    /// A space at the end of a text is not written: tokens end with one to part words.
    pub holds_space: bool,
}

/// One step from a token to what it writes.
#[derive(Debug)]
pub enum Decode {
    /// A space between tokens.
    Spaced,
    /// GPT-2's characters for bytes.
    ByteLevel,
    /// `<0x0A>` is a byte.
    ByteFallback,
    /// `replacement` is a space, but nothing in the first token when the text was given one.
    Metaspace { replacement: char, prepended: bool },
    /// A space before each token that does not begin with `prefix`; then spaces before punctuation go.
    WordPiece { prefix: String, cleanup: bool },
    /// What `pattern` finds becomes `content`.
    Replace { pattern: Pattern, content: String },
    /// So many of a character go from the sides.
    Strip { content: char, start: usize, stop: usize },
    /// `suffix` ends a word: a space.
    Suffix(String),
}

impl Decoder {
    /// Whether the first token of a text writes something else than it does later.
    pub fn first_differs(&self) -> bool {
        let differs = |step: &Decode| {
            matches!(
                step,
                Decode::Spaced | Decode::WordPiece { .. } | Decode::Metaspace { prepended: true, .. }
            )
        };
        self.chain.as_ref().is_some_and(|chain| chain.iter().any(differs))
    }

    /// Whether one space goes from the beginning of a text.
    pub fn trims_space(&self) -> bool {
        self.trims_space
    }

    /// Appends what `token` writes, which may be half a character.
    pub fn write(&self, token: &str, is_first: bool, out: &mut Vec<u8>) {
        let mut text = token.to_owned();
        for step in self.chain.as_deref().unwrap_or_default() {
            match step {
                Decode::Spaced if !is_first => text.insert(0, ' '),
                Decode::Spaced => {}
                Decode::ByteLevel => {
                    write_raw(&text, out);
                    return;
                }
                Decode::ByteFallback => {
                    if let Some(byte) = byte_of(&text) {
                        return out.push(byte);
                    }
                }
                Decode::Metaspace { replacement, prepended } => {
                    text = text.replace(*replacement, if is_first && *prepended { "" } else { " " });
                }
                Decode::WordPiece { prefix, cleanup } => {
                    if !is_first {
                        text = text
                            .strip_prefix(prefix.as_str())
                            .map_or_else(|| format!(" {text}"), str::to_owned);
                    }
                    if *cleanup {
                        text = clean_up(&text);
                    }
                }
                Decode::Replace { pattern, content } => {
                    text = replace(pattern, content, &text).unwrap_or(text);
                }
                Decode::Strip { content, start, stop } => {
                    text = strip(&text, *content, *start, *stop).to_owned();
                }
                Decode::Suffix(suffix) => text = text.replace(suffix.as_str(), " "),
            }
        }
        out.extend_from_slice(text.as_bytes());
    }
}

/// English without the spaces that cutting at punctuation has put in.
fn clean_up(text: &str) -> String {
    // All that is looked for begins so; this runs over every token of a vocabulary.
    let may_change = |pair: &[u8]| pair[0] == b' ' && b".?!,'nd".contains(&pair[1]);
    if !text.as_bytes().windows(2).any(may_change) {
        return text.to_owned();
    }
    [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn strip(text: &str, content: char, start: usize, stop: usize) -> &str {
    let mut text = text;
    for _ in 0..start {
        text = text.strip_prefix(content).unwrap_or(text);
    }
    for _ in 0..stop {
        text = text.strip_suffix(content).unwrap_or(text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(step: Decode, token: &str, is_first: bool) -> String {
        let decoder = Decoder { chain: Some(vec![step]), ..Decoder::default() };
        let mut out = Vec::new();
        decoder.write(token, is_first, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_step_writes_what_it_should() {
        let word_piece = || Decode::WordPiece { prefix: "##".into(), cleanup: true };
        let metaspace = || Decode::Metaspace { replacement: '▁', prepended: true };
        for (step, token, first, later) in [
            (Decode::Spaced, "a", "a", " a"),
            (Decode::ByteLevel, "ĠÃ©", " é", " é"),
            (Decode::ByteLevel, "a b", "a b", "a b"),
            (Decode::ByteFallback, "<0x41>", "A", "A"),
            (metaspace(), "▁▁a", "a", "  a"),
            (word_piece(), "##a", "##a", "a"),
            (word_piece(), "!", "!", "!"),
            (word_piece(), "a", "a", " a"),
            (Decode::Strip { content: 'x', start: 1, stop: 2 }, "xxaxxx", "xax", "xax"),
            (Decode::Suffix("</w>".into()), "a</w>", "a ", "a "),
        ] {
            let decoder = Decoder { chain: Some(vec![step]), ..Decoder::default() };
            for (is_first, expected) in [(true, first), (false, later)] {
                let mut out = Vec::new();
                decoder.write(token, is_first, &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{decoder:?}");
            }
        }
        let pattern = Pattern::Text("▁".into());
        assert_eq!(write(Decode::Replace { pattern, content: " ".into() }, "▁a", true), " a");
    }
}
