//! A model gone through layer by layer computes what the decoder computes, to the bit, and a probe sees every matrix.

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;

use common::{Tiny, golden_models};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_model::decoder::Runtime;
use ingle_model::file::gguf;
use ingle_model::probe::{Probe, Takers};
use ingle_model::walk::{Walk, supported};
use ingle_model::weights::Layer;

/// Tokens that each weight has met.
#[derive(Debug, Default)]
struct Seen(Mutex<BTreeMap<String, usize>>);

impl Probe for Seen {
    fn input(&self, to: Takers<'_>, x: &[f32], cols: usize) {
        let mut seen = self.0.lock().unwrap();
        for name in to.names() {
            *seen.entry(name.to_owned()).or_default() += x.len() / cols;
        }
    }
}

#[test]
fn layer_by_layer_is_the_decoder_to_the_bit() {
    let (mut n_walked, mut refused) = (0, Vec::new());
    for path in golden_models() {
        let file = gguf::parse(Bytes::new(std::fs::read(&path).unwrap())).unwrap();
        let tiny = Tiny::open(&path, None);
        let config = &tiny.model.config;
        if let Err(why) = supported(config) {
            refused.push(why.to_string());
            continue;
        }
        let tokens: Vec<u32> = (0..40).map(|i| i * 7 % config.vocab as u32).collect();
        let sequences = [tokens.clone(), tokens[3..20].to_vec()];
        let expected: Vec<f32> = sequences.iter().flat_map(|tokens| tiny.logits(tokens, 40, 40, 1)).collect();

        let pool = Pool::new(2);
        let seen = Seen::default();
        let run = Runtime { probe: Some(&seen), ..Runtime::new(&pool, &tiny.kernels) };
        let mut walk = Walk::begin(&file, config, &sequences, &run).unwrap();
        for i in 0..config.layers.len() {
            let layer = Layer::of(&file, config, i, &tiny.kernels).unwrap();
            // To look changes nothing.
            assert!(walk.through(&layer, i, false, &run, |_| true));
            assert!(walk.through(&layer, i, true, &run, |_| true));
        }
        let mut logits = Vec::new();
        walk.logits(&file, &run, |_, rows| {
            logits.extend_from_slice(rows);
            true
        })
        .unwrap();
        assert!(logits == expected, "{}: the walk is not the decoder", tiny.name);
        n_walked += 1;

        // Each matrix that is no expert, no table of a kind of its own and no small one has met every token twice, the head once.
        let seen = seen.0.into_inner().unwrap();
        assert_eq!(seen.get("output.weight"), Some(&57), "{}", tiny.name);
        for weight in ["attn_q", "attn_output", "ffn_down"].map(|w| format!("blk.0.{w}.weight")) {
            if file.tensor(&weight).is_some() {
                assert_eq!(seen.get(&weight), Some(&114), "{}: {weight}", tiny.name);
            }
        }
    }
    assert!(n_walked > 0);
    for why in refused {
        assert!(why.contains("going layer by layer"), "{why}");
    }
}
