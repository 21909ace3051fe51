//! `unevaluatedProperties` and `unevaluatedItems`: what nothing else looked at.
//!
//! What looks at a property depends on which schemas of several hold. So a schema becomes a list of ways in which it may hold,
//! each with all that must hold then and what was looked at; in each the rest is known, and is asked for as
//! `additionalProperties` and `items` would. Whatever more may hold beside, and look at more, only asks less of the rest: so a
//! way need not say what does not hold, except where a keyword says so, and no way lets a wrong value pass.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::array::items;
use super::negative::lacks;
use super::refs::{Draft, Scope};
use super::{Rewriter, all_of, any_of, array, is_anything, object, pattern, refused};
use crate::error::Result;

/// Ways of one schema.
const WAYS_MAX: usize = 64;
/// Options of `anyOf` that look at different things, of which any may hold together.
const TOGETHER_MAX: usize = 5;

/// What applies schemas to the same value.
const APPLICATORS: [&str; 12] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "allOf",
    "anyOf",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "if",
    "not",
    "oneOf",
    "contains",
];

/// A way in which a schema may hold.
#[derive(Debug, Clone, Default)]
struct Way {
    /// What must hold then.
    parts: Vec<Json>,
    seen: Seen,
}

/// What was looked at of a value.
#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    names: BTreeSet<String>,
    /// Patterns of names, in Rust's syntax.
    patterns: BTreeSet<String>,
    all_names: bool,
    /// So many items at the beginning.
    n_items: usize,
    all_items: bool,
    /// Items that suit one of these.
    contained: Vec<Json>,
}

/// Whether `fields` ask something of what nothing else looks at.
pub(super) fn asks(fields: &Map<String, Json>) -> bool {
    fields.contains_key("unevaluatedProperties") || fields.contains_key("unevaluatedItems")
}

/// `fields`, with what is asked of the rest put to the keywords that say the same where nothing else looks at the value.
pub(super) fn plain(fields: &Map<String, Json>) -> Cow<'_, Map<String, Json>> {
    if !asks(fields) || APPLICATORS.iter().any(|keyword| fields.contains_key(*keyword)) {
        return Cow::Borrowed(fields);
    }
    let mut fields = fields.clone();
    let items = if matches!(fields.get("items"), Some(Json::Array(_))) { "additionalItems" } else { "items" };
    for (asked, keyword) in [("unevaluatedProperties", "additionalProperties"), ("unevaluatedItems", items)] {
        if let Some(rest) = fields.shift_remove(asked) {
            fields.entry(keyword).or_insert(rest);
        }
    }
    Cow::Owned(fields)
}

impl Rewriter<'_> {
    /// What `fields` accept, which ask for what nothing else looks at.
    pub(super) fn evaluated(&mut self, fields: &Map<String, Json>, scope: &Scope) -> Result<Json> {
        let ways = self.ways_of(fields, scope)?;
        Ok(any_of(ways.into_iter().map(|way| all_of(way.parts)).collect()))
    }

    /// The ways in which `schema`, which stands in scope `outside`, may hold.
    fn ways(&mut self, schema: &Json, outside: &Scope) -> Result<Vec<Way>> {
        self.enter()?;
        let ways = match schema {
            Json::Bool(true) => vec![Way::default()],
            Json::Bool(false) => Vec::new(),
            schema => {
                let fields = object("a schema", schema)?;
                let scope = &self.document.enter(outside, schema);
                match fields.get("$ref") {
                    Some(reference) if scope.draft <= Draft::D7 => self.there("$ref", reference, scope)?,
                    _ => self.ways_of(fields, scope)?,
                }
            }
        };
        self.leave();
        Ok(ways)
    }

    /// The ways of what a reference names.
    fn there(&mut self, keyword: &str, reference: &Json, scope: &Scope) -> Result<Vec<Way>> {
        let (schema, scope) = self.target(keyword, reference, scope)?;
        self.ways(schema, &scope)
    }

    fn ways_of(&mut self, fields: &Map<String, Json>, scope: &Scope) -> Result<Vec<Way>> {
        let mut own = Way { parts: self.direct(fields, scope)?, seen: Seen::default() };
        self.look(fields, scope, &mut own.seen)?;
        let mut ways = vec![own];
        for (keyword, value) in fields {
            if let Some(others) = self.applied_ways(keyword, value, fields, scope)? {
                ways = both(&ways, &others)?;
            }
        }
        for way in &mut ways {
            self.rest(fields, scope, way)?;
        }
        Ok(ways)
    }

    /// Notes what `fields` look at themselves.
    fn look(&mut self, fields: &Map<String, Json>, scope: &Scope, seen: &mut Seen) -> Result<()> {
        let names =
            |keyword: &str| fields.get(keyword).and_then(Json::as_object).into_iter().flat_map(Map::keys);
        seen.names.extend(names("properties").cloned());
        for name in names("patternProperties") {
            seen.patterns.insert(pattern::translate(name)?);
        }
        seen.all_names = fields.contains_key("additionalProperties");
        let items = items(fields, scope)?;
        seen.n_items = items.places.len();
        seen.all_items = items.rest.is_some();
        if let (Some(contained), Draft::D2020) = (fields.get("contains"), scope.draft) {
            seen.contained.push(self.positive(contained, scope)?);
        }
        Ok(())
    }

    /// The ways of what `keyword` applies to the same value, if it does.
    fn applied_ways(
        &mut self,
        keyword: &str,
        value: &Json,
        fields: &Map<String, Json>,
        scope: &Scope,
    ) -> Result<Option<Vec<Way>>> {
        Ok(Some(match keyword {
            "$ref" | "$dynamicRef" | "$recursiveRef" => self.there(keyword, value, scope)?,
            "allOf" => {
                let mut ways = vec![Way::default()];
                for part in array(keyword, value)? {
                    ways = both(&ways, &self.ways(part, scope)?)?;
                }
                ways
            }
            "anyOf" => {
                let mut ways = Vec::new();
                for option in array(keyword, value)? {
                    ways.extend(self.ways(option, scope)?);
                }
                together(&merged(ways))?
            }
            "oneOf" => {
                let options = array(keyword, value)?;
                let mut ways = Vec::new();
                for (i, option) in options.iter().enumerate() {
                    let others = self.without_others(i, options, scope)?;
                    ways.extend(both(&self.ways(option, scope)?, &[Way::of(others)])?);
                }
                merged(ways)
            }
            "if" => self.conditional_ways(value, fields, scope)?,
            "dependencies" | "dependentSchemas" => {
                let mut ways = vec![Way::default()];
                for (name, needed) in object(keyword, value)? {
                    let there = Way::of(vec![json!({ "type": "object", "required": [name] })]);
                    let mut either = match needed {
                        Json::Object(_) | Json::Bool(_) => both(&[there], &self.ways(needed, scope)?)?,
                        _ => {
                            let one = json!({ name: needed });
                            ways = both(&ways, &[Way::of(self.dependent(keyword, &one, scope)?)])?;
                            continue;
                        }
                    };
                    let other = json!({ "type": ["null", "boolean", "number", "string", "array"] });
                    either.push(Way::of(vec![any_of(vec![other, lacks(name)])]));
                    ways = both(&ways, &either)?;
                }
                ways
            }
            _ => {
                let mut parts = Vec::new();
                self.applied(keyword, value, fields, scope, &mut parts)?;
                if parts.is_empty() {
                    return Ok(None);
                }
                vec![Way::of(parts)]
            }
        }))
    }

    /// Where a condition holds, what follows; where it does not, what follows then. Where nothing does, it is enough that it may.
    fn conditional_ways(
        &mut self,
        condition: &Json,
        fields: &Map<String, Json>,
        scope: &Scope,
    ) -> Result<Vec<Way>> {
        let follows = |rewriter: &mut Self, keyword: &str| match fields.get(keyword) {
            Some(schema) => rewriter.ways(schema, scope),
            None => Ok(vec![Way::default()]),
        };
        let mut ways = both(&self.ways(condition, scope)?, &follows(self, "then")?)?;
        let is_free = !fields.contains_key("then") && !fields.contains_key("else");
        let not = if is_free { json!({}) } else { self.negative(condition, scope)? };
        ways.extend(both(&[Way::of(vec![not])], &follows(self, "else")?)?);
        Ok(merged(ways))
    }

    /// Asks of the rest what `fields` ask of it.
    fn rest(&mut self, fields: &Map<String, Json>, scope: &Scope, way: &mut Way) -> Result<()> {
        let Way { parts, seen } = way;
        if let Some(rest) = fields.get("unevaluatedProperties") {
            let rest = self.positive(rest, scope)?;
            if !seen.all_names && !is_anything(&rest) {
                let free = |names: &BTreeSet<String>| -> Json {
                    Json::Object(names.iter().map(|name| (name.clone(), json!({}))).collect())
                };
                let mut part = json!({ "properties": free(&seen.names), "additionalProperties": rest });
                if !seen.patterns.is_empty() {
                    part["patternProperties"] = free(&seen.patterns);
                }
                parts.push(part);
            }
            seen.all_names = true;
        }
        if let Some(rest) = fields.get("unevaluatedItems") {
            let rest = self.positive(rest, scope)?;
            let rest = any_of(seen.contained.iter().cloned().chain([rest]).collect());
            if !seen.all_items && !is_anything(&rest) {
                let mut part = json!({ "items": rest });
                if seen.n_items > 0 {
                    part["prefixItems"] = json!(vec![json!({}); seen.n_items]);
                }
                parts.push(part);
            }
            seen.all_items = true;
        }
        Ok(())
    }
}

impl Way {
    /// These must hold, and look at nothing.
    fn of(parts: Vec<Json>) -> Self {
        Self { parts, seen: Seen::default() }
    }

    fn and(&self, other: &Self) -> Self {
        let mut seen = self.seen.clone();
        seen.add(&other.seen);
        Self { parts: [self.parts.as_slice(), &other.parts].concat(), seen }
    }
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.names.extend(other.names.iter().cloned());
        self.patterns.extend(other.patterns.iter().cloned());
        self.all_names |= other.all_names;
        self.n_items = self.n_items.max(other.n_items);
        self.all_items |= other.all_items;
        for one in &other.contained {
            if !self.contained.contains(one) {
                self.contained.push(one.clone());
            }
        }
    }
}

/// One of the first and one of the second, in every combination.
fn both(first: &[Way], second: &[Way]) -> Result<Vec<Way>> {
    if first.len() * second.len() > WAYS_MAX {
        return Err(refused(format_args!(
            "unevaluatedProperties or unevaluatedItems beside more than {WAYS_MAX} ways to hold can't be held"
        )));
    }
    Ok(first.iter().flat_map(|one| second.iter().map(move |other| one.and(other))).collect())
}

/// Ways that look at the same become one.
fn merged(ways: Vec<Way>) -> Vec<Way> {
    let mut groups: Vec<(Seen, Vec<Json>)> = Vec::new();
    for way in ways {
        let whole = all_of(way.parts);
        match groups.iter_mut().find(|(seen, _)| *seen == way.seen) {
            Some((_, options)) => options.push(whole),
            None => groups.push((way.seen, vec![whole])),
        }
    }
    groups.into_iter().map(|(seen, options)| Way { parts: vec![any_of(options)], seen }).collect()
}

/// One way or several at once, where that looks at more than one of them.
fn together(ways: &[Way]) -> Result<Vec<Way>> {
    let mut all = ways.to_vec();
    if ways.len() > TOGETHER_MAX {
        return Ok(all);
    }
    for bits in 1..1u32 << ways.len() {
        let chosen: Vec<&Way> = (0..ways.len()).filter(|i| bits >> i & 1 == 1).map(|i| &ways[i]).collect();
        let [first, others @ ..] = chosen.as_slice() else { continue };
        let way = others.iter().fold((*first).clone(), |way, other| way.and(other));
        if !others.is_empty() && !chosen.iter().any(|one| one.seen == way.seen) {
            all.push(way);
        }
    }
    Ok(all)
}
