//! The same weights in every container give the same contents and the same bits of logits.
//!
//! `tests/folders` has tiny models as Hugging Face folders, as GGUF files, and with another library's logits in float64; of
//! those that `tests/families` has as GGUF files, the folders only.
//! Other containers are written here, from the contents of a GGUF file: older versions, several parts, llama2.c's checkpoints.

mod common;

use std::path::{Path, PathBuf};

use common::{Reference, Tiny, golden_folders, import, is_shared, tolerance};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::simd::Kernels;
use ingle_model::Error;
use ingle_model::adapter::base_hash;
use ingle_model::config::Config;
use ingle_model::file::folder::model_type::MODEL_TYPES;
use ingle_model::file::folder::weights::SAFETENSORS;
use ingle_model::file::folder::{self, Folder};
use ingle_model::file::value::{Value, ValueType};
use ingle_model::file::{Contents, Tensor, gguf, llama2c, split};

/// Positions of a sequence that is long enough for every text here.
const CTX: usize = 64;

#[test]
fn every_model_type_has_a_folder() {
    let text = |(path, _): (PathBuf, PathBuf)| std::fs::read_to_string(path.join(folder::CONFIG)).unwrap();
    let configs: Vec<String> = golden_folders().into_iter().map(text).collect();
    for model in MODEL_TYPES {
        let says = |name: &str| configs.iter().any(|c| c.contains(&format!("\"model_type\": \"{name}\"")));
        assert!(model.names.iter().any(|name| says(name)), "{:?}", model.names);
    }
}

fn bytes(path: &Path) -> Bytes {
    Bytes::new(std::fs::read(path).unwrap())
}

fn parse(path: &Path) -> Contents {
    gguf::parse(bytes(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A value as text, for comparison: integers and arrays of them come in several widths.
fn text(file: &Contents, key: &str) -> String {
    match file.value(key).unwrap() {
        Value::Array { of: ValueType::F32, .. } => format!("{:?}", file.floats(key).unwrap()),
        Value::Array { of: ValueType::String, .. } => {
            format!("{:?}", file.strings(key).unwrap().unwrap().collect::<Vec<_>>())
        }
        Value::Array { .. } => format!("{:?}", file.ints(key).unwrap()),
        Value::String(text) => format!("{:?}", &text[..]),
        Value::Uint(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Float(v) => format!("{v:e}"),
        Value::Bool(v) => v.to_string(),
    }
}

fn assert_same_tensors(a: &Contents, b: &Contents, what: &str) {
    assert_eq!(a.tensors().len(), b.tensors().len(), "{what}");
    for x in a.tensors() {
        let y = b.tensor(&x.name).unwrap_or_else(|| panic!("{what} has no {}", x.name));
        assert_eq!((&x.shape, x.format), (&y.shape, y.format), "{what}: {}", x.name);
        assert!(x.bytes()[..] == y.bytes()[..], "{what}: {}", x.name);
    }
}

fn assert_same(a: &Contents, b: &Contents, what: &str) {
    let keys = |file: &Contents| {
        let mut keys: Vec<_> = file.keys().map(|(key, _)| format!("{key} = {}", text(file, key))).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(a), keys(b), "{what}");
    assert_same_tensors(a, b, what);
}

#[test]
fn a_folder_has_the_values_of_a_gguf_file_of_other_formats_and_becomes_the_same_model() {
    for (path, files) in golden_folders().into_iter().filter(|(_, files)| is_shared(files)) {
        let (folder, file) = (import(&path), parse(&files.with_extension("gguf")));
        let name = path.file_name().unwrap().to_string_lossy();
        let [a, b] =
            [&folder, &file].map(|file| Config::read(file).unwrap_or_else(|e| panic!("{name}: {e}")));
        // A folder's layers that only draft have names of their own and are left out.
        let drafts = format!("blk.{}.", a.layers.len());
        let told = |config: &Config| format!("{:?}", Config { n_draft_layers: 0, ..config.clone() });
        assert_eq!(told(&a), told(&b), "{name}");
        for x in file.tensors().iter().filter(|t| !t.name.starts_with(&drafts)) {
            let y = folder.tensor(&x.name).unwrap_or_else(|| panic!("{name} has no {}", x.name));
            let shape = |t: &Tensor| t.shape.iter().copied().filter(|&n| n != 1).collect::<Vec<_>>();
            assert_eq!(shape(x), shape(y), "{name}: {}", x.name);
            assert!(x.values() == y.values(), "{name}: {}", x.name);
        }
        for x in folder.tensors() {
            assert!(file.tensor(&x.name).is_some(), "{name} has {}, the file has not", x.name);
        }
    }
}

#[test]
fn a_folder_has_the_tensors_of_a_gguf_file_and_says_all_it_says() {
    for (path, files) in golden_folders().into_iter().filter(|(_, files)| !is_shared(files)) {
        let (folder, file) = (import(&path), parse(&files.with_extension("gguf")));
        let name = path.file_name().unwrap().to_string_lossy();
        assert_same_tensors(&folder, &file, &name);
        assert_eq!(base_hash(&folder), base_hash(&file), "{name}: adapters of one fit the other");
        for (key, _) in file.keys() {
            assert!(folder.value(key).is_some(), "{name} has no {key}");
            assert_eq!(folder.value_type(key), file.value_type(key), "{name}: {key}");
            assert_eq!(text(&folder, key), text(&file, key), "{name}: {key}");
        }
    }
}

#[test]
fn a_folder_and_a_gguf_file_give_the_same_bits_and_another_librarys_numbers() {
    for (path, files) in golden_folders() {
        let reference = Reference::read(&files);
        let (folder, file) = (import(&path), parse(&files.with_extension("gguf")));
        let name = path.file_name().unwrap().to_string_lossy();
        for tier in Kernels::names() {
            let (tokens, ctx) = (&reference.tokens, reference.ctx);
            let logits =
                |file: &Contents| Tiny::new(&name, file, Some(tier)).logits(tokens, ctx, tokens.len(), 1);
            let (ours, theirs) = (logits(&folder), logits(&file));
            let bits = |logits: &[f32]| logits.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert!(bits(&ours) == bits(&theirs), "{name}, {tier}: the containers differ");
            let worst = reference.worst(&ours);
            eprintln!("{name}, {tier}: largest difference {worst:.2e} of the spread");
            assert!(worst <= tolerance(&folder, tier), "{name}, {tier}: {worst:.2e} of the spread");
        }
    }
}

#[test]
fn what_can_stay_in_place_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/folders");
    let made = |name: &str| {
        let file = import(&path.join(name));
        let made = file.tensors().iter().filter(|t| t.shape.len() > 1 && t.n_made_bytes() > 0);
        made.map(|t| t.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(made("qwen3_moe"), [""; 0], "experts are pieces of the file");
    assert_eq!(made("glm4"), [""; 0], "what lies together stays together");
    let halves = made("granitehybrid").into_iter().filter(|name| name.contains("ffn"));
    assert_eq!(halves.collect::<Vec<_>>(), [""; 0], "halves of matrices are pieces of the file");
    assert_eq!(
        made("llama"),
        ["blk.0.attn_k.weight", "blk.0.attn_q.weight", "blk.1.attn_k.weight", "blk.1.attn_q.weight"]
    );
}

/// A file of weights with other names, and a tensor more.
fn renamed(bytes: &[u8], name: impl Fn(&str) -> String, more: &str) -> Bytes {
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).unwrap();
    let mut header: serde_json::Map<String, serde_json::Value> =
        header.into_iter().map(|(key, value)| (name(&key), value)).collect();
    let end = data.len();
    header.insert(
        more.into(),
        serde_json::json!({"dtype": "BF16", "shape": [1], "data_offsets": [end, end + 2]}),
    );
    let header = serde_json::to_vec(&header).unwrap();
    Bytes::new([&(header.len() as u64).to_le_bytes(), &header[..], data, &[0; 2]].concat())
}

#[test]
fn a_text_model_is_taken_out_of_one_that_sees() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/folders/gemma3");
    let weights = bytes(&path.join(SAFETENSORS.one));
    let config: serde_json::Value = serde_json::from_slice(&bytes(&path.join(folder::CONFIG))).unwrap();
    let config = serde_json::json!({"model_type": "gemma3", "text_config": config, "vision_config": {}});
    for prefix in ["language_model.model.", "model.language_model."] {
        let weights = renamed(&weights, |name| name.replace("model.", prefix), "vision_tower.patches.weight");
        let folder = Folder {
            config: serde_json::to_vec(&config).unwrap(),
            shards: vec![(SAFETENSORS.one.to_owned(), weights)],
            ..Folder::default()
        };
        assert_same(&folder::import(&folder).unwrap(), &import(&path), prefix);
    }
}

/// Writes a GGUF file of `version` with more keys and some of the tensors.
fn write(version: u32, file: &Contents, more: &[(&str, Value)], tensors: &[Tensor]) -> Vec<u8> {
    fn length(out: &mut Vec<u8>, version: u32, n: usize) {
        let bytes = (n as u64).to_le_bytes();
        out.extend_from_slice(&bytes[..if version == 1 { 4 } else { 8 }]);
    }
    fn string(out: &mut Vec<u8>, version: u32, text: &[u8]) {
        length(out, version, text.len());
        out.extend_from_slice(text);
    }
    let mut out = b"GGUF".to_vec();
    out.extend(version.to_le_bytes());
    length(&mut out, version, tensors.len());
    let keys: Vec<_> = file.keys().chain(more.iter().map(|(key, value)| (*key, value))).collect();
    length(&mut out, version, keys.len());
    for (key, value) in keys {
        string(&mut out, version, key.as_bytes());
        let id = |out: &mut Vec<u8>, id: u32| out.extend(id.to_le_bytes());
        match value {
            Value::Uint(v) => (id(&mut out, 10), out.extend(v.to_le_bytes())).1,
            Value::Int(v) => (id(&mut out, 11), out.extend(v.to_le_bytes())).1,
            Value::Float(v) => (id(&mut out, 12), out.extend(v.to_le_bytes())).1,
            Value::Bool(v) => (id(&mut out, 7), out.push(u8::from(*v))).1,
            Value::String(text) => (id(&mut out, 8), string(&mut out, version, text)).1,
            Value::Array { of, len, bytes } => {
                id(&mut out, 9);
                id(&mut out, *of as u32);
                length(&mut out, version, *len);
                match of {
                    ValueType::String => {
                        file.strings(key).unwrap().unwrap().for_each(|text| string(&mut out, version, text));
                    }
                    _ => out.extend_from_slice(bytes),
                }
            }
        }
    }
    let mut data = Vec::new();
    for t in tensors {
        string(&mut out, version, t.name.as_bytes());
        out.extend((t.shape.len() as u32).to_le_bytes());
        t.shape.iter().for_each(|&n| length(&mut out, version, n));
        out.extend(t.format.ggml_id.to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        data.extend_from_slice(&t.bytes());
        data.resize(data.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    [out, data].concat()
}

fn base() -> Contents {
    parse(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/malicious/base.gguf"))
}

#[test]
fn every_version_of_gguf_says_the_same() {
    for version in 1..=3 {
        let file = base();
        let written = write(version, &file, &[], file.tensors());
        let again = gguf::parse(Bytes::new(written.clone())).unwrap();
        assert_eq!(again.container, format!("GGUF {version}"));
        assert_same(&again, &file, &again.container);
        // Cut anywhere in its front, it is refused.
        for len in 0..1_500 {
            assert!(gguf::parse(Bytes::new(written[..len].to_vec())).is_err(), "version {version}, {len}");
        }
    }
}

/// The parts of the base file, its tensors dealt out, and what each part says of the whole.
fn parts(n: usize, says: impl Fn(usize) -> (u64, u64, u64)) -> Vec<Contents> {
    let file = base();
    let per_part = file.tensors().len().div_ceil(n);
    let part = |(i, tensors): (usize, &[Tensor])| {
        let (no, count, all) = says(i);
        let keys = [
            ("split.no", Value::Uint(no)),
            ("split.count", Value::Uint(count)),
            ("split.tensors.count", Value::Uint(all)),
        ];
        let metadata = if i == 0 { base() } else { Contents::new("") };
        gguf::parse(Bytes::new(write(3, &metadata, &keys, tensors))).unwrap()
    };
    file.tensors().chunks(per_part).enumerate().map(part).collect()
}

#[test]
fn parts_join_to_the_whole() {
    let n_tensors = base().tensors().len() as u64;
    let whole = split::join(parts(3, |i| (i as u64, 3, n_tensors))).unwrap();
    assert_eq!(whole.container, "GGUF 3 in 3 parts");
    assert_same(&whole, &base(), "three parts");
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let n = base().tensors().len() as u64;
    let said = |joined: Result<Contents, Error>| joined.unwrap_err().to_string();
    let cases = [
        (
            parts(3, |i| (i as u64, 2 + u64::from(i < 2), n)),
            "metadata split.no: 2, expected less than the 2 of split.count",
        ),
        (
            parts(3, |i| ([0, 2, 1][i], 3, n)),
            "part 2 of 3: a file that says it is part 3 of 3, expected the part its name says",
        ),
        (
            parts(3, |i| (i as u64, 4, n)),
            "part 1 of 3: a file that says it is part 1 of 4, expected the part its name says",
        ),
        (
            parts(3, |i| (i as u64, 3, 7)),
            "metadata split.tensors.count: 7 where the parts have 11, expected the number of tensors of all parts",
        ),
    ];
    for (parts, expected) in cases {
        assert_eq!(said(split::join(parts)), expected);
    }
    let mut twice = parts(2, |i| (i as u64, 3, n));
    let again = parts(2, |_| (2, 3, n)).pop().unwrap();
    twice.push(again);
    assert!(said(split::join(twice)).ends_with("a second record, expected each tensor once"));
}

#[test]
fn parts_know_each_others_names() {
    let part = split::Part::of(&parts(3, |i| (i as u64, 3, 11))[1]).unwrap().unwrap();
    let names = part.names("m-00002-of-00003.gguf").unwrap();
    assert_eq!(names, ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"]);
    let said = part.expect_first(&names).unwrap_err().to_string();
    assert_eq!(said, "metadata split.no: part 2 of 3, expected the first part: open m-00001-of-00003.gguf");
    assert!(part.names("renamed.gguf").unwrap_err().to_string().contains("-00002-of-00003.gguf"));
}

/// A checkpoint of llama2.c's `version` with the weights of `file`, which has no head of its own.
fn checkpoint(file: &Contents, version: u32) -> Vec<u8> {
    let uint = |key: &str| file.uint(&format!("llama.{key}")).unwrap().unwrap_or(1) as i32;
    let layers = uint("block_count");
    let (heads, embed) = (uint("attention.head_count"), file.tensor("token_embd.weight").unwrap());
    let kv_heads = file.uint("llama.attention.head_count_kv").unwrap().map_or(heads, |n| n as i32);
    let numbers = [
        uint("embedding_length"),
        uint("feed_forward_length"),
        layers,
        heads,
        kv_heads,
        embed.shape[1] as i32,
        uint("context_length"),
    ];
    let each = |part: &str| {
        let of = |i| file.tensor(&format!("blk.{i}.{part}.weight")).unwrap().bytes().to_vec();
        (0..layers).flat_map(of).collect::<Vec<u8>>()
    };
    let [norm, embed] =
        ["output_norm", "token_embd"].map(|n| file.tensor(&format!("{n}.weight")).unwrap().bytes().to_vec());
    let attention = ["attn_q", "attn_k", "attn_v", "attn_output"].map(each).concat();
    let ffn = ["ffn_gate", "ffn_down", "ffn_up"].map(each).concat();
    let head = numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    if version == 0 {
        let tables = vec![0; (numbers[0] / heads * numbers[6] * 4) as usize];
        return [head, embed, each("attn_norm"), attention, each("ffn_norm"), ffn, norm, tables].concat();
    }
    let mut front = [b"24ka".to_vec(), version.to_le_bytes().to_vec(), head, vec![1]].concat();
    front.resize(256, 0);
    [front, each("attn_norm"), each("ffn_norm"), norm, embed, attention, ffn].concat()
}

#[test]
fn checkpoints_of_llama2c_have_the_same_weights() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models/stories260K.gguf");
    if !shared.is_file() {
        eprintln!("skipped for stories260K: {} is not there", shared.display());
    }
    for file in [Some(base()), shared.is_file().then(|| parse(&shared))].into_iter().flatten() {
        for version in [0, 1] {
            let bytes = checkpoint(&file, version);
            let again = llama2c::parse(Bytes::new(bytes.clone())).unwrap();
            assert_same_tensors(&again, &file, &again.container);
            let tokens = [1, 2, 3, 4, 5];
            let logits = |file: &Contents| Tiny::new("llama2.c", file, None).logits(&tokens, CTX, 5, 1);
            assert!(logits(&again) == logits(&file), "version {version}");
            for cut in [0, 3, 27, 28, 200, bytes.len() - 1] {
                assert!(
                    llama2c::parse(Bytes::new(bytes[..cut].to_vec())).is_err(),
                    "version {version}, {cut}"
                );
            }
        }
    }
}

#[test]
fn numbers_of_a_checkpoint_are_held_against_its_bytes() {
    let bytes = checkpoint(&base(), 0);
    let with = |at: usize, value: i32| {
        let mut bytes = bytes.clone();
        bytes[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
        llama2c::parse(Bytes::new(bytes)).unwrap_err().to_string()
    };
    assert!(with(0, 0).starts_with("header dim: 0, expected 1 to 16777216"));
    assert!(with(2, i32::MAX).starts_with("header n_layers: 2147483647"));
    assert!(with(3, 3).starts_with("header: 3 heads"));
    assert!(with(5, i32::MIN).starts_with("header vocab_size: -2147483648"));
    assert!(with(6, 65).contains("bytes behind it, expected"));
    assert!(with(5, 1 << 24).contains("bytes behind it, expected"));
}

/// llama2.c's vocabulary of a file's: spaces as such, line breaks around the tokens of beginning and end.
fn vocabulary(file: &Contents) -> Vec<u8> {
    let scores = file.floats("tokenizer.ggml.scores").unwrap().unwrap();
    let mut out = 99u32.to_le_bytes().to_vec();
    for (i, (text, score)) in file.strings("tokenizer.ggml.tokens").unwrap().unwrap().zip(scores).enumerate()
    {
        let text = std::str::from_utf8(text).unwrap().replace('\u{2581}', " ");
        let text = if (1..=2).contains(&i) { format!("\n{text}\n") } else { text };
        out.extend(score.to_le_bytes());
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    }
    out
}

#[test]
fn a_vocabulary_of_llama2c_says_what_gguf_says() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models/stories260K.gguf");
    if !shared.is_file() {
        eprintln!("skipped: {} is not there", shared.display());
        return;
    }
    let file = parse(&shared);
    let mut again = llama2c::parse(Bytes::new(checkpoint(&file, 1))).unwrap();
    let bytes = vocabulary(&file);
    for cut in [0, 4, 11, 13, bytes.len() - 1] {
        let said = llama2c::add_vocabulary(&mut again, &bytes[..cut]).unwrap_err().to_string();
        assert!(said.starts_with("tokenizer.bin token ") && said.contains("bytes left"), "{cut}: {said}");
    }
    llama2c::add_vocabulary(&mut again, &bytes).unwrap();
    for key in ["model", "tokens", "scores", "token_type", "bos_token_id", "eos_token_id"] {
        let key = format!("tokenizer.ggml.{key}");
        assert_eq!(text(&again, &key), text(&file, &key), "{key}");
    }
}
