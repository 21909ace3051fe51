//! Tokens that are found in a text as a whole, before anything else is done to it: roles, tools, gaps.
//!
//! The leftmost counts, and the longest where several begin. A list sorted by text is also the trie that finds them. What
//! tokenizer.json may ask of such a token (a word of its own, white space swallowed at a side, matched in the normalised
//! text) is done here too. A match that is refused because it stands inside a word still uses up its text, as in the
//! tokenizers library.

use super::categories::{DIGITS, MARKS, contains};
use crate::error::{Error, Result};

/// Such tokens are names; a longer one would make the search for them slow.
const BYTES_MAX: usize = 1024;

/// One token to be found.
#[derive(Debug, Clone, Default)]
pub struct AddedToken {
    /// How it is written.
    pub text: String,
    /// Its id.
    pub id: u32,
    /// It is text rather than structure, so that what a user writes may contain it.
    pub is_text: bool,
    /// Only where no letter, mark, digit or underscore touches it.
    pub single_word: bool,
    /// White space before it belongs to it.
    pub takes_left: bool,
    /// White space after it belongs to it.
    pub takes_right: bool,
}

/// Which tokens a text is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those that are text.
    Text,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// What stands between the tokens found, never empty, and the byte at which it begins.
    Text(&'a str, usize),
    /// A token found.
    Token(u32),
}

/// The tokens that one text is searched for.
#[derive(Debug, Default)]
pub struct Added {
    all: List,
    text: List,
}

impl Added {
    /// Of several written alike the first counts; empty ones never match. `part` is what errors call them.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a token longer than 1024 bytes.
    pub fn new(part: &str, tokens: Vec<AddedToken>) -> Result<Self> {
        if let Some(token) = tokens.iter().find(|token| token.text.len() > BYTES_MAX) {
            return Err(Error::malformed(
                format!("{part}: special token {}", token.id),
                format!("{} bytes", token.text.len()),
                format!("at most {BYTES_MAX}"),
            ));
        }
        let text = List::new(tokens.iter().filter(|token| token.is_text).cloned().collect());
        Ok(Self { all: List::new(tokens), text })
    }

    /// The token written exactly so.
    pub fn find(&self, text: &str) -> Option<u32> {
        let tokens = &self.all.tokens;
        tokens.binary_search_by_key(&text, |token| &token.text).ok().map(|i| tokens[i].id)
    }

    /// Calls `emit` with the parts of `text`, in order.
    pub fn split<'a>(&self, text: &'a str, which: Which, mut emit: impl FnMut(Part<'a>)) {
        let list = match which {
            Which::All => &self.all,
            Which::Text => &self.text,
        };
        let (mut done, mut at) = (0, 0);
        while let Some((start, token)) = list.next(text.as_bytes(), at) {
            at = start + token.text.len();
            let (before, after) = (&text[..start], &text[at..]);
            if token.single_word
                && (before.chars().next_back().is_some_and(is_word)
                    || after.chars().next().is_some_and(is_word))
            {
                continue;
            }
            let start = if token.takes_left { before.trim_end().len().max(done) } else { start };
            if done < start {
                emit(Part::Text(&text[done..start], done));
            }
            emit(Part::Token(token.id));
            done = if token.takes_right { text.len() - after.trim_start().len() } else { at };
        }
        if done < text.len() {
            emit(Part::Text(&text[done..], done));
        }
    }
}

/// `\w`: letters, marks, decimal digits, connectors, joiners.
pub fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    c.is_alphabetic()
        || contains(&MARKS, c)
        || contains(&DIGITS, c)
        || matches!(c, '‿' | '⁀' | '⁔' | '︳' | '︴' | '﹍' | '﹎' | '﹏' | '＿' | '\u{200c}' | '\u{200d}')
}

#[derive(Debug)]
struct List {
    /// Sorted by text, no two alike.
    tokens: Vec<AddedToken>,
    /// Which bytes one begins with.
    starts: [bool; 256],
}

impl Default for List {
    fn default() -> Self {
        Self { tokens: Vec::new(), starts: [false; 256] }
    }
}

impl List {
    fn new(mut tokens: Vec<AddedToken>) -> Self {
        tokens.retain(|token| !token.text.is_empty());
        tokens.sort_by(|a, b| a.text.cmp(&b.text));
        tokens.dedup_by(|b, a| a.text == b.text);
        let mut starts = [false; 256];
        tokens.iter().for_each(|token| starts[token.text.as_bytes()[0] as usize] = true);
        Self { tokens, starts }
    }

    /// The first token at or after byte `from`, and where it begins.
    fn next(&self, text: &[u8], from: usize) -> Option<(usize, &AddedToken)> {
        if self.tokens.is_empty() {
            return None;
        }
        (from..text.len())
            .filter(|&at| self.starts[text[at] as usize])
            .find_map(|at| self.longest(&text[at..]).map(|token| (at, token)))
    }

    /// Walks the sorted list as a trie: `tokens` narrows to those that share the first `depth` bytes with `text`.
    fn longest(&self, text: &[u8]) -> Option<&AddedToken> {
        let mut tokens = &self.tokens[..];
        let mut best = None;
        for (depth, &byte) in text.iter().enumerate() {
            let at_depth = |token: &AddedToken| token.text.as_bytes().get(depth).copied();
            let start = tokens.partition_point(|token| at_depth(token) < Some(byte));
            let end = tokens.partition_point(|token| at_depth(token) <= Some(byte));
            tokens = &tokens[start..end];
            let first = tokens.first()?;
            // The shortest sorts first, so only the first can end here.
            if first.text.len() == depth + 1 {
                best = Some(first);
                if tokens.len() == 1 {
                    break;
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, id: u32) -> AddedToken {
        AddedToken { text: text.into(), id, ..AddedToken::default() }
    }

    fn parts(added: &Added, text: &str, which: Which) -> Vec<String> {
        let mut out = Vec::new();
        added.split(text, which, |part| {
            out.push(match part {
                Part::Text(text, at) => format!("{at}:{text}"),
                Part::Token(id) => format!("[{id}]"),
            });
        });
        out
    }

    #[test]
    fn the_leftmost_longest_is_found() {
        let text = AddedToken { is_text: true, ..token("<ab", 2) };
        let added = Added::new("t", vec![token("<a", 0), token("<a>", 1), text, token("<unk>", 3)]).unwrap();
        assert_eq!(parts(&added, "x<a><ab", Which::All), ["0:x", "[1]", "[2]"]);
        assert_eq!(parts(&added, "x<a><ab", Which::Text), ["0:x<a>", "[2]"]);
        assert_eq!(parts(&added, "<unk", Which::All), ["0:<unk"]);
        assert_eq!(added.find("<a>"), Some(1));
        assert_eq!(added.find("<"), None);
    }

    #[test]
    fn white_space_and_word_borders_are_minded() {
        let mask = AddedToken { takes_left: true, ..token("<m>", 0) };
        let end = AddedToken { takes_right: true, ..token("<e>", 1) };
        let word = AddedToken { single_word: true, ..token("cat", 2) };
        let added = Added::new("t", vec![mask, end, word]).unwrap();
        assert_eq!(parts(&added, "a  <m> b", Which::All), ["0:a", "[0]", "6: b"]);
        assert_eq!(parts(&added, "a<e> \n<m>b", Which::All), ["0:a", "[1]", "[0]", "9:b"]);
        assert_eq!(parts(&added, "cat cats a-cat_", Which::All), ["[2]", "3: cats a-cat_"]);
    }

    #[test]
    fn refuses_a_token_that_is_too_long() {
        let long = "x".repeat(BYTES_MAX + 1);
        assert!(Added::new("t", vec![token(&long, 0)]).unwrap_err().to_string().contains("at most 1024"));
    }
}
