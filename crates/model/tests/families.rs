//! Logits of tiny models of every family against an independent float64 reference, for every tier, chunk and number of
//! threads; and the law that none of these changes a bit.
//!
//! The models are those in `tests/families`, made by its scripts with other libraries' arithmetic, and those beside the
//! repository (`../shared/golden/families`) where they are.

mod common;

use common::{Tiny, golden_models};
use ingle_kernel::simd::Kernels;

/// Largest difference allowed, in standard deviations of the reference logits.
const TOLERANCE: f64 = 5e-5;
/// Positions of the sequence's cache: LongRoPE chooses its factors by them.
const CTX: usize = 256;

#[test]
fn logits_agree_with_float64_for_every_tier_chunk_and_thread_count() {
    for path in golden_models() {
        let tokens = std::fs::read_to_string(path.with_file_name("tokens.txt")).unwrap();
        let tokens: Vec<u32> = tokens.split_whitespace().map(|t| t.parse().unwrap()).collect();
        let reference: Vec<f64> = std::fs::read(path.with_extension("f32"))
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
            let model = Tiny::open(&path, Some(tier));
            let name = &model.name;
            let whole = model.logits(&tokens, CTX, tokens.len(), 1);
            assert_eq!(whole.len(), reference.len(), "{name}");
            let worst =
                whole.iter().zip(&reference).map(|(&a, &b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
            eprintln!("{name}, {tier}: largest difference {:.2e} of the spread", worst / spread);
            assert!(worst <= TOLERANCE * spread, "{name}, {tier}: {:.2e} of the spread", worst / spread);
            for (n_threads, chunk) in [(1, 1), (1, 7), (2, 1), (2, 7), (2, 512)] {
                let same = model.logits(&tokens, CTX, chunk, n_threads) == whole;
                assert!(same, "{name}, {tier}: {n_threads} threads and chunk {chunk} change the logits");
            }
        }
    }
}
