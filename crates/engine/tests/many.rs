//! Many answers at once are the answers that each would be alone.

mod demo;
mod jobs;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

use ingle_engine::Result;
use ingle_engine::generate::{Event, Finish, Outcome, Request};
use ingle_engine::run::{Engine, EngineOptions, Sink};
use ingle_engine::sample::Params;
use ingle_engine::session::SessionOptions;
use jobs::{Said, job};

fn options(ctx: usize, n_lanes: usize, chunk: usize) -> EngineOptions<'static> {
    let session = SessionOptions { ctx: Some(ctx), kv: "f16", chunk: Some(chunk) };
    EngineOptions { session, n_lanes, queue_max: 100, prefix_bytes: Some(1 << 20), kv_dir: None, clock: None }
}

const PROMPTS: [&str; 7] = [
    "Once upon a time there was",
    "The dog",
    "Lily and Ben went to the park. They saw a big tree and a small house with a red door, and they said hello to",
    "One day",
    "Once upon a time there was a little girl who",
    "Why is the sky blue?",
    "a",
];

/// Ways to choose: greedy, drawn, with penalties and a banned string.
fn ways() -> Vec<Params> {
    let drawn = |seed| Params { temperature: 0.9, seed, ..Params::GREEDY };
    vec![
        Params::GREEDY,
        drawn(1),
        Params { repeat_penalty: 1.2, ..drawn(2) },
        Params { banned_strings: vec!["and".into(), "was".into()], ..drawn(3) },
    ]
}

#[test]
fn answers_that_share_steps_are_those_of_a_session_alone() {
    let loaded = demo::load(None, 2);
    // A context so small that some of them drop their oldest tokens.
    let (ctx, n_tokens) = (64, 80);
    let asked: Vec<(Vec<u32>, Params)> = PROMPTS
        .iter()
        .flat_map(|prompt| ways().into_iter().map(|params| (demo::encode(&loaded, prompt), params)))
        .collect();
    let alone: Vec<(String, Finish, usize)> = asked
        .iter()
        .map(|(prompt, params)| {
            let (job, _) = job(prompt, params, n_tokens);
            let request = Request {
                prompt,
                params,
                stop: &job.stop,
                max_tokens: n_tokens,
                overflow: job.overflow,
                keep: job.keep,
                logprobs: None,
                constraint: None,
            };
            let mut text = String::new();
            let outcome =
                demo::session(&loaded, ctx, "f16", 64).generate(&request, &AtomicBool::new(false), |event| {
                    if let Event::Text(part) = event {
                        text.push_str(part);
                    }
                });
            let outcome = outcome.unwrap();
            (text, outcome.finish, outcome.n_generated)
        })
        .collect();
    assert!(alone.iter().any(|(text, ..)| text.len() > 100), "some of them are long");
    for (n_lanes, chunk) in [(1, 64), (3, 16), (5, 64)] {
        let engine = Engine::new(loaded.clone(), &options(ctx, n_lanes, chunk)).unwrap();
        let said: Vec<_> = asked
            .iter()
            .map(|(prompt, params)| {
                let (job, said) = job(prompt, params, n_tokens);
                engine.submit(job).unwrap();
                said
            })
            .collect();
        for (said, (text, finish, n_generated)) in said.into_iter().zip(&alone) {
            let said = said.recv().unwrap();
            let outcome = said.outcome.unwrap();
            assert_eq!((&said.text, outcome.finish, outcome.n_generated), (text, *finish, *n_generated));
        }
        assert_eq!(engine.counters().n_ended.load(Relaxed), asked.len() as u64);
    }
}

#[test]
fn a_prompt_that_was_there_is_not_computed_again() {
    let loaded = demo::load(None, 2);
    let engine = Engine::new(loaded.clone(), &options(256, 3, 64)).unwrap();
    let prompt = demo::encode(&loaded, PROMPTS[2]);
    let ask = |prompt: &[u32]| {
        let (job, said) = job(prompt, &Params::GREEDY, 5);
        engine.submit(job).unwrap();
        said.recv().unwrap().outcome.unwrap()
    };
    assert_eq!(ask(&prompt).n_reused, 0);
    assert_eq!(ask(&demo::encode(&loaded, PROMPTS[1])).n_reused, 0, "another lane is taken first");
    assert_eq!(ask(&prompt).n_reused, prompt.len() - 1);
}

#[test]
fn a_cancelled_answer_ends_and_the_others_do_not() {
    let loaded = demo::load(None, 2);
    let engine = Engine::new(loaded.clone(), &options(512, 2, 64)).unwrap();
    let prompt = demo::encode(&loaded, PROMPTS[0]);
    let (mut first, first_said) = job(&prompt, &Params::GREEDY, 400);
    let (second, second_said) = job(&prompt, &Params::GREEDY, 20);
    first.stop.clear();
    let cancel = first.cancel.clone();
    engine.submit(first).unwrap();
    engine.submit(second).unwrap();
    cancel.store(true, Relaxed);
    assert_eq!(first_said.recv().unwrap().outcome.unwrap().finish, Finish::Cancelled);
    assert_ne!(second_said.recv().unwrap().outcome.unwrap().finish, Finish::Cancelled);
}

/// Says that it is not ready until somebody opens the gate.
struct Shut {
    open: Arc<(Mutex<bool>, Condvar)>,
    to: Sender<Said>,
}

impl Sink for Shut {
    fn ready(&self) -> bool {
        *self.open.0.lock().unwrap()
    }

    fn on(&mut self, _: Event<'_>) {
        assert!(self.ready(), "nothing happens to a caller who is not ready");
    }

    fn end(self: Box<Self>, outcome: Result<Outcome>) {
        let _ = self.to.send(Said { text: String::new(), outcome });
    }
}

#[test]
fn a_caller_who_does_not_read_holds_nobody_up_and_a_full_queue_refuses() {
    let loaded = demo::load(None, 2);
    let mut options = options(256, 2, 64);
    options.queue_max = 1;
    let engine = Engine::new(loaded.clone(), &options).unwrap();
    let prompt = demo::encode(&loaded, PROMPTS[0]);
    let open = Arc::new((Mutex::new(false), Condvar::new()));
    let (to, said) = channel();
    let (mut shut, _) = job(&prompt, &Params::GREEDY, 10);
    shut.sink = Box::new(Shut { open: open.clone(), to });
    engine.submit(shut).unwrap();
    let (other, other_said) = job(&prompt, &Params::GREEDY, 10);
    while engine.counters().n_waiting.load(Relaxed) > 0 {
        std::thread::yield_now();
    }
    engine.submit(other).unwrap();
    other_said.recv().unwrap().outcome.unwrap();
    assert!(said.try_recv().is_err(), "it waits for its caller");
    // Both lanes taken and one job waiting: the next is refused, and comes back.
    let mut held = Vec::new();
    let refused = (0..3).find_map(|_| {
        let (mut job, said) = job(&prompt, &Params::GREEDY, 10_000);
        job.stop.clear();
        job.params.temperature = 1.0;
        held.push(said);
        engine.submit(job).err()
    });
    assert!(!refused.expect("a queue of one is full").closing);
    *open.0.lock().unwrap() = true;
    assert_eq!(said.recv().unwrap().outcome.unwrap().n_prompt, prompt.len());
    drop(engine);
    let ended = held.into_iter().filter_map(|said| said.recv().ok()).count();
    assert!(ended >= 1, "what ran when the engine went was told so");
}

#[test]
fn errors_of_one_answer_are_its_own() {
    let loaded = demo::load(None, 1);
    let engine = Engine::new(loaded.clone(), &options(64, 2, 64)).unwrap();
    let good = demo::encode(&loaded, PROMPTS[0]);
    let mut bad = good.clone();
    bad.push(u32::MAX);
    let (bad, bad_said) = job(&bad, &Params::GREEDY, 10);
    let (empty, empty_said) = job(&[], &Params::GREEDY, 10);
    let (good, good_said) = job(&good, &Params::GREEDY, 10);
    for job in [bad, empty, good] {
        engine.submit(job).unwrap();
    }
    assert!(bad_said.recv().unwrap().outcome.unwrap_err().to_string().contains("ids end at"));
    assert!(empty_said.recv().unwrap().outcome.unwrap_err().to_string().contains("empty"));
    good_said.recv().unwrap().outcome.unwrap();
}
