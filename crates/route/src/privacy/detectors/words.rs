//! A text cut into words of bytes of a sort.

use std::ops::Range;

/// Every longest run of bytes that are `of_word`. Such bytes are ASCII, or all of 0x80 and up.
pub(super) fn words(text: &str, of_word: impl Fn(u8) -> bool) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && !of_word(bytes[at]) {
            at += 1;
        }
        let start = at;
        while at < bytes.len() && of_word(bytes[at]) {
            at += 1;
        }
        (start < at).then_some(start..at)
    })
}
