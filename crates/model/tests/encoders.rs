//! Hidden states and scores of tiny encoders against an independent float64 reference, for every tier, batch and number of
//! threads; and the law that none of these changes a bit.
//!
//! The models are those in `tests/encoders`, made by its script with another library's arithmetic: folders, GGUF files or both.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{TOLERANCE, import, read_folder, tolerance};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::arch::{ENCODERS, Family};
use ingle_model::config::Config;
use ingle_model::decoder::{Model, Runtime};
use ingle_model::encoder::{Encoder, Scratch, Text};
use ingle_model::file::folder::model_type;
use ingle_model::file::folder::sentence::{MODULE_CONFIG, MODULES, pooling_folder};
use ingle_model::file::folder::{self, Folder};
use ingle_model::file::{Contents, Value, gguf};
use ingle_model::pooling::{Plan, Pooling};

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encoders")
}

/// Every model: its name, and what a folder or file of it holds.
fn models() -> Vec<(String, Contents)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(here()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let contents = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_file = path.extension().is_some_and(|ending| ending == "gguf");
        let file = match is_file {
            true => gguf::parse(Bytes::new(std::fs::read(&path).unwrap())).unwrap(),
            false if path.is_dir() => import(&path),
            false => return None,
        };
        Some((name, file))
    };
    let mut all: Vec<_> = paths.into_iter().filter_map(contents).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The ids of every text and how many are those of the first of a pair.
fn texts() -> Vec<(Vec<u32>, usize)> {
    let text = std::fs::read_to_string(here().join("texts.txt")).unwrap();
    let ids = |part: &str| part.split_whitespace().map(|t| t.parse().unwrap()).collect::<Vec<u32>>();
    let line = |line: &str| {
        let (first, second) = line.split_once('|').unwrap_or((line, ""));
        let (first, second) = (ids(first), ids(second));
        let n_first = first.len();
        ([first, second].concat(), n_first)
    };
    text.lines().map(line).collect()
}

/// What a model makes of some texts in one step: their hidden states one behind the other, or their scores.
fn run(
    encoder: &Encoder,
    kernels: &Kernels,
    pool: &Pool,
    texts: &[(Vec<u32>, usize)],
    scratch: &mut Scratch,
) -> Vec<f32> {
    let run = Runtime::new(pool, kernels);
    let given: Vec<Text<'_>> = texts.iter().map(|(ids, n_first)| Text { ids, n_first: *n_first }).collect();
    encoder.forward(&run, &given, scratch).unwrap();
    if encoder.is_ranker() {
        return encoder.scores(&run, scratch).unwrap();
    }
    (0..texts.len()).flat_map(|i| encoder.hidden(i, scratch).to_vec()).collect()
}

/// The largest difference, in standard deviations of the reference.
fn worst(name: &str, made: &[f32]) -> f64 {
    let bytes = std::fs::read(here().join(format!("{name}.f32"))).unwrap();
    let truth: Vec<f64> =
        bytes.as_chunks::<4>().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect();
    assert_eq!(made.len(), truth.len(), "{name}");
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    let spread = (truth.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / truth.len() as f64).sqrt();
    let differences = made.iter().zip(&truth).map(|(&a, b)| (f64::from(a) - b).abs());
    differences.fold(0.0, f64::max) / spread
}

#[test]
fn states_and_scores_agree_with_float64_for_every_tier_batch_and_thread_count() {
    let (texts, all) = (texts(), models());
    let n_tokens: usize = texts.iter().map(|(ids, _)| ids.len()).sum();
    let pools = [Pool::new(1), Pool::new(3)];
    assert!(all.len() >= 11, "{} models", all.len());
    let mut largest: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, file) in &all {
        for tier in Kernels::names() {
            let kernels = Kernels::named(tier).unwrap();
            let encoder = Encoder::read(file, &kernels).unwrap_or_else(|e| panic!("{name}: {e}"));
            let mut scratch = Scratch::new(&encoder, n_tokens, 3);
            let whole = run(&encoder, &kernels, &pools[0], &texts, &mut scratch);
            let (error, allowed) = (worst(name, &whole), tolerance(file, tier));
            eprintln!("{name}, {}, {tier}: largest difference {error:.2e} of the spread", file.container);
            assert!(error <= allowed, "{name}, {}, {tier}: {error:.2e} of the spread", file.container);
            if allowed == TOLERANCE {
                let of_family = largest.entry(encoder.config.family.name).or_default();
                *of_family = of_family.max(error);
            }
            for pool in &pools {
                for batch in [1, 3, texts.len()] {
                    let parts = texts.chunks(batch);
                    let made = parts.flat_map(|part| run(&encoder, &kernels, pool, part, &mut scratch));
                    let same = made.collect::<Vec<_>>() == whole;
                    let n = pool.n_threads();
                    assert!(same, "{name}, {tier}: batches of {batch} on {n} threads change the result");
                }
            }
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        write_docs(&largest);
    }
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md")
}

/// The part of the docs that is about encoders: what stands before it, the table, what stands behind.
fn table(found: &str) -> [&str; 3] {
    let (before, rest) = found.split_once("<!-- encoders -->\n").expect("the mark is there");
    let (table, after) = rest.split_once("<!-- end of encoders -->").expect("the end is marked");
    [before, table, after]
}

/// The row of a family up to what was measured.
fn row_start(family: &Family) -> String {
    let of_family = model_type::ENCODERS.iter().filter(|model| model.family == family.name);
    let mut names: Vec<String> = Vec::new();
    for name in of_family.flat_map(|model| model.names).map(|name| format!("`{name}`")) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let names = if names.is_empty() { "-".into() } else { names.join(", ") };
    format!("| `{}` | {} | {} | {names} |", family.name, family.covers, family.source)
}

fn write_docs(largest: &BTreeMap<&str, f64>) {
    let found = std::fs::read_to_string(docs()).expect("docs/models.md is in the repository");
    let [before, _, after] = table(&found);
    let mut rows = String::from(
        "| family | published models | arithmetic by | folders' `model_type` | largest error seen |\n|---|---|---|---|---|\n",
    );
    for family in ENCODERS {
        rows += &format!("{} {:.1e} |\n", row_start(family), largest[family.name]);
    }
    let all = format!("{before}<!-- encoders -->\n{rows}<!-- end of encoders -->{after}");
    std::fs::write(docs(), all).expect("docs/models.md can be written");
}

#[test]
fn the_docs_list_every_family_of_encoders_and_what_was_measured() {
    let found = std::fs::read_to_string(docs()).expect("docs/models.md is in the repository");
    let rows: Vec<&str> = table(&found)[1].lines().skip(2).collect();
    assert_eq!(rows.len(), ENCODERS.len(), "{rows:?}");
    for (row, family) in rows.iter().zip(ENCODERS) {
        let start = row_start(family);
        let error = row.strip_prefix(&start).unwrap_or_else(|| panic!("{row}, expected {start}"));
        let error: f64 = error.trim_matches([' ', '|']).parse().expect("a number");
        assert!(error <= TOLERANCE, "{row}");
    }
}

#[test]
fn a_folder_and_a_gguf_file_of_the_same_weights_give_the_same_bits() {
    let (texts, all, kernels, pool) = (texts(), models(), Kernels::detect(), Pool::new(1));
    let n_tokens: usize = texts.iter().map(|(ids, _)| ids.len()).sum();
    let made = |file: &Contents| {
        let encoder = Encoder::read(file, &kernels).unwrap();
        run(&encoder, &kernels, &pool, &texts, &mut Scratch::new(&encoder, n_tokens, 1))
    };
    let mut n_pairs = 0;
    for pair in all.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let (name, [a, b]) = (&pair[0].0, [&pair[0].1, &pair[1].1]);
        assert!(made(a) == made(b), "{name}");
        let config = |file| format!("{:?}", Config::read_of(file, ENCODERS).unwrap());
        assert_eq!(config(a), config(b), "{name}");
        for tensor in a.tensors() {
            assert!(b.tensor(&tensor.name).is_some_and(|other| other.values() == tensor.values()), "{name}");
        }
        n_pairs += 1;
    }
    assert_eq!(n_pairs, 3);
}

#[test]
fn every_model_type_has_a_folder_and_every_family_a_model() {
    let all = models();
    for family in ENCODERS {
        let is = |file: &Contents| file.str("general.architecture") == Ok(Some(family.name));
        assert!(all.iter().any(|(_, file)| is(file)), "{}", family.name);
    }
    for model in model_type::ENCODERS {
        let of = |config: &str| model.names.iter().any(|name| config.contains(&format!("\"{name}\"")));
        let kind = |config: &str| config.contains("ForSequenceClassification");
        let folders = all
            .iter()
            .filter_map(|(name, _)| std::fs::read_to_string(here().join(name).join(folder::CONFIG)).ok());
        let wanted = model.whole.len() > 1 && model.whole[0].iter().any(|rule| rule.1 == "cls");
        let found = folders
            .into_iter()
            .any(|config| of(&config) && (kind(&config) == wanted || model.when.is_none()));
        // RoBERTa's classifier is XLM-RoBERTa's.
        assert!(found, "{:?}", model.names);
    }
}

/// The folder `bert` with what sentence-transformers wrote beside it.
fn sentence_folder() -> Folder {
    let path = here().join("bert");
    let read = |name: &str| std::fs::read(path.join(name)).ok();
    let mut folder = read_folder(&path);
    folder.sentence.modules = read(MODULES);
    let beside = pooling_folder(folder.sentence.modules.as_ref().unwrap()).unwrap().unwrap();
    folder.sentence.pooling = read(&format!("{beside}/{MODULE_CONFIG}"));
    folder.sentence.limits = read("sentence_bert_config.json");
    folder
}

#[test]
fn a_folder_of_sentence_transformers_says_how_embeddings_are_made() {
    let plan = Plan::read(&folder::import(&sentence_folder()).unwrap()).unwrap();
    assert_eq!(plan, Plan { pooling: Some(Pooling::Cls), normalised: false, tokens_max: Some(12) });
    let plan = Plan::read(&import(&here().join("bert"))).unwrap();
    assert_eq!(plan, Plan { pooling: None, normalised: true, tokens_max: None });
    let mut folder = sentence_folder();
    folder.sentence.modules =
        Some(br#"[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#.into());
    let refused = folder::import(&folder).unwrap_err().to_string();
    assert!(refused.contains("Dense") && refused.contains("Normalize"), "{refused}");
}

#[test]
fn what_an_encoder_cannot_read_is_refused_in_a_sentence() {
    let kernels = Kernels::detect();
    let (file, ranker) = (import(&here().join("bert")), import(&here().join("bert-ranker")));
    let refused = Model::read(&file, &kernels).unwrap_err().to_string();
    assert!(refused.contains("an encoder"), "{refused}");

    let encoder = Encoder::read(&file, &kernels).unwrap();
    let (pool, mut scratch) = (Pool::new(1), Scratch::new(&encoder, 200, 1));
    let run = Runtime::new(&pool, &kernels);
    let long = vec![3; 161];
    for (ids, n_first) in [(&[][..], 0), (&long, 161), (&[61], 1), (&[3], 2)] {
        assert!(encoder.forward(&run, &[Text { ids, n_first }], &mut scratch).is_err(), "{ids:?}");
    }
    let texts = [Text { ids: &long[..160], n_first: 160 }; 2];
    assert!(encoder.forward(&run, &texts, &mut scratch).is_err(), "more tokens than a step has");
    encoder.forward(&run, &texts[..1], &mut scratch).unwrap();
    assert!(encoder.scores(&run, &mut scratch).is_err(), "a model without a head");

    let without = |file: &Contents, name: &str| {
        let mut other = Contents::new("test");
        file.keys().for_each(|(key, value)| other.set(key, value.clone()).unwrap());
        let kept = file.tensors().iter().filter(|tensor| tensor.name != name);
        kept.for_each(|tensor| other.add(tensor.clone()).unwrap());
        Encoder::read(&other, &kernels)
    };
    for name in ["position_embd.weight", "blk.1.attn_k.weight", "blk.0.layer_output_norm.weight"] {
        let refused = without(&file, name).unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
    }
    // A head of as many labels as its dense matrix has rows.
    let refused = without(&ranker, "cls.output.weight").unwrap_err().to_string();
    assert!(refused.contains("64 labels"), "{refused}");
    // Types of segments are optional, as in DistilBERT; the score may come without a dense matrix, whose bias is then left over.
    assert!(without(&file, "token_types.weight").is_ok());
    let refused = without(&ranker, "cls.weight").unwrap_err().to_string();
    assert!(refused.contains("cls.bias"), "{refused}");
}

#[test]
fn positions_of_roberta_need_a_padding_token_within_them() {
    for (from, to) in
        [("\"pad_token_id\": 1", "\"pad_token_id\": 161"), ("_embeddings\": 162", "_embeddings\": 2")]
    {
        let mut folder = read_folder(&here().join("roberta"));
        let config = String::from_utf8(folder.config).unwrap();
        assert!(config.contains(from));
        folder.config = config.replace(from, to).into_bytes();
        let refused = folder::import(&folder).unwrap_err().to_string();
        assert!(refused.contains("pad_token_id"), "{refused}");
    }
}

#[test]
fn tolerances_hold_for_what_they_are_about() {
    let blocks = models().into_iter().find(|(name, _)| name == "bert-q8_0").expect("it is there").1;
    assert!(tolerance(&blocks, "exact") == TOLERANCE && tolerance(&blocks, "scalar") > TOLERANCE);
    assert_eq!(
        blocks.value("bert.attention.causal").map(|value| matches!(value, Value::Bool(false))),
        Some(true)
    );
}
