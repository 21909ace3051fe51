//! The built-in model against other implementations: ids from another tokenizer, greedy continuations from another decoder
//! on the same weights in f32. `demo/train/evaluate.py` makes both.

mod demo;

use std::sync::atomic::AtomicBool;

use ingle_engine::generate::{Event, Overflow, Request};
use ingle_engine::sample::Params;
use serde_json::Value;

/// Below this lead of a first choice over a second, f32 sums in another order may choose otherwise.
const MARGIN: f64 = 0.01;

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn texts_become_the_ids_that_another_tokenizer_gives() {
    let loaded = demo::load(None, 1);
    let cases: Value = serde_json::from_str(include_str!("../../../demo/golden/tokens.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        assert_eq!(demo::encode(&loaded, text), ids(&case["ids"]), "{text:?}");
    }
}

#[test]
fn greedy_answers_are_those_of_another_decoder() {
    let loaded = demo::load(Some("exact"), 2);
    let cases: Value = serde_json::from_str(include_str!("../../../demo/golden/greedy.json")).unwrap();
    let clear = |case: &&Value| case["margin_min"].as_f64().unwrap() > MARGIN;
    let mut n_compared = 0;
    for case in cases.as_array().unwrap().iter().filter(clear) {
        let (prompt, expected) = (ids(&case["prompt"]), ids(&case["made"]));
        let request = Request {
            prompt: &prompt,
            params: &Params::GREEDY,
            stop: &[],
            max_tokens: expected.len(),
            overflow: Overflow::Error,
            keep: 0,
            logprobs: None,
            constraint: None,
        };
        let mut made = Vec::new();
        demo::session(&loaded, 1024, "f32", 64)
            .generate(&request, &AtomicBool::new(false), |event| {
                if let Event::Token(id) = event {
                    made.push(id);
                }
            })
            .unwrap();
        assert_eq!(made, expected, "{}", case["text"]);
        n_compared += 1;
    }
    assert!(n_compared > 3, "{n_compared} of the cases are clear enough");
}
