//! Prompt lookup: what followed the last time that the sequence went as it goes now (Saxena, prompt-lookup-decoding, 2023).
//!
//! Every place of the sequence is chained to the place before it where the same two tokens end, as compressors chain what they have
//! seen (RFC 1951, section 4). To guess, the chain is followed back from the end; the longest match wins, the latest of several, and what
//! stood behind it is copied. A copy that reaches the end goes on with what it has copied, so a loop is guessed as a loop.
//!
//! Texts that are edited leave their source for a token or a few. Where nothing ends as the sequence does, the match is looked for
//! that ended up to three tokens earlier, and the copy is taken up again behind it: where the last token stands ([`Ground::Resumed`]), or
//! else as if as many tokens had been replaced ([`Ground::Edit`]).
//!
//! Measured on the edits, JSON and code of `--example lookup`, the alternatives with a prototype: chains of three tokens lose 6 to 32 % of what is accepted, of four up to
//! 45 %; the continuation that most matches share is no better than the latest; fewer places lose long matches in JSON; taking
//! copies up again brings 5 to 48 %. With all places looked at no more was accepted than with 1024, so a suffix automaton,
//! with several times the memory and no way back, would have nothing to add.
//!
//! All memory is taken by [`Lookup::new`]. Nothing here knows of models or of how often a guess is right; that depends on the
//! [`Ground`], whose classes the planner keeps apart.

/// Tokens that end alike before anything is guessed.
const MATCH_MIN: usize = 2;
/// A match of so many tokens is as good as a longer one, and the search ends.
const MATCH_MAX: usize = 64;
/// Places that are looked at before the best so far is taken.
const PLACES_MAX: usize = 1024;
/// A copy that broke off is taken up again if the match before the break had so many tokens,
const RESUME_MIN: usize = 4;
/// the break has no more than so many,
const BREAK_MAX: usize = 3;
/// and so many of the source at most were left out.
const LEFT_OUT_MAX: usize = 3;

/// What a guess rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Nothing like the end of the sequence has been there before: no guess.
    Nothing,
    /// A copy broke off, and goes on as if tokens of its source had been replaced one by one.
    Edit,
    /// A copy broke off, and goes on where its source has the last token.
    Resumed,
    /// So many tokens end alike, at most 64.
    Match(usize),
}

/// Grounds whose guesses are right about equally often, by [`Ground::class`].
pub static CLASSES: [&str; 9] = [
    "nothing",
    "edit",
    "resumed",
    "match of 2",
    "match of 3",
    "match of 4 to 7",
    "match of 8 to 15",
    "match of 16 to 31",
    "match of 32 or more",
];

impl Ground {
    /// The index in [`CLASSES`].
    pub fn class(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Edit => 1,
            Self::Resumed => 2,
            Self::Match(..=2) => 3,
            Self::Match(3) => 4,
            Self::Match(4..=7) => 5,
            Self::Match(8..=15) => 6,
            Self::Match(16..=31) => 7,
            Self::Match(_) => 8,
        }
    }
}

/// One sequence, and where each pair of its tokens stands.
///
/// A place is the number of tokens up to the end of a pair; 0 is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    capacity: usize,
    /// Whether `tokens` is all of what is followed.
    is_whole: bool,
    /// `(n)`
    tokens: Vec<u32>,
    /// The place before each of the same bucket. `(n)`
    before: Vec<u32>,
    /// The last place of each bucket. `(n_buckets)`, a power of two
    last: Vec<u32>,
}

impl Lookup {
    /// Takes the memory for sequences of up to `capacity` tokens: [`Lookup::n_bytes`].
    ///
    /// # Panics
    /// If places would not be numbers of 32 bits.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity < u32::MAX as usize, "a sequence of {capacity} tokens");
        Self {
            capacity,
            is_whole: true,
            tokens: Vec::with_capacity(capacity),
            before: Vec::with_capacity(capacity),
            last: vec![0; n_buckets(capacity)],
        }
    }

    /// Bytes that one of this capacity takes: 12 to 16 per token.
    pub fn n_bytes(capacity: usize) -> usize {
        4 * (2 * capacity + n_buckets(capacity))
    }

    /// The sequence that is followed.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Makes `tokens` the sequence that is followed; costs a comparison, 0.1 us per 1000 tokens, and about 10 ns for each token that
    /// differs. For a sequence beyond the capacity nothing is guessed.
    pub fn follow(&mut self, tokens: &[u32]) {
        let n_same = if tokens.starts_with(&self.tokens) {
            self.tokens.len()
        } else {
            self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count()
        };
        self.truncate(n_same);
        self.extend(&tokens[n_same..]);
    }

    /// Goes back to the first `n` tokens.
    pub fn truncate(&mut self, n: usize) {
        if n == 0 {
            self.last.fill(0);
            self.before.clear();
            self.tokens.clear();
        }
        // Backwards, each pair is the last of its bucket when it goes.
        while self.tokens.len() > n {
            if let (Some(before), Some(&pair)) = (self.before.pop(), self.tokens.last_chunk()) {
                let bucket = self.bucket(pair);
                self.last[bucket] = before;
            }
            self.tokens.pop();
        }
        self.is_whole |= n <= self.capacity;
    }

    /// Goes on with `tokens`.
    pub fn extend(&mut self, tokens: &[u32]) {
        let room = self.capacity - self.tokens.len();
        self.is_whole &= tokens.len() <= room;
        for &token in tokens.iter().take(room) {
            self.tokens.push(token);
            let before = self.tokens.last_chunk().copied().map_or(0, |pair| {
                let bucket = self.bucket(pair);
                std::mem::replace(&mut self.last[bucket], self.tokens.len() as u32)
            });
            self.before.push(before);
        }
    }

    /// Appends to `out` what may follow the sequence and `tail`, tokens that are known but not followed yet: `n` tokens, or none
    /// where there is no ground for a guess. A `tail` of a few tokens costs no more than none.
    pub fn guess(&self, tail: &[u32], n: usize, out: &mut Vec<u32>) -> Ground {
        let view = View { head: &self.tokens, tail };
        let (ground, from) = if self.is_whole { self.source(view) } else { (Ground::Nothing, 0) };
        if ground != Ground::Nothing {
            let (start, len) = (out.len(), view.len());
            for i in from..from + n {
                out.push(if i < len { view.at(i) } else { out[start + i - len] });
            }
        }
        ground
    }

    /// Where a copy begins.
    fn source(&self, view: View<'_>) -> (Ground, usize) {
        let len = view.len();
        let (n, place) = self.longest(view, len);
        if n >= MATCH_MIN {
            return (Ground::Match(n), place);
        }
        for n_broken in 1..=BREAK_MAX.min(len) {
            let end = len - n_broken;
            let (n, place) = self.longest(view, end);
            if n >= RESUME_MIN {
                let again =
                    (place..end.min(place + LEFT_OUT_MAX + 1)).find(|&i| view.at(i) == view.at(len - 1));
                return again.map_or((Ground::Edit, place + n_broken), |i| (Ground::Resumed, i + 1));
            }
        }
        (Ground::Nothing, 0)
    }

    /// The longest match with what ends at `end`: its tokens, and its place, which is before `end`.
    fn longest(&self, view: View<'_>, end: usize) -> (usize, usize) {
        let (mut longest, mut best) = (0, 0);
        if end <= MATCH_MIN {
            return (longest, best);
        }
        let pair = [view.at(end - 2), view.at(end - 1)];
        // The pairs that end in the tail are in no chain yet.
        let mut in_tail = (self.tokens.len() + 1..end).rev();
        let mut place = self.last[self.bucket(pair)] as usize;
        for _ in 0..PLACES_MAX {
            let here = in_tail.next().unwrap_or(place);
            if here == 0 {
                break;
            }
            if here == place {
                place = self.before[place - 1] as usize;
            }
            // To be longer it must agree where the longest so far does not reach.
            if here < end && here > longest && view.at(here - 1 - longest) == view.at(end - 1 - longest) {
                let alike = |&i: &usize| view.at(here - 1 - i) == view.at(end - 1 - i);
                let n = (0..here.min(MATCH_MAX)).take_while(alike).count();
                if n > longest {
                    (longest, best) = (n, here);
                }
                if n == MATCH_MAX {
                    break;
                }
            }
        }
        (longest, best)
    }

    fn bucket(&self, [a, b]: [u32; 2]) -> usize {
        let pair = u64::from(a) << 32 | u64::from(b);
        // The high bits of the product depend on all bits of the pair (Fibonacci hashing).
        let bits = self.last.len().trailing_zeros();
        (pair.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - bits)) as usize
    }
}

/// As many as tokens, or up to twice as many.
fn n_buckets(capacity: usize) -> usize {
    capacity.max(2).next_power_of_two()
}

/// The sequence with its tail behind it.
#[derive(Clone, Copy)]
struct View<'a> {
    head: &'a [u32],
    tail: &'a [u32],
}

impl View<'_> {
    fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    fn at(&self, i: usize) -> u32 {
        if i < self.head.len() { self.head[i] } else { self.tail[i - self.head.len()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Rng;

    /// Tokens of a small vocabulary, in which much repeats.
    fn text(rng: &mut Rng, n: usize) -> Vec<u32> {
        let n_vocab = 2 + rng.below(12);
        let mut text: Vec<u32> = Vec::new();
        while text.len() < n {
            let from = rng.below(text.len() as u64 + 1) as usize;
            let repeated: Vec<u32> = text[from..].iter().take(rng.below(20) as usize).copied().collect();
            text.extend(repeated);
            text.push(rng.below(n_vocab) as u32);
        }
        text.truncate(n);
        text
    }

    fn guess(lookup: &Lookup, tail: &[u32], n: usize) -> (Ground, Vec<u32>) {
        let mut out = vec![7];
        let ground = lookup.guess(tail, n, &mut out);
        assert_eq!(out.remove(0), 7);
        (ground, out)
    }

    fn following(tokens: &[u32]) -> Lookup {
        let mut lookup = Lookup::new(500);
        lookup.follow(tokens);
        lookup
    }

    /// The definition: the longest match, the latest of several.
    fn longest(text: &[u32]) -> (usize, usize) {
        let alike = |place: usize| {
            let pairs = text[..place].iter().rev().zip(text.iter().rev());
            pairs.take(MATCH_MAX).take_while(|(a, b)| a == b).count()
        };
        (1..text.len()).map(|place| (alike(place), place)).max().unwrap_or((0, 0))
    }

    #[test]
    fn guesses_what_followed_the_longest_and_latest_match() {
        let mut rng = Rng::new(1);
        let mut n_guesses = 0;
        for _ in 0..2000 {
            let n = 1 + rng.below(200) as usize;
            let text = text(&mut rng, n);
            let (n, place) = longest(&text);
            let (ground, out) = guess(&following(&text), &[], 8);
            if n >= MATCH_MIN {
                n_guesses += 1;
                assert_eq!(ground, Ground::Match(n), "{text:?}");
                let mut with_copy = text.clone();
                (0..8).for_each(|i| with_copy.push(with_copy[place + i]));
                assert_eq!(out, with_copy[text.len()..], "{text:?}");
            } else {
                assert!(!matches!(ground, Ground::Match(_)), "{text:?}");
            }
        }
        assert!(n_guesses > 1000, "{n_guesses}");
    }

    #[test]
    fn a_tail_is_as_good_as_followed() {
        let mut rng = Rng::new(2);
        for _ in 0..2000 {
            let n = rng.below(200) as usize;
            let text = text(&mut rng, n);
            let (head, tail) = text.split_at(n - n.min(rng.below(6) as usize));
            assert_eq!(
                guess(&following(head), tail, 5),
                guess(&following(&text), &[], 5),
                "{head:?} {tail:?}"
            );
        }
    }

    #[test]
    fn is_the_same_however_it_came_to_its_sequence() {
        let mut rng = Rng::new(3);
        let mut lookup = Lookup::new(500);
        let mut sequence = Vec::new();
        for _ in 0..2000 {
            match rng.below(20) {
                0 => sequence = text(&mut rng, 300),
                1..8 => sequence.truncate(sequence.len().saturating_sub(rng.below(20) as usize)),
                _ => {
                    let n = rng.below(9) as usize;
                    sequence.extend(text(&mut rng, n));
                    sequence.truncate(500);
                }
            }
            lookup.follow(&sequence);
            assert_eq!(lookup, following(&sequence));
        }
    }

    #[test]
    fn a_loop_is_guessed_as_a_loop() {
        let lookup = following(&[9, 1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(guess(&lookup, &[], 7), (Ground::Match(5), vec![3, 1, 2, 3, 1, 2, 3]));
    }

    #[test]
    fn a_copy_goes_on_behind_an_edit() {
        let source = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 0];
        let guess = |copy: &[u32]| guess(&following(&source), copy, 2);
        assert_eq!(guess(&[10, 11, 12, 13]), (Ground::Match(4), vec![14, 15]));
        // 14 replaced, and known to be replaced
        assert_eq!(guess(&[10, 11, 12, 13, 50]), (Ground::Edit, vec![15, 16]));
        assert_eq!(guess(&[10, 11, 12, 13, 50, 15]), (Ground::Resumed, vec![16, 17]));
        // 14 left out
        assert_eq!(guess(&[10, 11, 12, 13, 15]), (Ground::Resumed, vec![16, 17]));
        // 50 put in
        assert_eq!(guess(&[10, 11, 12, 13, 50, 14]), (Ground::Resumed, vec![15, 16]));
        assert_eq!(guess(&[10, 11, 12, 13, 50, 51, 52, 14]).0, Ground::Nothing);
        assert_eq!(guess(&[12, 13, 50, 15]).0, Ground::Nothing);
    }

    #[test]
    fn nothing_is_guessed_beyond_the_capacity() {
        let mut lookup = Lookup::new(6);
        lookup.follow(&[1, 2, 3, 1, 2, 3]);
        assert_eq!(guess(&lookup, &[1], 1), (Ground::Match(4), vec![2]));
        lookup.follow(&[1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(guess(&lookup, &[], 1).0, Ground::Nothing);
        lookup.follow(&[1, 2, 3, 1, 2, 3]);
        assert_eq!(guess(&lookup, &[], 1), (Ground::Match(3), vec![1]));
    }

    #[test]
    fn so_many_places_are_looked_at_and_no_more() {
        for (n_places, expected) in
            [(1000, (Ground::Match(5), vec![9])), (1100, (Ground::Match(2), vec![1199]))]
        {
            let between = (100..100 + n_places).flat_map(|i| [1, 2, i]);
            let text: Vec<u32> =
                [5, 6, 7, 1, 2, 9].into_iter().chain(between).chain([5, 6, 7, 1, 2]).collect();
            let mut lookup = Lookup::new(text.len());
            lookup.follow(&text);
            assert_eq!(guess(&lookup, &[], 1), expected);
        }
        assert_eq!(guess(&following(&[0; 200]), &[], 2), (Ground::Match(MATCH_MAX), vec![0, 0]));
    }
}
