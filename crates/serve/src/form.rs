//! The form an answer is to have: OpenAI's `response_format`, llama.cpp's `grammar` and `json_schema`, and what others call them.

use ingle_engine::constrain::{Constraint, Grammar, Otherwise};
use ingle_engine::output::{Calls, Tool};
use serde_json::Value as Json;

use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::served::Served;

/// A form, and the field that asked for it.
#[derive(Debug, Clone)]
pub struct Form {
    field: &'static str,
    grammar: Grammar,
}

impl Form {
    /// What `field` asks for.
    pub fn new(field: &'static str, grammar: Grammar) -> Self {
        Self { field, grammar }
    }

    /// The form of answers that have it, or call.
    ///
    /// # Errors
    /// With the reason.
    pub fn or_calls(&self, served: &Served, tools: &[Tool], calls: Calls) -> Result<Constraint, Refusal> {
        let compiled =
            served.loaded().call_constraint(served.format, tools, calls, Otherwise::Form(&self.grammar));
        compiled.map_err(|e| self.refused(&e))
    }

    /// Compiles it: a form that can't be held is refused before anything is computed.
    ///
    /// # Errors
    /// With the reason.
    pub fn compile(&self, served: &Served) -> Result<Constraint, Refusal> {
        served.loaded().constraint(&self.grammar).map_err(|e| self.refused(&e))
    }

    /// It can't be held where something else holds.
    pub fn clashes(&self, what: &str) -> Refusal {
        self.refused(&format_args!("can't be held where {what}"))
    }

    fn refused(&self, why: &dyn std::fmt::Display) -> Refusal {
        Refusal::field(self.field, format!("{}: {why}", self.field))
    }
}

/// What may stand beside a schema and changes nothing.
pub const ABOUT_SCHEMA: &[&str] = &["name", "description", "strict"];

/// Takes what says it.
pub fn take(fields: &mut Fields) -> Result<Option<Form>, Refusal> {
    let mut asked = Vec::new();
    if let Some(format) = fields.take("response_format") {
        asked.extend(of_format("response_format", format)?);
    }
    if let Some(schema) = fields.take("json_schema") {
        asked.push(Form::new("json_schema", Grammar::JsonSchema(schema.to_string())));
    }
    if let Some(grammar) = fields.text("grammar")? {
        asked.push(Form::new("grammar", Grammar::Gbnf(grammar)));
    }
    match asked.as_slice() {
        [_, second, ..] => Err(second.clashes("another field says the answer's form")),
        _ => Ok(asked.pop()),
    }
}

/// OpenAI's form of saying it, under the name `field`.
pub fn of_format(field: &'static str, format: Json) -> Result<Option<Form>, Refusal> {
    let mut fields = Fields::of(field, format)?;
    let wrong = |what: &str| Refusal::field(field, format!("{field}: {what}"));
    let kind = fields.text("type")?.ok_or_else(|| wrong("expected a type"))?;
    let grammar = match kind.as_str() {
        "text" => None,
        "json_object" => Some(match fields.take("schema") {
            Some(schema) => Grammar::JsonSchema(schema.to_string()),
            None => Grammar::JsonObject,
        }),
        "json_schema" => {
            // The Responses API has the schema's fields beside the type.
            let mut of = match fields.object("json_schema")? {
                Some(of) => of,
                None => std::mem::replace(&mut fields, Fields::none()),
            };
            let schema = of.take("schema").ok_or_else(|| of.refused("schema", "none given"))?;
            // It is always held strictly, whatever it is called.
            of.harmless(ABOUT_SCHEMA);
            of.end()?;
            Some(Grammar::JsonSchema(schema.to_string()))
        }
        other => return Err(wrong(&format!("the type {other:?} is not known"))),
    };
    fields.end()?;
    Ok(grammar.map(|grammar| Form::new(field, grammar)))
}
