//! What a local model says of a passage and what an endpoint plans: quotations stand where they are said to, answers and questions are
//! short and of one line, and passages and sentences cover their text.
//!
//! The first byte of an input says how much of it is the passage, in 256ths; the rest is the reply.
// libFuzzer: -max_len=4096
#![no_main]

use ingle_assist::document::{Document, passages, sentences};
use ingle_assist::facts::ANSWER_BYTES_MAX;
use ingle_assist::joining::{self, Joined, Round};
use ingle_assist::plan::{QUESTION_BYTES_MAX, QUESTIONS_MAX, questions};
use ingle_assist::reading::{self, Reply};
use libfuzzer_sys::fuzz_target;

/// The budget of passages, in words.
const WORDS: usize = 12;

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn is_one_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let (passage, reply) = bytes.split_at(bytes.len() * usize::from(first) / 256);
    let (passage, reply) = (String::from_utf8_lossy(passage), String::from_utf8_lossy(reply));

    let covers = |ranges: &[std::ops::Range<usize>]| {
        ranges.iter().fold(0, |end, range| if range.start == end { range.end } else { usize::MAX })
    };
    assert_eq!(covers(&sentences(&passage)), passage.len());
    let document = Document { name: "a.md".into(), text: passage.to_string() };
    let cut = passages(&[document], WORDS, &mut |text| words(text).len());
    let mut end = 0;
    for range in cut.iter().map(|passage| &passage.range) {
        assert!(range.start <= end && range.end > end, "{range:?} behind {end}");
        assert!(passage.is_char_boundary(range.start) && passage.is_char_boundary(range.end));
        end = range.end;
    }
    assert_eq!(end, passage.len());
    let form = reading::form(&passage);
    assert!(form.starts_with("\\{\"found\": ") && form.ends_with("\\}"), "{form}");

    if let Reply::Found(found) = reading::parse(&reply, &passage) {
        assert!(is_one_line(&found.answer) && found.answer.len() <= ANSWER_BYTES_MAX, "{found:?}");
        // What is quoted stands there, and is said in the reply.
        let quoted = words(&passage[found.quote.clone()]);
        assert!(!quoted.is_empty(), "{found:?}");
    }
    let asked = questions(&reply);
    assert!(asked.len() <= QUESTIONS_MAX);
    for question in &asked {
        assert!(is_one_line(question) && question.len() <= QUESTION_BYTES_MAX, "{question:?}");
    }
    match joining::parse(&reply, Round::Open) {
        Joined::More(more) => assert!(!more.is_empty() && more.len() <= QUESTIONS_MAX),
        Joined::Answer(answer) => assert_eq!(joining::parse(&reply, Round::Last), Joined::Answer(answer)),
    }
});
