//! A checkpoint of llama2.c and the tokenizer.bin beside it: parsed, written as GGUF, tokenised and run.
//!
//! An input is the checkpoint's length (u16, little-endian), the checkpoint and the vocabulary.
// libFuzzer: -max_len=1000
#![no_main]

use ingle_fuzz::{assert_same_again, assert_sentence, run, speak};
use ingle_kernel::bytes::Bytes;
use ingle_model::Result;
use ingle_model::file::llama2c;
use ingle_model::token::Tokenizer;
use libfuzzer_sys::fuzz_target;

fn read(checkpoint: &[u8], vocabulary: &[u8]) -> Result<()> {
    let mut file = llama2c::parse(Bytes::new(checkpoint.to_vec()))?;
    if !vocabulary.is_empty() {
        llama2c::add_vocabulary(&mut file, vocabulary)?;
        speak(&Tokenizer::from_gguf(&file)?)?;
    }
    assert_same_again(&file);
    run(&file)
}

fuzz_target!(|input: &[u8]| {
    let Some((len, rest)) = input.split_first_chunk() else { return };
    let (checkpoint, vocabulary) = rest.split_at(rest.len().min(u16::from_le_bytes(*len).into()));
    assert_sentence(read(checkpoint, vocabulary));
});
