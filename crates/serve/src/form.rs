//! The form an answer is to have: OpenAI's `response_format`, and llama.cpp's `grammar` and `json_schema`.

use ingle_engine::constrain::{Constraint, Grammar};
use serde_json::Value as Json;

use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::server::App;

/// Takes what says it and compiles it: a form that can't be held is refused before anything is computed.
pub fn take(app: &App, fields: &mut Fields) -> Result<Option<Constraint>, Refusal> {
    let mut asked = Vec::new();
    if let Some(format) = fields.take("response_format") {
        asked.extend(of_format(format)?.map(|grammar| ("response_format", grammar)));
    }
    if let Some(schema) = fields.take("json_schema") {
        asked.push(("json_schema", Grammar::JsonSchema(schema.to_string())));
    }
    if let Some(grammar) = fields.text("grammar")? {
        asked.push(("grammar", Grammar::Gbnf(grammar)));
    }
    let (name, grammar) = match asked.as_slice() {
        [] => return Ok(None),
        [one] => one,
        [_, (second, _), ..] => {
            return Err(Refusal::field(
                second,
                format!("{second}: another field says the answer's form already"),
            ));
        }
    };
    let compiled = app.engine.loaded().constraint(grammar);
    compiled.map(Some).map_err(|e| Refusal::field(name, format!("{name}: {e}")))
}

fn of_format(format: Json) -> Result<Option<Grammar>, Refusal> {
    let mut fields = Fields::of("response_format", format)?;
    let wrong = |what: &str| Refusal::field("response_format", format!("response_format: {what}"));
    let kind = fields.text("type")?.ok_or_else(|| wrong("expected a type"))?;
    let grammar = match kind.as_str() {
        "text" => None,
        "json_object" => Some(match fields.take("schema") {
            Some(schema) => Grammar::JsonSchema(schema.to_string()),
            None => Grammar::JsonObject,
        }),
        "json_schema" => {
            let of = fields.take("json_schema").ok_or_else(|| wrong("expected a json_schema"))?;
            let mut of = Fields::of("json_schema", of)?;
            let schema = of.take("schema").ok_or_else(|| wrong("json_schema: expected a schema"))?;
            // It is always held strictly, whatever it is called.
            of.harmless(&["name", "description", "strict"]);
            of.end()?;
            Some(Grammar::JsonSchema(schema.to_string()))
        }
        other => return Err(wrong(&format!("the type {other:?} is not known"))),
    };
    fields.end()?;
    Ok(grammar)
}
