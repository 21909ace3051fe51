//! How placeholders are written, and how a model may write them back.
//!
//! We write `[EMAIL_1]`. Models write `[email_1]`, `(EMAIL_1)`, `\[EMAIL\_1\]` and `EMAIL_1` as well. All of these are read as
//! placeholders; and because all of these are escaped where a user's text has them (`redact`), none can be mistaken. What is
//! read depends on nothing before it, so that a text may be read in pieces.

use super::DETECTORS;

/// Stands for what looks like a placeholder in the user's own text.
pub(super) const TEXT: &str = "TEXT";
/// Digits of a number at most: a longer one is none.
const DIGITS_MAX: usize = 9;
/// Bytes of the longest placeholder, in whatever form; checked by a test.
pub(super) const LEN_MAX: usize = 48;

/// A placeholder that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placeholder {
    pub(super) word: &'static str,
    pub(super) number: usize,
    /// Bytes that it takes.
    pub(super) len: usize,
}

/// What the beginning of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// A placeholder.
    Is(Placeholder),
    /// None.
    No,
    /// It may become one.
    MayBe,
}

pub(super) fn write(word: &str, number: usize) -> String {
    format!("[{word}_{number}]")
}

/// Reads the placeholder that a text begins with. `complete`: nothing more follows the text.
pub(super) fn read(text: &str, complete: bool) -> Reading {
    const CLOSES: [(&str, &str); 6] =
        [("\\[", "\\]"), ("[", "]"), ("(", ")"), ("{", "}"), ("<", ">"), ("【", "】")];
    let more = if complete { Reading::No } else { Reading::MayBe };
    for (open, close) in CLOSES {
        if text.len() < open.len() && open.starts_with(text) {
            return more;
        }
        let Some(inner) = text.strip_prefix(open) else { continue };
        return match read_inner(inner, true) {
            Inner::Is(word, number, len) => {
                let rest = &inner[len..];
                if rest.starts_with(close) {
                    Reading::Is(Placeholder { word, number, len: open.len() + len + close.len() })
                } else if close.starts_with(rest) {
                    more
                } else {
                    Reading::No
                }
            }
            Inner::No => Reading::No,
            Inner::MayBe => more,
        };
    }
    match read_inner(text, false) {
        // More digits may come.
        Inner::Is(_, _, len) if len == text.len() && !complete => Reading::MayBe,
        Inner::Is(word, number, len) => Reading::Is(Placeholder { word, number, len }),
        Inner::No => Reading::No,
        Inner::MayBe => more,
    }
}

enum Inner {
    /// Word, number, bytes.
    Is(&'static str, usize, usize),
    No,
    MayBe,
}

/// `EMAIL_1`; in brackets in any case, and with other signs than `_`.
fn read_inner(text: &str, lenient: bool) -> Inner {
    let mut may_be = false;
    // Of words that begin alike the longest that fits.
    let mut best: Option<(&'static str, usize, usize)> = None;
    for word in words() {
        let n = word.len().min(text.len());
        let Some(start) = text.get(..n) else { continue };
        let same = if lenient { start.eq_ignore_ascii_case(&word[..n]) } else { *start == word[..n] };
        if !same {
            continue;
        }
        let rest = &text[n..];
        let gap = match rest.as_bytes() {
            _ if n < word.len() => None,
            [] => None,
            [b'\\'] => None,
            [b'\\', b'_', ..] => Some(2),
            [b'_', ..] => Some(1),
            [b' ' | b'-', ..] if lenient => Some(1),
            _ => continue,
        };
        let Some(gap) = gap else {
            may_be = true;
            continue;
        };
        let digits = rest[gap..].bytes().take_while(u8::is_ascii_digit).count();
        let behind = n + gap + digits;
        if digits == 0 {
            may_be |= behind == text.len();
        } else if digits <= DIGITS_MAX && !rest[gap..].starts_with('0') {
            let number = rest[gap..gap + digits].parse().unwrap_or(0);
            if best.is_none_or(|(other, ..)| other.len() < word.len()) {
                best = Some((word, number, behind));
            }
        }
    }
    match best {
        Some((word, number, len)) => Inner::Is(word, number, len),
        None if may_be => Inner::MayBe,
        None => Inner::No,
    }
}

fn words() -> impl Iterator<Item = &'static str> {
    DETECTORS.iter().map(|detector| detector.kind.word).chain([TEXT])
}

/// Whether a placeholder can begin with this byte: letters of words, brackets, the first of `【`.
pub(super) fn may_begin(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'\\' | b'[' | b'(' | b'{' | b'<' | 0xe3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_models_write_are_read() {
        for text in [
            "[EMAIL_12]",
            "[email_12]",
            "(EMAIL_12)",
            "{Email_12}",
            "<EMAIL_12>",
            "[EMAIL 12]",
            "[EMAIL-12]",
            "\\[EMAIL\\_12\\]",
            "[EMAIL\\_12]",
            "EMAIL_12",
            "【EMAIL_12】",
        ] {
            let Reading::Is(read) = read(text, true) else { panic!("{text}") };
            assert_eq!((read.word, read.number, read.len), ("EMAIL", 12, text.len()), "{text}");
        }
        for text in [
            "[EMAIL_]",
            "[EMAIL_012]",
            "[EMAIL_1",
            "email_1",
            "EMAIL 1",
            "[EMAILS_1]",
            "[NOTHING_1]",
            "[EMAIL_1)",
            "[EMAIL_1234567890]",
        ] {
            assert!(
                !matches!(read(text, true), Reading::Is(Placeholder { len, .. }) if len == text.len()),
                "{text}"
            );
        }
    }

    #[test]
    fn every_beginning_may_become_one() {
        for text in ["[EMAIL_12]", "\\[TAXID\\_1\\]", "BIRTHDATE_3", "【TEXT_1】"] {
            for (at, _) in text.char_indices().skip(1) {
                assert_eq!(read(&text[..at], false), Reading::MayBe, "{}", &text[..at]);
            }
            assert!(may_begin(text.as_bytes()[0]));
        }
        assert_eq!(read("EMAIL_1", false), Reading::MayBe);
        assert!(matches!(read("EMAIL_1 ", false), Reading::Is(_)));
    }

    #[test]
    fn the_longest_word_wins_and_none_is_too_long() {
        let words: Vec<_> = words().collect();
        for word in &words {
            assert!(word.len() + "\\[\\_\\]".len() + DIGITS_MAX < LEN_MAX);
            assert!(word.bytes().all(|byte| byte.is_ascii_uppercase()));
            assert_eq!(words.iter().filter(|other| *other == word).count(), 1, "{word} twice");
            let text = write(word, 7);
            assert_eq!(read(&text, true), Reading::Is(Placeholder { word, number: 7, len: text.len() }));
        }
    }
}
