//! Logits of tiny models of every family against an independent float64 reference, for every tier, chunk and number of
//! threads; and the law that none of these changes a bit.
//!
//! Needs the reference outputs beside the repository (`../shared/golden/families`); says so and passes where they are
//! absent.

use std::path::PathBuf;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::decoder::{LOGITS_ROWS_MAX, Model, Runtime, Scratch, Span};
use ingle_model::file::gguf::Gguf;
use ingle_model::kv::{self, Kv};

/// Largest difference allowed, in standard deviations of the reference logits.
const TOLERANCE: f64 = 5e-5;

/// The models of the reference whose family is on the shelf.
const MODELS: &[&str] =
    &["llama", "llama-bias-untied", "llama-linear", "llama-yarn", "llama3-rope", "qwen2", "qwen3"];

fn golden() -> Option<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/families");
    if !dir.is_dir() {
        eprintln!("skipped: no reference outputs at ../shared/golden/families");
        return None;
    }
    Some(dir)
}

fn logits(file: &Gguf, tokens: &[u32], tier: &str, n_threads: usize, chunk: usize, format: &str) -> Vec<f32> {
    let (pool, kernels) = (Pool::new(n_threads), Kernels::named(tier).expect("a tier of this machine"));
    let model = Model::read(file, &kernels).expect("a model of this shelf");
    let run = Runtime { pool: &pool, kernels: &kernels };
    let mut kv =
        Kv::new(&model.config, kv::format(&model.config, format).expect("a cache format"), tokens.len());
    let mut scratch = Scratch::new(&model.config, chunk, n_threads);
    let mut out = Vec::new();
    for tokens in tokens.chunks(chunk) {
        model.forward(&run, &mut [Span { kv: &mut kv, tokens }], &mut scratch).expect("valid tokens");
        for first in (0..tokens.len()).step_by(LOGITS_ROWS_MAX) {
            let rows = first..tokens.len().min(first + LOGITS_ROWS_MAX);
            out.extend_from_slice(model.logits(&run, rows, &mut scratch));
        }
    }
    out
}

#[test]
fn logits_agree_with_float64_for_every_tier_chunk_and_thread_count() {
    let Some(dir) = golden() else { return };
    let tokens = std::fs::read_to_string(dir.join("tokens.txt")).unwrap();
    let tokens: Vec<u32> = tokens.split_whitespace().map(|t| t.parse().unwrap()).collect();
    for name in MODELS {
        let bytes = std::fs::read(dir.join(format!("{name}.gguf"))).unwrap();
        let file = Gguf::parse(Bytes::new(bytes)).unwrap();
        let reference: Vec<f64> = std::fs::read(dir.join(format!("{name}.f32")))
            .unwrap()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| f64::from(f32::from_le_bytes(b)))
            .collect();
        let n = reference.len() as f64;
        let mean = reference.iter().sum::<f64>() / n;
        let spread = (reference.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        for tier in Kernels::names() {
            let whole = logits(&file, &tokens, tier, 1, tokens.len(), "f32");
            assert_eq!(whole.len(), reference.len());
            let worst =
                whole.iter().zip(&reference).map(|(&a, &b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
            assert!(worst <= TOLERANCE * spread, "{name}, {tier}: {:.2e} of the spread", worst / spread);
            eprintln!("{name}, {tier}: largest difference {:.2e} of the spread", worst / spread);
            for (n_threads, chunk) in [(1, 1), (1, 7), (2, 1), (2, 7), (2, 512)] {
                let same = logits(&file, &tokens, tier, n_threads, chunk.min(tokens.len()), "f32") == whole;
                assert!(same, "{name}, {tier}: {n_threads} threads and chunk {chunk} change the logits");
            }
        }
    }
}
