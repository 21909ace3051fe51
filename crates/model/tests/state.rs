//! What a sequence remembers: windows that forget, recurrent states, and going back. Whatever the chunk, the step's company
//! or the way there, the numbers are those of a fresh sequence.
//!
//! Runs on the tiny models of this repository, and on those beside it where they are.

mod common;

use common::{Tiny, tiny_models};
use ingle_model::decoder::Branch;
use ingle_model::kv::{BLOCK, Held, Kv};

const CTX: usize = 1024;

/// Ids that a model of `vocab` ids knows, never the same neighbour twice for long.
fn tokens(vocab: usize, n: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * i * 7 + i * 31) % vocab) as u32).collect()
}

#[test]
fn any_chunk_gives_the_same_logits_over_a_long_sequence() {
    for model in tiny_models() {
        let tokens = tokens(model.vocab(), 520);
        let whole = model.logits(&tokens, CTX, 520, 1);
        for (chunk, n_threads) in [(1, 1), (47, 1), (300, 2)] {
            assert!(model.logits(&tokens, CTX, chunk, n_threads) == whole, "{}: chunk {chunk}", model.name);
        }
    }
}

#[test]
fn going_back_ends_where_a_sequence_can_go_on() {
    for model in tiny_models() {
        let tokens = tokens(model.vocab(), 540);
        let fresh = model.logits(&tokens, CTX, 64, 1);
        let (mut kv, mut scratch) = model.sequence(CTX, 64, 1);
        model.feed(&mut kv, &mut scratch, &tokens[..100]);
        kv.checkpoint();
        model.feed(&mut kv, &mut scratch, &tokens[100..500]);
        // Another future first, then back to the one that is checked.
        for (back, other) in [(490, 20), (130, 300), (99, 5), (0, 40)] {
            let other: Vec<u32> = tokens.iter().rev().take(other).copied().collect();
            let held = kv.truncate(back);
            assert!(held <= back && held == kv.len(), "{}: {held} of {back}", model.name);
            model.feed(&mut kv, &mut scratch, &tokens[held..back]);
            model.feed(&mut kv, &mut scratch, &other);
            let at = kv.truncate(back);
            let logits = model.feed(&mut kv, &mut scratch, &tokens[at..back + 50]);
            let expected = &fresh[at * model.vocab()..(back + 50) * model.vocab()];
            assert!(logits == expected, "{}: back to {back}, went on from {at}", model.name);
        }
    }
}

/// What branches give is what their tokens give in place of those that stay, and nothing is left of them.
#[test]
fn a_branch_is_as_if_it_had_been_the_way() {
    let mut n_models = 0;
    for model in tiny_models().into_iter().filter(|model| model.model.takes_branches()) {
        n_models += 1;
        let vocab = model.vocab();
        let tokens = tokens(vocab, 700);
        for start in [1, BLOCK - 3, BLOCK, 400] {
            let (mut kv, mut scratch) = model.sequence(CTX, 300, 1);
            model.feed(&mut kv, &mut scratch, &tokens[..start]);
            let chain = &tokens[start..start + 6];
            let others: Vec<u32> = tokens[600..].iter().copied().take(9).collect();
            let branches = [(1, 1), (3, 6), (6, 2)].map(|(behind, n_tokens)| Branch { behind, n_tokens });
            let logits = model.feed_branches(&mut kv, &[chain, &others].concat(), &branches);
            assert_eq!(kv.len(), start + chain.len());
            let (own, mut of_branches) = logits.split_at(chain.len() * vocab);
            let fresh = |tokens: &[u32]| model.logits(tokens, CTX, 300, 1);
            let all = fresh(&tokens[..start + 30]);
            assert!(own == &all[start * vocab..][..own.len()], "{}: the way itself at {start}", model.name);
            let mut rest = &others[..];
            for Branch { behind, n_tokens } in branches {
                let (these, later) = of_branches.split_at(n_tokens * vocab);
                let (ids, later_ids) = rest.split_at(n_tokens);
                let expected = fresh(&[&tokens[..start + behind], ids].concat());
                let expected = &expected[(start + behind) * vocab..];
                assert!(these == expected, "{}: behind {behind} at {start}", model.name);
                (of_branches, rest) = (later, later_ids);
            }
            // The sequence goes on as if they had not been.
            let later = model.feed(&mut kv, &mut scratch, &tokens[start + 6..start + 30]);
            assert!(later == all[(start + 6) * vocab..], "{}: behind them at {start}", model.name);
        }
    }
    assert!(n_models > 3);
}

#[test]
fn a_checkpoint_saves_the_way() {
    for model in tiny_models() {
        let tokens = tokens(model.vocab(), 120);
        let (mut kv, mut scratch) = model.sequence(CTX, 64, 1);
        model.feed(&mut kv, &mut scratch, &tokens[..100]);
        kv.checkpoint();
        model.feed(&mut kv, &mut scratch, &tokens[100..]);
        assert!(kv.truncate(110) >= 100, "{}", model.name);
        assert_eq!(kv.truncate(100), 100, "{}", model.name);
    }
}

#[test]
fn sequences_that_share_pages_do_not_notice() {
    for model in tiny_models() {
        let tokens = tokens(model.vocab(), 230);
        let other: Vec<u32> = tokens.iter().rev().copied().collect();
        let fresh = model.logits(&tokens, 256, 64, 1);
        let room = model.room(256, 3);
        let (mut first, mut scratch) = (Kv::within(&room, &model.model.config), model.sequence(256, 64, 1).1);
        model.feed(&mut first, &mut scratch, &tokens[..2 * BLOCK]);
        let (blocks, state) = ([first.held(0), first.held(1)], first.state());
        let held = room.n_bytes();
        let mut second = Kv::within(&room, &model.model.config);
        // Of its window a layer has what is looked at.
        let from: Vec<&Held> = blocks.iter().collect();
        assert!(first.suffices(2 * BLOCK, blocks.iter().rev()), "{}", model.name);
        second.adopt(2 * BLOCK, from.iter().copied(), state.as_ref());
        assert_eq!((second.len(), room.n_bytes()), (2 * BLOCK, held), "{}: nothing is copied", model.name);

        // Both go on, each its own way, and the first one comes back into what both have.
        let logits = model.feed(&mut second, &mut scratch, &tokens[2 * BLOCK..180]);
        assert!(logits == fresh[2 * BLOCK * model.vocab()..180 * model.vocab()], "{}", model.name);
        let at = first.truncate(100);
        model.feed(&mut first, &mut scratch, &tokens[at..100]);
        model.feed(&mut first, &mut scratch, &other[..50]);
        let logits = model.feed(&mut second, &mut scratch, &tokens[180..]);
        assert!(logits == fresh[180 * model.vocab()..], "{}", model.name);
        let mut third = Kv::within(&room, &model.model.config);
        // Within a block, where no state is needed.
        let at = if third.recurs() { 2 * BLOCK } else { 2 * BLOCK - 10 };
        assert!(third.suffices(at, blocks.iter().rev()), "{}", model.name);
        third.adopt(at, from, state.as_ref());
        let logits = model.feed(&mut third, &mut scratch, &tokens[at..]);
        assert!(logits == fresh[at * model.vocab()..], "{}", model.name);
        drop((first, second, third, blocks));
        assert_eq!(room.n_bytes(), 0, "{}: all pages came back", model.name);
    }
}

#[test]
fn a_block_that_a_window_left_does_not_suffice() {
    let mut n_windows = 0;
    for model in tiny_models() {
        let room = model.room(CTX, 1);
        let (mut kv, mut scratch) = (Kv::within(&room, &model.model.config), model.sequence(CTX, 64, 1).1);
        model.feed(&mut kv, &mut scratch, &tokens(model.vocab(), 15 * BLOCK));
        let blocks: Vec<Held> = (0..15).map(|block| kv.held(block)).collect();
        let suffices = |n: usize| kv.suffices(n * BLOCK, blocks[..n].iter().rev());
        assert!(suffices(15) && suffices(0), "{}", model.name);
        n_windows += usize::from(!suffices(3));
    }
    assert!(n_windows > 0, "a model with windows is among them");
}

#[test]
fn sequences_that_share_a_step_do_not_notice() {
    for model in tiny_models() {
        let tokens = tokens(model.vocab(), 230);
        let parts = [&tokens[..90], &tokens[90..91], &tokens[100..230]];
        let mut kvs: Vec<Kv> = parts.iter().map(|_| model.sequence(256, 256, 2).0).collect();
        let together = model.feed_together(&mut kvs, &parts);
        let mut at = 0;
        for part in parts {
            let alone = model.logits(part, 256, 256, 2);
            assert!(together[at..at + alone.len()] == alone, "{}", model.name);
            at += alone.len();
        }
    }
}

/// The models are what the tests think they are.
#[test]
fn the_tiny_models_cover_every_kind_of_memory() {
    let names: Vec<&str> = tiny_models().iter().flat_map(Tiny::mixers).collect();
    for kind in
        ["attention", "short convolution", "state space", "gated delta net", "attention beside state space"]
    {
        assert!(names.contains(&kind), "{kind}");
    }
}
