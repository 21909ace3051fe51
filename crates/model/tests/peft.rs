//! Adapters of the peft library give the logits it gives, on a folder and on a GGUF file alike, alone and together; every
//! model type's names are found; what is more than LoRA or does not fit is refused in one sentence. `tests/peft/make.py`
//! made the files.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::damage::{Outcomes, Rng};
use common::{Tiny, read_folder};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::simd::Kernels;
use ingle_model::adapter::{Active, Adapter};
use ingle_model::file::contents::Piece;
use ingle_model::file::entry::Entry;
use ingle_model::file::folder::weights::SAFETENSORS;
use ingle_model::file::folder::{self, Folder, peft};
use ingle_model::file::gguf_write::{Header, Writer};
use ingle_model::file::safetensors;
use ingle_model::file::{Contents, Tensor, Value as GgufValue, gguf};
use serde_json::{Value, json};

/// Largest difference from float64 allowed, in standard deviations of the reference logits.
const TOLERANCE: f64 = 5e-5;
const CTX: usize = 64;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn bytes(path: &Path) -> Bytes {
    Bytes::new(std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

fn floats(name: &str) -> Vec<f64> {
    bytes(&path(name)).as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect()
}

fn tokens() -> Vec<u32> {
    include_str!("folders/tokens.txt").split_whitespace().map(|t| t.parse().unwrap()).collect()
}

fn folder_files(name: &str) -> Folder {
    read_folder(&path("folders").join(name))
}

/// The same weights as a folder and as a GGUF file.
fn bases(name: &str) -> [Contents; 2] {
    let own = path(&format!("folders/{name}.gguf"));
    let file = if own.is_file() { own } else { path(&format!("families/{name}.gguf")) };
    let file = gguf::parse(bytes(&file)).unwrap();
    [folder::import(&folder_files(name)).unwrap(), file]
}

fn model_of(adapter: &str) -> &str {
    adapter.split('-').next().unwrap()
}

fn read(name: &str) -> (Vec<u8>, Bytes) {
    let dir = path("peft").join(name);
    (bytes(&dir.join(peft::CONFIG)).to_vec(), bytes(&dir.join(peft::WEIGHTS)))
}

fn adapter(
    (config, weights): &(Vec<u8>, Bytes),
    base: &Contents,
    tiny: &Tiny,
) -> ingle_model::Result<Adapter> {
    let file = peft::import(config, weights, base)?;
    Adapter::read(&file, base, &tiny.model, &Kernels::detect())
}

/// The largest difference, in standard deviations of `reference`.
fn difference(logits: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(logits.len(), reference.len());
    let n = reference.len() as f64;
    let mean = reference.iter().sum::<f64>() / n;
    let spread = (reference.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    logits.iter().zip(reference).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max) / spread
}

#[test]
fn adapters_give_the_librarys_logits_on_folders_and_files() {
    let uses: [(&str, &[(&str, f32)]); 7] = [
        ("llama-all", &[("llama-all", 1.0)]),
        ("llama-rs", &[("llama-rs", 1.0)]),
        ("llama-both", &[("llama-all", 0.5), ("llama-rs", 2.0)]),
        ("qwen3-all", &[("qwen3-all", 1.0)]),
        ("phi3-all", &[("phi3-all", 1.0)]),
        ("gemma3-all", &[("gemma3-all", 1.0)]),
        ("qwen3_moe-experts", &[("qwen3_moe-experts", 1.0)]),
    ];
    let tokens = tokens();
    for (reference, adapters) in uses {
        let model = model_of(reference);
        let plain = floats(&format!("folders/{model}.f32"));
        let reference_logits = floats(&format!("peft/{reference}.f32"));
        let mut bits = Vec::new();
        for base in bases(model) {
            let mut tiny = Tiny::new(reference, &base, None);
            let read = |&(name, factor): &(&str, f32)| -> Active {
                let adapter = adapter(&read(name), &base, &tiny).unwrap_or_else(|e| panic!("{name}: {e}"));
                (Arc::new(adapter), factor)
            };
            tiny.adapters = adapters.iter().map(read).collect();
            let logits = tiny.logits(&tokens, CTX, tokens.len(), 1);
            let off = difference(&logits, &reference_logits);
            eprintln!("{reference}: {off:.2e} of the spread");
            assert!(off < TOLERANCE, "{reference}: {off:.2e} of the spread");
            assert!(difference(&logits, &plain) > 0.1, "{reference} says something");
            for (chunk, n_threads) in [(1, 2), (7, 1)] {
                assert!(tiny.logits(&tokens, CTX, chunk, n_threads) == logits, "{reference}: chunk {chunk}");
            }
            bits.push(logits.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        }
        assert!(bits[0] == bits[1], "{reference}: the containers differ");
    }
}

/// Values that look random and are small.
fn noise(n: usize, seed: u64, size: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / 8_388_608.0 - 1.0) * size
    };
    (0..n).map(next).collect()
}

/// A safetensors file of f32 values.
fn written(tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> Bytes {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (shape, values)) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let record = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), record);
    }
    let header = Value::Object(header).to_string();
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(data);
    Bytes::new(out)
}

fn values(entry: &Entry) -> Vec<f32> {
    let name = entry.dtype.to_lowercase();
    let format = ingle_kernel::quant::by_name(&name).unwrap();
    let bytes = entry.bytes();
    let mut values = vec![0.0; bytes.len() / format.bytes];
    (format.dequantize)(&bytes, &mut values);
    values
}

const RANK: usize = 3;

/// An adapter of rank [`RANK`], twice whose product is added.
fn adapter_files(pairs: &BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> (Vec<u8>, Bytes) {
    let config = json!({"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK}).to_string();
    (config.into_bytes(), written(pairs))
}

/// An adapter of every matrix of a folder that takes one, made from the folder's own names, against a folder whose weights have
/// the products added: whatever model type there is, its names lead to the right rows. What is refused, is so on a folder and on
/// a GGUF file alike.
#[test]
fn every_model_types_names_are_found() {
    let tokens = tokens();
    let (mut seen, mut all_refused) = (0, Vec::new());
    for entry in std::fs::read_dir(path("folders")).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        if !dir.join(folder::CONFIG).is_file() || name == "split" {
            continue;
        }
        let files = folder_files(&name);
        let entries: Vec<Entry> =
            files.shards.iter().flat_map(|(file, bytes)| safetensors::parse(file, bytes).unwrap()).collect();
        if entries.iter().any(|entry| entry.dtype.starts_with("F8") || entry.dtype == "U8") {
            continue;
        }
        let bases = bases(&name).map(|base| (Tiny::new(&name, &base, None), base));
        let (mut merged, mut pairs, mut refused) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (i, entry) in entries.iter().enumerate() {
            let mut weights = values(entry);
            if let (&[rows, cols], Some(module)) = (&entry.shape[..], entry.name.strip_suffix(".weight"))
                && !module.contains("embed")
            {
                let (a, b) = (noise(RANK * cols, i as u64, 0.2), noise(rows * RANK, 99 + i as u64, 0.2));
                let module = format!("base_model.model.{module}");
                let pair = BTreeMap::from([
                    (format!("{module}.lora_A.default.weight"), (vec![RANK, cols], a.clone())),
                    (format!("{module}.lora_B.default.weight"), (vec![rows, RANK], b.clone())),
                ]);
                let takes = |(tiny, base): &(Tiny, Contents)| {
                    adapter(&adapter_files(&pair), base, tiny).is_ok_and(|adapter| adapter.n_pairs() > 0)
                };
                assert_eq!(takes(&bases[0]), takes(&bases[1]), "{name}: {module}");
                if takes(&bases[0]) {
                    for (weight, at) in weights.iter_mut().zip(0..) {
                        let (row, col) = (at / cols, at % cols);
                        let product: f64 = (0..RANK)
                            .map(|k| f64::from(b[row * RANK + k]) * f64::from(a[k * cols + col]))
                            .sum();
                        *weight = (f64::from(*weight) + 2.0 * product) as f32;
                    }
                    pairs.extend(pair);
                } else {
                    refused.push(module);
                }
            }
            merged.insert(entry.name.clone(), (entry.shape.clone(), weights));
        }
        let both = adapter_files(&pairs);
        let merged =
            Folder { index: None, shards: vec![(SAFETENSORS.one.into(), written(&merged))], ..files };
        let merged = Tiny::new(&name, &folder::import(&merged).unwrap(), Some("exact"));
        let expected = merged.logits(&tokens, CTX, tokens.len(), 1);
        let expected: Vec<f64> = expected.iter().map(|&v| v.into()).collect();
        for (mut tiny, base) in bases {
            let adapter = adapter(&both, &base, &tiny).unwrap_or_else(|e| panic!("{name}: {e}"));
            tiny.adapters = vec![(Arc::new(adapter), 1.0)];
            let off = difference(&tiny.logits(&tokens, CTX, tokens.len(), 1), &expected);
            eprintln!(
                "{name}: {off:.2e} of the spread, {} pairs, {} refused",
                pairs.len() / 2,
                refused.len()
            );
            assert!(off < TOLERANCE, "{name}: {off:.2e} of the spread");
        }
        seen += 1;
        all_refused.extend(refused.into_iter().map(|module| format!("{name} {module}")));
    }
    // Weights that a folder has in other columns or times a factor, stacks of one, norms.
    let known = |at: &String| {
        at.starts_with("falcon-h1")
            || ["linear_attn.", "shared_mlp.", "_norm"].iter().any(|part| at.contains(part))
    };
    assert!(all_refused.iter().all(known), "refused: {all_refused:#?}");
    assert!(seen >= 40, "{seen} folders");
}

/// How a changed adapter of the tiny Llama is refused.
fn refusal(change: impl FnOnce(&mut Value, &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>)) -> String {
    let [_, base] = bases("llama");
    let tiny = Tiny::new("llama", &base, None);
    let (config, weights) = read("llama-all");
    let mut config = serde_json::from_slice(&config).unwrap();
    let entries = safetensors::parse(peft::WEIGHTS, &weights).unwrap();
    let mut tensors = entries.iter().map(|e| (e.name.clone(), (e.shape.clone(), values(e)))).collect();
    change(&mut config, &mut tensors);
    let changed = (config.to_string().into_bytes(), written(&tensors));
    match adapter(&changed, &base, &tiny) {
        Ok(_) => panic!("it loads"),
        Err(e) => e.to_string(),
    }
}

const Q: &str = "base_model.model.model.layers.0.self_attn.q_proj";

#[test]
fn what_is_more_than_lora_is_refused_by_its_field() {
    for (field, value) in [
        ("peft_type", json!("LOHA")),
        ("bias", json!("lora_only")),
        ("use_dora", json!(true)),
        ("use_qalora", json!(true)),
        ("use_bdlora", json!({"nblocks": 2})),
        ("use_what_comes_next", json!(true)),
        ("lora_bias", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("trainable_token_indices", json!([1, 2])),
        ("target_parameters", json!(["mlp.experts.down_proj"])),
        ("layer_replication", json!([[0, 2]])),
        ("ensure_weight_tying", json!(true)),
        ("alora_invocation_tokens", json!([1])),
        ("arrow_config", json!({})),
        ("kasa_config", json!({})),
        ("monteclora_config", json!({})),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("init_lora_weights", json!("loftq")),
    ] {
        let said = refusal(|config, _| config[field] = value);
        let right =
            said.starts_with(&format!("adapter_config.json {field}: ")) && said.contains("is not supported");
        assert!(right && !said.contains('\n'), "{said}");
    }
}

#[test]
fn numbers_that_lie_are_refused_in_one_sentence() {
    for (field, value, expected) in [
        ("r", json!(0), "r: 0, expected a rank of at least 1"),
        ("r", json!(null), "r: nothing, expected a number"),
        ("r", json!("8"), "r: \"8\", expected a rank of at least 1"),
        ("r", json!(1e300), "r: 1e+300, expected a rank of at least 1"),
        ("lora_alpha", json!(1e300), "lora_alpha: 1e+300, expected a number that f32 can hold"),
        ("lora_alpha", json!("many"), "lora_alpha: \"many\", expected a number that f32 can hold"),
        ("use_rslora", json!("yes"), "use_rslora: \"yes\", expected true or false"),
        ("rank_pattern", json!([1]), "rank_pattern: [1], expected an object"),
        ("rank_pattern", json!({"q_proj": 0}), "rank_pattern \"q_proj\": 0, expected a rank of at least 1"),
        ("rank_pattern", json!({"(": 1}), "rank_pattern \"(\": no regular expression, expected one"),
        ("alpha_pattern", json!({"q_proj": null}), "alpha_pattern \"q_proj\": null, expected a number"),
    ] {
        let said = refusal(|config, _| config[field] = value.clone());
        let right = said.starts_with(&format!("adapter_config.json {expected}"));
        assert!(right && !said.contains('\n'), "{said:?}, expected {expected:?}");
    }
    let not_json = refusal(|config, _| *config = json!("NaN"));
    assert!(
        not_json.starts_with("adapter_config.json: ") && not_json.ends_with("expected an object in JSON")
    );
}

#[test]
fn tensors_that_lie_are_refused_in_one_sentence() {
    type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;
    let half = |name: &str| format!("{Q}.{name}.weight");
    let set = |tensors: &mut Tensors, name: &str, shape: &[usize]| {
        tensors.insert(name.to_owned(), (shape.to_vec(), noise(shape.iter().product(), 5, 1.0)));
    };
    let cases: Vec<(&str, Box<dyn Fn(&mut Tensors)>, String)> = vec![
        (
            "half a pair",
            Box::new(|t| drop(t.remove(&half("lora_B")))),
            format!("adapter_model.safetensors tensor {Q}.lora_A.weight: half of a pair, expected the other half too"),
        ),
        (
            "twice the same half",
            Box::new(|t| set(t, &format!("{Q}.lora_A.default.weight"), &[4, 32])),
            format!("adapter_model.safetensors tensor {Q}.lora_A.weight: the same as {Q}.lora_A.default.weight"),
        ),
        (
            "another rank",
            Box::new(|t| set(t, &half("lora_A"), &[5, 32])),
            format!("adapter_model.safetensors tensor {Q}.lora_A.weight: shape [5, 32], expected a matrix of rank 4"),
        ),
        (
            "rank 0",
            Box::new(|t| set(t, &half("lora_B"), &[32, 0])),
            format!("adapter_model.safetensors tensor {Q}.lora_B.weight: shape [32, 0], expected a matrix of rank 4"),
        ),
        (
            "no matrix",
            Box::new(|t| set(t, &half("lora_A"), &[4, 32, 1])),
            format!("adapter_model.safetensors tensor {Q}.lora_A.weight: shape [4, 32, 1], expected a matrix of rank 4"),
        ),
        (
            "other columns",
            Box::new(|t| set(t, &half("lora_A"), &[4, 31])),
            "tensor blk.0.attn_q.weight.lora_a: shape [31, 4], expected [32, 4]".into(),
        ),
        (
            "other rows",
            Box::new(|t| set(t, &half("lora_B"), &[40, 4])),
            "tensor blk.0.attn_q.weight.lora_b: shape [4, 40], expected [4, 32]".into(),
        ),
        (
            "rows that are no heads",
            Box::new(|t| set(t, &half("lora_B"), &[30, 4])),
            format!("tensor {Q}.lora_B.weight: 30 rows, expected pairs of rows in each of 4 heads"),
        ),
        (
            "no number",
            Box::new(|t| t.get_mut(&half("lora_A")).unwrap().1[40] = f32::NAN),
            "tensor blk.0.attn_q.weight.lora_a: NaN in row 1, expected finite numbers".into(),
        ),
        (
            "no finite number",
            Box::new(|t| t.get_mut(&half("lora_B")).unwrap().1[0] = f32::INFINITY),
            "tensor blk.0.attn_q.weight.lora_b: inf in row 0, expected finite numbers".into(),
        ),
        (
            "a layer beyond",
            Box::new(|t| {
                for (half, shape) in [("lora_A", [4, 32]), ("lora_B", [32, 4])] {
                    set(t, &format!("{Q}.{half}.weight").replace("layers.0", "layers.7"), &shape);
                }
            }),
            "tensor blk.7.attn_q.weight.lora_a: an adapter of a weight the base lacks".into(),
        ),
        (
            "another model's module",
            Box::new(|t| {
                for (half, shape) in [("lora_A", [4, 32]), ("lora_B", [32, 4])] {
                    set(t, &format!("base_model.model.transformer.h.0.attn.{half}.weight"), &shape);
                }
            }),
            "tensor transformer.h.0.attn.weight.lora_a: an adapter of a weight the base lacks".into(),
        ),
        (
            "DoRA's magnitudes",
            Box::new(|t| set(t, &format!("{Q}.lora_magnitude_vector"), &[32])),
            format!("adapter_model.safetensors tensor {Q}.lora_magnitude_vector: a tensor that is no half of a pair"),
        ),
        (
            "a bias",
            Box::new(|t| set(t, &format!("{Q}.lora_B.bias"), &[32])),
            format!("adapter_model.safetensors tensor {Q}.lora_B.bias: a tensor that is no half of a pair"),
        ),
        (
            "a trained norm",
            Box::new(|t| set(t, "base_model.model.model.norm.weight", &[32])),
            "adapter_model.safetensors tensor base_model.model.model.norm.weight: a tensor that is no half".into(),
        ),
        (
            "another model's head",
            Box::new(|t| t.get_mut("base_model.model.lm_head.base_layer.weight").unwrap().1[70] += 0.1),
            "adapter_model.safetensors tensor base_model.model.lm_head.base_layer.weight: other values in row 2, \
             expected a copy of the base's weights"
                .into(),
        ),
        (
            "a larger vocabulary",
            Box::new(|t| set(t, "base_model.model.lm_head.base_layer.weight", &[62, 32])),
            "adapter_model.safetensors tensor base_model.model.lm_head.base_layer.weight: shape [32, 62], expected \
             [32, 61], the base's"
                .into(),
        ),
        ("nothing", Box::new(Tensors::clear), "tensors: none, expected NAME.lora_a and NAME.lora_b".into()),
    ];
    for (case, change, expected) in cases {
        let said = refusal(|_, tensors| change(tensors));
        assert!(
            said.starts_with(&expected) && !said.contains('\n'),
            "{case}: {said:?}, expected {expected:?}"
        );
    }
}

#[test]
fn a_base_of_no_known_model_type_is_refused_with_those_there_are() {
    let mut base = Contents::new("GGUF 3");
    base.set("general.architecture", GgufValue::text("tomorrow")).unwrap();
    let (config, weights) = read("llama-all");
    let said = peft::import(&config, &weights, &base).unwrap_err().to_string();
    let expected = "base: an adapter in adapter_model.safetensors for family tomorrow is not supported; supported: llama,";
    assert!(said.starts_with(expected), "{said}");
}

/// What is imported has GGUF's form: written as such a file it is the same adapter, experts one by one or all together.
#[test]
fn an_imported_adapter_is_one_of_ggufs() {
    for name in ["qwen3-all", "qwen3_moe-experts"] {
        let [base, _] = bases(model_of(name));
        let (config, weights) = read(name);
        let imported = peft::import(&config, &weights, &base).unwrap();
        let mut header = Header::like(&imported);
        let (mut stacks, mut singles) = (BTreeMap::<String, Vec<&Tensor>>::new(), Vec::new());
        for tensor in imported.tensors() {
            // The adapter has all experts of the first layer.
            match tensor.name.split_once("_exps.weight.").filter(|(stem, _)| stem.starts_with("blk.0.")) {
                Some((stem, end)) => {
                    let (_, half) = end.split_once('.').unwrap();
                    stacks.entry(format!("{stem}_exps.weight.{half}")).or_default().push(tensor);
                }
                None => singles.push(tensor),
            }
        }
        let stacked = stacks.iter().map(|(name, all)| {
            let shape = [&all[0].shape[..], &[all.len()]].concat();
            (name.as_str(), shape, all.clone())
        });
        let singles = singles.iter().map(|&t| (t.name.as_str(), t.shape.clone(), vec![t]));
        let all: Vec<_> = singles.chain(stacked).collect();
        assert_eq!(all.iter().any(|(_, _, parts)| parts.len() == 4), name == "qwen3_moe-experts");
        for (name, shape, parts) in &all {
            header.add(name, shape, parts[0].format).unwrap();
        }
        let mut writer = Writer::begin(Vec::new(), &header).unwrap();
        for part in all.iter().flat_map(|(_, _, parts)| parts) {
            writer.write(&part.bytes()).unwrap();
        }
        let file = gguf::parse(Bytes::new(writer.finish().unwrap())).unwrap();
        let tokens = tokens();
        let mut tiny = Tiny::new(name, &base, None);
        let logits = [&imported, &file].map(|file| {
            let adapter = Adapter::read(file, &base, &tiny.model, &Kernels::detect());
            tiny.adapters = vec![(Arc::new(adapter.unwrap_or_else(|e| panic!("{name}: {e}"))), 1.0)];
            tiny.logits(&tokens, CTX, tokens.len(), 1)
        });
        assert!(logits[0] == logits[1], "{name}");
    }
}

#[test]
fn a_quantised_base_takes_an_adapter_that_brings_a_copy_of_its_head() {
    let [base, _] = bases("llama");
    let mut quantised = Contents::new("GGUF 3");
    for (key, value) in base.keys() {
        quantised.set_typed(key, value.clone(), base.value_type(key).unwrap()).unwrap();
    }
    let q8_0 = ingle_kernel::quant::by_name("q8_0").unwrap();
    for t in base.tensors() {
        let mut t = t.clone();
        if t.shape.len() == 2 && t.shape[0] % 32 == 0 {
            let mut bytes = vec![0; q8_0.row_bytes(t.n_values())];
            let rows = t.values();
            let rows = rows.chunks_exact(t.shape[0]).zip(bytes.chunks_exact_mut(q8_0.row_bytes(t.shape[0])));
            rows.for_each(|(row, out)| q8_0.quantize.unwrap()(row, None, out));
            t = Tensor::new(t.name, t.shape, q8_0, vec![Piece::InPlace(Bytes::new(bytes))]);
        }
        quantised.add(t).unwrap();
    }
    let mut tiny = Tiny::new("llama", &quantised, None);
    let adapter = adapter(&read("llama-all"), &quantised, &tiny).unwrap();
    tiny.adapters = vec![(Arc::new(adapter), 1.0)];
    let tokens = tokens();
    let reference = floats("peft/llama-all.f32");
    let off = difference(&tiny.logits(&tokens, CTX, tokens.len(), 1), &reference);
    tiny.adapters.clear();
    let without = difference(&tiny.logits(&tokens, CTX, tokens.len(), 1), &reference);
    eprintln!("llama-all on q8_0: {off:.2e} of the spread, {without:.2e} without the adapter");
    assert!(
        off > TOLERANCE && off < without / 4.0,
        "{off} and {without}: what 8 bits lose, not what an adapter adds"
    );
}

/// Everything that can be damaged is damaged; what is refused is refused in a sentence, and nothing panics.
#[test]
fn damaged_adapters_are_refused_or_run() {
    let [base, _] = bases("qwen3");
    let tiny = Tiny::new("qwen3", &base, Some("scalar"));
    let (config, weights) = read("qwen3-all");
    let mut rng = Rng(2026);
    let mut random = |n: usize| rng.below(n);
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let mut outcomes = Outcomes::default();
    for round in 0..1_500 {
        let (mut config, mut weights) = (config.clone(), weights.to_vec());
        for _ in 0..=random(3) {
            let (bytes, n) = if round % 2 == 0 { (&mut config, usize::MAX) } else { (&mut weights, header) };
            let at = random(bytes.len().min(n));
            match random(3) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes[at] = b"0123456789\"[]{},."[random(17)],
                _ => bytes.truncate(at + 1),
            }
        }
        let outcome = adapter(&(config, Bytes::new(weights)), &base, &tiny);
        outcomes.add(outcome.inspect_err(|e| assert!(e.to_string().len() < 2_000, "{e}")));
    }
    outcomes.more_than(500, 0);
}
