//! What a model's text means: thoughts, words for the user and calls to tools, told apart while the text is still coming.
//!
//! Every family of models writes calls its own way. A [`Format`] is one such way; the shelf [`FORMATS`] holds them, and
//! [`detect`] finds the one that a chat template speaks. A [`Parser`] takes an answer in pieces, cut anywhere, and gives out
//! [`Part`]s; any cut gives the same parts, and only what could still become a marker is held back.
//!
//! Nothing is lost: text, reasoning, markup and the raw text of calls are, put together, the answer byte by byte. A call is one
//! only if it names a tool that there is and its arguments are a JSON object; otherwise what was written stays text. Whether
//! the arguments fit the tool's schema is not asked here. To make them fit, [`Format::grammar`] makes a grammar that guides
//! the model to a call.
//!
//! Markers are often special tokens, which are not rendered as a rule: text given to a [`Parser`] must hold those of
//! [`Format::markers`] by their names, and no other.

mod demand;
mod json;
mod json_call;
mod parser;
mod parts;
mod python;
mod reader;
mod typed;

mod deepseek;
mod gemma;
mod granite;
mod harmony;
mod hermes;
mod lfm2;
mod llama3;
mod mistral;
mod phi4;
mod plain;
mod qwen3_coder;

#[cfg(test)]
mod tests;

use std::fmt;

use demand::Writer;
pub use demand::{Beside, Calls, Demand};
pub use parser::{Options, Parser};
pub use parts::{Delivery, Part};
use reader::{Reader, Reading};

use crate::error::Result;

/// A way of writing calls and thoughts.
pub struct Format {
    /// The name users write.
    pub name: &'static str,
    /// What calls look like, and who writes them so.
    pub about: &'static str,
    /// Whether a chat template speaks it, by markers in its text.
    is_for: fn(&str) -> bool,
    /// How thoughts may be marked. Only the beginning of an answer holds some.
    pub reasoning: &'static [Reasoning],
    /// What stands before the text of every answer, behind thoughts if there are some.
    pub before_text: Option<&'static str>,
    /// What may begin a call. None begins another.
    openers: &'static [&'static str],
    /// Whether the answer may begin within a call, before any opener.
    bare: bool,
    /// Markers within calls and at their end.
    inner: &'static [&'static str],
    /// The length of ids, of letters and digits, where templates demand one.
    pub id_len: Option<usize>,
    /// Reads one call or more, behind the opener of this index.
    calls: for<'a> fn(&'a Reader, Option<usize>) -> Reading<'a>,
    /// Whether its grammar writes every text within a call in JSON's quotes.
    pub(crate) quotes: bool,
    /// Writes the grammar of an answer that calls.
    grammar: fn(&Writer<'_>) -> String,
    /// A call of `add` with an `a` of 1; empty where there are no calls.
    pub example: &'static str,
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Format").field(&self.name).finish()
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// How thoughts are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reasoning {
    /// What stands before them.
    pub open: &'static str,
    /// What stands behind them.
    pub close: &'static str,
}

const THINK: Reasoning = Reasoning { open: "<think>", close: "</think>" };

/// Every format, those with the most telling markers first.
pub static FORMATS: &[&Format] = &[
    &harmony::FORMAT,
    &gemma::FORMAT,
    &deepseek::FORMAT,
    &mistral::FORMAT,
    &lfm2::FORMAT,
    &qwen3_coder::FORMAT,
    &phi4::FORMAT,
    &granite::FORMAT,
    &hermes::FORMAT,
    &llama3::FORMAT,
    &plain::FORMAT,
];

/// For templates that speak of no tools: what [`crate::chat::Prompter`] asks of such a model.
pub static TEXT_FORMAT: &Format = &hermes::FORMAT;

/// The format that a chat template speaks: `plain` if none is known.
pub fn detect(template: &str) -> &'static Format {
    FORMATS.iter().find(|format| (format.is_for)(template)).unwrap_or(&&plain::FORMAT)
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The JSON Schema of its arguments; null where they are not described.
    pub parameters: serde_json::Value,
}

impl Format {
    /// The thoughts that a rendered prompt leaves open, so that the answer begins inside them. Templates may open them or
    /// not by what they were told, so that the prompt is asked, not the template.
    pub fn opened_by(&self, prompt: &str) -> Option<&'static Reasoning> {
        let prompt = prompt.trim_end();
        self.reasoning.iter().find(|reasoning| prompt.ends_with(reasoning.open.trim_end()))
    }

    /// Texts that mean something to this format. Where one is a special token of the vocabulary, a [`Parser`] must get it
    /// by its name.
    pub fn markers(&self) -> impl Iterator<Item = &'static str> {
        let thoughts = self.reasoning.iter().flat_map(|reasoning| [reasoning.open, reasoning.close]);
        self.openers.iter().chain(self.inner).copied().chain(thoughts)
    }

    /// The grammar, in llguidance's Lark, of an answer that calls as `demand` says; none where the format has no calls or
    /// there is no tool.
    ///
    /// # Errors
    /// Those of [`Demand::schema`].
    pub fn grammar(&self, demand: &Demand<'_>) -> Result<Option<String>> {
        let calls = !self.example.is_empty() && !demand.tools.is_empty();
        calls.then(|| demand::write(demand, self)).transpose()
    }

    /// Whether the grammar holds all that a tool's schema asks.
    pub fn holds(&self, schema: &serde_json::Value) -> bool {
        self.quotes || demand::is_held_bare(schema)
    }
}
