//! Multiple-choice questions in JSON lines: what is accepted has choices to choose from, one of them right.
// libFuzzer: -max_len=1024
#![no_main]

use ingle_compress::evaluate::choices::{CHOICES_MAX, parse};
use ingle_fuzz::assert_sentence;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    assert_sentence(parse(text).map(|questions| {
        assert!(!questions.is_empty());
        for question in questions {
            assert!(!question.context.trim().is_empty());
            assert!((2..=CHOICES_MAX).contains(&question.choices.len()));
            assert!(question.gold < question.choices.len());
            assert!(question.choices.iter().all(|choice| !choice.trim().is_empty()));
        }
    }));
});
