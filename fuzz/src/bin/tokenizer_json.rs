//! A tokenizer.json, and on a second line a tokenizer_config.json: read, and used for some texts. A tokenizer of bytes that
//! changes nothing else gives every text back.
// libFuzzer: -max_len=2600
#![no_main]

use ingle_fuzz::{TEXTS, assert_sentence, speak};
use ingle_model::Result;
use ingle_model::token::{Parse, Render, Tokenizer};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// Whether nothing in the file changes a text and every byte is a token: then what is encoded must come back.
fn is_lossless(file: &[u8], tokenizer: &Tokenizer) -> bool {
    if tokenizer.n_vocab() < 256 {
        return false;
    }
    let Ok(file) = serde_json::from_slice::<Value>(file) else { return false };
    let absent = |name: &str| file.get(name).is_none_or(Value::is_null);
    let is_bytes = |name: &str| file[name]["type"] == "ByteLevel";
    let model = |name: &str| file["model"][name].as_str().is_none_or(str::is_empty);
    absent("normalizer")
        && file.get("added_tokens").is_none_or(|added| *added == json!([]))
        && is_bytes("pre_tokenizer")
        && file["pre_tokenizer"]["add_prefix_space"] == false
        && is_bytes("decoder")
        && file["model"]["type"] == "BPE"
        && ["unk_token", "continuing_subword_prefix", "end_of_word_suffix"].into_iter().all(model)
        && tokenizer.ending().is_empty()
        && (0..=255).all(|byte: u8| {
            (0..tokenizer.n_vocab() as u32).any(|id| tokenizer.token_bytes(id) == Some(&[byte]))
        })
}

fn read(input: &[u8]) -> Result<()> {
    let mut lines = input.split(|&byte| byte == b'\n');
    let file = lines.next().unwrap_or_default();
    let tokenizer = Tokenizer::from_json(file, lines.next())?;
    speak(&tokenizer)?;
    if is_lossless(file, &tokenizer) {
        for text in TEXTS {
            let mut ids = Vec::new();
            tokenizer.encode(text, Parse::Text, &mut ids)?;
            assert_eq!(tokenizer.decode(&ids, Render::Text), text);
        }
    }
    Ok(())
}

fuzz_target!(|input: &[u8]| assert_sentence(read(input)));
