//! Arrays: items in place, the rest, `contains`, unique items.

use serde_json::{Map, Value as Json, json};

use super::refs::{Draft, Scope};
use super::{ALTERNATIVES_MAX, Rewriter, all_of, any_of, array, count, refused};
use crate::error::Result;

/// What applies schemas to the same value, and so may look at items too.
const APPLICATORS: [&str; 11] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "allOf",
    "anyOf",
    "contains",
    "dependencies",
    "dependentSchemas",
    "if",
    "not",
    "oneOf",
];

impl Rewriter<'_> {
    /// Adds to `base` what `fields` ask of arrays. `base` has `minItems` and `maxItems` already.
    pub(super) fn array(
        &mut self,
        fields: &Map<String, Json>,
        scope: &Scope,
        base: &mut Map<String, Json>,
    ) -> Result<()> {
        // Old drafts: a list of schemas is for places, and what follows has a keyword of its own.
        let (places, rest) = match (fields.get("items"), fields.get("prefixItems")) {
            (Some(places @ Json::Array(_)), _) => (Some(places), fields.get("additionalItems")),
            (items, places) if scope.draft == Draft::D2020 => (places, items),
            (items, _) => (None, items),
        };
        let rest = match (rest, fields.get("unevaluatedItems")) {
            (None, Some(Json::Bool(false) | Json::Object(_)))
                if APPLICATORS.iter().any(|k| fields.contains_key(*k)) =>
            {
                return Err(refused("unevaluatedItems beside what may look at items can't be held"));
            }
            (None, unevaluated) => unevaluated,
            (rest, _) => rest,
        };
        let mut places = match places {
            Some(places) => array("items", places)?
                .iter()
                .map(|place| self.positive(place, scope))
                .collect::<Result<Vec<_>>>()?,
            None => Vec::new(),
        };
        let mut rest = rest.map(|rest| self.positive(rest, scope)).transpose()?;
        if let Some(contained) = fields.get("contains") {
            self.contains(contained, fields, scope, base, &mut places, &mut rest)?;
        }
        if !places.is_empty() {
            base.insert("prefixItems".into(), json!(places));
        }
        if let Some(rest) = rest {
            base.insert("items".into(), rest);
        }
        if fields.get("uniqueItems") == Some(&Json::Bool(true)) {
            unique(fields, base)?;
        }
        Ok(())
    }

    /// `contains`: the first items are those that are asked for.
    fn contains(
        &mut self,
        contained: &Json,
        fields: &Map<String, Json>,
        scope: &Scope,
        base: &mut Map<String, Json>,
        places: &mut Vec<Json>,
        rest: &mut Option<Json>,
    ) -> Result<()> {
        let number = |keyword: &str| fields.get(keyword).map(|value| count(keyword, value)).transpose();
        // Old drafts don't count.
        let (min, max) = match scope.draft {
            Draft::D4 | Draft::D7 => (1, None),
            _ => (number("minContains")?.unwrap_or(1) as usize, number("maxContains")?),
        };
        if min == 0 && max.is_none() {
            return Ok(());
        }
        if max.is_some_and(|max| max < min as u64) {
            return Err(refused("minContains is greater than maxContains"));
        }
        if min > ALTERNATIVES_MAX {
            return Err(refused(format_args!("minContains {min} is too large to be held")));
        }
        let n_places = places.len().max(min);
        places.resize(n_places, rest.clone().unwrap_or(json!({})));
        for place in &mut places[..min] {
            let also = self.positive(contained, scope)?;
            *place = all_of(vec![place.take(), also]);
        }
        let min_items = base.get("minItems").and_then(Json::as_u64).unwrap_or(0).max(min as u64);
        base.insert("minItems".into(), json!(min_items));
        if max.is_some() {
            for place in &mut places[min..] {
                let not = self.negative(contained, scope)?;
                *place = all_of(vec![place.take(), not]);
            }
            let not = self.negative(contained, scope)?;
            *rest = Some(all_of(vec![rest.take().unwrap_or(json!({})), not]));
        }
        Ok(())
    }
}

/// `uniqueItems`, where the items are of a known set: its subsets, in the order of the set.
fn unique(fields: &Map<String, Json>, base: &mut Map<String, Json>) -> Result<()> {
    let max = base.get("maxItems").and_then(Json::as_u64).unwrap_or(u64::MAX);
    if max <= 1 {
        return Ok(());
    }
    let places = base.get("prefixItems").and_then(Json::as_array).map_or(0, Vec::len);
    if places <= 1 && base.get("items") == Some(&Json::Bool(false)) {
        return Ok(());
    }
    let set = fields.get("items").filter(|_| places == 0).and_then(known_set);
    let Some(set) = set else {
        return Err(refused("uniqueItems can't be held, but of items that are an enum"));
    };
    let min = base.get("minItems").and_then(Json::as_u64).unwrap_or(0);
    if set.len() > ALTERNATIVES_MAX.ilog2() as usize {
        return Err(refused(format_args!(
            "uniqueItems of an enum of {} can't be held, expected at most {}",
            set.len(),
            ALTERNATIVES_MAX.ilog2()
        )));
    }
    let subsets = (0..1u32 << set.len()).filter(|bits| (min..=max).contains(&u64::from(bits.count_ones())));
    let subsets = subsets.map(|bits| {
        let items: Vec<&Json> = (0..set.len()).filter(|i| bits >> i & 1 == 1).map(|i| set[i]).collect();
        json!({ "const": items })
    });
    // Values that are no arrays stay as they are.
    let other = json!({ "type": ["null", "boolean", "number", "string", "object"] });
    let options = any_of(subsets.chain([other]).collect());
    base.remove("items");
    let all = base.entry("allOf").or_insert_with(|| json!([]));
    if let Json::Array(all) = all {
        all.push(options);
    }
    Ok(())
}

/// The different values that a schema allows, where it lists them and asks nothing else.
fn known_set(schema: &Json) -> Option<Vec<&Json>> {
    let values = schema.get("enum")?.as_array()?;
    let listed = |value: &&Json| {
        schema.get("type").is_none_or(|types| {
            super::positive::types(types).is_ok_and(|types| types.iter().any(|name| is_of_type(value, name)))
        })
    };
    let only = schema
        .as_object()?
        .keys()
        .all(|key| ["enum", "type", "title", "description"].contains(&key.as_str()));
    let mut set: Vec<&Json> = Vec::new();
    for value in values.iter().filter(listed) {
        if !set.contains(&value) {
            set.push(value);
        }
    }
    only.then_some(set)
}

/// Whether `value` is of the type called `name`.
pub(super) fn is_of_type(value: &Json, name: &str) -> bool {
    match value {
        Json::Null => name == "null",
        Json::Bool(_) => name == "boolean",
        Json::Number(n) => {
            name == "number" || name == "integer" && n.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        Json::String(_) => name == "string",
        Json::Array(_) => name == "array",
        Json::Object(_) => name == "object",
    }
}
