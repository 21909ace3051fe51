//! Folders that are written: read back they are the model they came from, under the names that its own folder has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ingle_compress::export::{self, ENCODINGS, SHARD_BYTES_MAX, Written};
use ingle_compress::output::{self, Existing};
use ingle_kernel::bytes::Bytes;
use ingle_model::config::Config;
use ingle_model::file::folder::weights::SAFETENSORS;
use ingle_model::file::folder::{self, Folder};
use ingle_model::file::{Contents, Value, gguf, safetensors};

/// A place that goes away with the test.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ingle-export-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests")
}

fn bytes(path: &Path) -> Bytes {
    Bytes::new(fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

fn read(path: &Path) -> Folder {
    let index = fs::read(path.join(SAFETENSORS.index)).ok();
    let names =
        index.as_deref().map_or(vec![SAFETENSORS.one.to_owned()], |index| SAFETENSORS.shards(index).unwrap());
    let shards = names.into_iter().map(|name| (name.clone(), bytes(&path.join(name)))).collect();
    Folder { config: fs::read(path.join(folder::CONFIG)).unwrap(), index, shards, ..Folder::default() }
}

fn import(path: &Path) -> Contents {
    folder::import(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Type, shape and bytes of each tensor in the files of a folder.
fn entries(path: &Path) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    let files = read(path).shards;
    let entries = files.iter().flat_map(|(name, bytes)| safetensors::parse(name, bytes).unwrap());
    entries.map(|e| (e.name.clone(), (e.dtype.clone(), e.shape.clone(), e.bytes().to_vec()))).collect()
}

fn write(file: &Contents, config: Option<&[u8]>, encoding: &str, to: &Path, limit: u64) -> Written {
    let export = folder::export::export(file, config).unwrap();
    fs::create_dir(to).unwrap();
    let encoding = export::by_name(encoding).unwrap();
    export::write(file, &export, encoding, None, to, limit, |_, _| true).unwrap()
}

fn assert_same(a: &Contents, b: &Contents, what: &str) {
    assert_eq!(a.tensors().len(), b.tensors().len(), "{what}");
    for x in a.tensors() {
        let y = b.tensor(&x.name).unwrap_or_else(|| panic!("{what} has no {}", x.name));
        assert_eq!((&x.shape, x.format.name), (&y.shape, y.format.name), "{what}: {}", x.name);
        assert!(x.bytes()[..] == y.bytes()[..], "{what}: {}", x.name);
    }
    let config = |file: &Contents| format!("{:?}", Config::read(file).unwrap());
    assert_eq!(config(a), config(b), "{what}");
}

/// Folders whose models go back, and what their weights are in.
const FOLDERS: &[(&str, &str)] = &[
    ("llama", "BF16"),
    ("llama-bias", "F32"),
    ("mistral", "F16"),
    ("qwen2", "F32"),
    ("qwen3", "BF16"),
    ("qwen3_moe", "BF16"),
    ("olmo2", "BF16"),
];

#[test]
fn a_folder_that_is_read_and_written_has_the_same_files_and_the_same_model() {
    let temp = Temp::new("folders");
    for (name, encoding) in FOLDERS {
        let (from, to) = (tests().join("folders").join(name), temp.0.join(name));
        let file = import(&from);
        let limit = if *name == "llama" { 20_000 } else { SHARD_BYTES_MAX };
        let written = write(&file, Some(&fs::read(from.join(folder::CONFIG)).unwrap()), encoding, &to, limit);
        assert_eq!(written.n_files > 1, *name == "llama", "{name}");
        assert_same(&import(&to), &file, name);
        let (theirs, ours) = (entries(&from), entries(&to));
        assert_eq!(written.n_tensors, ours.len());
        for (tensor, ours) in &ours {
            let theirs = theirs.get(tensor).unwrap_or_else(|| panic!("{name} has no {tensor}"));
            assert_eq!((&theirs.0, &theirs.1), (&ours.0, &ours.1), "{name}: {tensor}");
            assert!(theirs.2 == ours.2, "{name}: {tensor}");
        }
        let tied = |tensor: &&String| *tensor == "lm_head.weight";
        let missing: Vec<_> =
            theirs.keys().filter(|tensor| !ours.contains_key(*tensor) && !tied(tensor)).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
}

#[test]
fn a_gguf_file_gets_a_configuration_of_its_keys_or_a_sentence() {
    let temp = Temp::new("gguf");
    let open = |name: &str| gguf::parse(bytes(&tests().join(format!("folders/{name}.gguf")))).unwrap();
    for (name, encoding) in [("qwen3", "BF16"), ("mistral", "F16")] {
        let (file, to) = (open(name), temp.0.join(name));
        write(&file, None, encoding, &to, SHARD_BYTES_MAX);
        assert_same(&import(&to), &file, name);
        let theirs = entries(&tests().join("folders").join(name));
        assert!(entries(&to).iter().all(|(tensor, ours)| theirs.get(tensor) == Some(ours)), "{name}");
    }
    let said = |name: &str| folder::export::export(&open(name), None).unwrap_err().to_string();
    assert_eq!(
        said("gemma3"),
        "metadata general.architecture: config.json for a file of family \"gemma3\" is not supported; supported: llama, qwen2, qwen3"
    );
    assert!(said("llama").starts_with("tensor rope_freqs.weight: config.json for a scaled rotation"));
    assert!(
        said("qwen2").starts_with("metadata qwen2.rope.scaling.type: config.json for the value \"yarn\"")
    );
    let mut half_turned = Contents::new("GGUF 3");
    let (whole, turned) = (open("qwen3"), "qwen3.rope.dimension_count");
    for (key, value) in whole.keys().filter(|(key, _)| *key != turned) {
        half_turned.set(key, value.clone()).unwrap();
    }
    whole.tensors().iter().for_each(|tensor| half_turned.add(tensor.clone()).unwrap());
    half_turned.set(turned, Value::Uint(2)).unwrap();
    let said = folder::export::export(&half_turned, None).unwrap_err().to_string();
    assert!(
        said.starts_with("metadata qwen3.rope.dimension_count: config.json for 2 turned values"),
        "{said}"
    );
    let gemma = tests().join("folders/gemma");
    let said = folder::export::export(&import(&gemma), Some(&fs::read(gemma.join(folder::CONFIG)).unwrap()));
    let said = said.unwrap_err().to_string();
    assert!(said.contains("a way back to a folder of model type gemma is not supported"), "{said}");
}

#[test]
fn blocks_of_q4_0_keep_their_codes_and_scales() {
    let temp = Temp::new("q4");
    let from = tests().join("quantised/gptq");
    let (file, config) = (import(&from), fs::read(from.join(folder::CONFIG)).unwrap());
    let written = write(&file, Some(&config), "W4A16-G32", &temp.0.join("out"), SHARD_BYTES_MAX);
    assert_eq!(written.n_integers, 7);
    assert_same(&import(&temp.0.join("out")), &file, "W4A16-G32");
}

#[test]
fn routers_and_gates_of_one_row_stay_floats() {
    let temp = Temp::new("routers");
    let from = tests().join("folders/qwen2moe");
    let (file, config) = (import(&from), fs::read(from.join(folder::CONFIG)).unwrap());
    write(&file, Some(&config), "W8A16", &temp.0.join("out"), SHARD_BYTES_MAX);
    let (back, written) = (import(&temp.0.join("out")), entries(&temp.0.join("out")));
    let said = fs::read_to_string(temp.0.join("out").join(folder::CONFIG)).unwrap();
    for (theirs, ours) in [("gate", "ffn_gate_inp"), ("shared_expert_gate", "ffn_gate_inp_shexp")] {
        let name = format!("model.layers.0.mlp.{theirs}");
        assert_eq!(written[&format!("{name}.weight")].0, "F16", "{name}");
        assert!(said.contains(&format!("\"{name}\"")), "{said}");
        let [a, b] =
            [&file, &back].map(|file| file.tensor(&format!("blk.0.{ours}.weight")).unwrap().values());
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-3 * a.abs() + 1e-6), "{ours}");
    }
    assert!(written.contains_key("model.layers.0.mlp.shared_expert.up_proj.weight_packed"));
}

#[test]
fn rounded_weights_are_within_half_a_step_of_what_they_were() {
    let temp = Temp::new("rounded");
    let from = tests().join("quantised/ct-pack-f32");
    let (file, config) = (import(&from), fs::read(from.join(folder::CONFIG)).unwrap());
    for (encoding, format, relative) in [("W8A16", "q8_0", 0.012), ("W4A16-G32", "q4_0", 0.12)] {
        let to = temp.0.join(encoding);
        write(&file, Some(&config), encoding, &to, SHARD_BYTES_MAX);
        let back = import(&to);
        let (mut error, mut energy) = (0.0, 0.0);
        for tensor in back
            .tensors()
            .iter()
            .filter(|tensor| tensor.name.starts_with("blk.0.ffn_") && tensor.shape.len() == 2)
        {
            assert_eq!(tensor.format.name, format, "{encoding}: {}", tensor.name);
            for (a, b) in tensor.values().iter().zip(file.tensor(&tensor.name).unwrap().values()) {
                error += f64::from(a - b).powi(2);
                energy += f64::from(b).powi(2);
            }
        }
        let found = (error / energy).sqrt();
        eprintln!("{encoding}: {found:.4}");
        assert!(found > 0.0 && found < relative, "{encoding}: {found}");
    }
    let export = folder::export::export(&file, Some(&config)).unwrap();
    let wide = export::by_name("W4A16").unwrap();
    let said = export::write(&file, &export, wide, None, &temp.0, SHARD_BYTES_MAX, |_, _| true).unwrap_err();
    let expected = "64 columns, expected a multiple of the 128 that share a scale";
    assert!(said.to_string().ends_with(expected), "{said}");
}

#[test]
fn a_folder_comes_into_being_whole_or_not_at_all() {
    let temp = Temp::new("whole");
    let target = temp.0.join("out");
    let fail = |_: &Path| -> ingle_compress::Result<()> { Err(ingle_compress::Error::Interrupted) };
    assert!(output::write_folder(&target, None, Existing::Keep, fail).is_err());
    assert_eq!(fs::read_dir(&temp.0).unwrap().count(), 0);
    let fill = |content: &'static str| {
        move |dir: &Path| {
            fs::write(dir.join("config.json"), content).unwrap();
            Ok(())
        }
    };
    output::write_folder(&target, None, Existing::Keep, fill("1")).unwrap();
    let said = output::write_folder(&target, None, Existing::Keep, fill("2")).unwrap_err().to_string();
    assert!(said.ends_with("exists already; --force replaces it"), "{said}");
    output::write_folder(&target, None, Existing::Replace, fill("2")).unwrap();
    assert_eq!(fs::read_to_string(target.join("config.json")).unwrap(), "2");
    assert_eq!(fs::read_dir(&temp.0).unwrap().count(), 1);
    let said =
        output::write_folder(&target, Some(&target), Existing::Replace, fill("3")).unwrap_err().to_string();
    assert!(said.contains("is the input itself"), "{said}");
    let other = temp.0.join("other");
    fs::create_dir(&other).unwrap();
    let said = output::write_folder(&other, None, Existing::Replace, fill("3")).unwrap_err().to_string();
    assert!(said.contains("is a folder without config.json"), "{said}");
}

#[test]
fn every_encoding_is_found_by_its_names() {
    for encoding in ENCODINGS {
        for name in encoding.aliases.iter().chain([&encoding.name]) {
            assert_eq!(export::by_name(&name.to_lowercase()).unwrap().name, encoding.name);
        }
    }
    assert!(export::by_name("Q4_K_M").unwrap_err().to_string().contains("supported: BF16, F16, F32, W4A16"));
}
