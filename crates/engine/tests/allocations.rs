//! Generating a token in steady state allocates nothing, and the memory of a session is what it says.

mod demo;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use ingle_engine::generate::{Event, Overflow, Request};
use ingle_engine::output::{Delivery, FORMATS, Options, Parser};
use ingle_engine::sample::Params;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: forwards to the system's allocator and counts.
#[expect(unsafe_code, reason = "an allocator that counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test only in this file: others would allocate at the same time.
#[test]
fn a_token_in_steady_state_allocates_nothing() {
    let loaded = demo::load(None, 2);
    let never = AtomicBool::new(false);
    let greedy = Params::GREEDY;
    let drawn = Params {
        temperature: 0.8,
        top_k: 40,
        top_p: 0.95,
        min_p: 0.02,
        repeat_penalty: 1.1,
        presence_penalty: 0.1,
        frequency_penalty: 0.1,
        seed: 5,
        ..Params::GREEDY
    };
    let everything = Params {
        dry_multiplier: 0.8,
        dry_sequence_breakers: vec!["\n".into(), ":".into()],
        xtc_probability: 0.3,
        typical_p: 0.98,
        top_n_sigma: 3.0,
        dynatemp_range: 0.2,
        banned_strings: vec!["never in a story".into(), "the d".into()],
        ..drawn.clone()
    };
    let mirostat = Params { mirostat: 2, temperature: 0.8, seed: 3, ..Params::GREEDY };
    for (kv, params, logprobs) in [
        ("f16", &greedy, None),
        ("q8_0", &drawn, None),
        ("f32", &drawn, Some(5)),
        ("f16", &everything, None),
        ("f16", &mirostat, None),
    ] {
        let mut session = demo::session(&loaded, 512, kv, 64);
        let prompt = demo::encode(&loaded, "Once upon a time there was");
        let stop = ["never in a story \u{1F996}".to_string(), "zzz".to_string()];
        let request = Request {
            prompt: &prompt,
            params,
            stop: &stop,
            max_tokens: 150,
            overflow: Overflow::Error,
            keep: 0,
            logprobs,
            constraint: None,
        };
        let (mut n_tokens, mut before, mut during) = (0, 0, 0);
        let outcome = session
            .generate(&request, &never, |event| {
                if let Event::Token(_) = event {
                    n_tokens += 1;
                    let now = ALLOCATIONS.load(Relaxed);
                    if n_tokens > 8 {
                        during += now - before;
                    }
                    before = now;
                }
            })
            .unwrap();
        assert!(outcome.n_generated > 20, "{outcome:?}");
        assert_eq!(during, 0, "{kv}: allocations in {} tokens", n_tokens - 8);
    }
    telling_parts_apart_allocates_nothing();
}

fn telling_parts_apart_allocates_nothing() {
    for format in FORMATS {
        let options = Options { tools: [].into(), inside: None, delivery: Delivery::Proven };
        let mut answer = Parser::new(format, options);
        let (mut before, mut n_bytes) = (0, 0);
        for i in 0..2000 {
            if i == 100 {
                before = ALLOCATIONS.load(Relaxed);
            }
            answer.push(["Once", " upon", " a <t", "ime;\n", " [it]"][i % 5], |_| n_bytes += 1);
        }
        assert!(n_bytes > 1000, "{}", format.name);
        assert_eq!(ALLOCATIONS.load(Relaxed), before, "{}", format.name);
    }
}
