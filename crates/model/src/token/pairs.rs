//! Which neighbours byte-pair encoding may join.
//!
//! A merge names two texts that become a third. To find the tokens of all three costs three look-ups a merge, which is most of
//! what a large vocabulary takes to be ready, and a text needs few of the answers. So a merge is only noted under the token it
//! makes, with where that is cut in two; files list merges in the order of these tokens, which spares the look-up. Whether two
//! tokens join is worked out when they first meet: what they write together is a token, and has a merge cut between them.
//!
//! The answer is remembered by pair in a table of fixed size, where newer answers take the place of older ones. An entry is
//! one word with its whole key inside, so threads share the table without a lock and nobody reads half an answer.

use std::sync::atomic::{AtomicU64, Ordering};

use super::merge::Join;
use super::table::VALUES_MAX;
use super::vocab::Indexed;
use crate::error::{Error, Result};

/// A longer left part would not fit beside the rest of a merge; tokens are names, not texts.
const LEFT_BYTES_MAX: usize = i16::MAX as usize;

/// Merges by the token they make, and the answers for pairs seen.
#[derive(Debug)]
pub struct Pairs {
    /// Sorted.
    merges: Vec<Merge>,
    /// Where the merges that make token `i` begin; one more at the end.
    starts: Vec<u32>,
    /// What stands before a token that goes on a word, and is left out where it meets its left neighbour.
    prefix: String,
    /// Pairs and their answers.
    seen: Vec<AtomicU64>,
    /// Bits of a pair's key that choose its place there.
    place_bits: u32,
}

/// The token made (24 bits), where it is cut (16), and the rank (24): in this order, so that merges sort by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Merge(u64);

impl Merge {
    fn new(made: u32, cut: u16, rank: u32) -> Self {
        Self(u64::from(made) << 40 | u64::from(cut) << 24 | u64::from(rank))
    }

    fn made(self) -> u32 {
        (self.0 >> 40) as u32
    }

    fn cut(self) -> u16 {
        (self.0 >> 24) as u16
    }

    fn join(self) -> Join {
        Join { rank: self.0 as u32 & VALUES_MAX as u32, id: self.made() }
    }
}

/// Where a token made of two is cut: the length of the left part, and whether the right one lost its prefix.
fn cut(left_bytes: usize, lost_prefix: bool) -> Option<u16> {
    (left_bytes <= LEFT_BYTES_MAX).then_some((left_bytes as u16) << 1 | u16::from(lost_prefix))
}

/// Merges in the order of their ranks, being read.
#[derive(Debug)]
pub struct Reader<'a> {
    /// What errors call them.
    part: &'static str,
    vocab: &'a Indexed,
    prefix: &'a str,
    merges: Vec<Merge>,
    n_read: u32,
    /// What the last one made.
    made: u32,
    both: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// Of at most `n` merges over `vocab`, called `part` in errors; `prefix` marks tokens that go on a word, and may be empty.
    ///
    /// # Errors
    /// [`Error::Malformed`] for more merges than can be numbered.
    pub fn new(part: &'static str, vocab: &'a Indexed, prefix: &'a str, n: usize) -> Result<Self> {
        if n > VALUES_MAX {
            return Err(Error::malformed(part, format!("{n} merges"), format!("at most {VALUES_MAX}")));
        }
        Ok(Self { part, vocab, prefix, merges: Vec::with_capacity(n), n_read: 0, made: 0, both: Vec::new() })
    }

    /// Number of merges read.
    pub fn n_read(&self) -> u32 {
        self.n_read
    }

    /// Adds the next rank, whose two parts `write` appends one after the other: it returns the bytes of the left one. What
    /// they make may be no token, and then nothing is merged; the answer is whether it is one.
    ///
    /// # Errors
    /// Those of `write`; [`Error::Malformed`] for a left part of more than 32 KiB.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<usize>) -> Result<bool> {
        let rank = self.n_read;
        self.n_read += 1;
        self.both.clear();
        let middle = write(&mut self.both)?;
        let lost_prefix = !self.prefix.is_empty() && self.both[middle..].starts_with(self.prefix.as_bytes());
        if lost_prefix {
            self.both.drain(middle..middle + self.prefix.len());
        }
        let Some(made) = self.token(&self.both) else { return Ok(false) };
        self.made = made;
        let cut = cut(middle, lost_prefix).ok_or_else(|| {
            let found = format!("a left part of {middle} bytes");
            Error::malformed(
                format!("{}: merge {rank}", self.part),
                found,
                format!("at most {LEFT_BYTES_MAX}"),
            )
        })?;
        self.merges.push(Merge::new(made, cut, rank));
        Ok(true)
    }

    /// The token that is `bytes`. It is nearly always the one the last merge made, or the next: a look at these needs no
    /// hash.
    fn token(&self, bytes: &[u8]) -> Option<u32> {
        let n_tokens = self.vocab.len();
        let is_it =
            |&id: &u32| (id as usize) < n_tokens && self.vocab.bytes(id) == bytes && self.vocab.is_found(id);
        let near = [self.made, self.made + 1].into_iter().find(is_it);
        near.or_else(|| self.vocab.find_any(bytes))
    }

    /// All of them.
    pub fn finish(self) -> Pairs {
        let (merges, starts) = by_token(&self.merges, self.vocab.len());
        let place_bits = merges.len().checked_ilog2().unwrap_or(0).clamp(PLACE_BITS_MIN, PLACE_BITS_MAX);
        let seen = (0..1 << place_bits).map(|_| AtomicU64::new(0)).collect();
        Pairs { merges, starts, prefix: self.prefix.to_owned(), seen, place_bits }
    }
}

/// `merges` sorted, and where those of each of `n_tokens` tokens begin, with one more at the end. By counting, as files have
/// long stretches of them in order and a general sort learns nothing from that when a token has several.
fn by_token(merges: &[Merge], n_tokens: usize) -> (Vec<Merge>, Vec<u32>) {
    let mut starts = vec![0u32; n_tokens + 1];
    for merge in merges {
        starts[merge.made() as usize + 1] += 1;
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let mut next = starts.clone();
    let mut sorted = vec![Merge(0); merges.len()];
    for &merge in merges {
        let place = &mut next[merge.made() as usize];
        sorted[*place as usize] = merge;
        *place += 1;
    }
    for range in starts.windows(2).filter(|range| range[1] - range[0] > 1) {
        sorted[range[0] as usize..range[1] as usize].sort_unstable();
    }
    (sorted, starts)
}

/// Bits of a pair's key: two ids below [`VALUES_MAX`].
const KEY_BITS: u32 = 48;
/// The part of it that is kept with an answer.
const TAG: u64 = u32::MAX as u64;
/// So many bits of it choose a pair's first place, one or two for each merge: a megabyte or two. The second place differs in
/// the last of these, so that all others and the tag together must be the whole key.
const PLACE_BITS_MIN: u32 = KEY_BITS - TAG.trailing_ones() + 1;
const PLACE_BITS_MAX: u32 = 18;
/// An answer: nobody asked, they don't join, or the number of their merge above these two.
const UNSEEN: u32 = 0;
const APART: u32 = 1;
const FIRST_MERGE: u32 = 2;

/// The pair as one number, its bits mixed so that the upper ones choose a place well. Each step can be undone, so that no two
/// pairs give the same.
fn key(left: u32, right: u32) -> u64 {
    const MASK: u64 = (1 << KEY_BITS) - 1;
    let key = u64::from(left) << 24 | u64::from(right);
    let key = key.wrapping_mul(0x9e37_79b9_7f4b) & MASK;
    (key ^ key >> 25).wrapping_mul(0xd6e8_feb8_6659) & MASK
}

impl Pairs {
    /// How soon tokens `left` and `right` of `vocab` join, and what they become. `buffer` is for passing use.
    #[inline]
    pub fn join(&self, vocab: &Indexed, left: u32, right: u32, buffer: &mut Vec<u8>) -> Option<Join> {
        let key = key(left, right);
        let first = (key >> (KEY_BITS - self.place_bits)) as usize;
        let is_it = |entry: u64| entry as u32 != UNSEEN && entry >> 32 == key & TAG;
        let entry = self.seen[first].load(Ordering::Relaxed);
        let answer =
            if is_it(entry) { entry as u32 } else { self.answer(vocab, (left, right), first, buffer) };
        answer.checked_sub(FIRST_MERGE).map(|i| self.merges[i as usize].join())
    }

    /// The answer for a pair that is not in its first place: it is put there, and what was there goes to the second.
    #[cold]
    fn answer(&self, vocab: &Indexed, (left, right): (u32, u32), first: usize, buffer: &mut Vec<u8>) -> u32 {
        let (first, second) = (&self.seen[first], &self.seen[first ^ 1]);
        let entry = second.load(Ordering::Relaxed);
        let tag = key(left, right) & TAG;
        let answer = if entry as u32 != UNSEEN && entry >> 32 == tag {
            entry as u32
        } else {
            self.merge(vocab, left, right, buffer).map_or(APART, |i| FIRST_MERGE + i as u32)
        };
        let older = first.swap(tag << 32 | u64::from(answer), Ordering::Relaxed);
        if older as u32 != UNSEEN {
            second.store(older, Ordering::Relaxed);
        }
        answer
    }

    /// The merge of two tokens. Of several of the same pair the first counts.
    fn merge(&self, vocab: &Indexed, left: u32, right: u32, buffer: &mut Vec<u8>) -> Option<usize> {
        let (left_bytes, right_bytes) = (vocab.bytes(left), vocab.bytes(right));
        let rest = right_bytes.strip_prefix(self.prefix.as_bytes()).unwrap_or(right_bytes);
        buffer.clear();
        buffer.extend_from_slice(left_bytes);
        buffer.extend_from_slice(rest);
        let made = vocab.find_any(buffer)? as usize;
        let (start, end) = (self.starts[made] as usize, self.starts[made + 1] as usize);
        let cut = cut(left_bytes.len(), rest.len() < right_bytes.len())?;
        let merges = &self.merges[start..end];
        let i = merges.partition_point(|merge| merge.cut() < cut);
        // A merge speaks of texts, so it holds for the tokens that these are found as and not for others written alike.
        let holds = merges.get(i)?.cut() == cut && vocab.is_found(left) && vocab.is_found(right);
        holds.then_some(start + i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vocab: &Indexed, prefix: &str, merges: &[(&str, &str)]) -> Pairs {
        let mut reader = Reader::new("merges", vocab, prefix, merges.len()).unwrap();
        for (left, right) in merges {
            let write = |out: &mut Vec<u8>| {
                out.extend(left.as_bytes());
                out.extend(right.as_bytes());
                Ok(left.len())
            };
            reader.push(write).unwrap();
        }
        reader.finish()
    }

    #[test]
    fn a_merge_holds_for_its_two_texts_and_no_other_cut() {
        let vocab = Indexed::of(&["a", "b", "c", "ab", "bc", "abc", "a"]);
        let pairs = read(&vocab, "", &[("x", "y"), ("a", "b"), ("b", "c"), ("a", "bc"), ("a", "b")]);
        let join = |left, right| pairs.join(&vocab, left, right, &mut Vec::new()).map(|j| (j.rank, j.id));
        for _ in 0..2 {
            assert_eq!(join(0, 1), Some((1, 3)));
            assert_eq!(join(1, 2), Some((2, 4)));
            assert_eq!(join(0, 4), Some((3, 5)));
            // "ab" and "c" make a token, but no merge says so; "a" is the first of its name.
            assert_eq!((join(3, 2), join(2, 1), join(6, 1)), (None, None, None));
        }
    }

    #[test]
    fn a_prefix_is_left_out_and_still_told_apart() {
        let vocab = Indexed::of(&["a", "##b", "b", "ab", "##ab", "##a"]);
        let pairs = read(&vocab, "##", &[("a", "##b"), ("##a", "##b")]);
        let join = |left, right| pairs.join(&vocab, left, right, &mut Vec::new()).map(|j| (j.rank, j.id));
        assert_eq!((join(0, 1), join(5, 1), join(0, 2)), (Some((0, 3)), Some((1, 4)), None));
    }

    #[test]
    fn answers_stay_right_when_pairs_take_each_others_place() {
        let letters: Vec<String> = ('\u{4e00}'..).take(700).map(String::from).collect();
        let made: Vec<String> = (0..699).map(|i| format!("{}{}", letters[i], letters[i + 1])).collect();
        let tokens: Vec<&str> = letters.iter().chain(&made).map(String::as_str).collect();
        let vocab = Indexed::of(&tokens);
        let merges: Vec<_> = (0..699).map(|i| (tokens[i], tokens[i + 1])).collect();
        let pairs = read(&vocab, "", &merges);
        assert!(700 * 700 > 3 * pairs.seen.len());
        for (left, right) in (0..700).flat_map(|left| (0..700).map(move |right| (left, right))) {
            let expected = (right == left + 1).then_some(Join { rank: left, id: 700 + left });
            assert_eq!(pairs.join(&vocab, left, right, &mut Vec::new()), expected);
        }
    }

    #[test]
    fn refuses_a_left_part_of_a_book() {
        let book = "a".repeat(LEFT_BYTES_MAX + 1);
        let vocab = Indexed::of(&["b", &format!("{book}b")]);
        let mut reader = Reader::new("merges", &vocab, "", 1).unwrap();
        let refused = reader.push(|out| {
            out.extend(book.as_bytes());
            out.push(b'b');
            Ok(book.len())
        });
        assert!(refused.unwrap_err().to_string().contains("merge 0: a left part of 32768 bytes"));
    }
}
