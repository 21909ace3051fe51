//! Pre-tokenizers: how byte-level BPE cuts a text into pieces before merging, one per `tokenizer.ggml.pre` name.
//!
//! The published definitions are regular expressions; these are scanners written by hand that accept the same language.
//! A [`Splitter`] is a list of stages. A stage gives the length of the first piece of a text; it is applied until the
//! text is used up, and every piece goes through the next stage alone. Pieces always join up to the text they came from.
//! A stage looks at the text from its start only (no pattern here looks behind), so cutting is one linear pass.

use super::categories::{LETTERS, PUNCTUATION, contains};

/// One pre-tokenizer and what goes with it.
#[derive(Debug)]
pub struct Splitter {
    /// The names it has in `tokenizer.ggml.pre`.
    pub names: &'static [&'static str],
    /// Applied one inside the other; each gives the length in bytes, at least 1, of the first piece of a text that is not
    /// empty.
    pub stages: &'static [fn(&str) -> usize],
    /// A piece that is a token as a whole becomes it without merging.
    pub whole_pieces: WholePieces,
    /// Whether BOS comes first when the file does not say.
    pub adds_bos: bool,
}

/// What happens to a piece that is in the vocabulary as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholePieces {
    /// It becomes that token at once (Hugging Face calls it `ignore_merges`).
    AreTokens,
    /// It is merged like any other, which usually but not always gives that token.
    AreMerged,
}

/// The shelf.
pub static SPLITTERS: &[&Splitter] =
    &[&GPT2, &LLAMA3, &LLAMA3_MERGED, &QWEN2, &QWEN35, &DIGITS_GPT2, &FALCON, &DEFAULT];

/// Every name on the shelf.
pub fn names() -> impl Iterator<Item = &'static str> {
    SPLITTERS.iter().flat_map(|s| s.names.iter().copied())
}

/// The splitter called `name`.
pub fn by_name(name: &str) -> Option<&'static Splitter> {
    SPLITTERS.iter().copied().find(|s| s.names.contains(&name))
}

static GPT2: Splitter = Splitter {
    names: &[
        "gpt-2",
        "phi-2",
        "mpt",
        "olmo",
        "jais",
        "trillion",
        "granite-docling",
        "exaone4",
        "gigachat",
        "mellum",
        "modern-bert",
        "a.x-4.0",
        "jina-es",
        "jina-de",
        "jina-v2-es",
        "jina-v2-de",
    ],
    stages: &[gpt2],
    whole_pieces: WholePieces::AreMerged,
    adds_bos: false,
};

static LLAMA3: Splitter = Splitter {
    names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
    stages: &[cl100k::<3, false>],
    whole_pieces: WholePieces::AreTokens,
    adds_bos: true,
};

static LLAMA3_MERGED: Splitter = Splitter {
    names: &["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"],
    stages: &[cl100k::<3, false>],
    whole_pieces: WholePieces::AreMerged,
    adds_bos: false,
};

static QWEN2: Splitter = Splitter {
    names: &["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "kormo", "hunyuan", "solar-open", "grok-2"],
    stages: &[cl100k::<1, false>],
    whole_pieces: WholePieces::AreMerged,
    adds_bos: false,
};

static QWEN35: Splitter = Splitter {
    names: &["qwen35"],
    stages: &[cl100k::<1, true>],
    whole_pieces: WholePieces::AreMerged,
    adds_bos: false,
};

static DIGITS_GPT2: Splitter = Splitter {
    names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
    stages: &[single_numbers, gpt2],
    whole_pieces: WholePieces::AreMerged,
    adds_bos: false,
};

static FALCON: Splitter = Splitter {
    names: &["falcon"],
    stages: &[punctuation_and_backtick, gpt2, three_digits],
    whole_pieces: WholePieces::AreMerged,
    adds_bos: false,
};

static DEFAULT: Splitter = Splitter {
    names: &["default"],
    stages: &[punctuation, gpt2, number_runs, three_digits],
    whole_pieces: WholePieces::AreMerged,
    adds_bos: false,
};

/// Calls `piece` with each piece of `text`, in order.
pub fn split<'a>(stages: &[fn(&str) -> usize], text: &'a str, piece: &mut impl FnMut(&'a str)) {
    let Some((stage, rest)) = stages.split_first() else { return piece(text) };
    let mut left = text;
    while !left.is_empty() {
        let (head, tail) = left.split_at(stage(left));
        split(rest, head, piece);
        left = tail;
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
fn gpt2(text: &str) -> usize {
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

/// The pattern that GPT-4's cl100k began and Llama 3 and Qwen 2 follow, with at most `DIGITS` numbers to a piece. With
/// `MARKS`, combining marks count as letters.
///
/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,DIGITS}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn cl100k<const DIGITS: usize, const MARKS: bool>(text: &str) -> usize {
    if let Some(n) = contraction(text, fold) {
        return n;
    }
    let Some((first, n)) = class::<MARKS>(text, 0) else { return 0 };
    let letters = |from| run::<MARKS>(text, from, |c| c == Class::Letter);
    if first == Class::Letter {
        return letters(0);
    }
    if first == Class::Number {
        return text.char_indices().nth(1).map_or(text.len(), |(second, _)| {
            let more = text[second..].chars().take(DIGITS - 1).take_while(|c| c.is_numeric());
            second + more.map(char::len_utf8).sum::<usize>()
        });
    }
    if first != Class::Newline && matches!(class::<MARKS>(text, n), Some((Class::Letter, _))) {
        return letters(n);
    }
    let body = usize::from(text.starts_with(' '));
    if matches!(class::<MARKS>(text, body), Some((Class::Other, _))) {
        let end = run::<MARKS>(text, body, |c| c == Class::Other);
        return run::<MARKS>(text, end, |c| c == Class::Newline);
    }
    let end = run::<MARKS>(text, 0, |c| matches!(c, Class::Space | Class::Newline));
    match text[..end].rfind(['\r', '\n']) {
        Some(newline) => newline + 1,
        None => white_space(text),
    }
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

/// `\p{N}`, and what lies between.
fn single_numbers(text: &str) -> usize {
    match text.chars().next() {
        Some(c) if c.is_numeric() => c.len_utf8(),
        _ => text.find(char::is_numeric).unwrap_or(text.len()),
    }
}

/// `\p{N}+`, and what lies between.
fn number_runs(text: &str) -> usize {
    alternate(text, char::is_numeric)
}

/// `[0-9][0-9][0-9]`, and what lies between.
fn three_digits(text: &str) -> usize {
    match text.as_bytes().windows(3).position(|w| w.iter().all(u8::is_ascii_digit)) {
        Some(0) => 3,
        Some(n) => n,
        None => text.len(),
    }
}

/// `[\p{P}\$\+<=>\^~\|]+`, and what lies between.
fn punctuation(text: &str) -> usize {
    alternate(text, is_punctuation)
}

/// `[\p{P}\$\+<=>\^~\|`]+`, and what lies between.
fn punctuation_and_backtick(text: &str) -> usize {
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
    let class = if contains(&LETTERS, c) || MARKS && contains(&super::categories::MARKS, c) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
        let mut out = Vec::new();
        split(by_name(name).unwrap().stages, text, &mut |p| out.push(p));
        out
    }

    #[test]
    fn every_name_is_on_the_shelf_once() {
        let mut all: Vec<_> = names().collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|w| w[0] != w[1]), "{all:?}");
        assert!(all.iter().all(|name| by_name(name).is_some()));
    }

    #[test]
    fn gpt2_keeps_the_space_with_the_word() {
        assert_eq!(
            pieces("gpt-2", "I'll go,  42 ways!\n"),
            ["I", "'ll", " go", ",", " ", " 42", " ways", "!", "\n"]
        );
        assert_eq!(pieces("gpt-2", "a \n b'S"), ["a", " \n", " b", "'", "S"]);
    }

    #[test]
    fn llama3_takes_three_digits_and_newlines_after_punctuation() {
        assert_eq!(
            pieces("llama-bpe", "12345 you'RE?\n\n x\n  \ny"),
            ["123", "45", " you", "'RE", "?\n\n", " x", "\n  \n", "y"]
        );
        assert_eq!(pieces("llama-bpe", "(a) \tb  "), ["(a", ")", " ", "\tb", "  "]);
    }

    #[test]
    fn qwen2_takes_one_digit_and_qwen35_keeps_marks_with_letters() {
        assert_eq!(pieces("qwen2", "x12 e\u{301}a"), ["x", "1", "2", " e", "\u{301}a"]);
        assert_eq!(pieces("qwen35", "x12 e\u{301}a"), ["x", "1", "2", " e\u{301}a"]);
    }

    #[test]
    fn stages_apply_inside_each_other() {
        assert_eq!(pieces("smollm", "a 12b"), ["a", " ", "1", "2", "b"]);
        assert_eq!(pieces("falcon", "a`` 12345$"), ["a", "``", " ", "123", "45", "$"]);
        assert_eq!(pieces("default", "a, b 1234"), ["a", ",", " b", " ", "123", "4"]);
    }

    #[test]
    fn pieces_join_up_to_the_text() {
        const ALPHABET: &[&str] = &[
            "'", "s", "LL", " ", "  ", "\n", "\r", "\t", "\u{a0}", "\u{3000}", "1", "½", "٣", "ſ", "é",
            "\u{301}", "中", "🙂", "`", "$", "。", "\0",
        ];
        let mut state = 1u64;
        for splitter in SPLITTERS {
            for _ in 0..2000 {
                let mut text = String::new();
                for _ in 0..12 {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    text.push_str(ALPHABET[(state >> 33) as usize % ALPHABET.len()]);
                }
                let mut joined = String::new();
                split(splitter.stages, &text, &mut |p| {
                    assert!(!p.is_empty());
                    joined.push_str(p);
                });
                assert_eq!(joined, text, "{:?}", splitter.names);
            }
        }
    }
}
