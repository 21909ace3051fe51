//! Scanners: published patterns, written out by hand.
//!
//! Each gives the length in bytes of the first piece of a text, at least 1, and is asked again for the rest: a match, or what
//! lies before the next one. None looks behind, so cutting is one linear pass. What they must equal is in the shelf's patterns.

use crate::token::added::is_word;
use crate::token::categories::{CAPITALS, DIGITS, LETTERS, MARKS, PUNCTUATION, SMALL, SYMBOLS, contains};

/// Words and numbers with the space before them, contractions as ASCII writes them.
pub fn gpt2(text: &str) -> usize {
    if let Some(n) = contraction(text, |c| c) {
        return n;
    }
    let body = usize::from(text.starts_with(' '));
    match class::<false>(text, body) {
        Some((Class::Letter, _)) => run::<false>(text, body, |c| c == Class::Letter),
        Some((Class::Number, _)) => run::<false>(text, body, |c| c == Class::Number),
        Some((Class::Other, _)) => run::<false>(text, body, |c| c == Class::Other),
        Some((Class::Space | Class::Newline, _)) | None => white_space(text),
    }
}

/// Words with what stands before them, at most `DIGITS` numbers to a piece, newlines after signs. With `MARKS` combining marks
/// count as letters, without `CONTRACTIONS` an apostrophe is what stands before a word.
pub fn cl100k<const DIGITS: usize, const MARKS: bool, const CONTRACTIONS: bool>(text: &str) -> usize {
    if CONTRACTIONS && let Some(n) = contraction(text, fold) {
        return n;
    }
    let Some((first, n)) = class::<MARKS>(text, 0) else { return 0 };
    let letters = |from| run::<MARKS>(text, from, |c| c == Class::Letter);
    if first == Class::Letter {
        return letters(0);
    }
    if first == Class::Number {
        return numbers::<DIGITS>(text);
    }
    if first != Class::Newline && matches!(class::<MARKS>(text, n), Some((Class::Letter, _))) {
        return letters(n);
    }
    signs_or_space::<MARKS>(text, |c| matches!(c, '\r' | '\n'))
}

/// ` ?[^\s\p{L}\p{N}]+E*|\s*[\r\n]+|\s+(?!\S)|\s+` at the start of a text that starts so, where `E` is what `ends` accepts.
fn signs_or_space<const MARKS: bool>(text: &str, ends: impl Fn(char) -> bool) -> usize {
    let body = usize::from(text.starts_with(' '));
    if matches!(class::<MARKS>(text, body), Some((Class::Other, _))) {
        let end = run::<MARKS>(text, body, |c| c == Class::Other);
        return end + text[end..].find(|c| !ends(c)).unwrap_or(text.len() - end);
    }
    lines_or_space(text)
}

/// `\s*[\r\n]+|\s+(?!\S)|\s+` at the start of a text that starts so.
fn lines_or_space(text: &str) -> usize {
    let end = run::<false>(text, 0, |c| matches!(c, Class::Space | Class::Newline));
    match text[..end].rfind(['\r', '\n']) {
        Some(newline) => newline + 1,
        None => white_space(text),
    }
}

/// The first numbers, at most `N`, of a text that starts with one.
fn numbers<const N: usize>(text: &str) -> usize {
    if N == 1 {
        return text.chars().next().map_or(0, char::len_utf8);
    }
    text.chars().take(N).take_while(|c| c.is_numeric()).map(char::len_utf8).sum()
}

/// Words that end where a capital follows a small letter, with what stands before them and, with `CONTRACTIONS`, with `'s`
/// and its like after them; at most `NUMBERS` numbers to a piece; newlines and slashes after signs.
pub fn o200k<const NUMBERS: usize, const CONTRACTIONS: bool>(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    let (class, after_first) = class::<false>(text, 0).expect("it is not empty");
    let lead = matches!(class, Class::Space | Class::Other).then_some(after_first);
    // First as a word with a small letter, with and without what stands before; then as capitals alone.
    let word = lead.and_then(|at| mixed_word(text, at)).or_else(|| mixed_word(text, 0));
    let word = word.or_else(|| lead.and_then(|at| capitals(text, at))).or_else(|| capitals(text, 0));
    match word {
        Some(end) if CONTRACTIONS => end + contraction(&text[end..], fold).unwrap_or(0),
        Some(end) => end,
        None if first.is_numeric() => numbers::<NUMBERS>(text),
        None => signs_or_space::<false>(text, |c| matches!(c, '\r' | '\n' | '/')),
    }
}

/// How a character counts in a word: as a capital, as small, or as either (`\p{Lm}\p{Lo}\p{M}`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Capital,
    Small,
    Either,
}

fn case(c: char) -> Option<Case> {
    if c.is_ascii() {
        return match c {
            'a'..='z' => Some(Case::Small),
            'A'..='Z' => Some(Case::Capital),
            _ => None,
        };
    }
    if contains(&SMALL, c) {
        Some(Case::Small)
    } else if contains(&CAPITALS, c) {
        Some(Case::Capital)
    } else {
        (contains(&LETTERS, c) || contains(&MARKS, c)).then_some(Case::Either)
    }
}

/// Where `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` ends that begins at byte `from`. The first part takes all
/// it can; where no small letter follows it gives back up to its last character that also counts as small.
fn mixed_word(text: &str, from: usize) -> Option<usize> {
    let mut last_either = None;
    let mut chars = text[from..].char_indices().map(|(at, c)| (from + at, c));
    let end = loop {
        match chars.next() {
            Some((at, c)) => match case(c) {
                Some(Case::Capital) => {}
                Some(Case::Either) => last_either = Some(at + c.len_utf8()),
                Some(Case::Small) => break at,
                None => return last_either,
            },
            None => return last_either,
        }
    };
    let small = |c| matches!(case(c), Some(Case::Small | Case::Either));
    Some(end + text[end..].find(|c| !small(c)).unwrap_or(text.len() - end))
}

/// Where the capitals end that begin at byte `from`, if there are any.
fn capitals(text: &str, from: usize) -> Option<usize> {
    let n = text[from..].find(|c| case(c) != Some(Case::Capital)).unwrap_or(text.len() - from);
    (n > 0).then_some(from + n)
}

/// DeepSeek V3's third pattern. Numbers and controls alone match nothing.
pub fn deepseek3(text: &str) -> usize {
    match_or_gap(text, |text| {
        let mut chars = text.chars();
        let (first, second) = (chars.next()?, chars.next());
        if first.is_ascii_punctuation() && second.is_some_and(|c| c.is_ascii_alphabetic()) {
            return Some(1 + text[1..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len() - 1));
        }
        let letter = |c: char| contains(&LETTERS, c) || contains(&MARKS, c);
        let sign = |c: char| contains(&PUNCTUATION, c) || contains(&SYMBOLS, c);
        let run = |from: usize, inside: &dyn Fn(char) -> bool| {
            from + text[from..].find(|c| !inside(c)).unwrap_or(text.len() - from)
        };
        let lead = !matches!(first, '\r' | '\n') && !contains(&LETTERS, first) && !sign(first);
        if lead && second.is_some_and(letter) {
            return Some(run(first.len_utf8(), &letter));
        }
        if letter(first) {
            return Some(run(0, &letter));
        }
        let body = usize::from(first == ' ');
        if text[body..].chars().next().is_some_and(sign) {
            return Some(run(run(body, &sign), &|c| matches!(c, '\r' | '\n')));
        }
        first.is_whitespace().then(|| lines_or_space(text))
    })
}

/// Han as DeepSeek counts it, hiragana and katakana.
pub fn deepseek_cjk(text: &str) -> usize {
    alternate(text, |c| matches!(c, '一'..='龥' | '\u{3040}'..='ゟ' | '゠'..='ヿ'))
}

/// What `matches` at the start of the text, or what lies before the next match.
fn match_or_gap(text: &str, matches: impl Fn(&str) -> Option<usize>) -> usize {
    let starts = text.char_indices().map(|(at, _)| at);
    for at in starts {
        if let Some(n) = matches(&text[at..]) {
            return if at == 0 { n } else { at };
        }
    }
    text.len()
}

/// `\s+(?!\S)|\s+` at the start of a text that starts with white space: all of it at the end of the text, else all but the
/// last character, which belongs to what follows, unless it is the only one.
fn white_space(text: &str) -> usize {
    let end = run::<false>(text, 0, |c| matches!(c, Class::Space | Class::Newline));
    match text[..end].char_indices().next_back() {
        Some((last, _)) if end < text.len() && last > 0 => last,
        _ => end,
    }
}

/// Each number, and what lies between.
pub fn single_numbers(text: &str) -> usize {
    match text.chars().next() {
        Some(c) if c.is_numeric() => c.len_utf8(),
        _ => text.find(char::is_numeric).unwrap_or(text.len()),
    }
}

/// Runs of numbers, and what lies between.
pub fn number_runs(text: &str) -> usize {
    alternate(text, char::is_numeric)
}

/// Runs of numbers cut after every third, and what lies between.
pub fn numbers_by_3(text: &str) -> usize {
    match text.find(char::is_numeric) {
        Some(0) => numbers::<3>(text),
        other => other.unwrap_or(text.len()),
    }
}

/// Runs of numbers cut before the last three, the three before them and so on, and what lies between.
pub fn numbers_by_3_from_right(text: &str) -> usize {
    match text.find(char::is_numeric) {
        Some(0) => first_of_groups(text, char::is_numeric),
        other => other.unwrap_or(text.len()),
    }
}

/// Runs of digits cut from the right where no word goes on behind them; others, like all that is not digits, lie between.
pub fn digits_by_3_to_word_end(text: &str) -> usize {
    let mut at = 0;
    loop {
        let Some(start) = text[at..].find(is_digit).map(|n| at + n) else { return text.len() };
        let run = text[start..].chars().take(RUN_MAX).take_while(|&c| is_digit(c));
        let end = start + run.map(char::len_utf8).sum::<usize>();
        let is_cut = !text[end..].chars().next().is_some_and(|c| is_word(c) && !is_digit(c));
        if is_cut {
            return if start > 0 { start } else { first_of_groups(text, is_digit) };
        }
        at = end;
    }
}

/// A cut before every group of three digits, counted from the end of a run.
pub fn before_every_3_digits(text: &str) -> usize {
    let mut at = 0;
    loop {
        let Some(start) = text[at..].find(is_digit).map(|n| at + n) else { return text.len() };
        let n = text[start..].chars().take(RUN_MAX).take_while(|&c| is_digit(c)).count();
        let offset = |n: usize| text[start..].chars().take(n).map(char::len_utf8).sum::<usize>();
        let first = start + offset(n % 3);
        if n >= 3 && first > 0 {
            return first;
        }
        if n > 3 {
            return offset(3);
        }
        at = start + offset(n);
    }
}

/// Runs of numbers are counted only so far, three by three: longer ones are cut from the left until this much is left.
const RUN_MAX: usize = 3 * 1024;

/// The first one to three of a run of `inside`, so that threes are left.
fn first_of_groups(text: &str, inside: impl Fn(char) -> bool) -> usize {
    let n = text.chars().take(RUN_MAX).take_while(|&c| inside(c)).count();
    let first = if n.is_multiple_of(3) { 3 } else { n % 3 };
    text.chars().take(first).map(char::len_utf8).sum()
}

fn is_digit(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { contains(&DIGITS, c) }
}

/// Each line break character, and what lies between.
pub fn newline(text: &str) -> usize {
    match text.find(['\r', '\n']) {
        Some(0) => 1,
        other => other.unwrap_or(text.len()),
    }
}

/// Lines, and the line breaks between.
pub fn lines(text: &str) -> usize {
    alternate(text, |c| c == '\n')
}

/// Three ASCII digits, and what lies between.
pub fn three_digits(text: &str) -> usize {
    match text.as_bytes().windows(3).position(|w| w.iter().all(u8::is_ascii_digit)) {
        Some(0) => 3,
        Some(n) => n,
        None => text.len(),
    }
}

/// Runs of punctuation, and what lies between.
pub fn punctuation(text: &str) -> usize {
    alternate(text, is_punctuation)
}

/// Runs of punctuation, backticks among them, and what lies between.
pub fn punctuation_and_backtick(text: &str) -> usize {
    alternate(text, |c| c == '`' || is_punctuation(c))
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_punctuation() && c != '`' } else { contains(&PUNCTUATION, c) }
}

/// The run of characters that are, or are not, `inside`, whichever stands first.
fn alternate(text: &str, inside: impl Fn(char) -> bool) -> usize {
    let first = text.chars().next().is_some_and(&inside);
    text.find(|c| inside(c) != first).unwrap_or(text.len())
}

/// The length of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at the start, after `fold` of each letter.
fn contraction(text: &str, fold: impl Fn(char) -> char) -> Option<usize> {
    let rest = text.strip_prefix('\'')?;
    let mut chars = rest.chars();
    let first = chars.next()?;
    if matches!(fold(first), 's' | 't' | 'm' | 'd') {
        return Some(1 + first.len_utf8());
    }
    let second = chars.next()?;
    matches!((fold(first), fold(second)), ('r' | 'v', 'e') | ('l', 'l')).then_some(3)
}

/// Case folding as far as contractions need it: ASCII, and the long s, which folds to s.
fn fold(c: char) -> char {
    if c == 'ſ' { 's' } else { c.to_ascii_lowercase() }
}

fn is_mark(c: char) -> bool {
    contains(&MARKS, c)
}

/// What a character is to the patterns; the classes are disjoint and cover everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    /// `\r` and `\n`.
    Newline,
    /// Other white space.
    Space,
    Other,
}

static ASCII: [Class; 128] = {
    let mut table = [Class::Other; 128];
    let mut c = 0;
    while c < 128 {
        table[c as usize] = match c {
            b'\r' | b'\n' => Class::Newline,
            b' ' | b'\t' | 0x0b | 0x0c => Class::Space,
            b'0'..=b'9' => Class::Number,
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            _ => Class::Other,
        };
        c += 1;
    }
    table
};

/// The class of the character at byte `at`, a character's start, and where it ends.
fn class<const MARKS: bool>(text: &str, at: usize) -> Option<(Class, usize)> {
    let &byte = text.as_bytes().get(at)?;
    if let Some(&class) = ASCII.get(byte as usize) {
        return Some((class, at + 1));
    }
    let c = text[at..].chars().next()?;
    let class = if contains(&LETTERS, c) || MARKS && is_mark(c) {
        Class::Letter
    } else if c.is_numeric() {
        Class::Number
    } else if c.is_whitespace() {
        Class::Space
    } else {
        Class::Other
    };
    Some((class, at + c.len_utf8()))
}

/// Where the run of characters whose class is `inside` ends that starts at byte `from`.
fn run<const MARKS: bool>(text: &str, from: usize, inside: impl Fn(Class) -> bool) -> usize {
    let mut end = from;
    while let Some((_, next)) = class::<MARKS>(text, end).filter(|&(class, _)| inside(class)) {
        end = next;
    }
    end
}
