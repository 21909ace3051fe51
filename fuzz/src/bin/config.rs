//! A config.json, and on a second line a generation_config.json: through the shelf of model types to keys and a plan of
//! every layer; then with the weights of the tests' folder of that type, read as a model and run.
// libFuzzer: -max_len=1024
#![no_main]

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use ingle_fuzz::{DATA, assert_same_again, assert_sentence, run};
use ingle_kernel::bytes::Bytes;
use ingle_model::Result;
use ingle_model::config::Config;
use ingle_model::decoder::Scratch;
use ingle_model::file::folder::{self, Folder};
use ingle_model::file::folder::weights::SAFETENSORS;
use ingle_model::kv;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

type Shards = Vec<(String, Bytes)>;

/// The weights in the tests' folders, by model type.
static WEIGHTS: LazyLock<HashMap<String, Vec<Shards>>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/model/tests/folders");
    let mut all = HashMap::<String, Vec<Shards>>::new();
    for entry in std::fs::read_dir(root).expect("the tests' folders").flatten() {
        let Ok(config) = std::fs::read(entry.path().join(folder::CONFIG)) else { continue };
        let files = std::fs::read_dir(entry.path()).expect("readable").flatten();
        let mut shards: Shards = files
            .filter(|file| file.path().extension().is_some_and(|e| e == "safetensors"))
            .map(|file| {
                (file.file_name().to_string_lossy().into(), Bytes::new(std::fs::read(file.path()).unwrap()))
            })
            .collect();
        shards.sort_by(|a, b| a.0.cmp(&b.0));
        all.entry(model_type(&config).expect("a model type")).or_default().push(shards);
    }
    assert!(all.len() > 5);
    all
});

/// A file with an embedding and a head alone, under each of their names.
static AROUND: LazyLock<[Bytes; 2]> = LazyLock::new(|| {
    [["model", "lm_head"], ["language_model.model", "language_model.lm_head"]].map(|[model, head]| {
        let tensor = |at: usize| json!({"dtype": "F32", "shape": [61, 1], "data_offsets": [at, at + 244]});
        let embedding = format!("{model}.embed_tokens.weight");
        let header = json!({embedding: tensor(0), format!("{head}.weight"): tensor(244)}).to_string();
        Bytes::new([&(header.len() as u64).to_le_bytes(), header.as_bytes(), &DATA[..488]].concat())
    })
});

fn model_type(config: &[u8]) -> Option<String> {
    // Python writes an Infinity that JSON has not.
    let config = String::from_utf8_lossy(config).replace("Infinity", "null");
    let config: Value = serde_json::from_str(&config).ok()?;
    Some(config.get("model_type")?.as_str()?.to_owned())
}

/// The plan alone: what it says it needs can be told, whatever it is.
fn plan(config: &[u8], around: &Bytes) -> Result<()> {
    let shards = vec![(SAFETENSORS.one.to_owned(), around.clone())];
    let file = folder::import(&Folder { config: config.into(), shards, ..Folder::default() })?;
    let plan = Config::read(&file)?;
    let _ = (Scratch::bytes_per_token(&plan), plan.per_layer_width(), plan.heads());
    for name in ["f32", "f16", "q8_0", "q4_0"] {
        if let Ok(format) = kv::format(&plan, name) {
            kv::n_bytes(&plan, format, 4096);
        }
    }
    assert_same_again(&file);
    Ok(())
}

fn read(input: &[u8]) -> Result<()> {
    let mut lines = input.split(|&byte| byte == b'\n');
    let config = lines.next().unwrap_or_default();
    folder::ending(config, lines.next())?;
    plan(config, &AROUND[0]).or_else(|_| plan(config, &AROUND[1]))?;
    let weights = model_type(config).and_then(|name| WEIGHTS.get(&name));
    for shards in weights.into_iter().flatten() {
        let file =
            folder::import(&Folder { config: config.into(), shards: shards.clone(), ..Folder::default() });
        let result = file.and_then(|file| run(&file));
        if result.is_ok() {
            return Ok(());
        }
        assert_sentence(result);
    }
    Ok(())
}

fuzz_target!(|input: &[u8]| assert_sentence(read(input)));
