//! What is asked of every passage: the user's question itself, or the questions of who is asked elsewhere.
//!
//! Who plans sees the user's question and how many documents there are, of what kinds and about how long: no name, no text. The reply is
//! read as one reads a stranger's letter: a list of JSON if there is one, else the lines that end in a question mark, each on one line
//! and short, no two the same, and not more than [`QUESTIONS_MAX`]. The rest of it is passed over.

use std::fmt::Write;

use ingle_route::gate::{Message, Role};
use ingle_route::privacy::is_invisible;
use serde_json::Value as Json;

use crate::document::{Document, n_bytes};

/// The most questions of one reply.
pub const QUESTIONS_MAX: usize = 8;
/// The longest question; a longer one is none.
pub const QUESTION_BYTES_MAX: usize = 300;
/// As much of a reply is read.
const REPLY_BYTES_MAX: usize = 64 << 10;

const PLANNER: &str = "You plan how documents are read that you can't see. A small model on the user's device will read them one \
     passage at a time and answer each of your questions from every passage, in a few words or not at all. Write the few questions, 8 at \
     most, whose answers together answer the user's question. Each must make sense to someone who sees nothing but a passage. Reply with \
     a JSON array of strings and nothing else.";

/// What is said to who plans.
pub fn messages(question: &str, documents: &[Document]) -> Vec<Message> {
    let mut kinds: Vec<&str> = documents.iter().map(Document::kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let (n, size) = (documents.len(), about(n_bytes(documents)));
    let mut text = question.to_owned();
    // Writing to a String can't fail.
    let _ = write!(text, "\n\nDocuments: {n} ({}), about {size} in all.", kinds.join(", "));
    vec![Message { role: Role::System, text: PLANNER.to_owned() }, Message { role: Role::User, text }]
}

/// A size that tells no document from another of its size.
fn about(n_bytes: usize) -> String {
    let kilobytes = n_bytes.div_ceil(1000);
    let unit = 10usize.pow(kilobytes.max(1).ilog10());
    format!("{} KB", kilobytes.div_ceil(unit) * unit)
}

/// The questions of a reply; none where it has none.
pub fn questions(reply: &str) -> Vec<String> {
    let reply = &reply[..reply.floor_char_boundary(REPLY_BYTES_MAX)];
    let found = match json(reply) {
        Some(value) => listed(&value),
        None => lines(reply),
    };
    let mut out: Vec<String> = Vec::new();
    for question in found.iter().map(|question| one_line(question)) {
        let is_new = !out.iter().any(|other| other.to_lowercase() == question.to_lowercase());
        if !question.is_empty() && question.len() <= QUESTION_BYTES_MAX && is_new {
            out.push(question);
        }
        if out.len() == QUESTIONS_MAX {
            break;
        }
    }
    out
}

/// The document of JSON that stands in a text, in a fence or between words: the first that is whole, whichever bracket begins it.
pub(crate) fn json(text: &str) -> Option<Json> {
    let mut brackets = [('[', ']'), ('{', '}')].map(|(open, close)| (text.find(open), text.rfind(close)));
    brackets.sort_by_key(|(open, _)| open.unwrap_or(usize::MAX));
    brackets.into_iter().find_map(|(open, close)| serde_json::from_str(text.get(open?..=close?)?).ok())
}

/// The texts of a list, or of the list `questions` of an object; of objects their `question`.
fn listed(value: &Json) -> Vec<String> {
    let list = value.get("questions").unwrap_or(value).as_array();
    let text = |item: &Json| item.as_str().or_else(|| item.get("question")?.as_str()).map(str::to_owned);
    list.into_iter().flatten().filter_map(text).collect()
}

/// The lines that ask, without what marks entries of a list.
fn lines(text: &str) -> Vec<String> {
    let marks = |c: char| c.is_ascii_digit() || c.is_whitespace() || "-*.)#•".contains(c);
    let lines = text.lines().map(|line| line.trim_start_matches(marks).trim().trim_matches('*').trim());
    lines.filter(|line| line.ends_with(['?', '？'])).map(str::to_owned).collect()
}

/// A text on one line, without what a terminal would obey.
pub(crate) fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if is_plain(c) { c } else { ' ' }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a character shows what it is: no control, nothing without width, nothing that turns the line round.
fn is_plain(c: char) -> bool {
    !c.is_control() && !is_invisible(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_plans_sees_no_name_and_no_text() {
        let documents = [
            Document { name: "/home/anna/divorce.md".into(), text: "canary ".repeat(26_000) },
            Document { name: "b.zebra".into(), text: "canary".into() },
        ];
        let messages = messages("What happened in May?", &documents);
        let said: String = messages.iter().map(|message| message.text.as_str()).collect();
        assert!(
            said.contains("What happened in May?\n\nDocuments: 2 (Markdown, text), about 200 KB"),
            "{said}"
        );
        for word in ["canary", "anna", "divorce", "zebra", "182"] {
            assert!(!said.contains(word), "{word} is in {said}");
        }
        assert_eq!(
            (about(1), about(1001), about(99_001), about(0)),
            ("1 KB".into(), "2 KB".into(), "100 KB".into(), "0 KB".into())
        );
    }

    #[test]
    fn plans_are_read_leniently() {
        for reply in [
            r#"["Who signed?", "When?"]"#,
            "Sure! Here you are:\n```json\n{\"questions\": [\"Who signed?\", {\"question\": \"When?\"}]}\n```",
            "1. Who signed?\n2) **When?**\nThese will do.",
            "- Who signed?\n- who signed?\n\n* When?",
            r#"[" Who   signed? ", 7, null, "", "When?"]"#,
        ] {
            assert_eq!(questions(reply), ["Who signed?", "When?"], "{reply}");
        }
    }

    #[test]
    fn hostile_plans_are_cut_down() {
        for reply in
            ["", "{}", "[]", "null", "no", "[[[", "{\"questions\": 7}", "[{\"question\": {}}]", "\u{0}\u{1b}"]
        {
            assert_eq!(questions(reply), Vec::<String>::new(), "{reply}");
        }
        let many: Vec<String> = (0..10_000).map(|i| format!("q{i}?")).collect();
        assert_eq!(questions(&serde_json::to_string(&many).unwrap()[..60_000]), Vec::<String>::new());
        assert_eq!(questions(&serde_json::to_string(&many[..5000]).unwrap()).len(), QUESTIONS_MAX);
        assert_eq!(questions(&many.join("\n")).len(), QUESTIONS_MAX);
        assert_eq!(questions(&format!("{}?", "a".repeat(QUESTION_BYTES_MAX))), Vec::<String>::new());
        assert_eq!(questions("[\"a\\nb\\u001b[2Jc\\u202e?\"]"), ["a b [2Jc ?"]);
        assert_eq!(questions("[\"a\u{ad}b\u{fe0f}c\u{e0100}?\"]"), ["a b c ?"]);
        assert_eq!(questions(&"[".repeat(100_000)), Vec::<String>::new());
    }
}
