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

/// Prints how long a vocabulary takes to load and how fast English text becomes ids.
#[test]
#[ignore = "a measurement: cargo test --release -p ingle-model --test tokenizers speed -- --ignored --nocapture"]
fn speed() {
    let Some(folder) = golden("tokenizers") else { return };
    let Ok(text) = std::fs::read_to_string(folder.join("../../data/text/wiki.test.raw")) else { return };
    for name in REFERENCES {
        let bytes = std::fs::read(folder.join(format!("ggml-vocab-{name}.gguf"))).unwrap();
        let file = Gguf::parse(Bytes::new(bytes)).unwrap();
        let best = |mut work: Box<dyn FnMut() + '_>| {
            let times = (0..7).map(|_| {
                let start = std::time::Instant::now();
                work();
                start.elapsed().as_secs_f64()
            });
            times.fold(f64::INFINITY, f64::min)
        };
        let load = best(Box::new(|| drop(Tokenizer::from_gguf(&file).unwrap())));
        let tokenizer = Tokenizer::from_gguf(&file).unwrap();
        let mut ids = Vec::new();
        let encode = best(Box::new(|| {
            ids.clear();
            tokenizer.encode(&text, Parse::Text, &mut ids);
        }));
        let mut back = String::new();
        let decode = best(Box::new(|| back = tokenizer.decode(&ids, Render::Text)));
        assert_eq!(back, text, "{name}");
        let megabytes = text.len() as f64 / 1e6;
        eprintln!(
            "{name}: load {:.1} ms, encode {:.1} MB/s ({} ids), decode {:.0} MB/s",
            load * 1e3,
            megabytes / encode,
            ids.len(),
            megabytes / decode
        );
    }
}
