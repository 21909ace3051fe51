//! `uniqueItems`, where the values that items may have are known: every list of different ones, or each set in one order.

use serde_json::{Map, Value as Json, json};

use super::apart::same;
use super::array::is_of_type;
use super::{ALTERNATIVES_MAX, any_of, refused};
use crate::error::Result;

/// What makes the items of the arrays that `base` describes differ; nothing where there is no second one.
pub(super) fn distinct(base: &Map<String, Json>) -> Result<Option<Json>> {
    let number = |keyword: &str| base.get(keyword).and_then(Json::as_u64);
    let places = base.get("prefixItems").and_then(Json::as_array).map_or(&[] as &[Json], Vec::as_slice);
    let rest = base.get("items").unwrap_or(&Json::Bool(true));
    let max = number("maxItems").unwrap_or(u64::MAX).min(match rest {
        Json::Bool(false) => places.len() as u64,
        _ => u64::MAX,
    });
    if max <= 1 {
        return Ok(None);
    }
    let sets = places.iter().chain([rest]).take(usize::try_from(max).unwrap_or(usize::MAX)).map(known_set);
    let Some(sets) = sets.collect::<Option<Vec<_>>>() else {
        return Err(refused("uniqueItems can't be held, but of items that are an enum, boolean or null"));
    };
    let min = number("minItems").unwrap_or(0);
    let set_of = |place: usize| sets.get(place).or(sets.last().filter(|_| places.len() < sets.len()));
    let lists = lists(max, set_of).or_else(|| match sets.as_slice() {
        [set] if set.len() <= ALTERNATIVES_MAX.ilog2() as usize => Some(subsets(set)),
        _ => None,
    });
    let Some(lists) = lists else {
        return Err(refused(format_args!(
            "uniqueItems of {} values can't be held, expected at most {}",
            sets.iter().map(Vec::len).max().unwrap_or(0),
            ALTERNATIVES_MAX.ilog2()
        )));
    };
    let lists = lists.into_iter().filter(|list| (min..=max).contains(&(list.len() as u64)));
    // Values that are no arrays stay as they are.
    let other = json!({ "type": ["null", "boolean", "number", "string", "object"] });
    Ok(Some(any_of(lists.map(|list| json!({ "const": list })).chain([other]).collect())))
}

/// All lists of different values, each of the set of its place; `None` where they are too many.
fn lists<'a>(max: u64, set_of: impl Fn(usize) -> Option<&'a Vec<Json>>) -> Option<Vec<Vec<Json>>> {
    let mut lists: Vec<Vec<Json>> = vec![Vec::new()];
    let mut longest = 0..1;
    while !longest.is_empty() {
        let begin = lists.len();
        for i in longest {
            let list = lists[i].clone();
            let set = set_of(list.len()).filter(|_| (list.len() as u64) < max);
            let others =
                set.into_iter().flatten().filter(|&value| !list.iter().any(|other| same(value, other)));
            for value in others {
                lists.push([list.as_slice(), std::slice::from_ref(value)].concat());
            }
            if lists.len() > ALTERNATIVES_MAX {
                return None;
            }
        }
        longest = begin..lists.len();
    }
    Some(lists)
}

/// All sets of these values, each in their order.
fn subsets(set: &[Json]) -> Vec<Vec<Json>> {
    let chosen = |bits: u32| (0..set.len()).filter(|i| bits >> i & 1 == 1).map(|i| set[i].clone()).collect();
    (0..1u32 << set.len()).map(chosen).collect()
}

/// The different values that a schema, as it was written anew, allows, where it lists them and asks nothing else.
fn known_set(schema: &Json) -> Option<Vec<Json>> {
    let fields = schema.as_object().filter(|fields| {
        fields.keys().all(|keyword| ["enum", "const", "type"].contains(&keyword.as_str()))
    })?;
    let types = fields.get("type").and_then(|names| super::positive::types(names).ok());
    let listed = match (fields.get("const"), fields.get("enum")) {
        (Some(value), None) => vec![value.clone()],
        (None, Some(Json::Array(values))) => values.clone(),
        (None, None) => vec![Json::Bool(false), Json::Bool(true), Json::Null],
        _ => return None,
    };
    if !fields.contains_key("const") && !fields.contains_key("enum") {
        types.as_ref()?.iter().all(|name| ["boolean", "null"].contains(name)).then_some(())?;
    }
    let mut set: Vec<Json> = Vec::new();
    for value in listed {
        let suits = types.as_ref().is_none_or(|types| types.iter().any(|name| is_of_type(&value, name)));
        if suits && !set.iter().any(|other| same(&value, other)) {
            set.push(value);
        }
    }
    Some(set)
}
