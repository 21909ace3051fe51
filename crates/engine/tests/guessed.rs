//! Whoever guesses ahead, and however well, an answer is what it is without guesses: every token, its log-probabilities, the text, the end.

mod demo;
mod jobs;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use ingle_engine::Result;
use ingle_engine::clock::Clock;
use ingle_engine::constrain::{Constraint, Grammar};
use ingle_engine::generate::{Event, Outcome, Overflow, Request};
use ingle_engine::model_file::Loaded;
use ingle_engine::run::{Engine, EngineOptions};
use ingle_engine::sample::Params;
use ingle_engine::session::SessionOptions;
use ingle_engine::spec::{self, Ask, Drafter, Plan, Speculation, Target};
use jobs::job;

const CTX: usize = 160;

const PROMPTS: [&str; 5] = [
    "Once upon a time there was a little girl. Once upon a time there was a little",
    "The dog",
    "One day Lily and Ben went to the park. They saw a big tree. One day Lily and Ben went",
    "a",
    "Tom said: yes, yes, yes, yes,",
];

fn ways() -> Vec<Params> {
    let drawn = |temperature, seed| Params { temperature, seed, ..Params::GREEDY };
    vec![
        Params::GREEDY,
        drawn(0.7, 1),
        Params { repeat_penalty: 1.1, top_k: 40, xtc_probability: 0.5, ..drawn(1.3, 2) },
        Params { banned_strings: vec!["and".into(), "was".into()], ..drawn(0.9, 3) },
        Params { mirostat: 2, dry_multiplier: 0.8, ..drawn(0.9, 4) },
    ]
}

/// Everything that an answer told.
#[derive(Debug, Default, PartialEq)]
struct Told {
    events: Vec<String>,
    text: String,
}

/// An answer of a session that guesses, or doesn't.
fn told(
    loaded: &Arc<Loaded>,
    prompt: &[u32],
    params: &Params,
    constraint: Option<&Constraint>,
    speculation: Option<Speculation>,
) -> (Told, Outcome) {
    let mut session = demo::session(loaded, CTX, "f16", 64);
    if let Some(speculation) = speculation {
        session.speculate(speculation);
    }
    let stop = [" happy.".to_owned()];
    let request = Request {
        prompt,
        params,
        stop: &stop,
        max_tokens: 40,
        overflow: Overflow::DropOldest,
        keep: 3,
        logprobs: Some(2),
        constraint,
    };
    let mut told = Told::default();
    let outcome = session.generate(&request, &AtomicBool::new(false), |event| match event {
        Event::Prompt { .. } => {}
        Event::Text(text) => told.text.push_str(text),
        Event::Logprobs(of) => told.events.push(format!("{:?} {:?}", of.chosen(), of.top())),
        event => told.events.push(format!("{event:?}")),
    });
    (told, outcome.unwrap())
}

fn clock() -> Clock {
    let start = Instant::now();
    Clock::new(move || start.elapsed())
}

fn plan<'a>(loaded: &'a Arc<Loaded>, n_lanes: usize) -> Plan<'a> {
    let session = SessionOptions { ctx: Some(CTX), kv: "f16", chunk: Some(64) };
    Plan { target: loaded, draft: Some(loaded), n_layers: Some(2), n_lanes, ctx: CTX, session, words: None }
}

/// Every kind of the shelf that can be made for this model, with `depth` guesses at a time, and the names of what it has.
fn speculations(loaded: &Arc<Loaded>, n_lanes: usize, depth: Option<usize>) -> Vec<(String, Speculation)> {
    let mut all = Vec::new();
    for kind in spec::DRAFTERS {
        let mut speculation = Speculation::new(clock()).with_depth(depth);
        match speculation.add(kind, &plan(loaded, n_lanes)) {
            Ok(()) => all.push((format!("{} {depth:?}", kind.name), speculation)),
            Err(e) => {
                let why = if kind.name == "words" { "a file to keep them in" } else { "no heads" };
                assert!(["heads", "words"].contains(&kind.name) && e.to_string().contains(why), "{e}");
            }
        }
    }
    all
}

/// Knows what will be said, and errs now and then; what it guesses beside its errors is often right.
#[derive(Debug)]
struct Oracle {
    said: Vec<u32>,
    n_vocab: u32,
    random: u64,
}

impl Oracle {
    fn random(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % n
    }
}

impl Drafter for Oracle {
    fn draft(&mut self, _: &Target<'_>, asks: &mut [Ask<'_>]) -> Result<()> {
        for ask in asks {
            let n = ask.n.min(1 + self.random(12) as usize);
            let from = ask.tokens.len();
            for (i, at) in (from..from + n).enumerate() {
                let right = self.said.get(at).copied().unwrap_or(0);
                let wrong = self.random(self.n_vocab.into()) as u32;
                let errs = self.random(4) == 0;
                ask.drafts.push(if errs { wrong } else { right });
                let room = ask.kv.capacity() > at + 1 && ask.drafts.len() < 15;
                if room && self.random(2) == 0 {
                    ask.drafts.push_other(i, if errs { right } else { wrong });
                }
                if ask.drafts.len() >= ask.n {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn tokens_of(told: &Told, prompt: &[u32]) -> Vec<u32> {
    let mut all = prompt.to_vec();
    for event in &told.events {
        if let Some(id) = event.strip_prefix("Token(").and_then(|id| id.strip_suffix(')')) {
            all.push(id.parse().unwrap());
        } else if let Some(n) = event.strip_prefix("TakenBack { n_tokens: ") {
            all.truncate(all.len() - n.trim_end_matches(" }").parse::<usize>().unwrap());
        }
    }
    all
}

#[test]
fn an_answer_is_the_same_whoever_guesses() {
    let loaded = demo::load(None, 2);
    let (mut n_guessed, mut n_right, mut n_beside) = (0, 0, 0);
    for prompt in &PROMPTS[..3] {
        let prompt = demo::encode(&loaded, prompt);
        for params in ways() {
            let (plain, outcome) = told(&loaded, &prompt, &params, None, None);
            assert_eq!(outcome.guesses, spec::Tally::default());
            let mut all = Vec::new();
            for depth in [Some(5), Some(15), None] {
                all.extend(speculations(&loaded, 1, depth));
            }
            for seed in 0..4 {
                let said = tokens_of(&plain, &prompt);
                let oracle = Oracle { said, n_vocab: loaded.model.config.vocab as u32, random: seed };
                let mut speculation = Speculation::new(clock()).with_depth(Some(15));
                speculation.take(spec::kind("draft").unwrap(), Box::new(oracle), 0.0);
                all.push((format!("oracle {seed}"), speculation));
            }
            for (name, speculation) in all {
                let (guessed, with) = told(&loaded, &prompt, &params, None, Some(speculation));
                assert_eq!(guessed, plain, "{name}, {params:?}");
                assert_eq!((with.finish, with.n_generated), (outcome.finish, outcome.n_generated), "{name}");
                let total = with.guesses.total();
                assert!(total.n_accepted <= total.n_drafted);
                if name == "draft Some(5)" && params.is_greedy() {
                    // The model itself drafts: all of it is right.
                    assert!(total.n_accepted * 10 >= total.n_drafted * 8, "{total:?}");
                }
                if name.starts_with("oracle") {
                    n_beside += 1;
                }
                n_guessed += total.n_drafted;
                n_right += total.n_accepted;
            }
        }
    }
    assert!(n_beside > 0 && n_right > 1000 && n_guessed > 2 * n_right, "{n_right} of {n_guessed}");
}

#[test]
fn a_form_is_held_and_drafts_for_itself() {
    let loaded = demo::load(None, 2);
    let schema = r#"{"type": "object", "properties": {"name_of_the_animal": {"type": "string", "maxLength": 12},
        "colour_of_its_hair": {"enum": ["brown", "black", "white"]}}, "required": ["name_of_the_animal", "colour_of_its_hair"],
        "additionalProperties": false}"#;
    let constraint = loaded.constraint(&Grammar::JsonSchema(schema.into())).unwrap();
    let prompt = demo::encode(&loaded, "The dog");
    for params in ways().into_iter().filter(|params| params.banned_strings.is_empty()) {
        let (plain, outcome) = told(&loaded, &prompt, &params, Some(&constraint), None);
        for depth in [Some(15), None] {
            for (name, speculation) in speculations(&loaded, 1, depth) {
                let (guessed, with) = told(&loaded, &prompt, &params, Some(&constraint), Some(speculation));
                assert_eq!(guessed, plain, "{name}, {params:?}");
                assert_eq!(with.finish, outcome.finish, "{name}");
                if name == "form Some(15)" {
                    let total = with.guesses.total();
                    assert!(total.n_accepted > 3, "{total:?}");
                }
            }
        }
    }
}

#[test]
fn answers_that_share_steps_are_the_same_whoever_guesses() {
    let loaded = demo::load(None, 2);
    let asked: Vec<(Vec<u32>, Params)> = PROMPTS
        .iter()
        .flat_map(|prompt| ways().into_iter().map(|params| (demo::encode(&loaded, prompt), params)))
        .collect();
    let answers = |n_lanes: usize, speculation: Option<Speculation>| -> Vec<_> {
        let session = SessionOptions { ctx: Some(CTX), kv: "f16", chunk: Some(64) };
        let options = EngineOptions {
            session,
            n_lanes,
            queue_max: 100,
            prefix_bytes: Some(1 << 20),
            kv_dir: None,
            clock: None,
        };
        let engine = Engine::guessing(loaded.clone(), &options, speculation).unwrap();
        let said: Vec<_> = asked
            .iter()
            .map(|(prompt, params)| {
                let (job, said) = job(prompt, params, 120);
                engine.submit(job).unwrap();
                said
            })
            .collect();
        let said = said.into_iter().map(|said| said.recv().unwrap());
        said.map(|said| (said.text, said.outcome.unwrap()))
            .map(|(t, o)| (t, o.finish, o.n_generated, o.guesses))
            .collect()
    };
    let plain = answers(1, None);
    for n_lanes in [1, 4] {
        for depth in [Some(7), None] {
            for (name, speculation) in speculations(&loaded, n_lanes, depth) {
                let guessed = answers(n_lanes, Some(speculation));
                let mut total = spec::Tally::default();
                for (guessed, plain) in guessed.iter().zip(&plain) {
                    assert_eq!(
                        (&guessed.0, guessed.1, guessed.2),
                        (&plain.0, plain.1, plain.2),
                        "{name} in {n_lanes}"
                    );
                    total.add(&guessed.3);
                }
                let expects = depth.is_some() && !name.starts_with("form");
                assert!(!expects || total.total().n_accepted > 0, "{name} in {n_lanes}: {total:?}");
            }
        }
    }
}

/// An answer that ends while guesses wait to be judged leaves nothing of them to the next.
#[test]
fn an_answer_that_was_broken_off_leaves_no_guesses_behind() {
    let loaded = demo::load(None, 2);
    let prompts = PROMPTS.map(|prompt| demo::encode(&loaded, prompt));
    let expected = told(&loaded, &prompts[1], &Params::GREEDY, None, None).0.text;
    for (name, speculation) in speculations(&loaded, 1, Some(8)) {
        let mut session = demo::session(&loaded, CTX, "f16", 64);
        session.speculate(speculation);
        let params = Params::GREEDY;
        let stop = [" happy.".to_owned()];
        let mut answer = |prompt: &[u32], n_max: usize| {
            let request = Request {
                prompt,
                params: &params,
                stop: &stop,
                max_tokens: 40,
                overflow: Overflow::DropOldest,
                keep: 3,
                logprobs: None,
                constraint: None,
            };
            let (cancel, mut n, mut text) = (AtomicBool::new(false), 0, String::new());
            let outcome = session.generate(&request, &cancel, |event| match event {
                Event::Token(_) => {
                    n += 1;
                    cancel.store(n >= n_max, Relaxed);
                }
                Event::Text(piece) => text.push_str(piece),
                _ => {}
            });
            outcome.unwrap();
            assert!(session.tokens().len() <= CTX);
            text
        };
        for n_max in 1..12 {
            answer(&prompts[0], n_max);
            assert_eq!(answer(&prompts[1], usize::MAX), expected, "{name}, broken off at {n_max}");
        }
    }
}
