//! JSON Schema in the form that the library under us holds.
//!
//! llguidance compiles a part of JSON Schema, and holds a part of that in ways of its own. So a schema is not handed on as
//! it was written: it is read here, keyword by keyword, whatever its draft, and written anew with the few keywords that
//! are held exactly. What accepts less than the original is allowed (every answer must be valid, not every valid answer
//! possible), what accepts more is not: a keyword that can't be held refuses the schema, by name. Keywords that nobody knows
//! and those that only describe are passed over, as the standard says.
//!
//! Negation is pushed inwards ([`negative`]): `not`, `if`, and `oneOf` between options that overlap become alternatives of
//! plain schemas. Where a form can't be negated in full, the part that can is used. References are resolved here
//! ([`refs`]); all targets become entries of one table.
//!
//! What is narrower than the standard: properties come in the order of the schema; strings are written without `\u`
//! escapes; formats are held, though most drafts call them notes; integers are written without fraction or exponent;
//! bounds end at 2^53; unique items only where there is a known set of them; what an array must contain comes early.

mod apart;
mod array;
mod contains;
mod evaluated;
mod format;
mod negative;
mod object;
mod pattern;
mod positive;
mod refs;
mod unique;

use std::collections::HashMap;

use llguidance::api::TopLevelGrammar;
use serde_json::{Map, Value as Json, json};

use crate::error::{Error, Result};
use refs::{Document, Dynamic, Scope};

/// Schemas looked at while one is rewritten.
const STEPS_MAX: usize = 50_000;
/// Schemas in each other.
const DEPTH_MAX: usize = 100;
/// Alternatives that one keyword may become.
const ALTERNATIVES_MAX: usize = 256;
/// Numbers up to here are the same for everybody who reads JSON.
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

/// The grammar of JSON documents that `schema` accepts.
pub fn plan(schema: &Json) -> Result<TopLevelGrammar> {
    Ok(TopLevelGrammar::from_json_schema(rewrite(schema)?))
}

/// `schema` in the form that is held.
///
/// # Errors
/// [`Error::Constraint`] naming the place and the keyword that can't be held, or what is malformed.
pub fn rewrite(schema: &Json) -> Result<Json> {
    let document = Document::read(schema);
    let mut rewriter = Rewriter {
        document: &document,
        names: HashMap::new(),
        open: Vec::new(),
        written_out: Vec::new(),
        multiples: None,
        hints: Vec::new(),
        steps: 0,
        depth: 0,
    };
    let root = rewriter.positive(schema, &document.root)?;
    let mut defs = Map::new();
    while let Some(target) = rewriter.open.pop() {
        let rewritten = match target.polarity {
            Polarity::Positive => rewriter.positive(target.schema, &target.scope)?,
            Polarity::Negative => rewriter.negative(target.schema, &target.scope)?,
        };
        defs.insert(target.name, rewritten);
    }
    Ok(json!({
        // White space is bounded, as small models go on with it for ever; escapes that could hide a name are not written.
        "x-guidance": { "whitespace_pattern": "[ \\t\\r\\n]{1,64}", "json_allowed_escapes": "nrbtf\\\"" },
        "allOf": [root],
        "$defs": defs,
    }))
}

/// Whether schemas in `grammar`, in the form that is held, may have bounds that a number must not reach.
pub fn has_bounds(grammar: &TopLevelGrammar) -> bool {
    grammar.grammars.iter().any(|grammar| {
        let schema = grammar.json_schema.as_ref().map(Json::to_string);
        schema.iter().chain(&grammar.lark_grammar).any(|text| text.contains("\"exclusiveM"))
    })
}

/// Whether a schema is asked for or its opposite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Polarity {
    Positive,
    Negative,
}

/// The target of references, to be rewritten.
struct Target<'a> {
    name: String,
    schema: &'a Json,
    scope: Scope,
    polarity: Polarity,
}

struct Rewriter<'a> {
    document: &'a Document<'a>,
    /// The names of targets, by where they lie and how they were reached.
    names: HashMap<(*const Json, Polarity, Dynamic), String>,
    open: Vec<Target<'a>>,
    /// Targets that are being written out in place.
    written_out: Vec<(*const Json, Dynamic)>,
    /// What is a multiple of every `multipleOf`, as any two may ask it of the same number.
    multiples: Option<positive::Decimal>,
    /// Names of properties that a sibling knows: one of them tells that an object has others than it should.
    hints: Vec<String>,
    steps: usize,
    depth: usize,
}

impl<'a> Rewriter<'a> {
    /// A reference to what `reference`, which stands at `keyword`, names from `scope`.
    fn reference(
        &mut self,
        keyword: &str,
        reference: &Json,
        scope: &Scope,
        polarity: Polarity,
    ) -> Result<Json> {
        let (schema, scope) = self.target(keyword, reference, scope)?;
        if let Json::Bool(value) = schema {
            return Ok(Json::Bool(*value == (polarity == Polarity::Positive)));
        }
        let n = self.names.len();
        let key = (std::ptr::from_ref(schema), polarity, scope.dynamic.clone());
        let name = self.names.entry(key).or_insert_with(|| {
            let name = format!("d{n}");
            self.open.push(Target { name: name.clone(), schema, scope, polarity });
            name
        });
        Ok(json!({ "$ref": format!("#/$defs/{name}") }))
    }

    /// What `reference`, which stands at `keyword`, names from `scope`, and the scope that is in.
    fn target(&self, keyword: &str, reference: &Json, scope: &Scope) -> Result<(&'a Json, Scope)> {
        match keyword {
            "$ref" => self.document.resolve(reference, scope),
            _ => self.document.resolve_dynamic(keyword, reference, scope),
        }
    }

    /// Counts a step down, and refuses what is too large or too deep.
    fn enter(&mut self) -> Result<()> {
        self.steps += 1;
        self.depth += 1;
        if self.steps > STEPS_MAX || self.depth > DEPTH_MAX {
            return Err(refused("the schema is too large or too deep, with all that its options make of it"));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// All of these.
fn all_of(mut parts: Vec<Json>) -> Json {
    if parts.contains(&Json::Bool(false)) {
        return Json::Bool(false);
    }
    parts.retain(|part| !is_anything(part));
    match parts.len() {
        0 => json!({}),
        1 => parts.remove(0),
        _ => json!({ "allOf": parts }),
    }
}

/// One of these or more.
fn any_of(mut options: Vec<Json>) -> Json {
    if options.iter().any(is_anything) {
        return json!({});
    }
    options.retain(|option| *option != Json::Bool(false));
    match options.len() {
        0 => Json::Bool(false),
        1 => options.remove(0),
        _ => json!({ "anyOf": options }),
    }
}

fn is_anything(schema: &Json) -> bool {
    *schema == Json::Bool(true) || schema.as_object().is_some_and(Map::is_empty)
}

/// Whether JSON has no way to write `c` but by its number, which is not used here.
fn is_unwritable(c: char) -> bool {
    c == '\u{7f}' || c < ' ' && !"\n\r\t\u{8}\u{c}".contains(c)
}

fn refused(reason: impl std::fmt::Display) -> Error {
    Error::Constraint(format!("JSON Schema: {reason}"))
}

/// The keyword is not what the standard says.
fn malformed(keyword: &str, value: &Json, expected: &str) -> Error {
    let mut found = value.to_string();
    if let Some((end, _)) = found.char_indices().nth(60) {
        found.truncate(end);
        found.push_str("...");
    }
    refused(format_args!("{keyword} is {found}, expected {expected}"))
}

fn object<'a>(keyword: &str, value: &'a Json) -> Result<&'a Map<String, Json>> {
    value.as_object().ok_or_else(|| malformed(keyword, value, "an object"))
}

fn array<'a>(keyword: &str, value: &'a Json) -> Result<&'a Vec<Json>> {
    value.as_array().ok_or_else(|| malformed(keyword, value, "an array"))
}

fn string<'a>(keyword: &str, value: &'a Json) -> Result<&'a str> {
    value.as_str().ok_or_else(|| malformed(keyword, value, "a string"))
}

fn strings<'a>(keyword: &str, value: &'a Json) -> Result<Vec<&'a str>> {
    array(keyword, value)?.iter().map(|item| string(keyword, item)).collect()
}

/// A count, which may be written `2.0`. No answer has more than a billion of anything.
fn count(keyword: &str, value: &Json) -> Result<u64> {
    const MAX: f64 = 1e9;
    let whole = value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n.min(MAX) as u64);
    whole.ok_or_else(|| malformed(keyword, value, "a whole number, not negative"))
}
