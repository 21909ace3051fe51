//! What the built-in model can do, on items that training has never seen: the recorded scores, reproduced.
//!
//! The plain test runs the first items of each kind; the ignored one runs all that the record counts, prints a table, and
//! is how the record is made: `cargo test --release -p ingle-engine --test demo_scores -- --ignored --nocapture`.

mod demo;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ingle_demo::{Item, KINDS, Kind, Prompt, held_out};
use ingle_engine::generate::{Event, Finish, Overflow, Request};
use ingle_engine::model_file::Loaded;
use ingle_engine::sample::Params;

/// Seed of the held-out stream; training uses others, and the content classes keep both apart whatever the seed.
const SEED: u64 = 2026;
const ITEMS_QUICK: usize = 12;
const ITEMS_ALL: usize = 100;
const TOKENS_MAX: usize = 320;

/// Whether the model answers `item` rightly and stops by itself, at temperature 0.
fn passes(loaded: &Arc<Loaded>, kind: &Kind, item: &Item) -> bool {
    let mut session = demo::session(loaded, 1024, "f16", 256);
    let prompt = demo::encode(loaded, &item.prompt.render());
    let request = Request {
        prompt: &prompt,
        params: &Params::GREEDY,
        stop: &[],
        max_tokens: TOKENS_MAX,
        overflow: Overflow::Error,
        keep: 0,
        logprobs: None,
        constraint: None,
    };
    let mut answer = String::new();
    let outcome = session.generate(&request, &AtomicBool::new(false), |event| {
        if let Event::Text(text) = event {
            answer.push_str(text);
        }
    });
    let ok = outcome.unwrap().finish == Finish::EndOfText && (kind.judge)(item, &answer);
    if !ok && std::env::var_os("INGLE_SHOW_FAILURES").is_some() {
        eprintln!(
            "{}: {}\n  expected: {}\n  answered: {answer}",
            kind.name,
            item.prompt.render(),
            item.reference
        );
    }
    ok
}

fn scores(n: usize) -> Vec<(&'static str, usize)> {
    let loaded = demo::load(None, 2);
    let score =
        |kind: &&Kind| held_out(kind, SEED, n).iter().filter(|item| passes(&loaded, kind, item)).count();
    KINDS.iter().map(|kind| (kind.name, score(kind))).collect()
}

/// The record `demo/scores-engine.json`: `{"engine": {"seed and items per kind": {"kind": passed}}}`.
fn recorded(n: usize, kind: &str) -> u64 {
    let text = include_str!("../../../demo/scores-engine.json");
    let record: serde_json::Value = serde_json::from_str(text).unwrap();
    let passed = &record["engine"][format!("seed {SEED}, {n} items per kind")][kind];
    passed.as_u64().unwrap_or_else(|| panic!("demo/scores-engine.json has no score of {kind} for {n} items"))
}

#[test]
fn the_first_items_score_what_is_recorded() {
    let scores = scores(ITEMS_QUICK);
    eprintln!("{scores:?} of {ITEMS_QUICK}");
    for (kind, passed) in scores {
        assert_eq!(passed as u64, recorded(ITEMS_QUICK, kind), "{kind}, of {ITEMS_QUICK}");
    }
}

#[test]
#[ignore = "minutes; .ci/run --deep runs it"]
fn all_items_score_what_is_recorded() {
    let scores = scores(ITEMS_ALL);
    for (kind, passed) in &scores {
        eprintln!("{kind:10} {passed:4} of {ITEMS_ALL}, {:.1} %", 100.0 * *passed as f64 / ITEMS_ALL as f64);
    }
    for (kind, passed) in scores {
        assert_eq!(passed as u64, recorded(ITEMS_ALL, kind), "{kind}, of {ITEMS_ALL}");
    }
}

#[test]
fn the_chat_template_renders_what_training_saw() {
    use ingle_model::prompt::{Now, RenderInput};
    let loaded = demo::load(None, 1);
    let template = loaded.file.template().unwrap().expect("the model has a chat template");
    for kind in KINDS {
        for item in held_out(kind, SEED, 3) {
            let Prompt::Chat(messages) = &item.prompt else { continue };
            let messages: Vec<_> = messages
                .iter()
                .map(|m| serde_json::json!({ "role": m.role.name(), "content": m.text }))
                .collect();
            let input = RenderInput {
                messages: &messages.into(),
                tools: None,
                add_generation_prompt: true,
                bos_token: "",
                eos_token: "<|im_end|>",
                now: Now::parse_iso("2026-01-01T00:00:00").unwrap(),
                extra: serde_json::Map::new(),
            };
            assert_eq!(template.render(&input).unwrap(), item.prompt.render());
        }
    }
}
