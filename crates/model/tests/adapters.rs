//! Adapters are side products: the logits are those of weights with the products added, the base is untouched, and the law of
//! sums holds. What does not fit is refused in one sentence. `tests/adapters/make.py` made the files.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::Tiny;
use ingle_kernel::bytes::Bytes;
use ingle_kernel::simd::Kernels;
use ingle_model::adapter::{Active, Adapter, base_hash};
use ingle_model::file::gguf::Gguf;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn gguf(name: &str) -> Gguf {
    Gguf::parse(Bytes::new(std::fs::read(path(name)).unwrap())).unwrap()
}

fn adapter(bytes: Vec<u8>, base: &Tiny) -> ingle_model::Result<Adapter> {
    let file = Gguf::parse(Bytes::new(bytes))?;
    Adapter::read(&file, &gguf("families/lfm2.gguf"), &base.model, &Kernels::detect())
}

fn tokens() -> Vec<u32> {
    let text = std::fs::read_to_string(path("families/tokens.txt")).unwrap();
    text.split_whitespace().map(|t| t.parse().unwrap()).collect()
}

fn expected(name: &str) -> Vec<f32> {
    let bytes = std::fs::read(path(name)).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// The largest difference, in standard deviations of `reference`.
fn difference(logits: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(logits.len(), reference.len());
    let n = reference.len() as f64;
    let mean = reference.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let spread = (reference.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
    let worst = logits.iter().zip(reference).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    worst.fold(0.0, f64::max) / spread
}

#[test]
fn adapters_give_the_logits_of_changed_weights_and_can_go_again() {
    let mut base = Tiny::open(&path("families/lfm2.gguf"), None);
    let [a, b] = ["adapters/a.gguf", "adapters/b.gguf"]
        .map(|name| Arc::new(adapter(std::fs::read(path(name)).unwrap(), &base).unwrap()));
    let uses: [(&str, Vec<Active>); 3] = [
        ("families/lfm2.f32", vec![]),
        ("adapters/a.f32", vec![(a.clone(), 1.0)]),
        ("adapters/ab.f32", vec![(a, 0.5), (b, 2.0)]),
    ];
    let tokens = tokens();
    for (reference, adapters) in uses.iter().chain(&uses[..1]) {
        base.adapters.clone_from(adapters);
        let whole = base.logits(&tokens, 64, 64, 1);
        let difference = difference(&whole, &expected(reference));
        eprintln!("{reference}: {difference:.2e} of the spread");
        assert!(difference < 5e-5, "{reference}: {difference:.2e} of the spread");
        for (chunk, n_threads) in [(1, 2), (7, 1), (64, 2)] {
            assert!(base.logits(&tokens, 64, chunk, n_threads) == whole, "{reference}: chunk {chunk}");
        }
    }
    let apart = difference(&expected("adapters/a.f32"), &expected("families/lfm2.f32"));
    assert!(apart > 0.1, "the adapter says something");
}

#[test]
fn an_adapter_is_locked_to_its_base() {
    let base = Tiny::open(&path("families/lfm2.gguf"), None);
    let mut bytes = std::fs::read(path("adapters/b.gguf")).unwrap();
    let hash: String = base_hash(&gguf("families/lfm2.gguf")).iter().map(|b| format!("{b:02x}")).collect();
    let at = bytes.windows(64).position(|w| w == hash.as_bytes()).expect("b names its base");
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    let error = adapter(bytes, &base).unwrap_err().to_string();
    assert!(error.starts_with("metadata adapter.base.sha256: an adapter of the base "), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_in_one_sentence() {
    let base = Tiny::open(&path("families/lfm2.gguf"), None);
    let bytes = std::fs::read(path("adapters/a.gguf")).unwrap();
    // One name for another of the same length, once or everywhere.
    let renamed = |from: &str, to: &str, n: usize| {
        assert_eq!(from.len(), to.len());
        let mut bytes = bytes.clone();
        let places: Vec<usize> =
            (0..bytes.len() - from.len()).filter(|&i| bytes[i..].starts_with(from.as_bytes())).collect();
        assert!(!places.is_empty(), "{from}");
        for &at in places.iter().take(n) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        bytes
    };
    for (bytes, expected) in [
        (
            std::fs::read(path("families/lfm2.gguf")).unwrap(),
            "metadata general.type: nothing, expected adapter",
        ),
        (renamed("lora\x12", "loha\x12", 1), "metadata adapter.type: loha, expected lora"),
        (
            renamed("blk.0.ffn_up.weight.lora_b", "blk.0.ffn_up.weight.lora_c", 1),
            "tensor blk.0.ffn_up.weight.lora_",
        ),
        (
            renamed("blk.1.attn_q.weight", "blk.9.attn_q.weight", 2),
            "tensor blk.9.attn_q.weight.lora_a: an adapter of a weight the base lacks",
        ),
        (renamed("blk.1.attn_q.weight", "blk.1.attn_k.weighd", 2), "lacks"),
        (renamed("blk.0.ffn_down", "blk.0.ffn_gatf", 2), "lacks"),
        (
            renamed("blk.1.attn_v.weight.lora_a", "blk.1.attn_v.weight.lora_x", 1),
            "expected NAME.lora_a and NAME.lora_b",
        ),
        (
            renamed("general.architecture", "general.architektura", 1),
            "metadata general.architecture: nothing, expected lfm2, the base's",
        ),
    ] {
        let error = adapter(bytes, &base).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error:?}, expected {expected:?}");
    }
}
