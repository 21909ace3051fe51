//! A step of decoding that follows and guesses allocates nothing.

mod counting;

use counting::n_allocations;
use ingle_engine::sample::Rng;
use ingle_engine::spec::lookup::{Ground, Lookup};
use ingle_engine::spec::ngrams::{Ngrams, Vocabulary};

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
    let before = n_allocations();
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
    assert_eq!(n_allocations(), before);
    assert!(n_guesses > 500, "{n_guesses}");
}

#[test]
fn learning_and_guessing_n_grams_allocates_nothing() {
    let text = text(1000);
    let mut table = Ngrams::new(Vocabulary { fingerprint: [0; 32], n_tokens: 20 }, 10_000).unwrap();
    let mut out = Vec::with_capacity(8);
    let before = n_allocations();
    let mut n_guesses = 0;
    for (at, text) in text.chunks(20).enumerate() {
        table.learn(text);
        out.clear();
        n_guesses += usize::from(table.guess(&text[..at % 10], 8, &mut out) > 0);
    }
    assert_eq!(n_allocations(), before);
    assert!(n_guesses > 20, "{n_guesses}");
}
