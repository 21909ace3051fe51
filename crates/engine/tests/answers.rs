//! What `generate` does at the edges: stop strings, limits, a full context, a raised cancel flag.

mod demo;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ingle_engine::Error;
use ingle_engine::generate::{Event, Finish, Outcome, Overflow, Request};
use ingle_engine::sample::Params;
use ingle_engine::session::Session;

const STORY: &str = "Once upon a time there was";

static GREEDY: Params = Params::GREEDY;

fn request<'a>(prompt: &'a [u32], stop: &'a [String], max_tokens: usize, overflow: Overflow) -> Request<'a> {
    Request { prompt, params: &GREEDY, stop, max_tokens, overflow, keep: 0, logprobs: None, constraint: None }
}

fn answer(session: &mut Session, request: &Request<'_>) -> (Outcome, String, usize) {
    let (mut text, mut dropped) = (String::new(), 0);
    let outcome = session.generate(request, &AtomicBool::new(false), |event| match event {
        Event::Text(t) => text.push_str(t),
        Event::Dropped { n_tokens } => dropped += n_tokens,
        Event::Prompt { done, total } => assert!(done <= total),
        Event::Token(_) | Event::Logprobs(_) | Event::TakenBack { .. } => {}
    });
    (outcome.unwrap(), text, dropped)
}

#[test]
fn a_stop_string_ends_the_answer_and_is_not_part_of_it() {
    let loaded = demo::load(None, 2);
    let prompt = demo::encode(&loaded, STORY);
    let (_, whole, _) =
        answer(&mut demo::session(&loaded, 256, "f16", 64), &request(&prompt, &[], 40, Overflow::Error));
    let stop: String = whole.chars().skip(12).take(9).collect();
    let until = whole.find(&stop).unwrap();
    let stops = ["never there".to_string(), stop];
    let (outcome, text, _) =
        answer(&mut demo::session(&loaded, 256, "f16", 64), &request(&prompt, &stops, 40, Overflow::Error));
    assert_eq!(outcome.finish, Finish::Stop(1));
    assert_eq!(text, whole[..until]);
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let loaded = demo::load(None, 2);
    let prompt = demo::encode(&loaded, STORY);
    let draw = |seed| {
        let params = Params { temperature: 1.0, seed, ..Params::GREEDY };
        let request = Request { params: &params, ..request(&prompt, &[], 40, Overflow::Error) };
        answer(&mut demo::session(&loaded, 256, "f16", 64), &request).1
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn a_full_context_is_said_or_made_room_for() {
    let loaded = demo::load(None, 2);
    let prompt = demo::encode(&loaded, STORY);
    let ctx = prompt.len() + 10;
    // Sampling at a high temperature keeps the model from ending its text early.
    let params = Params { temperature: 3.0, seed: 3, ..Params::GREEDY };
    let ask = |overflow| Request { params: &params, ..request(&prompt, &[], 60, overflow) };
    let (outcome, _, dropped) = answer(&mut demo::session(&loaded, ctx, "f16", 64), &ask(Overflow::Error));
    assert_eq!((outcome.finish, outcome.n_generated, dropped), (Finish::Context, 11, 0));
    let (outcome, _, dropped) =
        answer(&mut demo::session(&loaded, ctx, "f16", 64), &ask(Overflow::DropOldest));
    assert!(dropped > 0 && outcome.n_generated > 11, "{outcome:?}, {dropped} dropped");
}

#[test]
fn a_prompt_that_does_not_fit_is_an_error_or_loses_its_oldest_tokens_after_those_to_keep() {
    let loaded = demo::load(None, 2);
    let prompt: Vec<u32> = demo::encode(&loaded, &format!("{STORY} {}", "a cat and a dog and ".repeat(30)));
    let mut session = demo::session(&loaded, 64, "f16", 64);
    let error = session.generate(&request(&prompt, &[], 8, Overflow::Error), &AtomicBool::new(false), |_| ());
    assert!(matches!(error, Err(Error::PromptTooLong { ctx: 64, tokens }) if tokens == prompt.len()));
    let ask = Request { keep: 5, ..request(&prompt, &[], 8, Overflow::DropOldest) };
    let (outcome, _, dropped) = answer(&mut session, &ask);
    assert_eq!(outcome.n_prompt + dropped, prompt.len());
    assert_eq!(session.tokens()[..5], prompt[..5]);
    assert_eq!(session.tokens()[5..outcome.n_prompt], prompt[5 + dropped..]);
    let ask = Request { keep: 64, ..ask };
    let error = session.generate(&ask, &AtomicBool::new(false), |_| ());
    assert!(matches!(error, Err(Error::PromptTooLong { .. })));
}

#[test]
fn cancelling_keeps_what_was_said() {
    let loaded = demo::load(None, 2);
    let prompt = demo::encode(&loaded, STORY);
    let mut session = demo::session(&loaded, 256, "f16", 64);
    let cancel = AtomicBool::new(false);
    let (mut n, mut text) = (0, String::new());
    let outcome =
        session.generate(&request(&prompt, &[], 100, Overflow::Error), &cancel, |event| match event {
            Event::Token(_) => {
                n += 1;
                cancel.store(n == 5, Relaxed);
            }
            Event::Text(t) => text.push_str(t),
            _ => {}
        });
    let outcome = outcome.unwrap();
    assert_eq!(outcome.n_generated, 5);
    assert!(outcome.finish == Finish::Cancelled && !text.is_empty());
    let next = session
        .generate(&request(&prompt, &[], 3, Overflow::Error), &AtomicBool::new(false), |_| ())
        .unwrap();
    assert_eq!(next.n_reused, prompt.len() - 1);
}

#[test]
fn an_empty_prompt_is_an_error() {
    let loaded = demo::load(None, 1);
    let mut session = demo::session(&loaded, 64, "f16", 64);
    let error = session.generate(&request(&[], &[], 3, Overflow::Error), &AtomicBool::new(false), |_| ());
    assert!(error.unwrap_err().to_string().contains("empty"));
}
