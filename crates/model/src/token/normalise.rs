//! Rewriting a text before it is cut: Unicode forms, case, accents, replacements.
//!
//! Each step does what the component of the same name does in the tokenizers library; positions are not kept, as nothing here
//! needs them. A text that a step leaves alone is not copied.

use std::borrow::Cow;

use unicode_normalization::char::{decompose_canonical, decompose_compatible};
use unicode_normalization::{
    IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick,
};

use super::byte_level;
use super::categories::{CONTROLS, MARKS, NONSPACING, contains};
use super::charsmap::Charsmap;
use super::pattern::Pattern;

/// One step.
#[derive(Debug)]
pub enum Normaliser {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    /// Marks go.
    StripAccents,
    Bert(Bert),
    /// What `pattern` finds becomes `content`.
    Replace {
        pattern: Pattern,
        content: String,
    },
    /// Put before a text that is not empty.
    Prepend(String),
    /// White space goes from the sides.
    Strip {
        left: bool,
        right: bool,
    },
    /// What SentencePiece's nmt rules do with controls and rare spaces.
    Nmt,
    /// SentencePiece's own table, looked up by grapheme as the tokenizers library does.
    Charsmap(Charsmap),
    /// Bytes are written as GPT-2 writes them.
    ByteLevel,
    /// SentencePiece's spaces: `▁` is read as one, `before` puts one before the text.
    Spaces {
        before: bool,
    },
    /// What SentencePiece does to a text: its table by the longest match, then spaces joined, and one before the text.
    SentencePiece {
        charsmap: Option<Charsmap>,
        joins_spaces: bool,
        before: bool,
    },
}

/// BERT's rewriting.
#[derive(Debug, Clone, Copy)]
pub struct Bert {
    /// Controls go, white space becomes spaces.
    pub clean_text: bool,
    /// Spaces around Han characters.
    pub handle_chinese_chars: bool,
    /// Accents go, by decomposing.
    pub strip_accents: bool,
    /// Small letters.
    pub lowercase: bool,
}

/// `text` after all of `steps`.
pub fn apply<'a>(steps: &[Normaliser], text: &'a str) -> Cow<'a, str> {
    apply_from(steps, text, &mut false)
}

/// The same; `keeps_start`, when it is true, becomes false if the first character of what is left was not the first of
/// `text`.
pub fn apply_from<'a>(steps: &[Normaliser], text: &'a str, keeps_start: &mut bool) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    let mut n_first = 1;
    for step in steps {
        if *keeps_start {
            (*keeps_start, n_first) = step.first_stays(&text, n_first);
        }
        if let Some(changed) = step.change(&text) {
            text = Cow::Owned(changed);
        }
    }
    text
}

impl Normaliser {
    /// Whether something stays of the first character that was given, for which the `n` first of `text` stand, and how many
    /// stand for it then: letters may fall into several, of which accents go.
    fn first_stays(&self, text: &str, n: usize) -> (bool, usize) {
        let first = text.chars().take(n);
        let mut n_parts = 0;
        match self {
            _ if text.is_empty() => return (true, n),
            Self::Nfd => first.for_each(|c| decompose_canonical(c, |_| n_parts += 1)),
            Self::Nfkd => first.for_each(|c| decompose_compatible(c, |_| n_parts += 1)),
            Self::StripAccents => n_parts = first.filter(|&c| !contains(&MARKS, c)).count(),
            _ => n_parts = usize::from(!self.drops_start(text)),
        }
        (n_parts > 0, n_parts)
    }

    /// Whether the first character of `text` goes. Of several that become something else the last is what stays.
    fn drops_start(&self, text: &str) -> bool {
        let Some(c) = text.chars().next() else { return false };
        match self {
            Self::Replace { pattern, content } => {
                pattern.at_start(text).is_some_and(|n| content.is_empty() || n > c.len_utf8())
            }
            Self::Strip { left, .. } => *left && c.is_whitespace(),
            Self::Nmt => nmt(c).is_none(),
            Self::Bert(bert) => {
                bert.clean_text && is_unclean(c) || bert.strip_accents && contains(&NONSPACING, c)
            }
            _ => false,
        }
    }

    /// What becomes of `text`, unless it stays as it is.
    fn change(&self, text: &str) -> Option<String> {
        let unless = |is_form: IsNormalized| !text.is_ascii() && is_form != IsNormalized::Yes;
        Some(match self {
            Self::Nfc => unless(is_nfc_quick(text.chars())).then(|| text.nfc().collect())?,
            Self::Nfd => unless(is_nfd_quick(text.chars())).then(|| text.nfd().collect())?,
            Self::Nfkc => unless(is_nfkc_quick(text.chars())).then(|| text.nfkc().collect())?,
            Self::Nfkd => unless(is_nfkd_quick(text.chars())).then(|| text.nfkd().collect())?,
            Self::Lowercase => lower(text),
            Self::StripAccents => text.chars().filter(|&c| c.is_ascii() || !contains(&MARKS, c)).collect(),
            Self::Bert(bert) => bert.change(text),
            Self::Replace { pattern, content } => replace(pattern, content, text)?,
            Self::Prepend(_) if text.is_empty() => return None,
            Self::Prepend(before) => [before, text].concat(),
            Self::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { text };
                if *right { text.trim_end() } else { text }.to_owned()
            }
            Self::Nmt => text.chars().filter_map(nmt).collect(),
            Self::Charsmap(map) => map.by_grapheme(text)?,
            Self::ByteLevel => text.bytes().map(byte_level::char_of).collect(),
            Self::Spaces { before: false } if !text.contains('▁') => return None,
            Self::Spaces { before } => spaces(*before, text),
            Self::SentencePiece { charsmap, joins_spaces, before } => {
                let mapped = charsmap.as_ref().map(|map| map.by_longest(text));
                sentence(mapped.as_deref().unwrap_or(text), *joins_spaces, *before)
            }
        })
    }
}

fn lower(text: &str) -> String {
    if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.chars().flat_map(char::to_lowercase).collect()
    }
}

/// `text` with `content` for every match, unless there is none.
pub fn replace(pattern: &Pattern, content: &str, text: &str) -> Option<String> {
    let (mut out, mut done, mut found) = (String::new(), 0, false);
    pattern.each(text, |start, end| {
        out.push_str(&text[done..start]);
        out.push_str(content);
        (done, found) = (end, true);
    });
    out.push_str(&text[done..]);
    found.then_some(out)
}

/// `▁` read as a space, and one `before`.
fn spaces(before: bool, text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    if before {
        out.push(' ');
    }
    for (i, part) in text.split('▁').enumerate() {
        if i > 0 {
            out.push(' ');
        }
        out.push_str(part);
    }
    out
}

/// SentencePiece's white space: `▁` is a space; with `joins` runs are one and none stands at a side.
fn sentence(text: &str, joins: bool, before: bool) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    let text = text.replace('▁', " ");
    if !joins {
        if before {
            out.push(' ');
        }
        out.push_str(&text);
        return out;
    }
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if before || !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

fn nmt(c: char) -> Option<char> {
    match c {
        '\u{1}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{8f}' | '\u{9f}' => None,
        '\t' | '\n' | '\u{c}' | '\r' | '\u{1680}' | '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{2029}' => {
            Some(' ')
        }
        '▁' | '\u{feff}' | '\u{fffd}' => Some(' '),
        c => Some(c),
    }
}

impl Bert {
    fn change(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            let is_space = c.is_whitespace();
            if self.clean_text && is_unclean(c) {
                continue;
            }
            if self.clean_text && is_space {
                out.push(' ');
            } else if self.handle_chinese_chars && is_chinese(c) {
                out.extend([' ', c, ' ']);
            } else {
                out.push(c);
            }
        }
        if self.strip_accents && !out.is_ascii() {
            out = out.nfd().filter(|&c| c.is_ascii() || !contains(&NONSPACING, c)).collect();
        }
        if self.lowercase { lower(&out) } else { out }
    }
}

/// Controls and what stands for broken text, as BERT counts them.
fn is_unclean(c: char) -> bool {
    c == '\0' || c == '\u{fffd}' || !matches!(c, '\t' | '\n' | '\r') && contains(&CONTROLS, c)
}

/// Han as BERT counts it; the sixth range begins where the tokenizers library begins it.
fn is_chinese(c: char) -> bool {
    matches!(c as u32,
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f | 0x2b740..=0x2b81f
        | 0x2b920..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_its_form_is_not_copied() {
        let steps = [Normaliser::Nfc, Normaliser::Spaces { before: false }];
        assert!(matches!(apply(&steps, "déjà vu"), Cow::Borrowed(_)));
        assert_eq!(apply(&steps, "e\u{301}▁a"), "é a");
    }

    #[test]
    fn a_text_that_lost_its_start_says_so() {
        let steps = [Normaliser::Lowercase, Normaliser::Strip { left: true, right: true }];
        for (text, expected) in [(" A", false), ("A ", true), ("", true)] {
            let mut keeps_start = true;
            apply_from(&steps, text, &mut keeps_start);
            assert_eq!(keeps_start, expected, "{text:?}");
        }
        // U+0E33 falls into an accent and a letter, U+0344 into two accents.
        let steps = [Normaliser::Nfkd, Normaliser::StripAccents];
        for (text, expected) in [("\u{e33}a", true), ("\u{301}a", false), ("\u{344}a", false), ("é", true)] {
            let mut keeps_start = true;
            apply_from(&steps, text, &mut keeps_start);
            assert_eq!(keeps_start, expected, "{text:?}");
        }
    }

    #[test]
    fn bert_cleans_spaces_and_lowers() {
        let bert =
            Bert { clean_text: true, handle_chinese_chars: true, strip_accents: true, lowercase: true };
        assert_eq!(apply(&[Normaliser::Bert(bert)], "Àb\u{0}\t中c\u{200d}\u{fffd}İ"), "ab  中 ci");
    }

    #[test]
    fn sentence_piece_joins_spaces_and_puts_one_before() {
        assert_eq!(sentence("  a ▁ b ", true, true), " a b");
        assert_eq!(sentence(" a  b ", false, true), "  a  b ");
        assert_eq!(sentence("  ", true, true), "");
    }
}
