//! What is private in a text: whatever the text, findings lie in it in order, on borders of characters; what is redacted comes
//! back whole, in pieces too; and what placeholders an answer makes up changes nothing else.
// libFuzzer: -max_len=2048
#![no_main]

use ingle_route::privacy::{DETECTORS, Redactor, find_all};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    for detector in DETECTORS {
        assert!(detector.find(text).is_sorted_by_key(|finding| finding.span.start));
    }
    let findings = find_all(text);
    let mut end = 0;
    for finding in &findings {
        let span = finding.span.clone();
        assert!(end <= span.start && span.start < span.end && text.get(span.clone()).is_some());
        end = span.end;
    }
    let mut redactor = Redactor::new();
    // The first half may be a message of its own: values are known in the next.
    let half = text.floor_char_boundary(text.len() / 2);
    let first = redactor.redact(&text[..half], &find_all(&text[..half]));
    let whole = redactor.redact(text, &findings);
    assert_eq!(redactor.vault().rehydrate(&first.text), text[..half]);
    assert_eq!(redactor.vault().rehydrate(&whole.text), text);
    // An answer may be anything.
    let answer = redactor.vault().rehydrate(text);
    for size in [1, 7] {
        let mut rehydrator = redactor.rehydrator();
        let (mut back, mut made) = (String::new(), String::new());
        let chars: Vec<char> = whole.text.chars().collect();
        for piece in chars.chunks(size) {
            back.push_str(&rehydrator.push(&piece.iter().collect::<String>()));
        }
        back.push_str(&rehydrator.finish());
        assert_eq!(back, text);
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(size) {
            made.push_str(&rehydrator.push(&piece.iter().collect::<String>()));
        }
        made.push_str(&rehydrator.finish());
        assert_eq!(made, answer);
    }
});
