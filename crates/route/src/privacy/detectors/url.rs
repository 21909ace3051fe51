//! Addresses of pages. Most are public; some hold names, sessions and invitations.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "URL", word: "URL", class: Class::Network },
    about: "what begins with a scheme and ://, or with www., up to a space, a bracket or a quotation mark",
    source: "RFC 3986",
    example: "See ⟦https://example.org/a(b)?c=d⟧.",
    near_misses: &["see a://", "x.y/z", "www."],
    find,
};

const LEN_MAX: usize = 2048;

fn find(page: &Page<'_>, hits: &mut Hits) {
    let bytes = page.bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let start = if rest.starts_with(b"://") {
            let len = bytes[..at]
                .iter()
                .rev()
                .take(16)
                .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'+')
                .count();
            (at - len, at + 3, len >= 2)
        } else {
            let www = rest.len() > 4 && rest[..4].eq_ignore_ascii_case(b"www.") && !page.letter_before(at);
            (at, at + 4, www)
        };
        let (start, behind, fits) = start;
        if !fits {
            at += 1;
            continue;
        }
        let end = end(page.text, behind);
        if end > behind {
            hits.push(start..end, Certainty::Possible);
        }
        at = end.max(at + 1);
    }
}

/// Where it ends: punctuation of the sentence, and a bracket that it does not open, are not its own.
fn end(text: &str, start: usize) -> usize {
    let rest = &text[start..];
    let stop = |char: char| char.is_whitespace() || char.is_control() || "<>\"`{}|\\^".contains(char);
    let mut len = 0;
    for (at, char) in rest.char_indices() {
        if stop(char) || at > LEN_MAX {
            break;
        }
        len = at + char.len_utf8();
    }
    let mut rest = &rest[..len];
    let mut open = rest.matches('(').count();
    let mut closed = rest.matches(')').count();
    while let Some(last) = rest.chars().next_back() {
        match last {
            ')' if closed > open => closed -= 1,
            ')' => break,
            '(' => open -= 1,
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | ']' | '[' => {}
            _ => break,
        }
        rest = &rest[..rest.len() - last.len_utf8()];
    }
    start + rest.len()
}
