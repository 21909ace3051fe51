//! The merge loop that byte-level and SentencePiece BPE share: join the neighbours that come first, until none can join.
//!
//! What may join, and in which order, is the model's business (a rank, or a score turned into one). Short pieces, nearly
//! all there are, scan for the best pair each time; long ones keep the pairs in a heap, so that a piece of a million
//! symbols costs n log n. Both give the same symbols; a test holds them to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A stretch of the piece and, if it is one, the token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// Its id, or [`NO_TOKEN`].
    pub id: u32,
    /// First byte in the piece.
    pub start: u32,
    /// One past its last byte.
    pub end: u32,
}

/// The id of a symbol that is no token.
pub const NO_TOKEN: u32 = u32::MAX;

/// How soon two symbols join (lower is sooner) and the token that they make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// Order among all joins; ties go to the leftmost.
    pub rank: u32,
    /// What they become.
    pub id: u32,
}

/// Above this many symbols the heap wins.
const SCAN_MAX: usize = 48;

/// Reused between pieces, so that encoding a text allocates a few times in all.
#[derive(Debug, Default)]
pub struct Scratch {
    joins: Vec<Option<Join>>,
    links: Vec<Link>,
    heap: BinaryHeap<Reverse<(u32, u32, u32, u32)>>,
}

/// Joins neighbours in `symbols` until `join` allows no more.
pub fn merge(
    symbols: &mut Vec<Symbol>,
    scratch: &mut Scratch,
    join: impl FnMut(&Symbol, &Symbol) -> Option<Join>,
) {
    if symbols.len() <= SCAN_MAX { by_scan(symbols, scratch, join) } else { by_heap(symbols, scratch, join) }
}

/// `joins[i]` is what symbols `i` and `i + 1` would make.
fn by_scan(
    symbols: &mut Vec<Symbol>,
    scratch: &mut Scratch,
    mut join: impl FnMut(&Symbol, &Symbol) -> Option<Join>,
) {
    let joins = &mut scratch.joins;
    joins.clear();
    joins.extend(symbols.windows(2).map(|pair| join(&pair[0], &pair[1])));
    loop {
        let mut best: Option<(usize, Join)> = None;
        for (i, join) in joins.iter().enumerate() {
            if let Some(join) = join
                && best.is_none_or(|(_, b)| join.rank < b.rank)
            {
                best = Some((i, *join));
            }
        }
        let Some((i, made)) = best else { return };
        symbols[i] = Symbol { id: made.id, start: symbols[i].start, end: symbols[i + 1].end };
        symbols.remove(i + 1);
        joins.remove(i);
        if i > 0 {
            joins[i - 1] = join(&symbols[i - 1], &symbols[i]);
        }
        if i < joins.len() {
            joins[i] = join(&symbols[i], &symbols[i + 1]);
        }
    }
}

/// Neighbours of a symbol; [`NO_TOKEN`] where there is none.
#[derive(Debug, Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
}

/// Every pair that can join waits in the heap as (rank, left position, id made, end of the right symbol); a pair that has
/// changed since is recognised by its extent and skipped.
fn by_heap(
    symbols: &mut Vec<Symbol>,
    scratch: &mut Scratch,
    mut join: impl FnMut(&Symbol, &Symbol) -> Option<Join>,
) {
    let Scratch { links, heap, .. } = scratch;
    let n = symbols.len() as u32;
    links.clear();
    links.extend((0..n).map(|i| Link {
        previous: if i == 0 { NO_TOKEN } else { i - 1 },
        next: if i + 1 == n { NO_TOKEN } else { i + 1 },
    }));
    heap.clear();
    heap.extend((1..symbols.len()).filter_map(|right| {
        let left = right - 1;
        let made = join(&symbols[left], &symbols[right])?;
        Some(Reverse((made.rank, left as u32, made.id, symbols[right].end)))
    }));
    while let Some(Reverse((_, left, id, end))) = heap.pop() {
        let right = links[left as usize].next;
        // A symbol that was joined to its left neighbour has no extent. The extent of a pair fixes its parts: both only
        // grow, so the same end means that neither has.
        if symbols[left as usize].end == symbols[left as usize].start
            || right == NO_TOKEN
            || symbols[right as usize].end != end
        {
            continue;
        }
        let gone = &mut symbols[right as usize];
        gone.end = gone.start;
        let made = &mut symbols[left as usize];
        (made.id, made.end) = (id, end);
        let after = links[right as usize].next;
        links[left as usize].next = after;
        if after != NO_TOKEN {
            links[after as usize].previous = left;
        }
        for (left, right) in [(links[left as usize].previous, left), (left, after)] {
            if left != NO_TOKEN && right != NO_TOKEN {
                let (a, b) = (symbols[left as usize], symbols[right as usize]);
                heap.extend(join(&a, &b).map(|made| Reverse((made.rank, left, made.id, b.end))));
            }
        }
    }
    symbols.retain(|s| s.end > s.start);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symbols of the bytes of `text`, and joins that a hash of both extents' lengths and ids allows.
    fn run(text: &[u8], merge: impl Fn(&mut Vec<Symbol>, &mut Scratch)) -> Vec<Symbol> {
        let mut symbols: Vec<_> =
            (0u32..).zip(text).map(|(i, &b)| Symbol { id: b.into(), start: i, end: i + 1 }).collect();
        merge(&mut symbols, &mut Scratch::default());
        symbols
    }

    fn join(a: &Symbol, b: &Symbol) -> Option<Join> {
        let id = (a.id * 31 + b.id * 17 + 5) % 97;
        (!id.is_multiple_of(3) && b.end - a.start < 40).then_some(Join { rank: id % 7, id })
    }

    #[test]
    fn heap_and_scan_give_the_same_symbols() {
        let mut state = 7u64;
        for n in 0..300 {
            let text: Vec<u8> = (0..n)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 60) as u8
                })
                .collect();
            let scanned = run(&text, |s, scratch| by_scan(s, scratch, join));
            assert_eq!(run(&text, |s, scratch| by_heap(s, scratch, join)), scanned);
            assert!(scanned.windows(2).all(|w| w[0].end == w[1].start && join(&w[0], &w[1]).is_none()));
        }
    }

    #[test]
    fn lower_rank_joins_first_and_ties_go_left() {
        let pairs = |a: &Symbol, b: &Symbol| match (u8::try_from(a.id).ok()?, u8::try_from(b.id).ok()?) {
            (b'a', b'b') => Some(Join { rank: 2, id: 300 }),
            (b'b', b'c') => Some(Join { rank: 1, id: 301 }),
            (b'x', b'x') => Some(Join { rank: 3, id: 302 }),
            _ => None,
        };
        let ids = |text: &[u8]| {
            run(text, |s, scratch| merge(s, scratch, pairs)).iter().map(|s| s.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(b"abc"), [b'a'.into(), 301]);
        assert_eq!(ids(b"xxx"), [302, b'x'.into()]);
    }
}
