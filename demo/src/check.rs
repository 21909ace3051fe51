//! The tests that judges share. Each takes a model's answer, so each must bear any text.

use crate::item::{Item, Key};

/// Judges an answer by the item's key alone.
pub fn by_key(item: &Item, answer: &str) -> bool {
    match &item.key {
        Key::Exact(right) => right.iter().any(|r| r.trim() == answer.trim()),
        Key::Words(words) => words.iter().all(|w| has_word(answer, w)),
        // Two numbers are the sum thrown back: "0 + 12" would pass by its last.
        Key::Number(right) => {
            let found = numbers(answer);
            found.len() != 2 && found.last() == Some(right)
        }
        Key::Fields(fields) => json_fields(answer).is_some_and(|found| {
            found.len() == fields.len() && fields.iter().all(|field| found.contains(field))
        }),
    }
}

/// Whether the text has the word or phrase as whole words, whatever their case.
pub fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(&word)
        .any(|(at, m)| edge(text[..at].chars().next_back()) && edge(text[at + m.len()..].chars().next()))
}

/// The whole numbers in the text, in order; a number too long for `i64` is left out.
pub fn numbers(text: &str) -> Vec<i64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The sentences of a text, or `None` where it is not made of whole sentences: each starts with a capital letter or a
/// quotation mark, ends with a full stop, question mark or exclamation mark, and has no word twice in a row.
pub fn sentences(text: &str) -> Option<Vec<&str>> {
    let text = text.trim();
    let mut out = Vec::new();
    let mut start = 0;
    let bytes = text.as_bytes();
    for (at, c) in text.char_indices() {
        let last = at + c.len_utf8() == text.len();
        let closes = matches!(c, '.' | '!' | '?') && (last || bytes[at + 1].is_ascii_whitespace())
            || c == '"' && at > 0 && matches!(bytes[at - 1], b'.' | b'!' | b'?') && last
            || c == '"'
                && at > 0
                && matches!(bytes[at - 1], b'.' | b'!' | b'?')
                && starts_sentence(&text[at + 1..]);
        if closes {
            out.push(text[start..=at].trim());
            start = at + 1;
        }
    }
    let whole = text[start..].trim().is_empty() && out.iter().all(|s| starts_sentence(s) && !stutters(s));
    (whole && !out.is_empty()).then_some(out)
}

fn starts_sentence(text: &str) -> bool {
    text.trim_start().trim_start_matches('"').chars().next().is_some_and(char::is_uppercase)
}

fn stutters(sentence: &str) -> bool {
    let words: Vec<&str> = sentence.split_whitespace().collect();
    words.windows(2).any(|pair| pair[0].eq_ignore_ascii_case(pair[1]))
}

/// The fields of a flat JSON object of strings and whole numbers, values as JSON; `None` for anything else.
pub fn json_fields(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let mut out: Vec<(String, String)> = Vec::new();
    loop {
        let (key, after) = json_string(rest)?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        let value_len = if rest.starts_with('"') {
            rest.len() - json_string(rest)?.1.len()
        } else {
            rest.find(|c: char| !c.is_ascii_digit() && c != '-').filter(|&n| n > 0)?
        };
        if out.iter().any(|(old, _)| *old == key) {
            return None;
        }
        out.push((key, rest[..value_len].to_string()));
        rest = rest[value_len..].trim_start();
        if let Some(end) = rest.strip_prefix('}') {
            return end.is_empty().then_some(out);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// A JSON string without escapes (the generator makes none), and what follows it.
fn json_string(text: &str) -> Option<(String, &str)> {
    let (inner, rest) = text.strip_prefix('"')?.split_once('"')?;
    (!inner.contains(['\\', '\n'])).then(|| (inner.to_string(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole_words() {
        assert!(has_word("The Fox ran.", "fox"));
        assert!(!has_word("The foxes ran.", "fox"));
        assert!(has_word("in the old mill.", "old mill"));
    }

    #[test]
    fn sentences_are_whole_sentences() {
        assert_eq!(sentences("A fox ran. It sat.").map(|s| s.len()), Some(2));
        assert_eq!(sentences("\"Come in!\" said Ann. He came.").map(|s| s.len()), Some(2));
        for bad in ["", "A fox ran", "a fox ran.", "The the fox ran.", "A fox ran. it sat."] {
            assert_eq!(sentences(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_flat_objects_and_nothing_else() {
        let fields = json_fields(r#"{"name": "Ada Bell", "age": 34}"#).expect("an object");
        assert_eq!(fields, [("name".into(), "\"Ada Bell\"".into()), ("age".into(), "34".into())]);
        for bad in [
            "",
            "{}",
            "{\"a\": }",
            "{\"a\": 1",
            "{\"a\": 1} x",
            "{\"a\": 1, \"a\": 1}",
            "{\"a\": b}",
            "{\"a\" 1}",
        ] {
            assert_eq!(json_fields(bad), None, "{bad}");
        }
    }

    #[test]
    fn takes_numbers_out_of_text() {
        assert_eq!(numbers("12 + 30 = 42."), [12, 30, 42]);
        assert_eq!(numbers("none 99999999999999999999999"), [0_i64; 0]);
    }
}
