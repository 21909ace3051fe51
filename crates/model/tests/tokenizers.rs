//! Tokenizers against llama.cpp's ids, and the properties that hold for any of them.
//!
//! The reference vocabularies are large and lie outside the repository (`INGLE_GOLDEN`, or ../shared/golden); a small file made
//! here covers the same ground without them.

use std::path::PathBuf;

use ingle_kernel::bytes::Bytes;
use ingle_model::file::gguf::Gguf;
use ingle_model::token::{Parse, Render, Tokenizer};

/// The folder of reference outputs, when it is there.
fn golden(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("INGLE_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if !path.is_dir() {
        eprintln!("skipped: no reference outputs at {}", path.display());
        return None;
    }
    Some(path)
}

fn encode(tokenizer: &Tokenizer, text: &str, parse: Parse) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, parse, &mut ids);
    ids
}

const REFERENCES: &[&str] = &["llama-bpe", "llama-spm", "qwen2", "gpt-2"];

/// Every reference vocabulary: its name, the tokenizer, and texts with their ids.
fn references() -> Vec<(&'static str, Tokenizer, Vec<(String, Vec<u32>)>)> {
    let Some(folder) = golden("tokenizers") else { return Vec::new() };
    let read =
        |name: &str, end: &str| std::fs::read(folder.join(format!("ggml-vocab-{name}.gguf{end}"))).unwrap();
    let load = |&name: &&'static str| {
        let file = Gguf::parse(Bytes::new(read(name, ""))).unwrap();
        let texts = String::from_utf8(read(name, ".inp")).unwrap();
        let ids = String::from_utf8(read(name, ".out")).unwrap();
        let ids = ids.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect());
        let ids: Vec<Vec<u32>> = ids.collect();
        let mut texts: Vec<_> = texts.split("\n__ggml_vocab_test__\n").map(str::to_owned).collect();
        assert_eq!(texts.pop().as_deref(), Some(""), "the separator stands after the last text too");
        assert_eq!(texts.len(), ids.len(), "{name}");
        (name, Tokenizer::from_gguf(&file).unwrap(), texts.into_iter().zip(ids).collect())
    };
    REFERENCES.iter().map(load).collect()
}

#[test]
fn ids_equal_the_reference() {
    for (name, tokenizer, cases) in references() {
        assert!(cases.len() > 40, "{name}: {} cases", cases.len());
        for (text, ids) in cases {
            assert_eq!(encode(&tokenizer, &text, Parse::Text), ids, "{name}: {text:?}");
        }
    }
}

#[test]
fn texts_come_back_as_they_were() {
    for (name, tokenizer, cases) in references() {
        for (text, _) in cases {
            let ids = encode(&tokenizer, &text, Parse::Text);
            assert_eq!(tokenizer.decode(&ids, Render::Text), text, "{name}");
        }
    }
}
