//! What one lane has been through is there for all: answers are those of a session alone, whoever computed their beginnings, with
//! windows and recurrent states, and however little can be kept.
//!
//! Runs on the tiny models of `model/tests/families`.

mod jobs;
mod tiny;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ingle_engine::generate::{Event, Request};
use ingle_engine::model_file::Loaded;
use ingle_engine::run::{Engine, EngineOptions};
use ingle_engine::sample::Params;
use ingle_engine::session::{Session, SessionOptions};
use jobs::job;
use tiny::models;

const CTX: usize = 600;
const SESSION: SessionOptions<'_> = SessionOptions { ctx: Some(CTX), kv: "f16", chunk: Some(96) };
/// Positions of a block.
const BLOCK: usize = 64;

fn engine(loaded: &Arc<Loaded>, n_lanes: usize, prefix_bytes: u64) -> Engine {
    let options = EngineOptions {
        session: SESSION,
        n_lanes,
        queue_max: 100,
        prefix_bytes: Some(prefix_bytes),
        kv_dir: None,
        clock: None,
    };
    Engine::new(loaded.clone(), &options).unwrap()
}

/// Ids that never repeat for long, of a beginning of their own.
fn tokens(loaded: &Loaded, seed: usize, n: usize) -> Vec<u32> {
    let n_vocab = loaded.model.config.vocab;
    (0..n).map(|i| ((i * i * 7 + i * 31 + seed * 13 + 3) % n_vocab) as u32).collect()
}

/// The answer of a session that was through nothing else.
fn alone(loaded: &Arc<Loaded>, prompt: &[u32], params: &Params, max_tokens: usize) -> String {
    let (job, _) = job(prompt, params, max_tokens);
    let request = Request {
        prompt,
        params,
        stop: &job.stop,
        max_tokens,
        overflow: job.overflow,
        keep: job.keep,
        logprobs: None,
        constraint: None,
    };
    let mut text = String::new();
    let mut session = Session::new(loaded.clone(), &SESSION).unwrap();
    let outcome = session.generate(&request, &AtomicBool::new(false), |event| {
        if let Event::Text(part) = event {
            text.push_str(part);
        }
    });
    outcome.unwrap();
    text
}

fn drawn(seed: u64) -> Params {
    Params { temperature: 1.5, seed, ..Params::GREEDY }
}

#[test]
fn a_beginning_that_another_lane_computed_is_not_computed_again() {
    for loaded in models() {
        let name = loaded.file.name();
        let engine = engine(&loaded, 3, 1 << 24);
        let common = tokens(&loaded, 0, 300);
        let prompts: Vec<Vec<u32>> =
            (1..6).map(|i| [&common[..], &tokens(&loaded, i, 9 * i)].concat()).collect();
        let ask = |i: usize| {
            let (job, said) = job(&prompts[i], &drawn(i as u64), 20);
            engine.submit(job).unwrap();
            said
        };
        let said = ask(0).recv().unwrap();
        assert_eq!(said.outcome.unwrap().n_reused, 0, "{name}");
        assert_eq!(said.text, alone(&loaded, &prompts[0], &drawn(0), 20), "{name}");
        // More than there are lanes, so that each lane has been on a way of its own before.
        let all: Vec<_> = (1..5).map(ask).collect();
        for (i, said) in (1..5).zip(all) {
            let said = said.recv().unwrap();
            let n_reused = said.outcome.unwrap().n_reused;
            // Where layers recur, up to a block's end; elsewhere to the token where prompts part.
            let recurs = loaded.model.config.layers.iter().any(|layer| layer.mixer.state().recurrent > 0);
            let expected = if recurs { 300 / BLOCK * BLOCK } else { 300 };
            assert!(n_reused >= expected, "{name}: prompt {i}: {n_reused} reused");
            assert_eq!(said.text, alone(&loaded, &prompts[i], &drawn(i as u64), 20), "{name}: prompt {i}");
        }
        let kept = engine.counters().n_kept_bytes.load(Relaxed);
        assert!(kept > 0 && kept <= engine.prefix_bytes(), "{name}: {kept}");
    }
}

#[test]
fn prompts_that_come_together_compute_their_beginning_once() {
    for loaded in models() {
        let name = loaded.file.name();
        let engine = engine(&loaded, 4, 1 << 24);
        let common = tokens(&loaded, 0, 400);
        let prompts: Vec<Vec<u32>> =
            (1..5).map(|i| [&common[..], &tokens(&loaded, i, 20 + i)].concat()).collect();
        // A long prompt of another kind holds the engine until all of them wait.
        let (first, first_said) = job(&tokens(&loaded, 77, 590), &Params::GREEDY, 1);
        engine.submit(first).unwrap();
        let all: Vec<_> = prompts
            .iter()
            .map(|prompt| {
                let (job, said) = job(prompt, &Params::GREEDY, 12);
                engine.submit(job).unwrap();
                said
            })
            .collect();
        first_said.recv().unwrap().outcome.unwrap();
        for (prompt, said) in prompts.iter().zip(all) {
            let said = said.recv().unwrap();
            said.outcome.unwrap();
            assert_eq!(said.text, alone(&loaded, prompt, &Params::GREEDY, 12), "{name}");
        }
        let computed = engine.counters().n_prompt.load(Relaxed);
        let once = 590 + 400 + 4 * (BLOCK as u64 + 25);
        assert!(computed <= once, "{name}: {computed} tokens of prompts, expected up to {once}");
    }
}

/// Jobs that come and go at random, with beginnings in common, and too little room for them.
#[test]
fn whatever_comes_and_goes_answers_are_those_of_a_session_alone() {
    let mut random = 11_u64;
    let mut next = |n: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % n
    };
    let (mut n_reused, mut n_evicted) = (0, 0);
    for loaded in models() {
        let name = loaded.file.name();
        let prompts: Vec<(Vec<u32>, Params, usize)> = (0..8)
            .map(|i| {
                let (way, at) = (next(2), 40 + next(300));
                let prompt = [&tokens(&loaded, way, at)[..], &tokens(&loaded, 50 + i, 1 + next(90))].concat();
                (prompt, drawn(i as u64), 1 + next(100))
            })
            .collect();
        let expected: Vec<String> =
            prompts.iter().map(|(prompt, params, n)| alone(&loaded, prompt, params, *n)).collect();
        for prefix_bytes in [0, 60_000, 1 << 24] {
            let engine = engine(&loaded, 3, prefix_bytes);
            let mut waiting = Vec::new();
            for _ in 0..30 {
                let i = next(prompts.len());
                let (prompt, params, n) = &prompts[i];
                let (job, said) = job(prompt, params, *n);
                let cancelled = next(6) == 0;
                let cancel = job.cancel.clone();
                engine.submit(job).unwrap();
                if cancelled {
                    (0..next(2000)).for_each(|_| std::hint::spin_loop());
                    cancel.store(true, Relaxed);
                }
                waiting.push((i, cancelled, said));
                while waiting.len() > next(7) {
                    let (i, cancelled, said) = waiting.remove(next(waiting.len()));
                    let said = said.recv().unwrap();
                    said.outcome.unwrap();
                    let is_right = if cancelled {
                        expected[i].starts_with(&said.text)
                    } else {
                        said.text == expected[i]
                    };
                    assert!(is_right, "{name}: {:?}, expected {:?}", said.text, expected[i]);
                }
            }
            let counters = engine.counters();
            assert!(counters.n_kept_bytes.load(Relaxed) <= prefix_bytes, "{name}");
            n_reused += counters.n_reused.load(Relaxed);
            n_evicted += counters.n_evicted.load(Relaxed);
        }
    }
    assert!(n_reused > 1000 && n_evicted > 1000, "{n_reused} reused, {n_evicted} evicted");
}
