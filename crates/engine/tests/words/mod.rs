//! A vocabulary of single bytes, some words and some tokens that are structure, for tests of what may come next.

use ingle_engine::constrain::Constraint;
use ingle_model::token::Tokenizer;
use serde_json::{Map, Value as Json, json};

/// What ends an answer.
pub const END: &str = "<|endoftext|>";

/// All bytes, `words`, and `structure`; [`END`] ends an answer.
pub fn tokenizer(words: &[&str], structure: &[&str]) -> Tokenizer {
    let bytes = (0..=255u8).map(|byte| written(byte).to_string());
    let words = words.iter().map(|word| word.bytes().map(written).collect());
    let vocab: Map<String, Json> =
        bytes.chain(words).enumerate().map(|(id, word)| (word, json!(id))).collect();
    let added = structure.iter().chain([&END]).enumerate().map(|(i, name)| {
        json!({ "id": vocab.len() + i, "content": name, "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false })
    });
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": false });
    let file = json!({
        "version": "1.0", "added_tokens": added.collect::<Vec<_>>(), "normalizer": null, "pre_tokenizer": byte_level,
        "decoder": byte_level, "post_processor": null, "truncation": null, "padding": null,
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    });
    let config = json!({ "eos_token": END });
    Tokenizer::from_json(file.to_string().as_bytes(), Some(config.to_string().as_bytes())).unwrap()
}

/// GPT-2's character for a byte.
fn written(byte: u8) -> char {
    let is_printed = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    match byte {
        b if is_printed(b) => char::from(b),
        b => char::from_u32(256 + (0..b).filter(|&b| !is_printed(b)).count() as u32).unwrap(),
    }
}

/// The tokens that may come next.
pub fn allowed(tokenizer: &Tokenizer, constraint: &mut Constraint) -> Vec<u32> {
    let mut row = vec![0.0f32; tokenizer.n_vocab()];
    constraint.mask(&mut row).unwrap();
    (0..row.len() as u32).filter(|&id| row[id as usize] == 0.0).collect()
}
