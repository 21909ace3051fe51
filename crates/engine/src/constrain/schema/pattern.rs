//! Patterns as JSON Schema has them (ECMAScript's, found anywhere in a text) in Rust's syntax.
//!
//! The two differ in small things that would let wrong texts pass: what a dot leaves out, what `[`, `&&` and `--` mean in a
//! class, which letters `\d` and `\w` have. So a pattern is read and written anew. Refused: look-around, back references,
//! word borders, and escapes that only one of the two knows.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

use llguidance::derivre::{RegexAst, RegexBuilder};

use super::super::push_literal;
use super::{is_unwritable, refused};
use crate::error::Result;

const DIGITS: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = "\\t\\n\\x0B\\x0C\\r \\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}\\x{FEFF}";
const ANY: &str = "[\\x{0}-\\x{10FFFF}]";

/// Work that finding out whether two patterns are apart may take.
const APART_FUEL: u64 = 10_000;

/// `pattern` in Rust's syntax.
pub(super) fn translate(pattern: &str) -> Result<String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut reader = Reader { pattern, chars: pattern.chars().peekable() };
    while let Some(c) = reader.chars.next() {
        match c {
            '.' => out.push_str("[^\\n\\r\\x{2028}\\x{2029}]"),
            '\\' => match reader.escape()? {
                Item::Char(c) => reader.literal(&mut out, c)?,
                Item::Class(class) => out.push_str(&class),
            },
            '[' => reader.class(&mut out)?,
            '(' => reader.group(&mut out)?,
            '^' | '$' | ')' | '|' | '*' | '+' | '?' => out.push(c),
            '{' if reader.is_count() => {
                out.push('{');
                out.extend(reader.chars.by_ref().take_while(|&c| c != '}'));
                out.push('}');
            }
            // Braces that count nothing, too, are what they are.
            c => reader.literal(&mut out, c)?,
        }
    }
    Ok(out)
}

/// Whether no text has both patterns, in Rust's syntax, in it; `false` when that is not found out soon.
pub(super) fn apart(one: &str, other: &str) -> bool {
    let mut builder = RegexBuilder::new();
    let mut search = |pattern: &str| builder.mk_regex_for_serach(pattern);
    let (Ok(one), Ok(other)) = (search(one), search(other)) else { return false };
    let both = builder.mk(&RegexAst::And(vec![RegexAst::ExprRef(one), RegexAst::ExprRef(other)]));
    both.and_then(|both| builder.to_regex_limited(both, APART_FUEL)).is_ok_and(|mut both| both.always_empty())
}

/// The text that `pattern` allows, where it is just one.
pub(super) fn only_text(pattern: &str) -> Option<&str> {
    let inner = pattern.strip_prefix('^')?.strip_suffix('$')?;
    inner.chars().all(|c| c.is_alphanumeric() || " _-/:,;@#%&'\"<>=!~`".contains(c)).then_some(inner)
}

/// A pattern, in Rust's syntax, for all texts but these.
pub(super) fn other_than(texts: &[&str]) -> String {
    let mut out = String::from("^");
    write_other(&mut texts.to_vec(), &mut out);
    out.push('$');
    out
}

fn write_other(texts: &mut Vec<&str>, out: &mut String) {
    texts.sort_unstable();
    texts.dedup();
    out.push_str("(?:");
    let mut firsts: Vec<char> = texts.iter().filter_map(|text| text.chars().next()).collect();
    firsts.dedup();
    if !texts.contains(&"") {
        // The empty text is another one.
        out.push('|');
    }
    out.push_str(if firsts.is_empty() { ANY } else { "[^" });
    firsts.iter().for_each(|&c| push_literal(out, c));
    out.push_str(if firsts.is_empty() { "" } else { "]" });
    write!(out, "{ANY}*").expect("a string takes everything");
    for first in firsts {
        let mut rests: Vec<&str> = texts.iter().filter_map(|text| text.strip_prefix(first)).collect();
        out.push('|');
        push_literal(out, first);
        write_other(&mut rests, out);
    }
    out.push(')');
}

/// What an escape or a place in a class stands for.
enum Item {
    Char(char),
    /// A class in brackets.
    Class(String),
}

struct Reader<'a> {
    pattern: &'a str,
    chars: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn refuse<T>(&self, what: &str) -> Result<T> {
        Err(refused(format_args!("the pattern {:?} has {what}, which can't be held", self.pattern)))
    }

    fn literal(&self, out: &mut String, c: char) -> Result<()> {
        if is_unwritable(c) {
            return self.refuse("a control character");
        }
        push_literal(out, c);
        Ok(())
    }

    /// After `(`.
    fn group(&mut self, out: &mut String) -> Result<()> {
        out.push_str("(?:");
        if self.chars.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        match self.chars.next() {
            Some(':') => Ok(()),
            Some('<') if !matches!(self.chars.peek(), Some('=' | '!')) => {
                self.chars.by_ref().find(|&c| c == '>');
                Ok(())
            }
            Some('=' | '!' | '<') => self.refuse("look-around"),
            _ => self.refuse("an unknown kind of group"),
        }
    }

    /// Whether `{` begins a count.
    fn is_count(&self) -> bool {
        let rest: String = self.chars.clone().take_while(|&c| c != '}').collect();
        let closed = self.chars.clone().any(|c| c == '}');
        closed
            && rest.starts_with(|c: char| c.is_ascii_digit())
            && rest.chars().all(|c| c.is_ascii_digit() || c == ',')
    }

    /// After `[`.
    fn class(&mut self, out: &mut String) -> Result<()> {
        let negated = self.chars.next_if_eq(&'^').is_some();
        let mut inner = String::new();
        loop {
            let Some(c) = self.chars.next() else { return self.refuse("a class without an end") };
            let first = match c {
                ']' => break,
                '\\' => self.class_escape()?,
                c => Item::Char(c),
            };
            let mut ahead = self.chars.clone();
            let is_range = ahead.next() == Some('-') && !matches!(ahead.next(), Some(']') | None);
            match first {
                Item::Class(class) => inner.push_str(&class),
                Item::Char(first) if is_range => {
                    self.chars.next();
                    let last = match self.chars.next() {
                        Some('\\') => self.class_escape()?,
                        Some(c) => Item::Char(c),
                        None => return self.refuse("a class without an end"),
                    };
                    match last {
                        Item::Char(last) if first <= last => {
                            push_literal(&mut inner, first);
                            inner.push('-');
                            push_literal(&mut inner, last);
                        }
                        Item::Char(_) => return self.refuse("a range that falls"),
                        Item::Class(class) => {
                            push_literal(&mut inner, first);
                            push_literal(&mut inner, '-');
                            inner.push_str(&class);
                        }
                    }
                }
                Item::Char(c) if negated => push_literal(&mut inner, c),
                Item::Char(c) => self.literal(&mut inner, c)?,
            }
        }
        match (inner.is_empty(), negated) {
            (true, true) => out.push_str(ANY),
            (true, false) => return self.refuse("an empty class"),
            (false, _) => {
                write!(out, "[{}{inner}]", if negated { "^" } else { "" })
                    .expect("a string takes everything");
            }
        }
        Ok(())
    }

    fn class_escape(&mut self) -> Result<Item> {
        if self.chars.next_if_eq(&'b').is_some() { Ok(Item::Char('\u{8}')) } else { self.escape() }
    }

    /// After a backslash.
    fn escape(&mut self) -> Result<Item> {
        let Some(c) = self.chars.next() else { return self.refuse("a backslash at its end") };
        Ok(match c {
            'd' => Item::Class(format!("[{DIGITS}]")),
            'D' => Item::Class(format!("[^{DIGITS}]")),
            'w' => Item::Class(format!("[{WORD}]")),
            'W' => Item::Class(format!("[^{WORD}]")),
            's' => Item::Class(format!("[{SPACE}]")),
            'S' => Item::Class(format!("[^{SPACE}]")),
            'n' => Item::Char('\n'),
            'r' => Item::Char('\r'),
            't' => Item::Char('\t'),
            'v' => Item::Char('\u{b}'),
            'f' => Item::Char('\u{c}'),
            '0' if !self.chars.peek().is_some_and(char::is_ascii_digit) => Item::Char('\0'),
            'c' => match self.chars.next() {
                Some(c) if c.is_ascii_alphabetic() => Item::Char((c as u8 % 32).into()),
                _ => return self.refuse("the escape \\c"),
            },
            'x' => Item::Char(self.number(2)?),
            'u' => Item::Char(self.unicode()?),
            'p' | 'P' => {
                if self.chars.next() != Some('{') {
                    return self.refuse("the escape \\p without braces");
                }
                let name: String = self.chars.by_ref().take_while(|&c| c != '}').collect();
                Item::Class(format!("\\{c}{{{name}}}"))
            }
            'b' | 'B' => return self.refuse("a word border"),
            'k' | '0'..='9' => return self.refuse("a back reference"),
            c if c.is_ascii_alphanumeric() => return self.refuse(&format!("the escape \\{c}")),
            c => Item::Char(c),
        })
    }

    fn code(&mut self, n_digits: usize) -> Result<u32> {
        let digits: String = self.chars.by_ref().take(n_digits).collect();
        match u32::from_str_radix(&digits, 16) {
            Ok(code) if digits.len() == n_digits => Ok(code),
            _ => self.refuse("an escape without a number"),
        }
    }

    fn number(&mut self, n_digits: usize) -> Result<char> {
        let code = self.code(n_digits)?;
        char::from_u32(code).map_or_else(|| self.refuse("half a character"), Ok)
    }

    /// After `\u`.
    fn unicode(&mut self) -> Result<char> {
        if self.chars.next_if_eq(&'{').is_some() {
            let digits: String = self.chars.by_ref().take_while(|&c| c != '}').collect();
            let c = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            return c.map_or_else(|| self.refuse("an escape without a number"), Ok);
        }
        let high = self.code(4)?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).map_or_else(|| self.refuse("half a character"), Ok);
        }
        if self.chars.next() != Some('\\') || self.chars.next() != Some('u') {
            return self.refuse("half a character");
        }
        let low = self.code(4)?;
        let both = char::decode_utf16([high as u16, low as u16]).next().and_then(std::result::Result::ok);
        both.map_or_else(|| self.refuse("half a character"), Ok)
    }
}
