//! A step of decoding that follows and guesses allocates nothing.
#![expect(unsafe_code, reason = "a counting allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ingle_engine::sample::Rng;
use ingle_engine::spec::lookup::{Ground, Lookup};
use ingle_engine::spec::ngrams::{Ngrams, Vocabulary};

struct Counting;

thread_local! {
    static N_ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tokens of a small vocabulary.
fn text(n: usize) -> Vec<u32> {
    let mut rng = Rng::new(1);
    (0..n).map(|_| rng.below(20) as u32).collect()
}

#[test]
fn following_and_guessing_allocates_nothing() {
    let text = text(1000);
    let mut lookup = Lookup::new(text.len());
    let mut out = Vec::with_capacity(8);
    let before = N_ALLOCATIONS.get();
    let mut n_guesses = 0;
    for at in 0..text.len() {
        // Now and then the sequence goes back, or is another.
        let from = if at % 100 == 99 { at / 2 } else { 0 };
        lookup.follow(&text[from..at - at % 7]);
        out.clear();
        n_guesses += usize::from(lookup.guess(&text[at..=at], 8, &mut out) != Ground::Nothing);
    }
    lookup.follow(&text);
    lookup.truncate(1);
    lookup.extend(&text[1..]);
    assert_eq!(N_ALLOCATIONS.get(), before);
    assert!(n_guesses > 500, "{n_guesses}");
}

#[test]
fn learning_and_guessing_n_grams_allocates_nothing() {
    let text = text(1000);
    let mut table = Ngrams::new(Vocabulary { fingerprint: [0; 32], n_tokens: 20 }, 10_000).unwrap();
    let mut out = Vec::with_capacity(8);
    let before = N_ALLOCATIONS.get();
    let mut n_guesses = 0;
    for (at, text) in text.chunks(20).enumerate() {
        table.learn(text);
        out.clear();
        n_guesses += usize::from(table.guess(&text[..at % 10], 8, &mut out) > 0);
    }
    assert_eq!(N_ALLOCATIONS.get(), before);
    assert!(n_guesses > 20, "{n_guesses}");
}
