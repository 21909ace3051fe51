//! A tokenizer.json written as GGUF's keys makes the same ids and texts, those of the tokenizers library, where GGUF has a name
//! for its make; elsewhere it is refused, or the difference is told. `tests/tokenizers/make.py` made the tokenizers.

mod common;

use std::collections::{BTreeMap, HashSet};

use common::damage::{Outcomes, Rng};
use ingle_kernel::bytes::Bytes;
use ingle_model::file::gguf_write::{Header, Writer};
use ingle_model::file::{Contents, Value as GgufValue, gguf};
use ingle_model::token::{Parse, Render, Tokenizer, Written};
use serde_json::{Value, json};

const SMALL: &str = include_str!("tokenizers/small.json");

fn small() -> BTreeMap<String, Value> {
    serde_json::from_str(SMALL).unwrap()
}

fn load(tokenizer: &Value) -> Tokenizer {
    Tokenizer::from_json(tokenizer.to_string().as_bytes(), None).unwrap()
}

fn written(tokenizer: &Value) -> ingle_model::Result<Written> {
    let n = load(tokenizer).n_vocab();
    Tokenizer::gguf_keys(tokenizer.to_string().as_bytes(), None, &[], n + 3)
}

/// The tokenizer of a GGUF file that has the keys.
fn again(written: &Written) -> Tokenizer {
    let writer = Writer::begin(Vec::new(), &Header::like(&written.keys)).unwrap();
    let file = gguf::parse(Bytes::new(writer.finish().unwrap())).unwrap();
    Tokenizer::from_gguf(&file).unwrap()
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, Parse::Special, &mut ids).unwrap();
    ids
}

fn text_of<'a>(written: &'a Written, key: &str) -> &'a str {
    written.keys.str(&format!("tokenizer.ggml.{key}")).unwrap().unwrap()
}

#[test]
fn makes_that_gguf_knows_are_written_and_make_the_librarys_ids() {
    let small = small();
    for (name, model, pre) in [
        ("gpt2", "gpt2", "gpt-2"),
        ("qwen", "gpt2", "qwen2"),
        ("llama3", "gpt2", "llama-bpe"),
        ("gpt4o", "gpt2", "gpt-4o"),
        ("deepseek3", "gpt2", "deepseek-v3"),
        ("smollm", "gpt2", "smollm"),
        ("gemma", "llama", "default"),
        ("llama2", "llama", "default"),
        ("mistral", "llama", "default"),
    ] {
        let made = &small[name];
        let written = written(&made["tokenizer"]).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((text_of(&written, "model"), text_of(&written, "pre")), (model, pre), "{name}");
        assert_eq!(written.differs, None, "{name}");
        let (json, gguf) = (load(&made["tokenizer"]), again(&written));
        assert_eq!(gguf.n_vocab(), json.n_vocab() + 3, "{name}: a token for each row");
        for case in made["cases"].as_array().unwrap() {
            let text = case[0].as_str().unwrap();
            let ids = encode(&gguf, text);
            assert_eq!(json!(ids), case[1], "{name}: {text:?}");
            assert_eq!(gguf.decode(&ids, Render::Text), case[2].as_str().unwrap(), "{name}: {text:?}");
        }
        assert_eq!(json!([gguf.before(), gguf.after()].concat()), made["around"], "{name}");
    }
}

#[test]
fn what_gguf_has_no_name_for_is_refused_and_said() {
    let small = small();
    for (name, expected) in [
        ("falcon", "tokenizer.json: pre_tokenizer: what this one does"),
        ("roberta", "tokenizer.json: pre_tokenizer: what this one does, in a GGUF file, is not supported"),
        ("odd-bytes", "tokenizer.json: normalizer: what this one does, in a GGUF file, is not supported"),
        ("clip", "tokenizer.json: model: BPE in a GGUF file is not supported; supported: BPE over bytes"),
        ("t5", "tokenizer.json: normalizer: what this one does"),
        ("bert", "tokenizer.json: model: WordPiece in a GGUF file is not supported"),
        ("words", "tokenizer.json: model: WordLevel in a GGUF file is not supported"),
        ("patterns", "tokenizer.json: pre_tokenizer: what this one does"),
    ] {
        let said = written(&small[name]["tokenizer"]).unwrap_err().to_string();
        assert!(said.starts_with(expected) && !said.contains('\n'), "{name}: {said}");
    }
    let mut file = small["gpt2"]["tokenizer"].clone();
    file["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Split", "pattern": { "Regex": "[a-z]+" }, "behavior": "Isolated", "invert": false },
        { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
    ] });
    let said = written(&file).unwrap_err().to_string();
    let expected = "tokenizer.json: pre_tokenizer: the pattern [a-z]+ is not supported; supported: those that tokenizer.ggml.pre";
    assert!(said.starts_with(expected), "{said}");
    let n = load(&file).n_vocab();
    let said = Tokenizer::gguf_keys(file.to_string().as_bytes(), None, &[], n - 1).unwrap_err().to_string();
    assert_eq!(said, format!("tokenizer.json: {n} tokens, expected at most {}, the embedding's rows", n - 1));
}

#[test]
fn a_difference_that_gguf_cant_say_is_told() {
    let small = small();
    // A token that swallows the white space behind it.
    let mut file = small["gpt2"]["tokenizer"].clone();
    file["added_tokens"][0]["rstrip"] = json!(true);
    let differs = written(&file).unwrap().differs.unwrap();
    assert!(differs.starts_with("id ") && differs.contains("<|end|>"), "{differs}");
    assert!(
        differs.contains(" by tokenizer.json, ") && differs.ends_with(" by the written file"),
        "{differs}"
    );
    // BOS twice.
    let mut file = small["llama3"]["tokenizer"].clone();
    file["post_processor"]["processors"][1]["single"] = json!([{ "SpecialToken": { "id": "<s>" } }, { "SpecialToken": { "id": "<s>" } }, { "Sequence": { "id": "A" } }]);
    let differs = written(&file).unwrap().differs.unwrap();
    assert!(differs.starts_with("what stands before a text is ["), "{differs}");
}

/// `file` with a merge for every two tokens that make a third, token by token, as converters of SentencePiece's write them.
fn as_sentence_piece(file: &Value) -> Value {
    let vocab = file["model"]["vocab"].as_object().unwrap();
    let added: HashSet<&str> =
        file["added_tokens"].as_array().unwrap().iter().map(|t| t["content"].as_str().unwrap()).collect();
    let is_text = |t: &str| !added.contains(t) && !t.starts_with("<0x");
    let mut tokens: Vec<(&String, u64)> = vocab.iter().map(|(t, id)| (t, id.as_u64().unwrap())).collect();
    tokens.sort_by_key(|(_, id)| *id);
    let mut merges = Vec::new();
    for (token, _) in tokens.iter().filter(|(token, _)| is_text(token)) {
        let cuts = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        merges.extend(
            cuts.filter(|(l, r)| vocab.contains_key(*l) && vocab.contains_key(*r))
                .map(|(l, r)| json!([l, r])),
        );
    }
    let mut file = file.clone();
    file["model"]["merges"] = Value::Array(merges);
    file
}

/// Both make the same ids and texts of all cases.
fn agree(json: &Tokenizer, gguf: &Tokenizer, name: &str, cases: &Value) {
    for case in cases.as_array().unwrap() {
        let text = case[0].as_str().unwrap();
        let ids = encode(json, text);
        assert_eq!(encode(gguf, text), ids, "{name}: {text:?}");
        assert_eq!(gguf.decode(&ids, Render::Text), json.decode(&ids, Render::Text), "{name}: {text:?}");
    }
}

#[test]
fn sentence_piece_is_written_with_scores() {
    let small = small();
    for (name, prefix) in [("llama2", true), ("mistral", true), ("gemma", false)] {
        let file = as_sentence_piece(&small[name]["tokenizer"]);
        let written = written(&file).unwrap();
        assert_eq!(text_of(&written, "model"), "llama", "{name}");
        assert_eq!(written.keys.bool("tokenizer.ggml.add_space_prefix").unwrap(), Some(prefix), "{name}");
        assert_eq!(written.differs, None, "{name}");
        agree(&load(&file), &again(&written), name, &small[name]["cases"]);
    }
}

#[test]
fn merges_that_scores_cant_say_are_kept() {
    let small = small();
    for name in ["llama2", "mistral", "gemma"] {
        let mut file = small[name]["tokenizer"].clone();
        // A token that neighbours could make and no merge does.
        let merges = file["model"]["merges"].as_array_mut().unwrap();
        let made = |merge: &Value| [0, 1].map(|i| merge[i].as_str().unwrap()).concat();
        let at = (1..merges.len()).find(|&i| made(&merges[i]).chars().count() > 2).unwrap();
        merges.remove(at);
        let written = written(&file).unwrap();
        assert_eq!(text_of(&written, "model"), "gemma4", "{name}");
        assert_eq!(written.differs, None, "{name}");
        agree(&load(&file), &again(&written), name, &small[name]["cases"]);
    }
}

#[test]
fn a_space_goes_where_the_folder_puts_it() {
    let small = small();
    for (scheme, inside) in [("first", ""), ("always", " ")] {
        let mut file = small["mistral"]["tokenizer"].clone();
        file["pre_tokenizer"]["prepend_scheme"] = json!(scheme);
        let written = written(&file).unwrap();
        assert_eq!((text_of(&written, "space_prefix"), &written.differs), (scheme, &None));
        let gguf = again(&written);
        for (text, expected) in
            [("a", " a".to_owned()), (" a", " a".to_owned()), ("a<s>a", format!(" a<s>{inside}a"))]
        {
            let named = encode(&gguf, text).into_iter().flat_map(|id| gguf.token_name(id).unwrap().to_vec());
            assert_eq!(String::from_utf8(named.collect()).unwrap(), expected, "{scheme}");
        }
    }
    let mut file = Contents::new("GGUF 3");
    let written = written(&small["mistral"]["tokenizer"]).unwrap();
    for (key, value) in written.keys.keys() {
        let is_scheme = key == "tokenizer.ggml.space_prefix";
        file.set(key, if is_scheme { GgufValue::text("last") } else { value.clone() }).unwrap();
    }
    let said = Tokenizer::from_gguf(&file).unwrap_err().to_string();
    assert_eq!(said, "metadata tokenizer.ggml.space_prefix: last is not supported; supported: first, always");
}

#[test]
fn unigram_is_written_with_its_scores() {
    let small = small();
    let mut file = small["t5"]["tokenizer"].clone();
    file["normalizer"] = json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " });
    let written = written(&file).unwrap();
    assert_eq!(text_of(&written, "model"), "t5");
    let (json, gguf) = (load(&file), again(&written));
    assert_eq!(gguf.after(), json.after());
    for text in ["a word or two", "Hello 123, naïve", "日本語 x", "the  end"] {
        assert_eq!(encode(&gguf, text), encode(&json, text), "{text:?}");
    }
    // A space at the end of a text is kept by the library, not by SentencePiece.
    let differs = written.differs.unwrap();
    assert!(differs.starts_with("id 15 of \" a  b "), "{differs}");
}

#[test]
fn what_ends_an_answer_is_written() {
    let small = small();
    let file = &small["gpt2"]["tokenizer"];
    let end = load(file).id_of("<|end|>").unwrap();
    let config =
        json!({ "eos_token": "<|end|>", "bos_token": "<|end|>", "add_bos_token": true, "pad_token": "!" });
    let config = config.to_string();
    let bytes = file.to_string();
    let n = load(file).n_vocab();
    let written = Tokenizer::gguf_keys(bytes.as_bytes(), Some(config.as_bytes()), &[5, end], n).unwrap();
    let gguf = again(&written);
    assert_eq!((gguf.eos(), gguf.bos(), gguf.before()), (Some(end), Some(end), &[end][..]));
    assert!(gguf.is_eog(5) && gguf.is_eog(end), "{:?}", gguf.ending());
    assert_eq!(gguf.pad(), load(file).id_of("!"));
    assert_eq!(written.differs, None);
}

/// What can be damaged is damaged; it is refused in a sentence or written.
#[test]
fn damaged_files_are_refused_or_written() {
    let small = small();
    let mut rng = Rng(7);
    let mut random = |n: usize| rng.below(n);
    let mut outcomes = Outcomes::default();
    for name in ["qwen", "llama2", "mistral", "t5"] {
        let bytes = small[name]["tokenizer"].to_string().into_bytes();
        for _ in 0..60 {
            let mut bytes = bytes.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                bytes[at] = b"0123456789\"[]{},:.ae \xff"[random(22)];
            }
            let written = Tokenizer::gguf_keys(&bytes, None, &[3, u32::MAX], 2_000);
            outcomes.add(written.map(|written| assert_eq!(again(&written).n_vocab(), 2_000)));
        }
    }
    outcomes.more_than(40, 20);
}
