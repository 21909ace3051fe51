//! Answers of a given form: grammars, and what may come next under them.
//!
//! What a user gives (JSON Schema, a regular expression, a grammar, a list of choices) is a [`Grammar`]. A model's
//! [`Vocabulary`] compiles it into a [`Constraint`] for one answer, which takes from every row of logits the tokens that
//! can't go on and follows what is chosen. The work of walking a vocabulary under a grammar is llguidance's; here is what
//! makes it hold: what a schema asks and that library would not hold is rewritten (`schema`) or refused before anything is
//! generated, in one sentence with the reason. GBNF is translated (`gbnf`).
//!
//! Refused are, among others, look-around and back references in patterns, references to other documents, and unique items
//! of unlimited kinds. What an answer says within its form is the model's business.

mod gbnf;
mod lead;
mod number;
mod schema;
mod sequence;
mod vocabulary;

pub use sequence::Constraint;
pub use vocabulary::Vocabulary;

use llguidance::api::TopLevelGrammar;
use serde_json::Value as Json;

use crate::error::{Error, Result};

/// The longest text of a grammar; real ones have kilobytes.
const GRAMMAR_BYTES_MAX: usize = 4 << 20;

/// The form of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grammar {
    /// Any JSON object.
    JsonObject,
    /// A JSON document that this JSON Schema (draft 4 to 2020-12) accepts.
    JsonSchema(String),
    /// A text that this regular expression matches as a whole; Rust's syntax.
    Regex(String),
    /// A text of this grammar, in llguidance's variant of Lark.
    Lark(String),
    /// A text of this grammar, in llama.cpp's notation.
    Gbnf(String),
    /// One of these texts.
    Choices(Vec<String>),
}

impl Grammar {
    /// The grammar in the library's form.
    fn plan(&self) -> Result<TopLevelGrammar> {
        let n_bytes = match self {
            Self::JsonObject => 0,
            Self::JsonSchema(text) | Self::Regex(text) | Self::Lark(text) | Self::Gbnf(text) => text.len(),
            Self::Choices(choices) => choices.iter().map(String::len).sum(),
        };
        if n_bytes > GRAMMAR_BYTES_MAX {
            return Err(Error::Constraint(format!(
                "a grammar of {n_bytes} bytes, expected at most {GRAMMAR_BYTES_MAX}"
            )));
        }
        match self {
            Self::JsonObject => schema::plan(&serde_json::json!({ "type": "object" })),
            Self::JsonSchema(text) => schema::plan(&parsed(text)?),
            Self::Regex(pattern) => Ok(TopLevelGrammar::from_regex(pattern)),
            Self::Lark(text) => {
                // What these would do is not held here.
                for word in ["%json", "temperature=", "max_tokens=", "stop=", "suffix="] {
                    if text.split_whitespace().collect::<String>().contains(word) {
                        return Err(Error::Constraint(format!(
                            "the Lark grammar uses {word:?}, which is not supported"
                        )));
                    }
                }
                Ok(TopLevelGrammar::from_lark(text.clone()))
            }
            Self::Gbnf(text) => gbnf::to_lark(text).map(TopLevelGrammar::from_lark),
            Self::Choices(choices) => choices_pattern(choices).map(|p| TopLevelGrammar::from_regex(&p)),
        }
    }

    /// The JSON Schema that it is, in the form that is held.
    fn json_schema(&self) -> Result<Json> {
        match self {
            Self::JsonObject => schema::rewrite(&serde_json::json!({ "type": "object" })),
            Self::JsonSchema(text) => schema::rewrite(&parsed(text)?),
            _ => Err(Error::Constraint(format!("a {} beside calls, expected a JSON Schema", self.name()))),
        }
    }

    fn holds(&self) -> Holds {
        Holds { json: matches!(self, Self::JsonObject | Self::JsonSchema(_)), calls: false, bounds: false }
    }

    /// What errors call it.
    fn name(&self) -> &'static str {
        match self {
            Self::JsonObject | Self::JsonSchema(_) => "JSON Schema",
            Self::Regex(_) => "regular expression",
            Self::Lark(_) => "Lark grammar",
            Self::Gbnf(_) => "GBNF grammar",
            Self::Choices(_) => "list of choices",
        }
    }
}

/// What an answer may be that need not call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise<'a> {
    /// Nothing: it must call.
    Nothing,
    /// A text of this form instead, which has to be JSON.
    Form(&'a Grammar),
    /// Any text, before calls or instead of them.
    Text,
}

fn parsed(schema: &str) -> Result<Json> {
    serde_json::from_str(schema).map_err(|e| Error::Constraint(format!("the JSON Schema is not JSON: {e}")))
}

/// What a form is made of.
#[derive(Debug, Clone, Copy)]
struct Holds {
    /// JSON: numbers and strings are written as there.
    json: bool,
    /// Calls, with all that a format writes before them.
    calls: bool,
    /// Bounds that numbers must not reach.
    bounds: bool,
}

/// A regular expression for exactly these texts.
fn choices_pattern(choices: &[String]) -> Result<String> {
    if choices.is_empty() || choices.iter().any(String::is_empty) {
        return Err(Error::Constraint(
            "the list of choices is empty or has an empty text, expected at least one and no empty ones"
                .into(),
        ));
    }
    let mut pattern = String::new();
    for choice in choices {
        pattern.push_str(if pattern.is_empty() { "(?:" } else { "|" });
        choice.chars().for_each(|c| push_literal(&mut pattern, c));
    }
    pattern.push(')');
    Ok(pattern)
}

/// Appends a character that matches itself, inside and outside of a class.
fn push_literal(pattern: &mut String, c: char) {
    use std::fmt::Write;
    if c.is_ascii_alphanumeric() || c == ' ' || c == '_' {
        pattern.push(c);
    } else {
        write!(pattern, "\\x{{{:X}}}", c as u32).expect("a string takes everything");
    }
}
