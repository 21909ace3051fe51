//! The law of sums on a real model with integer weights: a token's logits are the same to the bit for every chunk, thread
//! count, neighbour in the step and history of the cache, and nearly the same on every tier.

mod demo;

use std::sync::atomic::AtomicBool;

use ingle_demo::{KINDS, held_out};
use ingle_engine::session::Session;
use ingle_kernel::simd::{Kernels, TIERS};
use ingle_model::decoder::{Scratch, Span};
use ingle_model::kv::{self, Kv};

/// Some 300 tokens of every kind of text: several blocks of positions and tiles of tokens.
fn tokens(loaded: &ingle_engine::model_file::Loaded) -> Vec<u32> {
    let text: String =
        KINDS.iter().flat_map(|k| held_out(k, 7, 3)).map(|i| i.prompt.render() + &i.reference).collect();
    let mut ids = demo::encode(loaded, &text);
    ids.truncate(300);
    assert_eq!(ids.len(), 300);
    ids
}

fn all_logits(session: &mut Session, tokens: &[u32]) -> Vec<f32> {
    let mut out = Vec::new();
    session.feed_for_logits(tokens, |_, row| out.extend_from_slice(row)).unwrap();
    out
}

#[test]
fn chunks_and_threads_change_nothing_and_tiers_little() {
    for kv in kv::FORMATS {
        let mut scalar: Option<Vec<f32>> = None;
        for tier in TIERS.iter().filter(|t| (t.detect)()) {
            // Scalar is slow: two runs of it are enough.
            let splits: &[_] = if tier.name == "scalar" {
                &[(2, 512), (1, 100)]
            } else {
                &[(1, 512), (2, 512), (2, 7), (1, 1)]
            };
            let mut first: Option<Vec<f32>> = None;
            for &(n_threads, chunk) in splits {
                let loaded = demo::load(Some(tier.name), n_threads);
                let tokens = tokens(&loaded);
                let logits = all_logits(&mut demo::session(&loaded, 1024, kv, chunk), &tokens);
                let first = first.get_or_insert_with(|| logits.clone());
                assert!(*first == logits, "{kv}, {}, {n_threads} threads, chunk {chunk}", tier.name);
            }
            // Attention fuses multiplications and additions where the tier can.
            let first = first.expect("there are splits");
            let scalar = scalar.get_or_insert_with(|| first.clone());
            let error = relative_error(&first, scalar);
            assert!(error < 0.02, "{kv}, {}: {error}", tier.name);
        }
    }
}

/// Root mean square of the difference, in that of `b`.
fn relative_error(a: &[f32], b: &[f32]) -> f32 {
    let square = |x: f32| x * x;
    let error: f32 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    (error / b.iter().copied().map(square).sum::<f32>()).sqrt()
}

#[test]
fn exact_arithmetic_is_close_to_integer_arithmetic() {
    let integer = demo::load(None, 2);
    let exact = demo::load(Some("exact"), 2);
    let tokens = tokens(&integer);
    let a = all_logits(&mut demo::session(&integer, 1024, "f16", 64), &tokens);
    let b = all_logits(&mut demo::session(&exact, 1024, "f16", 64), &tokens);
    let error = relative_error(&a, &b);
    assert!(error > 0.0, "8-bit activations round");
    assert!(error < 0.02, "{error}");
}

#[test]
fn a_session_that_went_back_equals_a_fresh_one() {
    let loaded = demo::load(None, 2);
    let tokens = tokens(&loaded);
    let never = AtomicBool::new(false);
    let mut used = demo::session(&loaded, 1024, "q8_0", 64);
    used.feed(&tokens[..290], &never, |_| ()).unwrap();
    let other: Vec<u32> = tokens[..150].iter().chain(&tokens[190..290]).copied().collect();
    assert_eq!(used.set(&other, &never, |_| ()).unwrap(), Some(150));
    let mut fresh = demo::session(&loaded, 260, "q8_0", 260);
    assert_eq!(fresh.set(&other, &never, |_| ()).unwrap(), Some(0));
    assert!(used.last_logits() == fresh.last_logits());
    assert_eq!(
        used.set(&other, &never, |_| ()).unwrap(),
        Some(249),
        "the last token is fed again for its logits"
    );
    assert!(used.last_logits() == fresh.last_logits());
}

#[test]
fn sequences_that_share_a_step_do_not_notice() {
    let loaded = demo::load(None, 2);
    let (run, model) = (loaded.runtime(&[]), &loaded.model);
    let tokens = tokens(&loaded);
    let format = kv::format(&model.config, "f16").unwrap();
    let parts = [&tokens[..90], &tokens[90..91], &tokens[100..230]];
    let mut scratch = Scratch::new(&model.config, 256, run.pool.n_threads());

    let mut caches: Vec<Kv> = parts.iter().map(|_| Kv::new(&model.config, format, 256)).collect();
    let mut spans: Vec<Span<'_>> =
        caches.iter_mut().zip(parts).map(|(kv, tokens)| Span::new(kv, tokens)).collect();
    model.forward(&run, &mut spans, &mut scratch).unwrap();
    let ends: Vec<usize> = parts
        .iter()
        .scan(0, |n, p| {
            *n += p.len();
            Some(*n)
        })
        .collect();
    let together: Vec<Vec<f32>> =
        ends.iter().map(|&end| model.logits(&run, end - 1..end, &mut scratch).to_vec()).collect();

    for (part, together) in parts.iter().zip(together) {
        let mut kv = Kv::new(&model.config, format, 256);
        model.forward(&run, &mut [Span::new(&mut kv, part)], &mut scratch).unwrap();
        assert!(model.logits(&run, part.len() - 1..part.len(), &mut scratch) == together);
    }
}

#[test]
fn every_name_of_a_tier_loads() {
    for name in Kernels::names() {
        assert_eq!(demo::load(Some(name), 1).tier(), name);
    }
}
