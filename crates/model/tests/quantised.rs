//! Folders that other libraries quantised: every weight has the values that numpy makes of its codes, scales and zeros, to the
//! bit, in the format that holds them; and folders that lie are refused in one sentence.
//!
//! `tests/quantised/make.py` wrote the folders and what is expected.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::damage::{Outcomes, Rng};
use common::{Tiny, import, read_folder};
use ingle_kernel::bytes::Bytes;
use ingle_model::file::folder::quantised::METHODS;
use ingle_model::file::folder::weights::SAFETENSORS;
use ingle_model::file::folder::{self, Folder};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quantised")
}

/// Folder, weight, its format and the hash of its values.
fn expected() -> BTreeMap<String, BTreeMap<String, [String; 2]>> {
    serde_json::from_slice(&fs::read(here().join("expected.json")).unwrap()).unwrap()
}

#[test]
fn every_weight_has_the_values_numpy_makes_and_the_smallest_format_that_holds_them() {
    for (name, weights) in expected() {
        let file = import(&here().join(&name));
        assert_eq!(weights.len(), 7, "{name}");
        for (weight, [format, hash]) in weights {
            let tensor = file.tensor(&weight).unwrap_or_else(|| panic!("{name}: no {weight}"));
            assert_eq!(tensor.format.name, format, "{name}: {weight}");
            let values = tensor.values();
            let bytes: Vec<u8> = values.iter().flat_map(|v| (v + 0.0).to_le_bytes()).collect();
            let ours: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(ours, hash, "{name}: {weight} begins {:?}", &values[..4]);
        }
        let logits = Tiny::new(&name, &file, None).logits(&[1, 2, 3], 8, 3, 1);
        assert!(logits.iter().all(|v| v.is_finite()), "{name}");
    }
}

#[test]
fn every_method_has_a_folder() {
    let folders = common::golden_folders().into_iter().map(|(path, _)| path);
    let configs = folders.chain(expected().into_keys().map(|name| here().join(name)));
    let configs: Vec<String> =
        configs.map(|path| fs::read_to_string(path.join(folder::CONFIG)).unwrap()).collect();
    for method in METHODS.iter().filter(|method| method.name != "fbgemm_fp8") {
        let named = format!("\"quant_method\": \"{}\"", method.name);
        assert!(configs.iter().any(|config| config.contains(&named)), "{}", method.name);
    }
}

fn read(name: &str) -> Folder {
    read_folder(&here().join(name))
}

fn said(folder: &Folder) -> String {
    folder::import(folder).map_or_else(|e| e.to_string(), |_| "it reads".into())
}

#[test]
fn configurations_of_what_is_not_read_are_refused() {
    let cases = [
        (
            "gptq",
            "/quant_method",
            json!("exl9"),
            "quant_method: \"exl9\" is not supported; supported: fp8, fbgemm_fp8,",
        ),
        (
            "gptq",
            "/checkpoint_format",
            json!("marlin"),
            "checkpoint_format: \"marlin\" is not supported; supported: \"gptq\"",
        ),
        ("gptq", "/is_marlin_format", json!(true), "is_marlin_format: true is not supported"),
        ("gptq", "/bits", json!(5), "bits: 5 is not supported; supported: 2, 3, 4, 8"),
        ("gptq", "/bits", json!(null), "bits: nothing, expected an integer"),
        ("gptq", "/group_size", json!("all"), "group_size: \"all\", expected an integer"),
        ("awq", "/version", json!("gemv"), "version: \"gemv\" is not supported; supported: \"gemm\""),
        ("awq", "/bits", json!(3), "bits: 3 is not supported; supported: 4"),
        (
            "ct-pack",
            "/format",
            json!("nvfp4-pack-quantized"),
            "format: \"nvfp4-pack-quantized\" is not supported",
        ),
        (
            "ct-pack",
            "/sparsity_config",
            json!({"format": "sparse-24-bitmask"}),
            "sparsity_config format: \"sparse-24-bitmask\" is not",
        ),
        (
            "ct-pack",
            "/transform_config",
            json!({"config_groups": {}}),
            "transform_config: a transformation of weights is not supported",
        ),
        (
            "ct-pack",
            "/config_groups/group_0/weights/num_bits",
            json!(9),
            "config_groups group_0 weights num_bits: 9 is not supported",
        ),
        (
            "ct-pack",
            "/config_groups/group_0/weights/type",
            json!("uint"),
            "config_groups group_0 weights type: \"uint\" is not",
        ),
        (
            "ct-pack",
            "/config_groups/group_0/weights",
            json!(4),
            "config_groups group_0: weights that are no object",
        ),
    ];
    for (name, pointer, value, expected) in cases {
        let mut folder = read(name);
        let mut config: Value = serde_json::from_slice(&folder.config).unwrap();
        let quantization = &mut config["quantization_config"];
        match quantization.pointer_mut(pointer) {
            Some(field) => *field = value,
            None => drop(quantization.as_object_mut().unwrap().insert(pointer[1..].to_owned(), value)),
        }
        folder.config = serde_json::to_vec(&config).unwrap();
        let said = said(&folder);
        let rest = said.strip_prefix("config.json ");
        let rest = rest.map(|rest| rest.trim_start_matches("quantization_config "));
        assert!(rest.is_some_and(|rest| rest.starts_with(expected)), "{said:?}, expected {expected:?}");
    }
}

/// The folder with a change to the header of its weights.
fn with_header(name: &str, change: impl Fn(&mut Map<String, Value>)) -> Folder {
    let mut folder = read(name);
    let bytes = folder.shards[0].1.clone();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header = serde_json::from_slice(header).unwrap();
    change(&mut header);
    let header = serde_json::to_vec(&header).unwrap();
    let bytes = [&(header.len() as u64).to_le_bytes(), &header[..], data].concat();
    folder.shards = vec![(SAFETENSORS.one.to_owned(), Bytes::new(bytes))];
    folder
}

#[test]
fn tensors_that_contradict_each_other_are_refused() {
    // Folder, tensor, a field of it or a name that it gets, and what is said of which tensor.
    let cases = [
        ("gptq", "qweight", "shape", json!([16, 8]), "scales: shape [1, 32], expected groups of 8 rows"),
        (
            "gptq",
            "qweight",
            "shape",
            json!([32, 4]),
            "qweight: shape [32, 4], expected whole words of numbers of 4 bits",
        ),
        ("gptq", "qweight", "shape", json!([2, 64]), "scales: shape [1, 32], expected groups of 64 rows, as"),
        ("gptq", "qweight", "shape", json!([128]), "qweight: shape [128], expected a matrix"),
        ("gptq", "qweight", "dtype", json!("F32"), "qweight: type F32 is not supported; supported: I32"),
        ("gptq", "qzeros", "shape", json!([4, 1]), "qzeros: shape [4, 1], expected [1, 4]"),
        (
            "gptq",
            "qzeros",
            "name",
            json!("x.qzeros"),
            "qzeros: nothing, expected what the weight needs beside it",
        ),
        (
            "gptq",
            "scales",
            "name",
            json!("x.scales"),
            "scales: nothing, expected what the weight needs beside it",
        ),
        (
            "gptq",
            "scales",
            "dtype",
            json!("I16"),
            "scales: type I16 is not supported; supported: F16, BF16, F32",
        ),
        ("gptq", "scales", "shape", json!([0, 32]), "scales: 64 bytes, expected 0"),
        (
            "gptq",
            "g_idx",
            "shape",
            json!([2, 16]),
            "g_idx: shape [2, 16] of type I32, expected [32] of type I32",
        ),
        ("gptq", "g_idx", "dtype", json!("F32"), "g_idx: shape [32] of type F32, expected [32] of type I32"),
        (
            "gptq",
            "bias",
            "name",
            json!("model.layers.0.self_attn.q_proj.weight"),
            "weight: weights beside quantised ones",
        ),
        ("awq", "qweight", "shape", json!([16, 8]), "scales: shape [1, 32], expected groups of 64 rows"),
        ("awq", "qzeros", "shape", json!([4, 1]), "qzeros: shape [4, 1], expected [1, 4]"),
        ("ct-pack", "weight_shape", "shape", json!([1, 2]), "it reads"),
        (
            "ct-pack",
            "weight_shape",
            "name",
            json!("x.weight_shape"),
            "weight_shape: nothing, expected rows and columns",
        ),
        ("ct-pack", "weight_shape", "dtype", json!("F64"), "weight_shape: type F64 is not supported"),
        (
            "ct-pack",
            "weight_packed",
            "shape",
            json!([16, 8]),
            "weight_shape: sizes [32, 32], expected 16 rows",
        ),
        (
            "ct-pack",
            "weight_scale",
            "shape",
            json!([1, 32]),
            "weight_scale: shape [1, 32], expected one, or some for each of 32",
        ),
        (
            "ct-pack-asym",
            "weight_zero_point",
            "shape",
            json!([2, 2]),
            "weight_zero_point: shape [2, 2], expected zeros of 1 groups",
        ),
        (
            "ct-int",
            "weight_scale",
            "name",
            json!("x"),
            "weight_scale: nothing, expected what the weight needs",
        ),
    ];
    let mut wrong = Vec::new();
    for (name, tensor, field, value, expected) in cases {
        let tensor = format!("model.layers.0.self_attn.q_proj.{tensor}");
        let folder = with_header(name, |header| {
            let mut record = header.remove(&tensor).unwrap();
            let mut key = tensor.clone();
            match field {
                "name" => value.as_str().unwrap().clone_into(&mut key),
                _ => record[field] = value.clone(),
            }
            header.insert(key, record);
        });
        let said = said(&folder);
        let one = said.contains(expected) && !said.contains('\n');
        if !one {
            wrong.push(format!("{name} {tensor} {field} {value}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Groups that are not there: the first column's.
    let name = "gptq-order";
    let mut folder = read(name);
    let (file, bytes) = folder.shards.remove(0);
    let mut bytes = bytes.to_vec();
    let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + n]).unwrap();
    let at = header["model.layers.0.mlp.up_proj.g_idx"]["data_offsets"][0].as_u64().unwrap() as usize + 8 + n;
    bytes[at..at + 4].copy_from_slice(&7u32.to_le_bytes());
    folder.shards.push((file, Bytes::new(bytes)));
    assert_eq!(said(&folder), "tensor model.layers.0.mlp.up_proj.g_idx: group 7, expected 0 to 1");
}

#[test]
fn a_damaged_folder_is_refused_in_one_sentence_or_runs() {
    let (mut rng, mut outcomes) = (Rng(7), Outcomes::default());
    let names: Vec<String> = expected().into_keys().collect();
    for round in 0..4_000 {
        let mut folder = read(&names[round % names.len()]);
        let (file, bytes) = folder.shards.remove(0);
        let mut bytes = bytes.to_vec();
        for _ in 0..=rng.below(2) {
            let front = if rng.below(3) == 0 { bytes.len() } else { 3_500 };
            let at = rng.below(front.min(bytes.len()));
            match rng.below(2) {
                0 => bytes[at] ^= 1 << rng.below(8),
                _ => bytes[at] = b"0123456789,[]\"IFq"[rng.below(17)],
            }
        }
        folder.shards.push((file, Bytes::new(bytes)));
        if rng.below(3) == 0 {
            let at = rng.below(folder.config.len());
            folder.config[at] = b"0123456789,\"-ft"[rng.below(15)];
        }
        outcomes.add(folder::import(&folder).and_then(|file| {
            file.tensors().iter().for_each(|tensor| assert_eq!(tensor.bytes().len(), tensor.n_bytes()));
            ingle_model::decoder::Model::read(&file, &ingle_kernel::simd::Kernels::detect()).map(drop)
        }));
    }
    outcomes.more_than(500, 500);
}
