//! A full context, for everything that remembers: attention, windows, short convolutions, state spaces, delta nets, and
//! layers that have two of them. `Overflow::Error` says so; `Overflow::DropOldest` makes room, and then the sequence is the one
//! of the tokens that are left: every later number is that of a fresh session that was fed them.
//!
//! Runs on the tiny models of `model/tests/families`, each with a vocabulary put in. The context is longer than a window and
//! than a block of positions, so that what was dropped was forgotten, too.

mod tiny;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ingle_engine::Error;
use ingle_engine::generate::{Event, Finish, Outcome, Overflow, Request};
use ingle_engine::model_file::Loaded;
use ingle_engine::sample::Params;
use ingle_engine::session::{Session, SessionOptions};
use tiny::models;

const CTX: usize = 150;
const KEEP: usize = 7;

static GREEDY: Params = Params::GREEDY;

fn session(loaded: &Arc<Loaded>) -> Session {
    let options = SessionOptions { ctx: Some(CTX), kv: "f16", chunk: Some(64) };
    Session::new(loaded.clone(), &options).unwrap()
}

/// Ids that never repeat for long.
fn tokens(loaded: &Loaded, n: usize) -> Vec<u32> {
    let n_vocab = loaded.model.config.vocab;
    (0..n).map(|i| ((i * i * 7 + i * 31 + 3) % n_vocab) as u32).collect()
}

/// The logits after `tokens`, of a session that was through nothing else.
fn fresh(loaded: &Arc<Loaded>, tokens: &[u32]) -> Vec<f32> {
    let mut session = session(loaded);
    assert!(session.feed(tokens, &AtomicBool::new(false), |_| ()).unwrap());
    session.last_logits().to_vec()
}

fn best(logits: &[f32]) -> u32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|&logit| logit == max).unwrap() as u32
}

fn request(prompt: &[u32], max_tokens: usize, overflow: Overflow) -> Request<'_> {
    Request {
        prompt,
        params: &GREEDY,
        stop: &[],
        max_tokens,
        overflow,
        keep: KEEP,
        logprobs: None,
        constraint: None,
    }
}

/// An answer, and what a reader of its events takes the context for at each token: what is left of the prompt and of the
/// answer when it was chosen, and the token.
fn answer(session: &mut Session, request: &Request<'_>) -> (Outcome, usize, Vec<(Vec<u32>, u32)>) {
    let mut context = request.prompt.to_vec();
    let (mut n_dropped, mut chosen, mut last) = (0, Vec::new(), None);
    let outcome = session.generate(request, &AtomicBool::new(false), |event| match event {
        Event::Dropped { n_tokens } => {
            context.drain(request.keep..request.keep + n_tokens);
            n_dropped += n_tokens;
        }
        Event::Token(id) => {
            context.extend(last.replace(id));
            chosen.push((context.clone(), id));
        }
        _ => {}
    });
    (outcome.unwrap(), n_dropped, chosen)
}

/// The policy `error`: what fits is answered to the last position, what does not is refused with its length.
#[test]
fn a_full_context_is_said() {
    for loaded in models() {
        let name = loaded.file.name();
        let prompt = tokens(&loaded, CTX - 5);
        let mut session = session(&loaded);
        let (outcome, n_dropped, chosen) = answer(&mut session, &request(&prompt, 50, Overflow::Error));
        assert_eq!((outcome.finish, outcome.n_generated, n_dropped), (Finish::Context, 6, 0), "{name}");
        assert_eq!(session.tokens().len(), CTX);
        for (context, id) in &chosen {
            assert_eq!(*id, best(&fresh(&loaded, context)), "{name}");
        }
        let prompt = tokens(&loaded, CTX + 1);
        let refused =
            session.generate(&request(&prompt, 1, Overflow::Error), &AtomicBool::new(false), |_| ());
        assert!(
            matches!(refused, Err(Error::PromptTooLong { tokens, ctx: CTX }) if tokens == CTX + 1),
            "{name}"
        );
        assert_eq!(session.tokens().len(), CTX, "{name}: what was there stays");
    }
}

/// The policy `drop-oldest`, while an answer grows over the end of the context, and again.
#[test]
fn an_answer_goes_on_as_after_what_is_left() {
    for loaded in models() {
        let name = loaded.file.name();
        let prompt = tokens(&loaded, CTX - 20);
        let mut session = session(&loaded);
        let (outcome, n_dropped, chosen) = answer(&mut session, &request(&prompt, 200, Overflow::DropOldest));
        assert_eq!((outcome.finish, outcome.n_generated), (Finish::Length, 200), "{name}");
        let halves = (CTX - KEEP).div_ceil(2);
        assert_eq!(n_dropped, 3 * halves, "{name}: the older half, each time that it is full");
        assert_eq!(session.tokens()[..KEEP], prompt[..KEEP], "{name}");
        // Around each place where tokens were dropped, and at the end.
        let lengths: Vec<usize> = chosen.iter().map(|(context, _)| context.len()).collect();
        let shrank = |i: usize| i > 0 && lengths[i] < lengths[i - 1];
        let near =
            (0..chosen.len()).filter(|&i| shrank(i) || i > 0 && shrank(i - 1) || i + 1 == chosen.len());
        let near: Vec<usize> = near.collect();
        assert_eq!(near.len(), 7, "{name}: {lengths:?}");
        for i in near {
            let (context, id) = &chosen[i];
            assert_eq!(*id, best(&fresh(&loaded, context)), "{name}: token {i}");
        }
        let (context, _) = chosen.last().unwrap();
        // The last token was chosen and not fed yet, or fed and dropped nothing.
        assert!(session.tokens().starts_with(context), "{name}");
        let left = session.tokens().to_vec();
        assert!(session.last_logits() == fresh(&loaded, &left), "{name}: to the bit");
    }
}

/// The policy `drop-oldest`, where a next turn makes the conversation longer than the context.
#[test]
fn a_longer_chat_is_answered_from_what_is_left() {
    for loaded in models() {
        let name = loaded.file.name();
        let mut session = session(&loaded);
        let mut chat = tokens(&loaded, 60);
        for turn in 0..4 {
            let (outcome, n_dropped, chosen) =
                answer(&mut session, &request(&chat, 30, Overflow::DropOldest));
            assert_eq!(outcome.n_prompt + n_dropped, chat.len(), "{name}, turn {turn}");
            // Room for the answer is made with the prompt.
            assert_eq!(n_dropped, if chat.len() > CTX { chat.len() - (CTX - 30) } else { 0 }, "{name}");
            let (context, id) = &chosen[0];
            assert_eq!(context[..KEEP], chat[..KEEP], "{name}, turn {turn}");
            assert_eq!(context[KEEP..], chat[KEEP + n_dropped..], "{name}, turn {turn}");
            assert_eq!(*id, best(&fresh(&loaded, context)), "{name}, turn {turn}");
            let left = session.tokens().to_vec();
            assert!(session.last_logits() == fresh(&loaded, &left), "{name}, turn {turn}: to the bit");
            chat.extend(chosen.iter().map(|(_, id)| id));
            chat.extend(tokens(&loaded, 15 + turn));
        }
        assert!(chat.len() > CTX + 30, "{name}: the last turns did not fit");
    }
}

/// The models are what the tests think they are.
#[test]
fn the_tiny_models_cover_every_kind_of_memory() {
    let mut kinds = BTreeSet::new();
    for loaded in models() {
        for layer in &loaded.model.config.layers {
            kinds.insert(layer.mixer.name());
        }
    }
    for kind in [
        "attention",
        "windowed attention",
        "short convolution",
        "state space",
        "gated delta net",
        "attention beside state space",
    ] {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
}
