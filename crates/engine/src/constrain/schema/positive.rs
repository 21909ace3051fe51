//! A schema written anew: what it accepts, or less.

use serde_json::{Map, Value as Json, json};

use super::refs::{Draft, Scope};
use super::{
    EXACT_MAX, Polarity, Rewriter, all_of, any_of, array, count, format, is_unwritable, malformed, object,
    pattern, refused, string,
};
use crate::error::Result;

impl Rewriter<'_> {
    /// `schema`, which stands in scope `outside`.
    pub(super) fn positive(&mut self, schema: &Json, outside: &Scope) -> Result<Json> {
        self.enter()?;
        let fields = match schema {
            Json::Bool(value) => {
                self.leave();
                return Ok(if *value { json!({}) } else { Json::Bool(false) });
            }
            schema => object("a schema", schema)?,
        };
        if let Some(draft) =
            fields.get("$schema").and_then(Json::as_str).filter(|uri| uri.contains("draft-03"))
        {
            return Err(refused(format_args!("$schema is {draft:?}, expected draft 4 or later")));
        }
        let scope = &outside.enter(schema);
        let rewritten = match fields.get("$ref") {
            Some(reference) if scope.draft <= Draft::D7 => {
                self.reference(reference, scope, Polarity::Positive)?
            }
            _ => {
                // What is about values itself, then what applies other schemas.
                let mut base = Map::new();
                self.values(fields, &mut base)?;
                self.array(fields, scope, &mut base)?;
                let counted = self.object(fields, scope, &mut base)?;
                let mut parts = vec![Json::Object(base)];
                parts.extend(counted);
                self.applied(fields, scope, &mut parts)?;
                all_of(parts)
            }
        };
        self.leave();
        Ok(rewritten)
    }

    /// Each of several schemas.
    pub(super) fn each(
        &mut self,
        keyword: &str,
        schemas: &Json,
        scope: &Scope,
        polarity: Polarity,
    ) -> Result<Vec<Json>> {
        let schemas = array(keyword, schemas)?;
        if schemas.is_empty() {
            return Err(malformed(keyword, &json!([]), "at least one schema"));
        }
        schemas
            .iter()
            .map(|schema| match polarity {
                Polarity::Positive => self.positive(schema, scope),
                Polarity::Negative => self.negative(schema, scope),
            })
            .collect()
    }

    /// Type, constants, strings and numbers.
    fn values(&mut self, fields: &Map<String, Json>, base: &mut Map<String, Json>) -> Result<()> {
        for (keyword, value) in fields {
            match keyword.as_str() {
                "type" => {
                    base.insert("type".into(), json!(types(value)?));
                }
                "const" => {
                    check_exact(value)?;
                    base.insert("const".into(), value.clone());
                }
                "enum" => {
                    array("enum", value)?.iter().try_for_each(check_exact)?;
                    base.insert("enum".into(), value.clone());
                }
                "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                    base.insert(keyword.clone(), json!(count(keyword, value)?));
                }
                "multipleOf" => {
                    let n = value.as_f64().filter(|n| *n > 0.0);
                    let n = n.ok_or_else(|| malformed(keyword, value, "a number above 0"))?;
                    if n.fract() == 0.0 && n > 1e9 || n.fract() != 0.0 && n < 1e-9 {
                        return Err(refused(format_args!("multipleOf {n} can't be held")));
                    }
                    base.insert(keyword.clone(), value.clone());
                }
                _ => {}
            }
        }
        bounds(fields, base)?;
        // A number that may not go on must be a multiple where it ends.
        if base.contains_key("multipleOf") {
            for (bound, exclusive, n) in
                [("minimum", "exclusiveMinimum", -EXACT_MAX), ("maximum", "exclusiveMaximum", EXACT_MAX)]
            {
                if !base.contains_key(exclusive) {
                    base.entry(bound).or_insert(json!(n as i64));
                }
            }
        }
        let mut patterns = Vec::new();
        if let Some(value) = fields.get("pattern") {
            patterns.push(pattern::translate(string("pattern", value)?)?);
        }
        if let Some(value) = fields.get("format") {
            patterns.extend(format::lookup(string("format", value)?));
        }
        let mut patterns = patterns.into_iter();
        if let Some(first) = patterns.next() {
            base.insert("pattern".into(), json!(first));
        }
        if let Some(second) = patterns.next() {
            base.insert("allOf".into(), json!([{ "pattern": second }]));
        }
        Ok(())
    }

    /// What applies schemas to the same value.
    fn applied(&mut self, fields: &Map<String, Json>, scope: &Scope, parts: &mut Vec<Json>) -> Result<()> {
        for (keyword, value) in fields {
            let part = match keyword.as_str() {
                "$ref" => self.reference(value, scope, Polarity::Positive)?,
                "$recursiveRef" | "$dynamicRef" => {
                    if !self.document.is_static(keyword, string(keyword, value)?) {
                        return Err(refused(format_args!("{keyword} between several anchors can't be held")));
                    }
                    self.reference(value, scope, Polarity::Positive)?
                }
                "allOf" => all_of(self.each(keyword, value, scope, Polarity::Positive)?),
                "anyOf" => any_of(self.each(keyword, value, scope, Polarity::Positive)?),
                "oneOf" => self.one_of(value, scope)?,
                "not" => match self.hinted(fields, value, scope)? {
                    Json::Bool(false) => {
                        return Err(refused("not: nothing but what it forbids can be told apart"));
                    }
                    negated => negated,
                },
                "if" => self.conditional(fields, scope)?,
                "dependencies" | "dependentRequired" | "dependentSchemas" => {
                    parts.extend(self.dependent(keyword, value, scope)?);
                    continue;
                }
                _ => continue,
            };
            parts.push(part);
        }
        Ok(())
    }

    /// `if`, `then` and `else`: the condition and what follows, or its opposite and what follows then.
    fn conditional(&mut self, fields: &Map<String, Json>, scope: &Scope) -> Result<Json> {
        let condition = &fields["if"];
        let mut branches = Vec::new();
        if fields.get("then").is_none() && fields.get("else").is_none() {
            return Ok(json!({}));
        }
        for (keyword, polarity) in [("then", Polarity::Positive), ("else", Polarity::Negative)] {
            let holds = match polarity {
                Polarity::Positive => self.positive(condition, scope)?,
                Polarity::Negative => self.negative(condition, scope)?,
            };
            let then = fields.get(keyword).map_or(Ok(json!({})), |schema| self.positive(schema, scope))?;
            branches.push(all_of(vec![holds, then]));
        }
        Ok(any_of(branches))
    }

    /// The opposite of `schema`, which stands beside the properties of `fields`.
    fn hinted(&mut self, fields: &Map<String, Json>, schema: &Json, scope: &Scope) -> Result<Json> {
        let names = fields.get("properties").and_then(Json::as_object);
        let names = names.into_iter().flat_map(Map::keys).cloned().collect();
        let before = std::mem::replace(&mut self.hints, names);
        let negated = self.negative(schema, scope);
        self.hints = before;
        negated
    }

    /// Exactly one: each option without the others, where it can't be seen that they have nothing in common.
    fn one_of(&mut self, value: &Json, scope: &Scope) -> Result<Json> {
        let options = array("oneOf", value)?;
        let mut rewritten = Vec::new();
        for (i, option) in options.iter().enumerate() {
            let mut parts = vec![self.positive(option, scope)?];
            for (j, other) in options.iter().enumerate() {
                if i != j && !self.apart(option, other, scope, 0) {
                    parts.push(self.hinted(option.as_object().unwrap_or(&Map::new()), other, scope)?);
                }
            }
            rewritten.push(all_of(parts));
        }
        match any_of(rewritten) {
            Json::Bool(false) => Err(refused("oneOf: its options can't be told apart")),
            one => Ok(one),
        }
    }
}

/// The names of `type`.
pub(super) fn types(value: &Json) -> Result<Vec<&str>> {
    const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
    let names = match value {
        Json::String(name) => vec![name.as_str()],
        value => super::strings("type", value)?,
    };
    match names.iter().find(|name| !TYPES.contains(name)) {
        None if names.is_empty() => Err(malformed("type", value, "at least one type")),
        None => Ok(names),
        Some(name) => Err(refused(format_args!("type is {name:?}, expected one of {}", TYPES.join(", ")))),
    }
}

/// Constants that would not come out as they are written.
fn check_exact(value: &Json) -> Result<()> {
    match value {
        Json::Number(n) if n.as_f64().is_none_or(|n| n.abs() > EXACT_MAX) => {
            Err(refused(format_args!("the constant {n} is beyond 2^53, which many readers of JSON round")))
        }
        Json::Array(items) => items.iter().try_for_each(check_exact),
        Json::Object(fields) => fields.values().try_for_each(check_exact),
        Json::String(text) if text.contains(is_unwritable) => {
            Err(refused(format_args!("the constant {text:?} has a control character, which can't be held")))
        }
        _ => Ok(()),
    }
}

/// Bounds of numbers, draft 4's `exclusiveMinimum: true` among them.
fn bounds(fields: &Map<String, Json>, base: &mut Map<String, Json>) -> Result<()> {
    for (inclusive, exclusive, sign) in
        [("minimum", "exclusiveMinimum", -1.0), ("maximum", "exclusiveMaximum", 1.0)]
    {
        for keyword in [inclusive, exclusive] {
            let (value, keyword) = match fields.get(keyword) {
                None | Some(Json::Bool(false)) => continue,
                Some(Json::Bool(true)) if keyword == exclusive => match fields.get(inclusive) {
                    Some(value) => (value, exclusive),
                    None => continue,
                },
                Some(_) if keyword == inclusive && fields.get(exclusive) == Some(&Json::Bool(true)) => {
                    continue;
                }
                Some(value) => (value, keyword),
            };
            let n = value.as_f64().ok_or_else(|| malformed(keyword, value, "a number"))?;
            if n.abs() <= EXACT_MAX {
                base.insert(keyword.into(), value.clone());
            } else if n * sign > 0.0 {
                // Beyond what is exact, the bound comes earlier.
                base.entry(inclusive).or_insert(json!((sign * EXACT_MAX) as i64));
            } else {
                return Err(refused(format_args!(
                    "{keyword} {n} is beyond 2^53, which many readers of JSON round"
                )));
            }
        }
    }
    Ok(())
}
