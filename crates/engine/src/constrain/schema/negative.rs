//! The opposite of a schema, or a part of it.
//!
//! A schema is a list of things that must all hold, so its opposite is a list of alternatives, in each of which one of them
//! does not. Where the opposite of one can't be written, that alternative is left out, which is less and never more. What
//! is asked of one type only holds for all others, so its opposite names the type.

use serde_json::{Map, Value as Json, json};

use super::positive::types;
use super::refs::{Draft, Scope};
use super::{Polarity, Rewriter, all_of, any_of, array, count, object, pattern, string, strings};
use crate::error::Result;

impl Rewriter<'_> {
    /// What `schema`, which stands in scope `outside`, does not accept, or less; `false` where nothing is known.
    pub(super) fn negative(&mut self, schema: &Json, outside: &Scope) -> Result<Json> {
        self.enter()?;
        let fields = match schema {
            Json::Bool(value) => {
                self.leave();
                return Ok(if *value { Json::Bool(false) } else { json!({}) });
            }
            schema => object("a schema", schema)?,
        };
        let scope = &self.document.enter(outside, schema);
        let negated = match fields.get("$ref") {
            Some(reference) if scope.draft <= Draft::D7 => {
                self.reference("$ref", reference, scope, Polarity::Negative)?
            }
            _ => {
                let mut options = Vec::new();
                for (keyword, value) in fields {
                    options.push(self.without(keyword, value, fields, scope)?);
                }
                any_of(options)
            }
        };
        self.leave();
        Ok(negated)
    }

    /// Where `keyword` does not hold.
    fn without(
        &mut self,
        keyword: &str,
        value: &Json,
        fields: &Map<String, Json>,
        scope: &Scope,
    ) -> Result<Json> {
        Ok(match keyword {
            "type" => other_types(&types(value)?),
            "const" => other_values(std::slice::from_ref(value)),
            "enum" => other_values(array("enum", value)?),
            "minimum" if fields.get("exclusiveMinimum") == Some(&json!(true)) => number("maximum", value),
            "maximum" if fields.get("exclusiveMaximum") == Some(&json!(true)) => number("minimum", value),
            "minimum" => number("exclusiveMaximum", value),
            "maximum" => number("exclusiveMinimum", value),
            "exclusiveMinimum" if value.is_number() => number("maximum", value),
            "exclusiveMaximum" if value.is_number() => number("minimum", value),
            "minLength" => fewer("string", "maxLength", count(keyword, value)?),
            "maxLength" => json!({ "type": "string", "minLength": count(keyword, value)? + 1 }),
            "minItems" => fewer("array", "maxItems", count(keyword, value)?),
            "maxItems" => json!({ "type": "array", "minItems": count(keyword, value)? + 1 }),
            "minProperties" if count(keyword, value)? == 1 => json!({ "type": "object", "maxProperties": 0 }),
            "pattern" => match pattern::only_text(string("pattern", value)?) {
                Some(text) => json!({ "type": "string", "pattern": pattern::other_than(&[text]) }),
                None => Json::Bool(false),
            },
            "items" => match value {
                Json::Array(places) => self.wrong_place(places, scope)?,
                _ if fields.contains_key("prefixItems") => Json::Bool(false),
                every => self.wrong_place(std::slice::from_ref(every), scope)?,
            },
            "prefixItems" if scope.draft == Draft::D2020 => {
                self.wrong_place(array(keyword, value)?, scope)?
            }
            "required" => {
                let names = strings("required", value)?;
                any_of(names.iter().map(|name| lacks(name)).collect())
            }
            "contains" => self.contains_fewer(value, fields, scope)?,
            "properties" => {
                let mut options = Vec::new();
                for (name, property) in object("properties", value)? {
                    let wrong = self.negative(property, scope)?;
                    if wrong != Json::Bool(false) {
                        options.push(
                            json!({ "type": "object", "required": [name], "properties": { name: wrong } }),
                        );
                    }
                }
                any_of(options)
            }
            "additionalProperties" if !fields.contains_key("patternProperties") => {
                let known = fields.get("properties").and_then(Json::as_object);
                let mut options = Vec::new();
                for name in
                    self.hints.clone().iter().filter(|name| !known.is_some_and(|k| k.contains_key(*name)))
                {
                    let wrong = self.negative(value, scope)?;
                    if wrong != Json::Bool(false) {
                        options.push(
                            json!({ "type": "object", "required": [name], "properties": { name: wrong } }),
                        );
                    }
                }
                any_of(options)
            }
            "dependencies" | "dependentRequired" => {
                let mut options = Vec::new();
                for (name, needed) in object(keyword, value)? {
                    if let Json::Array(_) = needed {
                        let has = json!({ "type": "object", "required": [name] });
                        let missing =
                            any_of(strings(keyword, needed)?.iter().map(|name| lacks(name)).collect());
                        options.push(all_of(vec![has, missing]));
                    }
                }
                any_of(options)
            }
            "$ref" | "$dynamicRef" | "$recursiveRef" => {
                self.reference(keyword, value, scope, Polarity::Negative)?
            }
            "allOf" => any_of(self.each(keyword, value, scope, Polarity::Negative)?),
            // No option of several is none of any kind.
            "anyOf" | "oneOf" => all_of(self.each(keyword, value, scope, Polarity::Negative)?),
            "not" => self.positive(value, scope)?,
            "if" => {
                let mut options = Vec::new();
                if let Some(then) = fields.get("then") {
                    options.push(all_of(vec![self.positive(value, scope)?, self.negative(then, scope)?]));
                }
                if let Some(otherwise) = fields.get("else") {
                    options
                        .push(all_of(vec![self.negative(value, scope)?, self.negative(otherwise, scope)?]));
                }
                any_of(options)
            }
            _ => Json::Bool(false),
        })
    }

    /// Arrays of which fewer items suit `contained` than are asked for: none, where that is one.
    fn contains_fewer(
        &mut self,
        contained: &Json,
        fields: &Map<String, Json>,
        scope: &Scope,
    ) -> Result<Json> {
        let min = fields.get("minContains").filter(|_| scope.draft > Draft::D7);
        if min.map_or(Ok(1), |min| count("minContains", min))? == 0 {
            return Ok(Json::Bool(false));
        }
        let other = self.negative(contained, scope)?;
        Ok(json!({ "type": "array", "items": other }))
    }

    /// An array with something wrong at one of the first places.
    fn wrong_place(&mut self, places: &[Json], scope: &Scope) -> Result<Json> {
        let mut options = Vec::new();
        for (i, place) in places.iter().enumerate() {
            let wrong = self.negative(place, scope)?;
            if wrong != Json::Bool(false) {
                let mut before = vec![json!({}); i];
                before.push(wrong);
                options.push(json!({ "type": "array", "minItems": i + 1, "prefixItems": before }));
            }
        }
        Ok(any_of(options))
    }
}

/// An object without the property `name`.
pub(super) fn lacks(name: &str) -> Json {
    json!({ "type": "object", "properties": { name: false } })
}

fn number(keyword: &str, bound: &Json) -> Json {
    match bound.as_f64() {
        Some(n) if n.abs() <= super::EXACT_MAX => json!({ "type": "number", keyword: bound }),
        _ => Json::Bool(false),
    }
}

fn fewer(name: &str, keyword: &str, min: u64) -> Json {
    min.checked_sub(1).map_or(Json::Bool(false), |max| json!({ "type": name, keyword: max }))
}

/// Values of none of these types. Numbers that are no integers can't be told apart.
fn other_types(names: &[&str]) -> Json {
    let has = |name: &str| names.contains(&name);
    let number = has("number") || has("integer");
    let others: Vec<&str> =
        ["null", "boolean", "string", "array", "object"].into_iter().filter(|t| !has(t)).collect();
    let others = others.into_iter().chain((!number).then_some("number"));
    match others.collect::<Vec<_>>() {
        none if none.is_empty() => Json::Bool(false),
        others => json!({ "type": others }),
    }
}

/// Values other than these. Of arrays and objects none, where one of their kind is listed.
fn other_values(values: &[Json]) -> Json {
    let mut listed: Vec<&str> = values.iter().map(type_of).collect();
    listed.dedup();
    let mut options = vec![other_types(&listed)];
    let texts: Vec<&str> = values.iter().filter_map(Json::as_str).collect();
    if !texts.is_empty() {
        options.push(json!({ "type": "string", "pattern": pattern::other_than(&texts) }));
    }
    let truths: Vec<bool> = values.iter().filter_map(Json::as_bool).collect();
    if let [first, rest @ ..] = truths.as_slice()
        && rest.iter().all(|truth| truth == first)
    {
        options.push(json!({ "const": !first }));
    }
    options.extend(other_numbers(values.iter().filter(|value| value.is_number()).collect()));
    any_of(options)
}

/// Numbers between and beyond these; none where one of them is not exact.
fn other_numbers(mut listed: Vec<&Json>) -> Vec<Json> {
    let value = |n: &Json| n.as_f64().unwrap_or(f64::INFINITY);
    listed.sort_by(|a, b| value(a).total_cmp(&value(b)));
    if listed.is_empty() || listed.iter().any(|n| value(n).abs() > super::EXACT_MAX) {
        return Vec::new();
    }
    let mut options = vec![json!({ "type": "number", "exclusiveMaximum": listed[0] })];
    for pair in listed.windows(2).filter(|pair| value(pair[0]) < value(pair[1])) {
        options.push(json!({ "type": "number", "exclusiveMinimum": pair[0], "exclusiveMaximum": pair[1] }));
    }
    options.push(json!({ "type": "number", "exclusiveMinimum": listed[listed.len() - 1] }));
    options
}

pub(super) fn type_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}
