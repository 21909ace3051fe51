//! Cutting a stretch of text into the pieces that the model sees one by one.
//!
//! A [`Cut`] takes a piece and gives smaller ones, some of them rewritten; cuts are applied one inside the other. What looks
//! for delimiters (a pattern, a kind of character) says with its [`Behaviour`] what becomes of them, as the tokenizers library
//! defines it.

use super::added::is_word;
use super::byte_level;
use super::categories::{PUNCTUATION, contains};
use super::pattern::Pattern;
use super::splitters::{NUMBER, NUMBERS, PUNCTUATION_AND_BACKTICK, Scanner, scanner};
use super::spm::Words;
use crate::error::Result;

/// One way of cutting.
#[derive(Debug)]
pub enum Cut {
    /// Pieces one after the other: each call of the scanner gives the length of the first.
    Scan(&'static Scanner),
    /// Delimiters that a pattern finds; with `invert`, what lies between them is the delimiter.
    Split { pattern: Pattern, behaviour: Behaviour, invert: bool },
    /// Delimiters of one character.
    Characters { is_delimiter: Test, behaviour: Behaviour },
    /// `\w+|[^\w\s]+`; white space goes.
    WordsAndSigns,
    /// A space becomes `replacement`, one is put before the text or not, and pieces begin with it.
    Metaspace { replacement: char, prepend: Prepend, split: bool },
    /// A space is put before a piece that does not begin with one.
    SpaceBefore,
    /// Bytes are written as GPT-2 writes them.
    ByteLevel,
    /// Pieces of so many characters.
    Length(usize),
    /// Words, where the vocabulary has no token that goes on from one into the next.
    Apart(Box<Words>),
}

/// What becomes of delimiters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    /// Runs of delimiters are one piece.
    Contiguous,
}

/// A kind of character.
#[derive(Debug, Clone, Copy)]
pub enum Test {
    Is(char),
    WhiteSpace,
    Number,
    Punctuation,
}

/// Where a text gets a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepend {
    /// Before every stretch.
    Always,
    /// Before the whole text.
    First,
    Never,
}

impl Test {
    fn holds(self, c: char) -> bool {
        match self {
            Self::Is(what) => c == what,
            Self::WhiteSpace => c.is_whitespace(),
            Self::Number => c.is_numeric(),
            Self::Punctuation => is_punctuation(c),
        }
    }
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_punctuation() } else { contains(&PUNCTUATION, c) }
}

impl Cut {
    /// Matches of the expression `source` are pieces, and so is what lies between.
    pub fn isolated(part: &str, source: &str) -> Result<Self> {
        Self::split(part, source, Behaviour::Isolated, false)
    }

    /// Delimiters that the expression `source` finds, by a scanner where there is one.
    pub fn split(part: &str, source: &str, behaviour: Behaviour, invert: bool) -> Result<Self> {
        let scanner = scanner(source).filter(|scanner| {
            behaviour == Behaviour::Isolated || scanner.is_total && behaviour == Behaviour::Removed && invert
        });
        Ok(match scanner {
            Some(scanner) => Self::Scan(scanner),
            None => Self::Split { pattern: Pattern::regex(part, source)?, behaviour, invert },
        })
    }

    /// The expression whose matches are pieces, like what lies between; `None` for a cut of another kind.
    pub fn as_isolated(&self) -> Option<&str> {
        use Behaviour::{Contiguous, Isolated};
        match self {
            Self::Scan(scanner) => Some(scanner.pattern),
            Self::Split { pattern: Pattern::Regex(regex), behaviour: Isolated, invert: false } => {
                Some(regex.as_str())
            }
            Self::Characters { is_delimiter, behaviour } => match (is_delimiter, behaviour) {
                (Test::Number, Isolated) => Some(NUMBER),
                (Test::Number, Contiguous) => Some(NUMBERS),
                (Test::Punctuation, Contiguous) => Some(PUNCTUATION_AND_BACKTICK),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Calls `piece` with what `cuts`, one inside the other, make of `text`; no piece is empty. `is_first` says that `text` is
/// where everything begins.
pub fn cut(cuts: &[Cut], text: &str, is_first: bool, piece: &mut dyn FnMut(&str)) {
    if text.is_empty() {
        return;
    }
    let Some((this, rest)) = cuts.split_first() else { return piece(text) };
    let mut next = |start: usize, end: usize| cut(rest, &text[start..end], is_first && start == 0, piece);
    match this {
        Cut::Scan(Scanner { first_piece, .. }) => {
            let mut at = 0;
            while at < text.len() {
                let end = at + first_piece(&text[at..]);
                next(at, end);
                at = end;
            }
        }
        Cut::Split { pattern, behaviour, invert } => {
            let mut merger = Merger::new(*behaviour, next);
            let mut done = 0;
            pattern.each(text, |start, end| {
                if done < start {
                    merger.push(done, start, *invert);
                }
                merger.push(start, end, !invert);
                done = end;
            });
            if done < text.len() {
                merger.push(done, text.len(), *invert);
            }
            merger.finish();
        }
        Cut::Characters { is_delimiter, behaviour } => {
            let mut merger = Merger::new(*behaviour, next);
            let mut done = 0;
            for (at, c) in text.char_indices().filter(|&(_, c)| is_delimiter.holds(c)) {
                if done < at {
                    merger.push(done, at, false);
                }
                done = at + c.len_utf8();
                merger.push(at, done, true);
            }
            if done < text.len() {
                merger.push(done, text.len(), false);
            }
            merger.finish();
        }
        Cut::WordsAndSigns => {
            let mut at = 0;
            while let Some(c) = text[at..].chars().next() {
                let (is_space, word) = (c.is_whitespace(), is_word(c));
                let goes_on = |c: char| c.is_whitespace() == is_space && is_word(c) == word;
                let end = text[at..].find(|c| !goes_on(c)).map_or(text.len(), |n| at + n);
                if !is_space {
                    next(at, end);
                }
                at = end;
            }
        }
        Cut::Metaspace { replacement, prepend, split } => {
            let marked = with_marks(
                text,
                *replacement,
                *prepend == Prepend::Always || *prepend == Prepend::First && is_first,
            );
            let behaviour = Behaviour::MergedWithNext;
            let marks = [Cut::Characters { is_delimiter: Test::Is(*replacement), behaviour }];
            let marks = if *split { &marks[..] } else { &[] };
            let mut is_first = is_first;
            cut(marks, &marked, is_first, &mut |part| {
                cut(rest, part, is_first, piece);
                is_first = false;
            });
        }
        Cut::SpaceBefore if text.starts_with(' ') => next(0, text.len()),
        Cut::SpaceBefore => cut(rest, &format!(" {text}"), is_first, piece),
        Cut::ByteLevel => {
            let written: String = text.bytes().map(byte_level::char_of).collect();
            cut(rest, &written, is_first, piece);
        }
        Cut::Apart(words) => {
            let mut at = 0;
            while at < text.len() {
                let end = at + words.first(&text[at..]);
                next(at, end);
                at = end;
            }
        }
        Cut::Length(n) => {
            let mut at = 0;
            while at < text.len() {
                let end = text[at..].char_indices().nth(*n).map_or(text.len(), |(n, _)| at + n);
                next(at, end);
                at = end;
            }
        }
    }
}

/// `text` with `mark` for every space, and one before it when `before` and it does not begin with one.
fn with_marks(text: &str, mark: char, before: bool) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4 + mark.len_utf8());
    if before && !text.starts_with([' ', mark]) {
        out.push(mark);
    }
    for (i, part) in text.split(' ').enumerate() {
        if i > 0 {
            out.push(mark);
        }
        out.push_str(part);
    }
    out
}

/// Gives delimiters and what lies between them, which come one after the other, to `emit` as the behaviour wants.
struct Merger<F> {
    behaviour: Behaviour,
    emit: F,
    held: Option<(usize, usize)>,
    was_delimiter: bool,
}

impl<F: FnMut(usize, usize)> Merger<F> {
    fn new(behaviour: Behaviour, emit: F) -> Self {
        Self { behaviour, emit, held: None, was_delimiter: false }
    }

    fn push(&mut self, start: usize, end: usize, is_delimiter: bool) {
        let joins = match self.behaviour {
            Behaviour::Removed if is_delimiter => return,
            Behaviour::Removed | Behaviour::Isolated => return (self.emit)(start, end),
            Behaviour::Contiguous => is_delimiter == self.was_delimiter,
            Behaviour::MergedWithPrevious => is_delimiter && !self.was_delimiter,
            Behaviour::MergedWithNext => !is_delimiter && self.was_delimiter,
        };
        self.was_delimiter = is_delimiter;
        self.held = match self.held {
            Some((first, _)) if joins => Some((first, end)),
            held => {
                held.into_iter().for_each(|(start, end)| (self.emit)(start, end));
                Some((start, end))
            }
        };
    }

    fn finish(mut self) {
        self.held.into_iter().for_each(|(start, end)| (self.emit)(start, end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(cuts: &[Cut], text: &str) -> Vec<String> {
        let mut out = Vec::new();
        cut(cuts, text, true, &mut |piece| out.push(piece.to_owned()));
        out
    }

    #[test]
    fn every_behaviour_does_what_its_name_says() {
        use Behaviour::*;
        for (behaviour, expected) in [
            (Removed, &["the", "final", "countdown"][..]),
            (Isolated, &["the", "-", "final", "-", "-", "countdown", "-"]),
            (MergedWithPrevious, &["the-", "final-", "-", "countdown-"]),
            (MergedWithNext, &["the", "-final", "-", "-countdown", "-"]),
            (Contiguous, &["the", "-", "final", "--", "countdown", "-"]),
        ] {
            let characters = Cut::Characters { is_delimiter: Test::Is('-'), behaviour };
            let split = Cut::split("test", "-", behaviour, false).unwrap();
            let inverted = Cut::split("test", "[^-]", behaviour, true).unwrap();
            for cut in [characters, split] {
                assert_eq!(pieces(&[cut], "the-final--countdown-"), expected, "{behaviour:?}");
            }
            if behaviour == Removed {
                assert_eq!(pieces(&[inverted], "ab-c"), ["a", "b", "c"]);
            }
        }
    }

    #[test]
    fn metaspace_marks_words_and_the_beginning() {
        let cut = |prepend, split| Cut::Metaspace { replacement: '▁', prepend, split };
        assert_eq!(pieces(&[cut(Prepend::Always, true)], "Hey  you"), ["▁Hey", "▁", "▁you"]);
        assert_eq!(pieces(&[cut(Prepend::Never, false)], " Hey"), ["▁Hey"]);
        let apart = Cut::Characters { is_delimiter: Test::Is('-'), behaviour: Behaviour::Removed };
        assert_eq!(pieces(&[apart, cut(Prepend::First, true)], "a-b"), ["▁a", "b"]);
    }

    #[test]
    fn words_signs_and_lengths() {
        assert_eq!(pieces(&[Cut::WordsAndSigns], "Hey, y_u  1!?"), ["Hey", ",", "y_u", "1", "!?"]);
        assert_eq!(pieces(&[Cut::Length(2)], "aébcd"), ["aé", "bc", "d"]);
        assert_eq!(pieces(&[Cut::SpaceBefore, Cut::ByteLevel], "é\n"), ["ĠÃ©Ċ"]);
        let behaviour = Behaviour::Isolated;
        let cuts = [
            Cut::Characters { is_delimiter: Test::WhiteSpace, behaviour: Behaviour::Removed },
            Cut::Characters { is_delimiter: Test::Punctuation, behaviour },
        ];
        assert_eq!(pieces(&cuts, "so, 「x」 $"), ["so", ",", "「", "x", "」", "$"]);
    }
}
