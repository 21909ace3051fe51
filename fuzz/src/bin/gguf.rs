//! A GGUF file: parsed, written again, tokenised, read as a model and run for some tokens. Whatever the bytes, nothing
//! panics, hangs or takes memory out of proportion.
//!
//! An input that begins with `GGU+` stands for a file that has data behind its header: so the seeds of all families are
//! small.
// libFuzzer: -max_len=4400
#![no_main]

use ingle_fuzz::{DATA, assert_same_again, assert_sentence, run, speak};
use ingle_kernel::bytes::Bytes;
use ingle_model::Result;
use ingle_model::file::{gguf, split};
use ingle_model::token::Tokenizer;
use libfuzzer_sys::fuzz_target;

fn file_of(input: &[u8]) -> Vec<u8> {
    match input.strip_prefix(b"GGU+") {
        Some(rest) => [b"GGUF", rest, &DATA].concat(),
        None => input.to_vec(),
    }
}

fn read(input: &[u8]) -> Result<()> {
    let file = gguf::parse(Bytes::new(file_of(input)))?;
    for (key, _) in file.keys() {
        let _ = (
            file.str(key),
            file.strings(key).map(|s| s.map(Iterator::count)),
            file.ints(key),
            file.floats(key),
        );
    }
    assert_same_again(&file);
    if let Ok(tokenizer) = Tokenizer::from_gguf(&file) {
        speak(&tokenizer)?;
    }
    if let Some(part) = split::Part::of(&file)? {
        part.expect_first(&part.names("a-00001-of-00002.gguf")?)?;
    }
    run(&file)
}

fuzz_target!(|input: &[u8]| assert_sentence(read(input)));
