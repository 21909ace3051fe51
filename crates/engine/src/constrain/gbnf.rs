//! llama.cpp's GBNF notation, translated to Lark.
//!
//! GBNF has no tokens of its own: a text belongs to a grammar when its characters do. A Lark grammar reads words first, and
//! the longest, which is something else. So a grammar without recursion becomes one regular expression, which is exact and
//! fast; in any other, every character is a word of its own, which is exact too.
//!
//! Left out: tokens by number (`<[1000]>`), which have no text.

use std::collections::HashMap;
use std::fmt::Write;

use super::push_literal;
use crate::error::{Error, Result};

/// A regular expression longer than this is written as rules instead.
const PATTERN_BYTES_MAX: usize = 100_000;
/// Parentheses in each other.
const DEPTH_MAX: usize = 64;
/// Rules that stand in each other when a grammar is written as a pattern.
const INLINE_DEPTH_MAX: usize = 256;

/// What a rule is made of.
#[derive(Debug, Clone)]
enum Node {
    /// The name of a rule.
    Rule(String),
    /// One character of a class, as a pattern.
    Class(String),
    /// All, one behind the other.
    Sequence(Vec<Node>),
    /// One of these.
    Choice(Vec<Node>),
    /// So many times.
    Repeat(Box<Node>, u32, Option<u32>),
}

/// The grammar in Lark, its root called `start`.
pub fn to_lark(text: &str) -> Result<String> {
    let rules = Parser { rest: text, line: 1 }.rules()?;
    if !rules.iter().any(|(name, _)| name == "root") {
        return Err(malformed("there is no rule called root", None));
    }
    let by_name: HashMap<&str, &Node> = rules.iter().map(|(name, node)| (name.as_str(), node)).collect();
    if by_name.len() < rules.len() {
        return Err(malformed("a rule is defined twice", None));
    }
    for (name, node) in &rules {
        check_names(node, &by_name).map_err(|missing| {
            malformed(&format!("rule {name} uses {missing}, which is not defined"), None)
        })?;
    }
    let mut pattern = String::new();
    if write_pattern(&Node::Rule("root".into()), &by_name, &mut pattern, 0) {
        // Slashes end a pattern in Lark; none is written unescaped.
        return Ok(format!("start: /{pattern}/\n"));
    }
    let numbers: HashMap<&str, usize> =
        rules.iter().enumerate().map(|(i, (name, _))| (name.as_str(), i)).collect();
    let mut lark = format!("start: r{}\n", numbers["root"]);
    for (name, node) in &rules {
        write!(lark, "r{}: ", numbers[name.as_str()]).expect("a string takes everything");
        write_lark(node, &numbers, &mut lark);
        lark.push('\n');
    }
    Ok(lark)
}

fn check_names(node: &Node, rules: &HashMap<&str, &Node>) -> std::result::Result<(), String> {
    match node {
        Node::Rule(name) if !rules.contains_key(name.as_str()) => Err(name.clone()),
        Node::Rule(_) | Node::Class(_) => Ok(()),
        Node::Sequence(nodes) | Node::Choice(nodes) => nodes.iter().try_for_each(|n| check_names(n, rules)),
        Node::Repeat(node, ..) => check_names(node, rules),
    }
}

/// Appends `node` as a regular expression; `false` when it is recursive or too long.
fn write_pattern(node: &Node, rules: &HashMap<&str, &Node>, out: &mut String, depth: usize) -> bool {
    if depth > INLINE_DEPTH_MAX || out.len() > PATTERN_BYTES_MAX {
        return false;
    }
    match node {
        Node::Rule(name) => write_pattern(rules[name.as_str()], rules, out, depth + 1),
        Node::Class(class) => {
            out.push_str(class);
            true
        }
        Node::Sequence(nodes) => nodes.iter().all(|n| write_pattern(n, rules, out, depth + 1)),
        Node::Choice(nodes) => {
            let all = nodes.iter().enumerate().all(|(i, n)| {
                out.push_str(if i == 0 { "(?:" } else { "|" });
                write_pattern(n, rules, out, depth + 1)
            });
            out.push(')');
            all
        }
        Node::Repeat(node, min, max) => {
            out.push_str("(?:");
            let written = write_pattern(node, rules, out, depth + 1);
            let max = max.map(|max| max.to_string()).unwrap_or_default();
            write!(out, "){{{min},{max}}}").expect("a string takes everything");
            written
        }
    }
}

/// Appends `node` as part of a Lark rule.
fn write_lark(node: &Node, numbers: &HashMap<&str, usize>, out: &mut String) {
    match node {
        Node::Rule(name) => write!(out, "r{}", numbers[name.as_str()]).expect("a string takes everything"),
        Node::Class(class) => write!(out, "/{class}/").expect("a string takes everything"),
        Node::Sequence(nodes) if nodes.is_empty() => out.push_str("\"\""),
        Node::Sequence(nodes) | Node::Choice(nodes) => {
            let between = if matches!(node, Node::Choice(_)) { " | " } else { " " };
            out.push('(');
            for (i, node) in nodes.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { between });
                write_lark(node, numbers, out);
            }
            out.push(')');
        }
        Node::Repeat(node, min, max) => {
            out.push('(');
            write_lark(node, numbers, out);
            let max = max.map(|max| max.to_string()).unwrap_or_default();
            write!(out, "){{{min},{max}}}").expect("a string takes everything");
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Parser<'a> {
    fn rules(&mut self) -> Result<Vec<(String, Node)>> {
        let mut rules = Vec::new();
        loop {
            self.skip(true);
            if self.rest.is_empty() {
                return Ok(rules);
            }
            let name = self.name().ok_or_else(|| self.expected("the name of a rule"))?.to_owned();
            self.skip(true);
            self.take("::=").ok_or_else(|| self.expected("::="))?;
            self.skip(true);
            let node = self.choice(0)?;
            if !self.rest.is_empty() && !self.rest.starts_with(['\n', '\r']) {
                return Err(self.expected("the end of the rule"));
            }
            rules.push((name, node));
        }
    }

    fn choice(&mut self, depth: usize) -> Result<Node> {
        if depth > DEPTH_MAX {
            return Err(self.expected("fewer parentheses in each other"));
        }
        let mut options = vec![self.sequence(depth)?];
        while self.take("|").is_some() {
            self.skip(true);
            options.push(self.sequence(depth)?);
        }
        Ok(Node::Choice(options))
    }

    fn sequence(&mut self, depth: usize) -> Result<Node> {
        let mut nodes = Vec::new();
        loop {
            // Within parentheses a line may end anywhere.
            self.skip(depth > 0);
            let node = match self.rest.chars().next() {
                Some('"') => self.literal()?,
                Some('[') => self.class()?,
                Some('.') => {
                    self.take(".");
                    Node::Class(ANY.into())
                }
                Some('(') => {
                    self.take("(");
                    self.skip(true);
                    let inner = self.choice(depth + 1)?;
                    self.skip(true);
                    self.take(")").ok_or_else(|| self.expected(")"))?;
                    inner
                }
                Some('<' | '!') => {
                    return Err(self.expected("text; tokens by name or number are not supported"));
                }
                Some(c) if is_name(c) => Node::Rule(self.name().unwrap_or_default().to_owned()),
                _ => return Ok(Node::Sequence(nodes)),
            };
            nodes.push(self.repeated(node, depth)?);
        }
    }

    /// `node`, with the repetitions written behind it.
    fn repeated(&mut self, node: Node, depth: usize) -> Result<Node> {
        let mut node = node;
        loop {
            self.skip(depth > 0);
            let (min, max) = match self.rest.chars().next() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    node = self.counted(node)?;
                    continue;
                }
                _ => return Ok(node),
            };
            self.rest = &self.rest[1..];
            node = Node::Repeat(Box::new(node), min, max);
        }
    }

    /// `{2}`, `{2,}` or `{2,3}`.
    fn counted(&mut self, node: Node) -> Result<Node> {
        let end = self.rest.find('}').ok_or_else(|| self.expected("}"))?;
        let inner = &self.rest[1..end];
        let number = |text: &str| text.trim().parse::<u32>().ok();
        let counts = match inner.split_once(',') {
            None => number(inner).map(|n| (n, Some(n))),
            Some((min, max)) if max.trim().is_empty() => number(min).map(|n| (n, None)),
            Some((min, max)) => number(min).zip(number(max)).map(|(min, max)| (min, Some(max))),
        };
        let (min, max) = counts
            .filter(|&(min, max)| max.is_none_or(|max| min <= max))
            .ok_or_else(|| self.expected("{2}, {2,} or {2,3}"))?;
        self.rest = &self.rest[end + 1..];
        Ok(Node::Repeat(Box::new(node), min, max))
    }

    fn literal(&mut self) -> Result<Node> {
        self.take("\"");
        let mut nodes = Vec::new();
        while self.take("\"").is_none() {
            let mut class = String::new();
            push_literal(&mut class, self.character()?);
            nodes.push(Node::Class(class));
        }
        Ok(Node::Sequence(nodes))
    }

    fn class(&mut self) -> Result<Node> {
        self.take("[");
        let mut class = String::from("[");
        class.push_str(if self.take("^").is_some() { "^" } else { "" });
        let n_before = class.len();
        while self.take("]").is_none() {
            let first = self.character()?;
            push_literal(&mut class, first);
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.take("-");
                let last = self.character()?;
                if last < first {
                    return Err(self.expected("a range that rises"));
                }
                class.push('-');
                push_literal(&mut class, last);
            }
        }
        if class.len() == n_before {
            return Err(self.expected("characters between [ and ]"));
        }
        class.push(']');
        Ok(Node::Class(class))
    }

    /// The next character of a literal or class, with its escapes.
    fn character(&mut self) -> Result<char> {
        let mut chars = self.rest.chars();
        let c = chars.next().filter(|&c| c != '\n').ok_or_else(|| self.expected("a closing \" or ]"))?;
        if c != '\\' {
            self.rest = chars.as_str();
            return Ok(c);
        }
        let escaped = chars.next().ok_or_else(|| self.expected("an escape"))?;
        self.rest = chars.as_str();
        let n_digits = match escaped {
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            '"' | '\\' | '[' | ']' | '-' | '^' => return Ok(escaped),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(self.expected("an escape: \\n \\r \\t \\\" \\\\ \\[ \\] \\xHH \\uHHHH")),
        };
        let code = self.rest.get(..n_digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let c = code.and_then(char::from_u32).ok_or_else(|| self.expected("a character's number"))?;
        self.rest = &self.rest[n_digits..];
        Ok(c)
    }

    fn name(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    fn take(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Passes over white space and comments, and ends of lines where they mean nothing.
    fn skip(&mut self, newlines: bool) {
        loop {
            match self.rest.chars().next() {
                Some('#') => self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..],
                Some(' ' | '\t') => self.rest = &self.rest[1..],
                Some(c @ ('\n' | '\r')) if newlines => {
                    self.line += usize::from(c == '\n');
                    self.rest = &self.rest[1..];
                }
                _ => return,
            }
        }
    }

    fn expected(&self, what: &str) -> Error {
        let found: String = self.rest.chars().take_while(|&c| c != '\n').take(20).collect();
        malformed(&format!("found {found:?}, expected {what}"), Some(self.line))
    }
}

/// Any character.
const ANY: &str = "[\\x{0}-\\x{10FFFF}]";

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn malformed(what: &str, line: Option<usize>) -> Error {
    let place = line.map(|line| format!(", line {line}")).unwrap_or_default();
    Error::Constraint(format!("GBNF grammar{place}: {what}"))
}
