//! Grammars of answers that call: that must, for a `tool_choice` that is `required` or names a tool, or that may, where what is
//! called has to fit its schema whenever the model calls of its own accord.
//!
//! What must call holds nothing else. What may call is any text up to what opens a call, which nothing else may write; from there
//! on it is guided. A format whose calls begin without a mark takes a text that can't be a call, or calls, and not both.
//!
//! The text is Lark as llguidance reads it, with `%json` for schemas. Which of a format's markers are single tokens depends on
//! the vocabulary, so a grammar asks for each: a token is written as its id, anything else as text. A grammar holds the whole
//! answer behind the thinking, which the caller leaves unguided.
//!
//! Left out: formats that write texts bare (Gemma's and Qwen3-Coder's) hold of a text only which ones are listed, not its pattern
//! or length, and Gemma's takes any value where a schema names no one type.

use std::cell::RefCell;

use serde_json::Value;

use super::{Format, Tool};
use crate::error::{Error, Result};

/// What a guided answer must hold.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    /// The tools that may be called; at least one.
    pub tools: &'a [Tool],
    /// How many calls.
    pub calls: Calls,
    /// What else the answer may hold.
    pub beside: Beside,
    /// The chat template, for formats that have changed over time.
    pub template: &'a str,
    /// The id of the special token that is written so, if there is one.
    pub token: &'a dyn Fn(&str) -> Option<u32>,
    /// A JSON Schema in the form that the grammar's reader holds, or why it can't be held.
    pub schema: &'a dyn Fn(&Value) -> Result<Value>,
}

/// How many calls an answer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Exactly one.
    One,
    /// One or more.
    Many,
}

/// What an answer may hold beside calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nothing: it must call.
    Nothing,
    /// Any text, or nothing but that.
    Text,
}

/// One of a tool's parameters.
pub(super) struct Parameter {
    pub key: String,
    pub required: bool,
    pub schema: Value,
}

/// Any text, some of it.
pub(super) const TEXT: &str = r"/(.|\n)+/";

/// Writes a grammar.
pub(super) struct Writer<'a> {
    pub demand: &'a Demand<'a>,
    /// The rule of what stands before a call, once it is known what opens one.
    lead: RefCell<String>,
    /// The first schema that can't be held: then there is no grammar.
    refused: RefCell<Option<Error>>,
}

/// The grammar of `format` for this demand.
pub(super) fn write(demand: &Demand<'_>, format: &Format) -> Result<String> {
    let writer = Writer { demand, lead: RefCell::default(), refused: RefCell::new(None) };
    let grammar = (format.grammar)(&writer);
    if let Some(refused) = writer.refused.into_inner() {
        return Err(refused);
    }
    if demand.beside == Beside::Nothing {
        return Ok(grammar);
    }
    if format.before_text.is_some() {
        // It says itself where its texts are.
        return Ok(format!("{grammar}{}", said(format)));
    }
    let start = if format.bare { "demanded | SAID?" } else { "demanded? SAID?" };
    let (grammar, lead) = (grammar.replacen("start:", "demanded:", 1), writer.lead.into_inner());
    Ok(format!("start: {start}\n{}{lead}{grammar}", said(format)))
}

/// Terminals of text in which nothing opens a call: some, and any.
fn said(format: &Format) -> String {
    let escaped = |opener: &&str| -> String {
        opener
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\x{{{:X}}}", c as u32) })
            .collect()
    };
    let openers: Vec<String> = format.openers.iter().map(escaped).collect();
    let none = format!("~/(?s:.*)({})(?s:.*)/", openers.join("|"));
    // Where calls begin with nothing but JSON, no text does.
    let some = if format.bare && format.before_text.is_none() {
        r"/[ \t\r\n]*[^ \t\r\n{\[](?s:.*)/"
    } else {
        "/(?s:.+)/"
    };
    format!("SAID: {some} & {none}\nANY: /(?s:.*)/ & {none}\n")
}

impl Writer<'_> {
    /// A marker: its token, or its text.
    pub(super) fn mark(&self, marker: &str) -> String {
        (self.demand.token)(marker).map_or_else(|| self.literal(marker), |id| format!("<[{id}]>"))
    }

    /// What opens a call, with the text before it where there may be some.
    pub(super) fn open(&self, marker: &str) -> String {
        if self.demand.beside == Beside::Nothing {
            return self.mark(marker);
        }
        *self.lead.borrow_mut() = match (self.demand.token)(marker) {
            Some(id) => format!("lead: SAID? <[{id}]>\n"),
            None => format!("lead[suffix={}]: ANY\n", self.literal(marker)),
        };
        "lead".to_owned()
    }

    /// Exactly this text.
    pub(super) fn literal(&self, text: &str) -> String {
        Value::from(text).to_string().replace('\x7f', "\\u007f")
    }

    /// One `rule`, or as many as are asked for with `separator` between, which may be empty.
    pub(super) fn separated(&self, rule: &str, separator: &str) -> String {
        match self.demand.calls {
            Calls::One => rule.to_owned(),
            Calls::Many => format!("{rule} ({separator} {rule})*"),
        }
    }

    /// A rule `call` with a choice for each tool, and these. `body` makes one of a tool and its number.
    pub(super) fn choices(&self, mut body: impl FnMut(usize, &Tool) -> String) -> String {
        let names: Vec<String> = (0..self.demand.tools.len()).map(|i| format!("call_{i}")).collect();
        let mut rules = format!("call: {}\n", names.join(" | "));
        for (i, tool) in self.demand.tools.iter().enumerate() {
            rules += &format!("call_{i}: {}\n", body(i, tool));
        }
        rules
    }

    /// A rule `call` for tools whose arguments are JSON; `body` gets what stands for them.
    pub(super) fn calls(&self, body: impl Fn(&Tool, &str) -> String) -> String {
        let mut schemas = String::new();
        let rules = self.choices(|i, tool| {
            schemas += &format!("arguments_{i}: {}\n", self.json(&object_schema(&tool.parameters)));
            body(tool, &format!("arguments_{i}"))
        });
        rules + &schemas
    }

    /// A rule `call` for calls that are JSON objects, with arguments under `key`.
    pub(super) fn json_calls(&self, key: &str) -> String {
        self.calls(|tool, arguments| {
            let name = Value::from(tool.name.as_str());
            let start = self.literal(&format!("{{\"name\": {name}, \"{key}\": "));
            format!("{start} {arguments} \"}}\"")
        })
    }

    /// What a schema allows, as JSON.
    pub(super) fn json(&self, schema: &Value) -> String {
        match (self.demand.schema)(schema) {
            Ok(schema) => format!("%json {schema}"),
            Err(error) => {
                self.refused.borrow_mut().get_or_insert(error);
                String::new()
            }
        }
    }

    /// Any text up to this marker, and the marker.
    pub(super) fn text_up_to(&self, rule: &str, marker: &str) -> String {
        match (self.demand.token)(marker) {
            Some(id) => format!("{rule}: {TEXT}? <[{id}]>\n"),
            None => format!("{rule}[suffix={}]: /(.|\\n)*/\n", self.literal(marker)),
        }
    }
}

impl Parameter {
    /// The parameters of a tool, in the order of its schema.
    pub(super) fn all(schema: &Value) -> Vec<Self> {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let parameter = |(key, property): (&String, &Value)| {
            let mut property = property.clone();
            // What the schema refers to must be found from here too.
            for definitions in ["$defs", "definitions"] {
                if let (Some(all), Some(property)) = (schema.get(definitions), property.as_object_mut()) {
                    property.entry(definitions).or_insert_with(|| all.clone());
                }
            }
            Self { key: key.clone(), required: required.contains(&key.as_str()), schema: property }
        };
        properties.iter().map(parameter).collect()
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.schema.get("type").and_then(Value::as_str) == Some(name)
    }

    /// The texts that it is limited to, if it is.
    pub(super) fn choices(&self) -> Option<Vec<&str>> {
        if let Some(text) = self.schema.get("const").and_then(Value::as_str) {
            return Some(vec![text]);
        }
        self.schema.get("enum")?.as_array()?.iter().map(Value::as_str).collect()
    }
}

/// Whether a format that writes texts bare holds all that `schema` asks: every value has one type, and nothing is asked of it
/// but which texts, fields and items there are.
pub(super) fn is_held_bare(schema: &Value) -> bool {
    const KNOWN: &[&str] = &[
        "$schema",
        "additionalProperties",
        "const",
        "default",
        "description",
        "enum",
        "examples",
        "items",
        "properties",
        "required",
        "title",
        "type",
    ];
    let Some(schema) = schema.as_object() else { return schema.is_null() };
    let of_fields = |fields: &serde_json::Map<String, Value>| fields.values().all(is_held_bare_value);
    schema.keys().all(|key| KNOWN.contains(&key.as_str()))
        && schema.get("items").is_none_or(is_held_bare_value)
        && schema.get("additionalProperties").is_none_or(Value::is_boolean)
        && schema.get("properties").and_then(Value::as_object).is_none_or(of_fields)
}

fn is_held_bare_value(schema: &Value) -> bool {
    schema.get("type").is_some_and(Value::is_string) && is_held_bare(schema)
}

/// Arguments are an object, whether or not the schema says so.
fn object_schema(schema: &Value) -> Value {
    let mut schema = schema.as_object().cloned().unwrap_or_default();
    schema.entry("type").or_insert_with(|| "object".into());
    Value::Object(schema)
}

/// These in order with `separator` between, of which those that aren't required may be absent: the required ones first.
pub(super) fn list(items: &[(bool, String)], separator: &str) -> String {
    let (required, optional): (Vec<_>, Vec<_>) = items.iter().partition(|(required, _)| *required);
    let tail = |items: &[&(bool, String)]| -> String {
        items.iter().map(|(_, item)| format!(" ({separator} {item})?")).collect()
    };
    let glue = format!(" {separator} ");
    let first: Vec<&str> = required.iter().map(|(_, item)| item.as_str()).collect();
    if !first.is_empty() {
        return first.join(&glue) + &tail(&optional);
    }
    // Whichever is the first has no separator before it.
    let starts = (0..optional.len()).map(|i| format!("{}{}", optional[i].1, tail(&optional[i + 1..])));
    let starts: Vec<String> = starts.collect();
    if starts.is_empty() { String::new() } else { format!("({})?", starts.join(" | ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_stand_between_what_is_there() {
        let item = |required: bool, name: &str| (required, name.to_owned());
        let cases = [
            (vec![], ""),
            (vec![item(true, "a"), item(true, "b")], "a , b"),
            (vec![item(false, "a"), item(true, "b")], "b (, a)?"),
            (vec![item(false, "a"), item(false, "b")], "(a (, b)? | b)?"),
        ];
        for (items, expected) in cases {
            assert_eq!(list(&items, ","), expected);
        }
    }
}
