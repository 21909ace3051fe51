//! Folders that lie: each is refused in one sentence that says which file, which part, what was found and expected; and
//! a valid one, damaged in every way a seeded generator thinks of, is refused or runs. Nothing panics, loops or
//! allocates beyond the files' own size class.

mod common;

use std::path::Path;

use common::damage::{Outcomes, Rng};
use common::{Tiny, read_folder};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::simd::Kernels;
use ingle_model::decoder::Model;
use ingle_model::file::folder::weights::SAFETENSORS;
use ingle_model::file::folder::{self, Folder};
use serde_json::{Map, Value, json};

const ROUNDS: usize = 8_000;
/// Folders whose tensors stay, change places, are taken apart, scaled or decoded, and whose layers are of every kind.
const DAMAGED: &[&str] = &[
    "fp8",
    "gemma3",
    "gemma3n",
    "gemma4",
    "phi3",
    "gpt-oss-mxfp4",
    "qwen35moe",
    "falcon-h1",
    "nemotron_h",
    "jamba",
    "apertus",
];

fn read(name: &str) -> Folder {
    read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/folders").join(name))
}

/// Everything a program does with a folder until the weights are there.
fn load(folder: &Folder) -> ingle_model::Result<Model> {
    Model::read(&folder::import(folder)?, &Kernels::detect())
}

/// What is wrong with how `folder` is refused; it should be with a sentence that starts as `expected`.
fn wrong(folder: &Folder, expected: &str, case: &str) -> Option<String> {
    let Err(said) = load(folder) else { return Some(format!("{case}: it loads")) };
    let said = said.to_string();
    let right = said.starts_with(expected) && !said.contains('\n') && said.len() < 1_000;
    (!right).then(|| format!("{case} says {said:?}, expected {expected:?}"))
}

fn refused(folder: &Folder, expected: &str, case: &str) {
    assert_eq!(wrong(folder, expected, case), None);
}

#[test]
fn configurations() {
    let cases = [
        ("not json", "config.json: expected", b"weights".to_vec()),
        ("a list", "config.json: invalid type", b"[]".to_vec()),
        ("deep", "config.json: recursion limit exceeded", [b"{\"a\":".as_slice(), &[b'['; 100_000]].concat()),
        ("not UTF-8", "config.json: invalid unicode", b"{\"model_type\": \"\xff\"}".to_vec()),
        ("cut", "config.json: EOF", b"{\"model_type\": ".to_vec()),
        ("empty", "config.json model_type: nothing", b"{}".to_vec()),
        ("large", "config.json: 16777217 bytes", vec![b' '; (16 << 20) + 1]),
    ];
    let wrong = cases
        .into_iter()
        .filter_map(|(case, expected, config)| wrong(&Folder { config, ..read("llama") }, expected, case));
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn fields_that_contradict_the_weights_or_each_other() {
    let rope = |change: Value| {
        let mut rope = json!({"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0});
        rope.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        rope
    };
    let cases = [
        (
            "model_type",
            json!("hal9000"),
            "config.json model_type: \"hal9000\" is not supported; supported: llama,",
        ),
        ("model_type", json!(7), "config.json model_type: 7, expected a text"),
        ("hidden_size", json!(64), "tensor token_embd.weight: shape [32, 61], expected [64, 61]"),
        ("hidden_size", json!(-1), "config.json hidden_size: -1, expected a non-negative integer"),
        ("hidden_size", json!("32"), "config.json hidden_size: \"32\", expected a non-negative integer"),
        ("hidden_size", json!(1e300), "config.json hidden_size: 1e+300, expected a non-negative integer"),
        ("hidden_size", json!(null), "metadata llama.embedding_length: nothing"),
        ("intermediate_size", json!(41), "tensor blk.0.ffn_gate.weight: shape [32, 40], expected [32, 41]"),
        ("num_hidden_layers", json!(1), "tensor model.layers.1.input_layernorm.weight: layer 1"),
        ("num_hidden_layers", json!(3), "tensor blk.2.attn_q.weight: nothing"),
        ("num_hidden_layers", json!(u64::MAX), "metadata llama.block_count: 18446744073709551615"),
        ("num_hidden_layers", json!(null), "config.json num_hidden_layers: nothing"),
        ("vocab_size", json!(60), "config.json vocab_size: 60 where the embedding has 61 rows"),
        ("num_attention_heads", json!(0), "config.json num_attention_heads: 0, expected 1 to 4096"),
        ("num_attention_heads", json!(5), "tensor model.layers.0.self_attn.q_proj.weight: 32 rows"),
        ("num_key_value_heads", json!(4), "tensor blk.0.attn_k.weight: shape [32, 16], expected [32, 32]"),
        ("head_dim", json!(16), "tensor blk.0.attn_q.weight: shape [32, 32], expected [32, 64]"),
        (
            "hidden_act",
            json!("relu2"),
            "config.json hidden_act: \"relu2\" is not supported; supported: \"silu\"",
        ),
        (
            "quantization_config",
            json!({"quant_method": "exl2"}),
            "config.json quantization_config quant_method: \"exl2\" is not supported",
        ),
        ("rope_parameters", json!(3), "config.json rope_parameters: 3, expected an object"),
        (
            "rope_parameters",
            rope(json!({"rope_type": "wormhole"})),
            "config.json rope_parameters rope_type: \"wormhole\" is not supported",
        ),
        (
            "rope_parameters",
            rope(json!({"factor": 0})),
            "config.json rope_parameters factor: 0, expected a number above",
        ),
        ("rope_parameters", rope(json!({"factor": null})), "config.json rope_parameters factor: nothing"),
        (
            "rope_parameters",
            rope(json!({"high_freq_factor": 1})),
            "config.json rope_parameters high_freq_factor: 1",
        ),
        ("rope_parameters", rope(json!({"rope_theta": 0.0})), "metadata llama.rope.freq_base: 0"),
        (
            "rope_parameters",
            rope(json!({"rope_type": "longrope", "long_factor": [], "short_factor": []})),
            "tensor rope_factors_long.weight: no values",
        ),
        (
            "rope_parameters",
            rope(json!({"rope_type": "longrope", "long_factor": ["1"], "short_factor": [1]})),
            "config.json rope_parameters long_factor: a list of other things",
        ),
    ];
    refused_fields("llama", cases);
}

#[test]
fn lists_and_streams_that_contradict_the_weights_or_each_other() {
    let sparsity = "activation_sparsity_pattern";
    let cases = [
        (sparsity, json!([0.5, 1.0, 0.0]), "config.json activation_sparsity_pattern: 1.0, expected a number"),
        (
            sparsity,
            json!([0.5, "0", 0.0]),
            "config.json activation_sparsity_pattern: \"0\", expected a number",
        ),
        (
            sparsity,
            json!([0.5]),
            "metadata gemma3n.activation_sparsity_scale: 1 values, expected for each of 3",
        ),
        ("intermediate_size", json!([24, -1, 24]), "config.json intermediate_size: a list of other things"),
        (
            "intermediate_size",
            json!([24]),
            "metadata gemma3n.feed_forward_length: 1 values, expected one for",
        ),
        (
            "layer_types",
            json!(["full_attention"]),
            "metadata gemma3n.attention.sliding_window_pattern: 1 values",
        ),
        ("altup_num_inputs", json!(1), "metadata gemma3n.altup.num_inputs: 1, expected 2 to 8"),
        ("altup_num_inputs", json!(4), "tensor altup_proj.weight: shape [32, 32, 2], expected [32, 32, 3]"),
        ("altup_active_idx", json!(3), "metadata gemma3n.altup.active_idx: 3, expected 0 to 2"),
        ("altup_correct_scale", json!(false), "config.json altup_correct_scale: false is not supported"),
        ("num_kv_shared_layers", json!(3), "metadata gemma3n.attention.shared_kv_layers: 3, expected 0 to 2"),
        (
            "hidden_size_per_layer_input",
            json!(0),
            "metadata gemma3n.embedding_length_per_layer_input: 0, expected 1 to",
        ),
    ];
    refused_fields("gemma3n-second", cases);
}

/// Each field, with this value in the configuration of the folder `base`, is refused with a sentence that starts as expected.
fn refused_fields<'a>(base: &str, cases: impl IntoIterator<Item = (&'a str, Value, &'a str)>) {
    let wrong = cases.into_iter().filter_map(|(field, value, expected)| {
        let mut folder = read(base);
        let mut config: Map<String, Value> = serde_json::from_slice(&folder.config).unwrap();
        config.insert(field.to_owned(), value.clone());
        folder.config = serde_json::to_vec(&config).unwrap();
        wrong(&folder, expected, &format!("{field} = {value}"))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
}

/// A file of weights with this header.
fn file(header: impl AsRef<[u8]>, n_bytes: usize) -> Bytes {
    let header = header.as_ref();
    Bytes::new([&(header.len() as u64).to_le_bytes(), header, &vec![0; n_bytes]].concat())
}

#[test]
fn headers_of_weights() {
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!("{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}")
    };
    let one = |value: String| file(format!("{{\"a\":{value}}}"), 8);
    let two = |a: &str, b: &str| {
        let (a, b) = (tensor("F32", "[1]", a), tensor("F32", "[1]", b));
        file(format!("{{\"a\":{a},\"b\":{b}}}"), 8)
    };
    let name = "model.safetensors";
    let part = |rest: &str| format!("{name} {rest}");
    let length = |n: u64| Bytes::new([&n.to_le_bytes(), b"{}".as_slice()].concat());
    let cases = [
        ("empty", Bytes::new(Vec::new()), part("header: 0 bytes, expected at least 8")),
        ("length beyond the file", length(3), part("header: a length of 3 bytes, expected at most 2")),
        ("length absurd", length(u64::MAX), part("header: a length of 18446744073709551615 bytes")),
        ("not UTF-8", file(b"{\"\xff\":1}", 0), part("header: invalid UTF-8")),
        ("not JSON", file("pickle", 0), part("header: expected value")),
        ("a list", file("[]", 0), part("header: invalid type: sequence, expected an object of tensors")),
        (
            "deep",
            file("{\"__metadata__\":".to_owned() + &"[".repeat(100_000), 0),
            part("header: EOF while parsing"),
        ),
        ("no offsets", file("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4), part("header: missing field")),
        ("outside", one(tensor("F32", "[2]", "[0,16]")), part("tensor a: bytes 0 to 16 of 8")),
        ("backwards", one(tensor("F32", "[2]", "[8,0]")), part("tensor a: bytes 8 to 0 of 8")),
        ("overflow", one(tensor("F32", "[2]", "[0,18446744073709551615]")), part("tensor a: bytes 0 to")),
        ("negative", one(tensor("F32", "[2]", "[-8,0]")), part("header: invalid value: integer `-8`")),
        (
            "shape lies",
            one(tensor("F32", "[3]", "[0,8]")),
            part("tensor a: 8 bytes, expected 12 for F32 of shape [3]"),
        ),
        (
            "shape overflows",
            one(tensor("F32", "[4294967296,4294967296,4]", "[0,8]")),
            part("tensor a: shape"),
        ),
        ("many dimensions", one(tensor("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]")), part("tensor a: shape")),
        ("type unknown", one(tensor("F13", "[2]", "[0,8]")), part("tensor a: type \"F13\" is not supported")),
        (
            "overlap",
            two("[0,4]", "[2,6]"),
            part("tensor b: bytes 2 to 6 of 8, expected a range that begins at 4"),
        ),
        (
            "same range",
            two("[0,4]", "[0,4]"),
            part("tensor b: bytes 0 to 4 of 8, expected a range that begins at 4"),
        ),
        ("gap", two("[0,2]", "[4,8]"), part("tensor a: 2 bytes, expected 4")),
        (
            "bytes behind",
            one(tensor("F32", "[1]", "[0,4]")),
            format!("{name}: 4 bytes behind the last tensor"),
        ),
        (
            "name twice",
            file(
                format!(
                    "{{\"a\":{0},\"a\":{1}}}",
                    tensor("F32", "[1]", "[0,4]"),
                    tensor("F32", "[1]", "[4,8]")
                ),
                8,
            ),
            part("tensor a: a second record, expected each tensor once"),
        ),
        (
            "unknown tensor",
            two("[0,4]", "[4,8]"),
            "tensor a: a tensor that model type llama does not use".to_owned(),
        ),
    ];
    let wrong = cases.into_iter().filter_map(|(case, bytes, expected)| {
        let config = read("llama").config;
        let folder = Folder { config, shards: vec![(name.to_owned(), bytes)], ..Folder::default() };
        wrong(&folder, &expected, case)
    });
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn indexes() {
    let index = |file: &str| format!("{{\"weight_map\":{{\"a\":\"{file}\"}}}}").into_bytes();
    for file in [
        "../model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "..\\\\model.safetensors",
        "C:model.safetensors",
        ".safetensors",
        "model.bin",
        "a\\u0000.safetensors",
        "",
    ] {
        let said = SAFETENSORS.shards(&index(file)).unwrap_err().to_string();
        assert!(said.starts_with("model.safetensors.index.json: file \""), "{file}: {said}");
    }
    for (bytes, expected) in [
        (&b"[]"[..], "model.safetensors.index.json: invalid"),
        (b"{}", "model.safetensors.index.json: missing field"),
        (b"{\"weight_map\":{}}", "model.safetensors.index.json: 0 files"),
        (b"{\"weight_map\":{\"a\":1}}", "model.safetensors.index.json: invalid type"),
        (b"\xff", "model.safetensors.index.json: expected value"),
    ] {
        let said = SAFETENSORS.shards(bytes).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said:?}, expected {expected:?}");
    }
    let edit = |change: &dyn Fn(&mut Map<String, Value>)| {
        let mut folder = read("llama");
        let mut index: Value = serde_json::from_slice(folder.index.as_ref().unwrap()).unwrap();
        change(index["weight_map"].as_object_mut().unwrap());
        folder.index = Some(serde_json::to_vec(&index).unwrap());
        folder
    };
    let (norm, first) = ("model.norm.weight", "model-00001-of-00002.safetensors");
    let more = edit(&|map| drop(map.insert("model.more.weight".into(), first.into())));
    refused(
        &more,
        "model.safetensors.index.json: tensor model.more.weight, which model-00001",
        "a tensor more",
    );
    let elsewhere = edit(&|map| drop(map.insert(norm.into(), first.into())));
    let expected =
        "model-00002-of-00002.safetensors tensor model.norm.weight: a tensor that the index has elsewhere";
    refused(&elsewhere, expected, "another file");
    let less = edit(&|map| drop(map.remove(norm)));
    refused(&less, expected, "a tensor less");
    let mut twice = Folder { index: None, ..read("llama") };
    twice.shards.push(("again.safetensors".into(), twice.shards[0].1.clone()));
    refused(&twice, "again.safetensors tensor ", "a file twice");
}

/// The folder with its only file's tensors renamed, in a header of the same length.
fn renamed(folder: &str, from: &str, to: &str) -> Folder {
    assert_eq!(from.len(), to.len());
    let mut folder = read(folder);
    let (name, bytes) = folder.shards.remove(0);
    let mut bytes = bytes.to_vec();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    folder.shards.push((name, Bytes::new(bytes)));
    folder
}

#[test]
fn scales_and_experts_that_do_not_fit() {
    let scale = "layers.0.mlp.up_proj.weight_scale_inv\"";
    let folder = renamed("fp8", scale, "layers.0.mlp.uq_proj.weight_scale_inv\"");
    refused(&folder, "tensor model.layers.0.mlp.up_proj.weight: FP8 values alone", "no scale");
    let mut folder = read("fp8");
    folder.config = String::from_utf8(folder.config).unwrap().replace("16,\n", "8,\n").into_bytes();
    refused(
        &folder,
        "tensor model.layers.0.self_attn.k_proj.weight_scale_inv: shape [1, 2]",
        "another block",
    );
    let folder = renamed("qwen3", "layers.0.self_attn.q_norm", "layers.00.elf_attn.q_norm");
    refused(&folder, "tensor model.layers.00.elf_attn.q_norm.weight: a tensor that", "a number in disguise");

    let mut folder = Folder { index: None, ..read("qwen3_moe") };
    let (from, to) = (b"layers.0.mlp.experts.2.up_proj", b"layers.0.mlp.experts.7.up_proj");
    for (_, bytes) in &mut folder.shards {
        let mut copy = bytes.to_vec();
        if let Some(at) = copy.windows(from.len()).position(|window| window == from) {
            copy[at..at + to.len()].copy_from_slice(to);
        }
        *bytes = Bytes::new(copy);
    }
    refused(
        &folder,
        "tensor model.layers.0.mlp.experts.3.up_proj.weight: expert 2",
        "an expert is not there",
    );
}

#[test]
fn a_head_that_is_promised_must_be_there() {
    let mut folder = read("qwen3");
    let mut config: Map<String, Value> = serde_json::from_slice(&folder.config).unwrap();
    config.insert("tie_word_embeddings".into(), json!(false));
    folder.config = serde_json::to_vec(&config).unwrap();
    refused(&folder, "config.json tie_word_embeddings: false without a head among the tensors", "no head");
}

/// A byte, digit or stretch of `bytes` changed in their first `front`.
fn damage(rng: &mut Rng, bytes: &mut Vec<u8>, front: usize) {
    for _ in 0..=rng.below(2) {
        let at = rng.below(front.min(bytes.len()).max(1));
        match rng.below(5) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 | 2 => bytes[at] = b"0123456789-\"{}[],:.e"[rng.below(20)],
            3 => {
                let end = (at + 1 + rng.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let end = (at + 1 + rng.below(8)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
}

#[test]
fn a_damaged_folder_is_refused_in_one_sentence_or_runs() {
    let mut rng = Rng(2026);
    let mut outcomes = Outcomes::default();
    for name in DAMAGED {
        for _ in 0..ROUNDS / DAMAGED.len() {
            let mut folder = read(name);
            if rng.below(2) == 0 {
                let n = folder.config.len();
                damage(&mut rng, &mut folder.config, n);
            } else {
                let (file, bytes) = folder.shards.remove(0);
                let mut bytes = bytes.to_vec();
                damage(&mut rng, &mut bytes, 3_000);
                folder.shards.push((file, Bytes::new(bytes)));
            }
            let loaded =
                folder::import(&folder).and_then(|file| Model::read(&file, &Kernels::detect()).map(|_| file));
            outcomes.add(loaded.map(|file| {
                let tiny = Tiny::new(name, &file, None);
                assert_eq!(tiny.logits(&[1, 2], 8, 2, 1).len(), 2 * tiny.vocab());
            }));
        }
    }
    outcomes.more_than(ROUNDS / 4, ROUNDS / 100);
}
