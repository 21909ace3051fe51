//! Banned strings never appear, and log-probabilities are the model's own: on the built-in model.

mod demo;

use std::sync::atomic::AtomicBool;

use ingle_engine::generate::{Event, Finish, Outcome, Overflow, Request};
use ingle_engine::sample::{Bias, BiasToken, Params};
use ingle_engine::session::Session;

const STORY: &str = "Once upon a time there was";

/// What an answer said, and the tokens that stand at its end.
struct Answer {
    outcome: Outcome,
    text: String,
    ids: Vec<u32>,
    n_taken_back: usize,
}

fn answer(session: &mut Session, prompt: &[u32], params: &Params, stop: &[String], n: usize) -> Answer {
    let overflow = Overflow::Error;
    let request =
        Request { prompt, params, stop, max_tokens: n, overflow, keep: 0, logprobs: None, constraint: None };
    let (mut text, mut ids, mut n_taken_back) = (String::new(), Vec::new(), 0);
    let outcome = session.generate(&request, &AtomicBool::new(false), |event| match event {
        Event::Text(t) => text.push_str(t),
        Event::Token(id) => ids.push(id),
        Event::TakenBack { n_tokens } => {
            n_taken_back += n_tokens;
            ids.truncate(ids.len() - n_tokens);
        }
        _ => {}
    });
    Answer { outcome: outcome.unwrap(), text, ids, n_taken_back }
}

fn banning(texts: &[&str]) -> Params {
    Params { banned_strings: texts.iter().map(|t| (*t).to_owned()).collect(), ..Params::GREEDY }
}

#[test]
fn what_is_banned_never_appears_and_the_text_before_it_stays() {
    let loaded = demo::load(None, 2);
    let prompt = demo::encode(&loaded, STORY);
    let fresh = || demo::session(&loaded, 256, "f16", 64);
    let free = answer(&mut fresh(), &prompt, &Params::GREEDY, &[], 60);
    // Pieces of the text itself, of one letter, within a word and across words.
    for (from, len) in [(10, 1), (12, 3), (20, 9), (25, 17), (40, 30)] {
        let banned: String = free.text.chars().skip(from).take(len).collect();
        let before = free.text.find(&banned).unwrap();
        let got = answer(&mut fresh(), &prompt, &banning(&[&banned]), &[], 60);
        assert!(got.n_taken_back > 0, "{banned:?}");
        assert!(!got.text.contains(&banned), "{banned:?} in {:?}", got.text);
        // Whole tokens are taken back, so the texts agree at least up to the token that began it.
        let common = free.text.bytes().zip(got.text.bytes()).take_while(|(a, b)| a == b).count();
        assert!(common + 16 > before, "{banned:?} at {before}: {:?}", got.text);
        assert_eq!(got.ids.len(), got.outcome.n_generated);
    }
}

#[test]
fn a_ban_that_is_never_met_changes_nothing() {
    let loaded = demo::load(None, 2);
    let prompt = demo::encode(&loaded, STORY);
    let params = Params { temperature: 0.9, seed: 4, ..Params::usual() };
    let banned = Params { banned_strings: vec!["\u{1F996}".into()], ..params.clone() };
    let mut session = demo::session(&loaded, 256, "f16", 64);
    let plain = answer(&mut session, &prompt, &params, &[], 60);
    let other = answer(&mut session, &prompt, &banned, &[], 60);
    assert_eq!((plain.text, plain.ids, other.n_taken_back), (other.text, other.ids, 0));
}

/// After going back, the session is as if the tokens that are left had been said at once.
#[test]
fn going_back_leaves_no_trace_in_the_session() {
    let loaded = demo::load(None, 2);
    let prompt = demo::encode(&loaded, STORY);
    let mut session = demo::session(&loaded, 256, "f16", 64);
    let got = answer(&mut session, &prompt, &banning(&["e", " a", "th"]), &[], 40);
    assert!(got.n_taken_back > 0);
    let n = session.tokens().len();
    assert_eq!(session.tokens()[prompt.len()..], got.ids[..n - prompt.len()]);
    let tokens = session.tokens().to_vec();
    let next = answer(&mut session, &tokens, &Params::GREEDY, &[], 10);
    let fresh = answer(&mut demo::session(&loaded, 256, "f16", 64), &tokens, &Params::GREEDY, &[], 10);
    assert_eq!(next.ids, fresh.ids);
}

#[test]
fn the_same_seed_goes_the_same_way_whatever_the_threads_and_the_chunk() {
    let prompts = [1, 2, 3].map(|threads| {
        let loaded = demo::load(None, threads);
        let prompt = demo::encode(&loaded, STORY);
        let params = Params {
            banned_strings: vec!["the".into(), " and".into()],
            xtc_probability: 0.5,
            dry_multiplier: 0.8,
            seed: 11,
            ..Params::usual()
        };
        let mut session = demo::session(&loaded, 256, "f16", 5 * threads);
        let got = answer(&mut session, &prompt, &params, &[], 60);
        assert!(!got.text.contains("the") && !got.text.contains(" and"), "{}", got.text);
        (got.text, got.n_taken_back)
    });
    assert!(prompts[0].1 > 0);
    assert!(prompts.iter().all(|p| *p == prompts[0]), "{prompts:?}");
}

#[test]
fn no_way_round_is_said() {
    let loaded = demo::load(None, 2);
    let prompt = demo::encode(&loaded, STORY);
    // Only one token may be said, and its text is banned.
    let tokenizer = loaded.tokenizer().unwrap();
    let a = tokenizer.id_of("a").unwrap();
    let others = (0..tokenizer.n_vocab() as u32).filter(|&id| id != a);
    let bias = |id| Bias { token: BiasToken::Id(id), bias: f32::NEG_INFINITY };
    let params = Params { logit_bias: others.map(bias).collect(), ..banning(&["aaa"]) };
    let got = answer(&mut demo::session(&loaded, 256, "f16", 64), &prompt, &params, &[], 60);
    assert_eq!((got.outcome.finish, &*got.text), (Finish::Banned, ""));
    // Every vowel and most else: it ends, one way or another, within the bound.
    let all: Vec<String> = ('a'..='z').map(String::from).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let got = answer(&mut demo::session(&loaded, 256, "f16", 64), &prompt, &banning(&all), &[], 60);
    assert!(!got.text.contains(|c: char| c.is_ascii_lowercase()), "{}", got.text);
}

#[test]
fn a_stop_string_still_ends_the_answer() {
    let loaded = demo::load(None, 2);
    let prompt = demo::encode(&loaded, STORY);
    let fresh = || demo::session(&loaded, 256, "f16", 64);
    let free = answer(&mut fresh(), &prompt, &Params::GREEDY, &[], 40);
    let stop: String = free.text.chars().skip(20).take(4).collect();
    let until = free.text.find(&stop).unwrap();
    // What may still become this is held back together with the stop string.
    let long: String = free.text.chars().skip(18).take(12).chain("\u{1F996}".chars()).collect();
    let got = answer(&mut fresh(), &prompt, &banning(&[&long]), &[stop], 40);
    assert_eq!((got.outcome.finish, &*got.text), (Finish::Stop(0), &free.text[..until]));
}

#[test]
fn logprobs_are_the_models_own_whatever_the_sampling() {
    let loaded = demo::load(None, 2);
    let prompt = demo::encode(&loaded, STORY);
    let mut session = demo::session(&loaded, 256, "f16", 64);
    let params = Params { temperature: 2.0, seed: 1, repeat_penalty: 1.5, ..Params::usual() };
    let request = Request {
        prompt: &prompt,
        params: &params,
        stop: &[],
        max_tokens: 30,
        overflow: Overflow::Error,
        keep: 0,
        logprobs: Some(3),
        constraint: None,
    };
    let (mut reported, mut ids) = (Vec::new(), Vec::new());
    let outcome = session.generate(&request, &AtomicBool::new(false), |event| match event {
        Event::Logprobs(of) => reported.push((of.chosen(), of.top().to_vec())),
        Event::Token(id) => ids.push(id),
        _ => {}
    });
    let n = outcome.unwrap().n_generated;
    assert!(n > 10 && reported.len() == n && ids.len() == n);
    // The same text fed at once.
    let all = [&prompt[..], &ids[..n - 1]].concat();
    let mut fresh = demo::session(&loaded, 256, "f16", 64);
    fresh
        .feed_for_logits(&all, |i, row| {
            let Some(at) = (i + 1).checked_sub(prompt.len()) else { return };
            let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
            let (chosen, top) = &reported[at];
            assert_eq!(chosen.id, ids[at]);
            assert_eq!(top.len(), 3);
            for token in top.iter().chain([chosen]) {
                let expected = f64::from(row[token.id as usize]) - sum.ln();
                assert!((token.logprob - expected).abs() < 1e-5, "{token:?}, expected {expected}");
            }
            let better = row.iter().filter(|&&l| l > row[top[2].id as usize]).count();
            assert!(better <= 2 && top[0].logprob >= top[1].logprob && top[1].logprob >= top[2].logprob);
        })
        .unwrap();
}
