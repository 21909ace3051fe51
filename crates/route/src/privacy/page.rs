//! A text as detectors read it: its numbers are known, and words are looked for nearby.
//!
//! A number is written in groups of digits with little between them: `4111 1111-1111.1111`. [`Page::new`] finds all groups
//! once; [`Page::numbers`] goes through the sequences of neighbouring groups that have as many digits as asked for and tells
//! their layout, such as `3-2-4`, so that a detector states which layouts it takes. [`Page::said_before`] looks for words
//! such as "card" right before a place: what a shape leaves open a word nearby may decide.

use std::ops::{Range, RangeInclusive};

use super::{Certainty, Finding, Kind};

/// Groups that a number may have. Of seven is the French NIR: `1 84 12 76 451 089 46`.
const GROUPS_MAX: usize = 8;
/// Bytes before a place in which [`Page::said_before`] looks for words.
const BEFORE: usize = 44;
/// Bytes behind a place in which [`Page::said_behind`] looks for words.
const BEHIND: usize = 14;

pub(super) struct Page<'a> {
    pub(super) text: &'a str,
    pub(super) groups: Vec<Group>,
}

/// Neighbouring digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What lies between this and the next: `b' '`, `b'-'`, `b'.'`, `b'/'`, `b'('` for a bracket of any sort, 0 if something
    /// else does or too much.
    pub(super) gap: u8,
    /// Whether no space is in the gap.
    pub(super) glued: bool,
}

/// Neighbouring groups whose digits together are as many as asked for.
pub(super) struct Number<'a> {
    /// 0 to 9 each.
    pub(super) digits: &'a [u8],
    /// Lengths of groups and what is between them: `3-2-4`.
    pub(super) layout: &'a str,
    pub(super) span: Range<usize>,
    /// What ties it to a further group of digits before it, 0 if nothing does.
    pub(super) tied_before: u8,
    /// The same behind it.
    pub(super) tied_behind: u8,
    /// Whether no further group is before or behind it, not even behind a space.
    pub(super) alone: bool,
}

impl Number<'_> {
    /// Whether it is no part of a longer number.
    pub(super) fn is_whole(&self) -> bool {
        self.tied_before == 0 && self.tied_behind == 0
    }

    pub(super) fn value(&self, digits: Range<usize>) -> u64 {
        self.digits[digits].iter().fold(0, |value, digit| value * 10 + u64::from(*digit))
    }
}

impl<'a> Page<'a> {
    pub(super) fn new(text: &'a str) -> Page<'a> {
        let bytes = text.as_bytes();
        let mut groups: Vec<Group> = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if !bytes[at].is_ascii_digit() {
                at += 1;
                continue;
            }
            let start = at;
            while at < bytes.len() && bytes[at].is_ascii_digit() {
                at += 1;
            }
            if let Some(last) = groups.last_mut() {
                (last.gap, last.glued) = gap(&bytes[last.end..start]);
            }
            groups.push(Group { start, end: at, gap: 0, glued: false });
        }
        Page { text, groups }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Every sequence of neighbouring groups with so many digits, neither in the middle of a word.
    pub(super) fn numbers(&self, n_digits: RangeInclusive<usize>, mut take: impl FnMut(&Number<'_>)) {
        let mut digits = [0; 64];
        let most = (*n_digits.end()).min(digits.len());
        for first in 0..self.groups.len() {
            let start = self.groups[first].start;
            if self.groups[first].end - start > most || self.letter_before(start) {
                continue;
            }
            // Between groups there is a byte at least, so the next ones may hold too few digits however they lie.
            let last = (first + GROUPS_MAX).min(self.groups.len()) - 1;
            if self.groups[last].end - start - (last - first) < *n_digits.start() {
                continue;
            }
            let (mut n, mut layout) = (0, Layout::default());
            for (i, group) in self.groups.iter().enumerate().skip(first).take(GROUPS_MAX) {
                let len = group.end - group.start;
                if n + len > most {
                    break;
                }
                for (to, from) in digits[n..n + len].iter_mut().zip(&self.bytes()[group.start..group.end]) {
                    *to = from - b'0';
                }
                n += len;
                layout.push_len(len);
                if n_digits.contains(&n) && !self.letter_behind(group.end) {
                    take(&Number {
                        digits: &digits[..n],
                        layout: layout.as_str(),
                        span: start..group.end,
                        tied_before: first.checked_sub(1).map_or(0, |i| tie(&self.groups[i])),
                        alone: (first == 0 || self.groups[first - 1].gap == 0) && group.gap == 0,
                        tied_behind: self.groups.get(i + 1).map_or(0, |_| tie(group)),
                    });
                }
                if group.gap == 0 {
                    break;
                }
                layout.push(group.gap);
            }
        }
    }

    /// Whether a letter stands right before, so that a word goes on. Scripts without spaces between words don't count.
    pub(super) fn letter_before(&self, at: usize) -> bool {
        self.text[..at].chars().next_back().is_some_and(is_of_word)
    }

    /// Whether a letter or digit stands right behind.
    pub(super) fn letter_behind(&self, at: usize) -> bool {
        self.text[at..].chars().next().is_some_and(is_of_word)
    }

    /// Whether a word that begins with one of these (in lower case) stands shortly before.
    pub(super) fn said_before(&self, at: usize, cues: &[&str]) -> bool {
        let bytes = &self.bytes()[at.saturating_sub(BEFORE)..at];
        says(bytes, at > BEFORE, cues)
    }

    /// The same shortly behind.
    pub(super) fn said_behind(&self, at: usize, cues: &[&str]) -> bool {
        says(&self.bytes()[at..(at + BEHIND).min(self.text.len())], false, cues)
    }
}

/// `cut`: the first word may have begun before.
fn says(bytes: &[u8], cut: bool, cues: &[&str]) -> bool {
    let mut begins = !cut;
    for (at, byte) in bytes.iter().enumerate() {
        let of_word = byte.is_ascii_alphanumeric() || *byte >= 0x80;
        if of_word && begins {
            let rest = &bytes[at..];
            if cues.iter().any(|cue| {
                rest.get(..cue.len()).is_some_and(|word| word.eq_ignore_ascii_case(cue.as_bytes()))
            }) {
                return true;
            }
        }
        begins = !of_word;
    }
    false
}

fn tie(group: &Group) -> u8 {
    if group.glued { group.gap } else { 0 }
}

/// What lies between two groups, and whether no space is in it.
fn gap(between: &[u8]) -> (u8, bool) {
    let (mut gap, mut glued) = (b' ', true);
    if between.len() > 3 {
        return (0, false);
    }
    for byte in between {
        match byte {
            b' ' => glued = false,
            b'-' | b'.' | b'/' if gap == b' ' => gap = *byte,
            b'(' | b')' => gap = b'(',
            b'-' | b'.' | b'/' if gap == b'(' => {}
            _ => return (0, false),
        }
    }
    (gap, glued)
}

/// A letter or digit of a script that writes spaces between words.
fn is_of_word(char: char) -> bool {
    char.is_alphanumeric() && char < '\u{2e80}'
}

/// `3-2-4`, without an allocation.
#[derive(Default)]
struct Layout {
    // Eight groups of at most two digits' length and seven gaps.
    bytes: [u8; 24],
    len: usize,
}

impl Layout {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn push_len(&mut self, len: usize) {
        if len >= 10 {
            self.push(b'0' + (len / 10) as u8);
        }
        self.push(b'0' + (len % 10) as u8);
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

/// What one detector found.
#[derive(Default)]
pub(super) struct Hits(Vec<(Range<usize>, Certainty)>);

impl Hits {
    /// Of two that overlap the more certain stays, then the longer, then the first. Hits come by rising start.
    pub(super) fn push(&mut self, span: Range<usize>, certainty: Certainty) {
        debug_assert!(self.0.last().is_none_or(|(last, _)| last.start <= span.start), "hits out of order");
        while let Some((last, sure)) = self.0.last() {
            if last.end <= span.start {
                break;
            }
            if (*sure, last.len()) >= (certainty, span.len()) {
                return;
            }
            self.0.pop();
        }
        self.0.push((span, certainty));
    }

    pub(super) fn into_findings(self, kind: &'static Kind) -> impl Iterator<Item = Finding> {
        self.0.into_iter().map(move |(span, certainty)| Finding { kind, span, certainty })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, n_digits: RangeInclusive<usize>) -> Vec<(String, String, bool)> {
        let page = Page::new(text);
        let mut found = Vec::new();
        page.numbers(n_digits, |n| {
            found.push((text[n.span.clone()].to_owned(), n.layout.to_owned(), n.is_whole()));
        });
        found
    }

    #[test]
    fn numbers_are_told_with_their_layout() {
        assert_eq!(numbers("a 054-28-6917.", 9..=9), [("054-28-6917".into(), "3-2-4".into(), true)]);
        assert_eq!(
            numbers("12 345 6", 5..=6),
            [("12 345".into(), "2 3".into(), true), ("12 345 6".into(), "2 3 1".into(), true),]
        );
        assert_eq!(numbers("0.123456", 6..=6), [("123456".into(), "6".into(), false)]);
        assert_eq!(numbers("(37) 788", 5..=5), [("37) 788".into(), "2(3".into(), true)]);
    }

    #[test]
    fn numbers_are_no_parts_of_words() {
        assert!(numbers("x12345 12345y é12345", 5..=5).is_empty());
        assert_eq!(numbers("卡号12345。", 5..=5).len(), 1);
    }

    #[test]
    fn cues_are_beginnings_of_words() {
        let page = Page::new("Their Steuernummer lautet 12");
        assert!(page.said_before(26, &["steuer"]));
        assert!(!page.said_before(26, &["nummer"]));
        assert!(page.said_behind(0, &["steuer"]) && !page.said_behind(0, &["lautet"]));
    }

    #[test]
    fn of_overlapping_hits_the_best_stays() {
        let mut hits = Hits::default();
        hits.push(0..4, Certainty::Possible);
        hits.push(2..5, Certainty::Likely);
        hits.push(3..9, Certainty::Possible);
        assert_eq!(hits.0, [(2..5, Certainty::Likely)]);
    }
}
