//! tokenizer.json against the tokenizers library: small tokenizers of every make, with what the library did with texts of all
//! kinds. `tests/tokenizers/make.py` wrote them, and runs the same on 100,000 texts and on real vocabularies.

mod common;

use std::collections::BTreeMap;

use common::damage::{Outcomes, Rng};
use ingle_model::token::{Detokenizer, Parse, Place, Render, Role, Tokenizer};
use serde_json::{Value, json};

const SMALL: &str = include_str!("tokenizers/small.json");

fn load(tokenizer: &Value) -> ingle_model::Result<Tokenizer> {
    Tokenizer::from_json(tokenizer.to_string().as_bytes(), None)
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, Parse::Special, &mut ids).unwrap();
    ids
}

#[test]
fn ids_and_texts_equal_the_library_s() {
    let small: BTreeMap<String, Value> = serde_json::from_str(SMALL).unwrap();
    assert!(small.len() > 20);
    for (name, made) in small {
        let tokenizer = load(&made["tokenizer"]).unwrap_or_else(|e| panic!("{name}: {e}"));
        let cases = made["cases"].as_array().unwrap();
        assert!(cases.len() >= 20, "{name}");
        for case in cases {
            let text = case[0].as_str().unwrap();
            let ids = encode(&tokenizer, text);
            assert_eq!(json!(ids), case[1], "{name}: {text:?}");
            assert_eq!(tokenizer.decode(&ids, Render::Text), case[2].as_str().unwrap(), "{name}: {text:?}");
            assert_eq!(
                tokenizer.decode(&ids, Render::Special),
                case[3].as_str().unwrap(),
                "{name}: {text:?}"
            );
        }
        assert_eq!(json!([tokenizer.before(), tokenizer.after()].concat()), made["around"], "{name}");
    }
}

#[test]
fn a_stream_never_shows_half_a_character() {
    let small: BTreeMap<String, Value> = serde_json::from_str(SMALL).unwrap();
    for (name, made) in small {
        let tokenizer = load(&made["tokenizer"]).unwrap();
        let ids = encode(&tokenizer, "naïve 🙂 日本語 e\u{301} 🙂");
        let whole = tokenizer.decode(&ids, Render::Text);
        if whole.contains('\u{fffd}') {
            continue; // Its vocabulary lacks some bytes.
        }
        let mut detokenizer = Detokenizer::new(Render::Text, Place::Start);
        let mut out = String::new();
        for &id in &ids {
            detokenizer.push(&tokenizer, id, &mut out);
            assert!(!out.contains('\u{fffd}'), "{name}: {out:?}");
        }
        detokenizer.flush(&mut out);
        assert_eq!(out, whole, "{name}");
    }
}

/// A model of three words, with what else a case wants.
fn words(more: Value) -> Value {
    let mut file = json!({
        "model": { "type": "WordLevel", "vocab": { "a": 0, "b": 1, "[UNK]": 2 }, "unk_token": "[UNK]" },
        "pre_tokenizer": { "type": "Whitespace" },
    });
    for (key, value) in more.as_object().unwrap() {
        file[key] = value.clone();
    }
    file
}

fn added(content: &str) -> Value {
    json!({ "id": 99, "content": content, "special": true, "normalized": false })
}

#[test]
fn the_config_names_special_tokens() {
    let file = words(json!({ "added_tokens": [added("<s>"), added("<|im_end|>"), added("</s>")] }));
    let config = json!({
        "bos_token": { "content": "<s>", "lstrip": false },
        "eos_token": "</s>",
        "add_bos_token": true,
    });
    let mut tokenizer =
        Tokenizer::from_json(file.to_string().as_bytes(), Some(config.to_string().as_bytes())).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.eot()), (Some(3), Some(5), Some(4)));
    assert_eq!((tokenizer.before(), tokenizer.after(), tokenizer.ending()), (&[3][..], &[][..], &[4, 5][..]));
    assert!(tokenizer.adds_bos() && !tokenizer.adds_eos());
    tokenizer.end_with(&[0, 7]);
    assert_eq!(tokenizer.ending(), [0, 4, 5]);
    assert_eq!(tokenizer.special(Role::Mask), None);
}

#[test]
fn what_a_user_writes_is_no_structure() {
    let file =
        words(json!({ "added_tokens": [added("<s>"), { "id": 9, "content": "tool", "special": false }] }));
    let tokenizer = load(&file).unwrap();
    let mut ids = Vec::new();
    tokenizer.encode("a <s> tool", Parse::Text, &mut ids).unwrap();
    assert_eq!(ids, [0, 2, 2, 2, 4]);
    assert_eq!(encode(&tokenizer, "a <s> tool"), [0, 3, 4]);
}

#[test]
fn what_is_not_known_is_refused_in_one_sentence() {
    let bpe =
        |vocab: Value, merges: Value| json!({ "model": { "type": "BPE", "vocab": vocab, "merges": merges } });
    let unigram = |vocab: Value| json!({ "model": { "type": "Unigram", "unk_id": 0, "vocab": vocab } });
    let pre = |part: Value| words(json!({ "pre_tokenizer": part }));
    let norm = |part: Value| words(json!({ "normalizer": part }));
    let decoder = |part: Value| words(json!({ "decoder": part }));
    let split = |source: &str| json!({ "type": "Split", "behavior": "Isolated", "invert": false, "pattern": { "Regex": source } });
    for (file, says) in [
        (json!({}), "missing field `model`"),
        (json!([]), "tokenizer.json: invalid"),
        (
            json!({ "model": { "type": "Rune", "vocab": {} } }),
            "Rune is not supported; supported: BPE, Unigram",
        ),
        (json!({ "model": { "type": "BPE" } }), "model.vocab: nothing"),
        (bpe(json!({ "a": 0 }), json!(null)), "model.merges: nothing"),
        (bpe(json!({ "a": 0, "b": 0 }), json!([])), r#"id 0 for "a" and "b", expected one token for an id"#),
        (bpe(json!({ "a": 4_000_000_000u32 }), json!([])), "id 4000000000 among 1 tokens"),
        // A short file takes little memory.
        (bpe(json!({ "a": 1_000_000 }), json!([])), "id 1000000 among 1 tokens"),
        (bpe(json!({ "a": -1 }), json!([])), "invalid value"),
        (bpe(json!({ "a": 0, "b": 1 }), json!(["a b"])), r#"merge 0: "a" and "b", expected two tokens"#),
        (bpe(json!({ "a": 0 }), json!(["a"])), "two tokens with a space between"),
        (bpe(json!({ "a": 0 }), json!([["a"]])), "invalid length 1"),
        (bpe(json!({ "a": 0 }), json!([["a", "a", "a"]])), "invalid length 3"),
        (unigram(json!([["a", null]])), "invalid type: null"),
        (unigram(json!([])), "model.unk_id: 0, expected an id below 0"),
        (pre(json!({ "type": "UnicodeScripts" })), "UnicodeScripts is not supported; supported: ByteLevel"),
        (pre(json!("Whitespace")), "expected a component"),
        (pre(json!({ "type": "Sequence" })), "a Sequence without a list"),
        (pre(split("(")), "expected a regular expression"),
        (pre(json!({ "type": "Metaspace", "replacement": "ab" })), r#""ab", expected one character"#),
        (pre(json!({ "type": "FixedLength", "length": 0 })), "length: 0, expected at least 1"),
        (norm(json!({ "type": "Rune" })), "Rune is not supported; supported: NFC"),
        (norm(json!({ "type": "Precompiled", "precompiled_charsmap": "AAAAAAA!" })), "expected base64"),
        (norm(json!({ "type": "Precompiled", "precompiled_charsmap": "/////w==" })), "expected a trie of"),
        (decoder(json!({ "type": "CTC" })), "CTC is not supported"),
        (
            decoder(json!({ "type": "Sequence", "decoders": [
                { "type": "Fuse" }, { "type": "Replace", "pattern": { "String": "ab" }, "content": "c" }] })),
            "a step after Fuse",
        ),
        (
            words(json!({ "post_processor": { "type": "Rune" } })),
            "Rune is not supported; supported: ByteLevel",
        ),
        (words(json!({ "added_tokens": [added(&"x".repeat(2000))] })), "2000 bytes, expected at most 1024"),
    ] {
        let message = load(&file).unwrap_err().to_string();
        assert!(message.contains(says) && !message.contains('\n'), "{message}");
    }
    let endless = br#"{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",1e999]]}}"#;
    assert!(Tokenizer::from_json(endless, None).unwrap_err().to_string().contains("number out of range"));
    let message = Tokenizer::from_json(b"{", None).unwrap_err().to_string();
    assert!(message.contains("EOF while parsing"), "{message}");
    let message =
        Tokenizer::from_json(words(json!({})).to_string().as_bytes(), Some(b"[")).unwrap_err().to_string();
    assert!(message.starts_with("tokenizer_config.json: EOF"), "{message}");
}

#[test]
fn hostile_files_take_neither_time_nor_memory() {
    let start = std::time::Instant::now();
    // Components nested deeper than the reader goes.
    let mut nested = "null".to_owned();
    for _ in 0..10_000 {
        nested = format!(r#"{{"type":"Sequence","pretokenizers":[{nested}]}}"#);
    }
    let file = format!(r#"{{"model":{{"type":"WordLevel","vocab":{{}}}},"pre_tokenizer":{nested}}}"#);
    let message = Tokenizer::from_json(file.as_bytes(), None).unwrap_err().to_string();
    assert!(message.contains("recursion limit"), "{message}");
    // More of them than anybody needs.
    let many: Vec<Value> = (0..10_000).map(|_| json!({ "type": "Whitespace" })).collect();
    let many = json!({ "type": "Sequence", "pretokenizers": many });
    let message = load(&words(json!({ "pre_tokenizer": many }))).unwrap_err().to_string();
    assert!(message.contains("at most 256"), "{message}");
    // A pattern that turns back for ever, and text for it.
    let pattern = json!({ "type": "Split", "behavior": "Isolated", "invert": false,
        "pattern": { "Regex": "(?:(a|aa)+(?=b))+c" } });
    let tokenizer = load(&words(json!({ "pre_tokenizer": pattern }))).unwrap();
    assert_eq!(encode(&tokenizer, &"a".repeat(3000)), [2]);
    // A pattern that compiles to gigabytes.
    let huge = json!({ "type": "Split", "behavior": "Isolated", "invert": false,
        "pattern": { "Regex": r"((((\p{L}{1000}){1000}){1000}){1000})" } });
    assert!(load(&words(json!({ "pre_tokenizer": huge }))).is_err());
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn damaged_files_are_refused_in_one_sentence_or_run() {
    let small: BTreeMap<String, Value> = serde_json::from_str(SMALL).unwrap();
    let mut rng = Rng(3);
    let mut below = |n: usize| rng.below(n);
    let mut outcomes = Outcomes::default();
    for (name, made) in &small {
        let whole = made["tokenizer"].to_string().into_bytes();
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..=below(3) {
                let at = below(bytes.len());
                match below(4) {
                    0 => bytes[at] = b"0159[]{}\",:\\ntf"[below(15)],
                    1 => drop(bytes.drain(at..(at + 1 + below(8)).min(whole.len()).min(bytes.len()).max(at))),
                    2 => bytes.insert(at, b'9'),
                    _ => bytes[at] ^= 1 << below(7),
                }
            }
            outcomes.add(Tokenizer::from_json(&bytes, None).map(|tokenizer| {
                let ids = encode(&tokenizer, "bad <s> naïve 日本 \u{10348} 12345  x");
                assert!(ids.iter().all(|&id| tokenizer.token_bytes(id).is_some()), "{name}");
                tokenizer.decode(&ids, Render::Special)
            }));
        }
    }
    outcomes.more_than(100, 100);
}
