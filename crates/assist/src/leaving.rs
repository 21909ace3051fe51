//! Which facts may leave, before the gate sees them together: so that one of them does not keep them all.
//!
//! A fact is short, and a number or a name that stands alone may not show what it is. So the detectors read the documents too, and a fact
//! is judged by what they find in its passages: an answer that has a value in it which rules keep stays, and so does one with a value that
//! they would replace, where the detectors don't find it in the answer itself. Values are compared by their letters and digits alone.
//!
//! It tightens only: what passes here is read by the gate as any message is.

use std::ops::Range;

use ingle_route::gate::marked;
use ingle_route::policy::{Action, Policy, Situation};

use crate::document::{Document, Passage};
use crate::facts::Fact;

/// A value of fewer letters and digits is only found as a word of its own.
const PART_BYTES_MIN: usize = 4;

/// What rules say of values in documents.
#[derive(Debug)]
pub struct Marks<'a> {
    documents: &'a [Document],
    policy: &'a Policy,
    situation: &'a Situation,
    /// Where each document has values that rules keep or replace.
    spans: Vec<Vec<Range<usize>>>,
}

impl<'a> Marks<'a> {
    /// Of `documents` under `policy`, were they to leave in `situation`.
    pub fn new(documents: &'a [Document], policy: &'a Policy, situation: &'a Situation) -> Self {
        let of = |document: &Document| marked(policy, &document.text, situation, Action::Redact);
        Self { spans: documents.iter().map(of).collect(), documents, policy, situation }
    }

    /// Whether `fact` may be among what is put to the gate.
    pub fn let_go(&self, fact: &Fact, passages: &[Passage]) -> bool {
        let mut values = fact.places.iter().flat_map(|place| {
            let (text, range) = (&self.documents[place.document].text, &passages[place.passage].range);
            let inside = |span: &&Range<usize>| span.start < range.end && range.start < span.end;
            self.spans[place.document].iter().filter(inside).map(|span| &text[span.clone()])
        });
        let answer = fact.answer.as_str();
        let found = |action| marked(self.policy, answer, self.situation, action);
        let spans = found(Action::Redact);
        let replaced: Vec<String> = spans.iter().map(|span| plain(&answer[span.clone()])).collect();
        let known = |value: &str| replaced.iter().any(|other| other.contains(&plain(value)));
        // What is known in one place may stand in another, where the gate would leave it.
        let rest = without(answer, &spans);
        let stays = |value: &str| shows(answer, value) && (!known(value) || shows(&rest, value));
        found(Action::Local).is_empty() && !values.any(stays)
    }
}

/// Whether `answer` has `value` in it.
fn shows(answer: &str, value: &str) -> bool {
    let value = plain(value);
    let is_word = || answer.split(|c: char| !c.is_alphanumeric()).any(|word| plain(word) == value);
    if value.len() < PART_BYTES_MIN { is_word() } else { plain(answer).contains(&value) }
}

/// `text` with a space in place of each of `spans`, which are in order.
fn without(text: &str, spans: &[Range<usize>]) -> String {
    let starts = spans.iter().map(|span| span.start).chain([text.len()]);
    let ends = [0].into_iter().chain(spans.iter().map(|span| span.end));
    ends.zip(starts).map(|(from, to)| &text[from..to]).collect::<Vec<_>>().join(" ")
}

/// Letters and digits, small.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Place;

    #[test]
    fn a_value_that_shows_what_it_is_only_in_its_passage_stays() {
        let (policy, situation) = (Policy::parse("route.toml", "").unwrap(), Situation::default());
        let may = |answer: &str, text: &str| {
            let documents = [Document { name: String::new(), text: text.into() }];
            let passages = [Passage { document: 0, range: 0..text.len() }];
            let place = Place { passage: 0, document: 0, quote: 0..0 };
            let fact = Fact { question: 0, answer: answer.into(), places: vec![place], leaves: false };
            Marks::new(&documents, &policy, &situation).let_go(&fact, &passages)
        };
        let text = "Her social security number is SSN 536904399. Ask Dr. Oduya about the 1932 bridge, or anna@example.org.";
        assert!(may("the bridge, in 1932", text));
        assert!(!may("536904399", text) && !may("it is 536-90-4399", text));
        assert!(may("536904399", "The part number is 536904399."), "nothing says that it is private");
        assert!(!may("Oduya knows", text), "the gate would not know that name");
        assert!(may("write to anna@example.org", text), "the gate replaces it");
        let text = "Dr. Oduya (oduya@example.org)";
        assert!(may("oduya@example.org", text), "the gate replaces it, name and all");
        assert!(!may("Oduya, oduya@example.org", text), "the gate replaces the address alone");
        assert!(!may("4111 1111 1111 1111", "a"));
    }
}
