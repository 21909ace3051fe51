//! Objects: properties by name and by pattern, all others, how many, and which need which.

use llguidance::derivre::RegexBuilder;
use serde_json::{Map, Value as Json, json};

use super::negative::lacks;
use super::refs::Scope;
use super::{
    ALTERNATIVES_MAX, Rewriter, all_of, any_of, is_anything, object, pattern, refused, string, strings,
};
use crate::error::Result;

/// Work that matching a pattern with a name may take.
const MATCH_FUEL: u64 = 100_000;

impl Rewriter<'_> {
    /// Adds to `base` what `fields` ask of objects. `base` has `minProperties` and `maxProperties` already, and keeps them
    /// only where they are held as they are; else what they ask is returned.
    pub(super) fn object(
        &mut self,
        fields: &Map<String, Json>,
        scope: &Scope,
        base: &mut Map<String, Json>,
    ) -> Result<Option<Json>> {
        let mut named = Map::new();
        if let Some(properties) = fields.get("properties") {
            for (name, property) in object("properties", properties)? {
                let property = self.positive(property, scope)?;
                named.insert(name.clone(), property);
            }
        }
        let mut patterned = Map::new();
        if let Some(properties) = fields.get("patternProperties") {
            for (name, property) in object("patternProperties", properties)? {
                let property = self.positive(property, scope)?;
                patterned.insert(pattern::translate(name)?, property);
            }
        }
        let others = fields.get("additionalProperties");
        let mut others = others.map(|others| self.positive(others, scope)).transpose()?;
        if others.is_none() {
            // Where all others are free, a pattern for what is free too says nothing.
            patterned.retain(|_, property| !is_anything(property));
        }
        overlap(&patterned)?;
        if let Some(names) = fields.get("propertyNames") {
            self.names(names, scope, &mut named, &mut patterned, &mut others)?;
        }
        let required = fields.get("required").map_or(Ok(Vec::new()), |names| strings("required", names))?;
        if !named.is_empty() {
            base.insert("properties".into(), Json::Object(named));
        }
        if !patterned.is_empty() {
            base.insert("patternProperties".into(), Json::Object(patterned));
        }
        if let Some(others) = others {
            base.insert("additionalProperties".into(), others);
        }
        if !required.is_empty() {
            base.insert("required".into(), json!(required));
        }
        if base.contains_key("minProperties") || base.contains_key("maxProperties") {
            counted(base)
        } else {
            Ok(None)
        }
    }

    /// `propertyNames`: named properties that don't suit go, others are named by what is asked.
    fn names(
        &mut self,
        names: &Json,
        scope: &Scope,
        named: &mut Map<String, Json>,
        patterned: &mut Map<String, Json>,
        others: &mut Option<Json>,
    ) -> Result<()> {
        let can_not = || {
            refused(
                "propertyNames can't be held, but with enum, const, pattern, minLength or maxLength alone",
            )
        };
        let rewritten = self.positive(names, scope)?;
        let Some(asked) = rewritten.as_object() else {
            // No name suits.
            named.values_mut().for_each(|property| *property = Json::Bool(false));
            patterned.clear();
            *others = Some(Json::Bool(false));
            return Ok(());
        };
        let mut asked: Vec<(&str, &Json)> = asked.iter().map(|(k, v)| (k.as_str(), v)).collect();
        if let Some(at) = asked.iter().position(|(keyword, _)| *keyword == "type") {
            let (_, types) = asked.remove(at);
            if !types.as_array().is_some_and(|types| types.contains(&json!("string"))) {
                return Err(can_not());
            }
        }
        let value = others.clone().unwrap_or(json!({}));
        let listed: Option<Vec<&Json>> = match asked.as_slice() {
            [] => return Ok(()),
            [("const", value)] => Some(vec![value]),
            [("enum", Json::Array(values))] => Some(values.iter().collect()),
            _ => None,
        };
        if let Some(listed) = listed {
            let suits = |name: &str| listed.iter().any(|value| value.as_str() == Some(name));
            if !patterned.is_empty() {
                return Err(can_not());
            }
            named.iter_mut().filter(|(name, _)| !suits(name)).for_each(|(_, p)| *p = Json::Bool(false));
            for name in listed.iter().filter_map(|value| value.as_str()) {
                named.entry(name).or_insert_with(|| value.clone());
            }
            *others = Some(Json::Bool(false));
            return Ok(());
        }
        let pattern = match asked.as_slice() {
            [("pattern", pattern)] => string("pattern", pattern)?.to_owned(),
            lengths if lengths.iter().all(|(keyword, _)| ["minLength", "maxLength"].contains(keyword)) => {
                let length = |wanted: &str| {
                    lengths.iter().find(|(keyword, _)| *keyword == wanted).map(|(_, n)| n.to_string())
                };
                let (min, max) = (length("minLength"), length("maxLength"));
                format!(
                    "^[\\x{{0}}-\\x{{10FFFF}}]{{{},{}}}$",
                    min.unwrap_or("0".into()),
                    max.unwrap_or_default()
                )
            }
            _ => return Err(can_not()),
        };
        for (name, property) in named.iter_mut() {
            if !is_match(&pattern, name)? {
                *property = Json::Bool(false);
            }
        }
        if *others != Some(Json::Bool(false)) {
            if !patterned.is_empty() {
                return Err(can_not());
            }
            patterned.insert(pattern, value);
            *others = Some(Json::Bool(false));
        } else if !patterned.is_empty() {
            return Err(can_not());
        }
        Ok(())
    }

    /// What a property asks of others, one part for each: it is not there, or what it asks holds.
    pub(super) fn dependent(&mut self, keyword: &str, value: &Json, scope: &Scope) -> Result<Vec<Json>> {
        let mut parts = Vec::new();
        for (name, needed) in object(keyword, value)? {
            let there = json!({ "type": "object", "required": [name] });
            let holds = match needed {
                Json::Array(_) => json!({ "type": "object", "required": strings(keyword, needed)? }),
                Json::String(one) => json!({ "type": "object", "required": [one] }),
                schema => self.positive(schema, scope)?,
            };
            if is_anything(&holds) {
                continue;
            }
            let other = json!({ "type": ["null", "boolean", "number", "string", "array"] });
            parts.push(any_of(vec![other, lacks(name), all_of(vec![there, holds])]));
        }
        Ok(parts)
    }
}

/// `minProperties` and `maxProperties` of `base`, by naming which of the optional ones are there.
fn counted(base: &mut Map<String, Json>) -> Result<Option<Json>> {
    let number = |keyword: &str| base.get(keyword).and_then(Json::as_u64);
    let (min, max) =
        (number("minProperties").unwrap_or(0) as usize, number("maxProperties").map(|n| n as usize));
    let empty = Map::new();
    let named = base.get("properties").and_then(Json::as_object).unwrap_or(&empty);
    let required: Vec<String> = base
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .map(str::to_owned)
        .collect();
    let optional: Vec<String> = named
        .iter()
        .filter(|(name, property)| !required.contains(name) && **property != Json::Bool(false))
        .map(|(name, _)| name.clone())
        .collect();
    let is_open = base.get("additionalProperties") != Some(&Json::Bool(false))
        || base.contains_key("patternProperties");
    let at_least = min.saturating_sub(required.len());
    let at_most = max.map(|max| max.checked_sub(required.len()));
    base.remove("minProperties");
    base.remove("maxProperties");
    let typed = |mut schema: Json| {
        schema["type"] = json!("object");
        schema
    };
    let forbid = |names: &mut dyn Iterator<Item = &String>| -> Json {
        Json::Object(names.map(|name| (name.clone(), Json::Bool(false))).collect())
    };
    let mut options = Vec::new();
    // Only others than the named ones.
    if is_open {
        if at_least > 1 && optional.len() < at_least {
            return Err(refused(format_args!(
                "minProperties {min} can't be held, as names that the schema leaves open might be the same"
            )));
        }
        if at_least <= 1 {
            let mut only_others = json!({ "minProperties": min });
            if at_least > 0 || at_most.is_some() {
                only_others["properties"] = forbid(&mut optional.iter());
            }
            if let Some(max) = max {
                only_others["maxProperties"] = json!(max);
            }
            options.push(typed(only_others));
        }
    }
    match at_most {
        Some(None) => return Err(refused("maxProperties is less than what is required")),
        // So many of the named ones, and no others.
        Some(Some(at_most)) if at_most < optional.len() || is_open => {
            for chosen in subsets(optional.len(), at_most.min(optional.len()))? {
                for needed in subsets(chosen.len(), at_least.min(chosen.len()))? {
                    let needed: Vec<&String> = needed.iter().map(|&i| &optional[chosen[i]]).collect();
                    if needed.len() < at_least {
                        continue;
                    }
                    let mut left = optional
                        .iter()
                        .enumerate()
                        .filter(|(i, _)| !chosen.contains(i))
                        .map(|(_, name)| name);
                    options.push(typed(json!({
                        "required": needed,
                        "properties": forbid(&mut left),
                        "minProperties": 0,
                        "closed": is_open,
                    })));
                    if options.len() > ALTERNATIVES_MAX {
                        return Err(refused(
                            "maxProperties makes too many alternatives of the optional properties",
                        ));
                    }
                }
            }
        }
        _ if at_least == 0 => return Ok(None),
        // So many of the named ones, and any others.
        _ => {
            for needed in subsets(optional.len(), at_least)? {
                let needed: Vec<&String> = needed.iter().map(|&i| &optional[i]).collect();
                options.push(typed(json!({ "required": needed })));
            }
        }
    }
    let known: Vec<String> = optional.iter().chain(&required).cloned().collect();
    for option in &mut options {
        let fields = option.as_object_mut().expect("all are objects");
        if fields.get("minProperties") == Some(&json!(0)) {
            fields.remove("minProperties");
        }
        // No others: all that is known is named, the rest is forbidden.
        if fields.remove("closed") == Some(Json::Bool(true)) {
            let properties = fields.entry("properties").or_insert_with(|| json!({}));
            for name in &known {
                if properties.get(name).is_none() {
                    properties[name] = json!({});
                }
            }
            fields.insert("additionalProperties".into(), Json::Bool(false));
        }
    }
    options.push(json!({ "type": ["null", "boolean", "number", "string", "array"] }));
    Ok(Some(any_of(options)))
}

/// The ways to choose `k` of `n`.
fn subsets(n: usize, k: usize) -> Result<Vec<Vec<usize>>> {
    let mut chosen: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..k {
        let longer = chosen.iter().flat_map(|some| {
            let first = some.last().map_or(0, |last| last + 1);
            (first..n).map(move |next| [some.as_slice(), &[next]].concat())
        });
        chosen = longer.take(ALTERNATIVES_MAX + 1).collect();
        if chosen.len() > ALTERNATIVES_MAX {
            return Err(refused("counting properties makes too many alternatives of the optional ones"));
        }
    }
    Ok(chosen)
}

/// Refuses patterns of names of which two may be found in the same name.
fn overlap(patterned: &Map<String, Json>) -> Result<()> {
    let patterns: Vec<&String> = patterned.keys().collect();
    for (i, one) in patterns.iter().enumerate() {
        if let Some(other) = patterns[i + 1..].iter().find(|other| !pattern::apart(one, other)) {
            return Err(refused(format_args!(
                "patternProperties: a name may have {one:?} and {other:?} in it, which can't be held"
            )));
        }
    }
    Ok(())
}

/// Whether `pattern`, in Rust's syntax, is found in `name`.
fn is_match(pattern: &str, name: &str) -> Result<bool> {
    let mut builder = RegexBuilder::new();
    let compiled = builder
        .mk_regex_for_serach(pattern)
        .and_then(|expression| builder.to_regex_limited(expression, MATCH_FUEL));
    let mut compiled = compiled.map_err(|e| refused(format_args!("propertyNames: {e}")))?;
    Ok(compiled.is_match(name))
}
