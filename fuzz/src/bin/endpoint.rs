//! What an endpoint answers, as a stream of events or as a document: the same text however it is cut, and errors of one line.
//!
//! The first byte of an input says where it is cut.
// libFuzzer: -max_len=4096
#![no_main]

use ingle_fuzz::assert_sentence;
use ingle_route::cloud::wire::Incoming;
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8], step: usize) -> (Result<String, String>, bool) {
    let (mut incoming, mut all) = (Incoming::default(), String::new());
    for part in bytes.chunks(step) {
        match incoming.push(part) {
            Ok(text) => all += &text,
            Err(error) => return (Err(error), false),
        }
    }
    let rest = incoming.finish();
    (rest.map(|rest| all + &rest), incoming.ended)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let (whole, ended) = read(bytes, usize::MAX);
    let cut = read(bytes, usize::from(first).max(1));
    assert_eq!((&whole, ended), (&cut.0, cut.1));
    assert_sentence(whole.map(drop));
});
