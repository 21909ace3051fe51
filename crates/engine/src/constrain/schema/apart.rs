//! Whether two schemas have no value in common, as far as that is easy to see.
//!
//! By types, by listed values, by patterns, and for objects by a property that one of them must have and that can't suit both:
//! what tells most options of `oneOf` apart.

use serde_json::{Map, Value as Json};

use super::array::is_of_type;
use super::positive::types;
use super::refs::{Draft, Scope};
use super::{Rewriter, format, pattern};

/// References and options followed.
const DEPTH_MAX: usize = 8;
pub(super) const ALL_TYPES: [&str; 6] = ["null", "boolean", "number", "string", "array", "object"];

impl Rewriter<'_> {
    /// Whether no value of these types suits both `a` and `b`; `false` when that is not known.
    pub(super) fn apart(&self, a: &Json, b: &Json, names: &[&str], scope: &Scope, depth: usize) -> bool {
        if depth > DEPTH_MAX {
            return false;
        }
        if *a == Json::Bool(false) || *b == Json::Bool(false) {
            return true;
        }
        // What only points elsewhere is what is there.
        for (one, other) in [(a, b), (b, a)] {
            if let Some(reference) = one.get("$ref")
                && let Ok((target, inside)) =
                    self.document.resolve(reference, &self.document.enter(scope, one))
                && inside.base == scope.base
                && self.apart(target, other, names, scope, depth + 1)
            {
                return true;
            }
            // All options are apart from the other, or one part of what must all hold is.
            for (keyword, every) in [("anyOf", true), ("oneOf", true), ("allOf", false)] {
                let inside = &self.document.enter(scope, one);
                if let Some(parts) = one.get(keyword).and_then(Json::as_array)
                    && inside.base == scope.base
                    && !hides_siblings(one, inside)
                {
                    let mut parts = parts.iter().map(|part| self.apart(part, other, names, scope, depth + 1));
                    if if every { parts.all(|apart| apart) } else { parts.any(|apart| apart) } {
                        return true;
                    }
                }
            }
        }
        let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return false };
        if [a, b].iter().any(|fields| fields.contains_key("$ref") && scope.draft <= Draft::D7) {
            return false;
        }
        if let (Some(a_values), Some(b_values)) = (values(a), values(b)) {
            let listed = a_values.iter().filter(|value| names.iter().any(|name| is_of_type(value, name)));
            return !listed.into_iter().any(|value| b_values.iter().any(|other| same(value, other)));
        }
        for (one, other) in [(a, b), (b, a)] {
            if let Some(listed) = values(one)
                && let Some(typed) = other.get("type").and_then(|t| types(t).ok())
                && listed.iter().all(|value| !typed.iter().any(|name| is_of_type(value, name)))
            {
                return true;
            }
        }
        let (a_types, b_types) = (type_names(a), type_names(b));
        let common = a_types.into_iter().filter(|name| b_types.contains(name) && names.contains(name));
        common.into_iter().all(|name| match name {
            "object" => self.objects_apart(a, b, scope, depth),
            "string" => strings_apart(a, b),
            _ => false,
        })
    }

    fn objects_apart(
        &self,
        a: &Map<String, Json>,
        b: &Map<String, Json>,
        scope: &Scope,
        depth: usize,
    ) -> bool {
        let required = |fields: &Map<String, Json>| -> Vec<String> {
            let names = fields.get("required").and_then(Json::as_array);
            names.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
        };
        let forbidden = Json::Bool(false);
        let property = |fields: &'_ Map<String, Json>, name: &str| -> Option<Json> {
            let listed = fields.get("properties").and_then(|properties| properties.get(name));
            let closed = fields.get("additionalProperties") == Some(&forbidden)
                && !fields.contains_key("patternProperties");
            listed.cloned().or_else(|| closed.then(|| forbidden.clone()))
        };
        required(a).iter().chain(&required(b)).any(|name| match (property(a, name), property(b, name)) {
            (Some(in_a), Some(in_b)) => self.apart(&in_a, &in_b, &ALL_TYPES, scope, depth + 1),
            (Some(only), None) | (None, Some(only)) => only == forbidden,
            (None, None) => false,
        })
    }
}

/// Whether a text would have to have two patterns that no text has.
fn strings_apart(a: &Map<String, Json>, b: &Map<String, Json>) -> bool {
    let patterns = |fields: &Map<String, Json>| -> Vec<String> {
        let text = |keyword: &str| fields.get(keyword).and_then(Json::as_str);
        let pattern = text("pattern").and_then(|pattern| pattern::translate(pattern).ok());
        pattern.into_iter().chain(text("format").and_then(format::lookup)).collect()
    };
    patterns(a).iter().any(|one| patterns(b).iter().any(|other| pattern::apart(one, other)))
}

/// In old drafts, nothing beside a reference counts.
fn hides_siblings(schema: &Json, scope: &Scope) -> bool {
    scope.draft <= Draft::D7 && schema.get("$ref").is_some()
}

/// The values a schema lists.
fn values(fields: &Map<String, Json>) -> Option<Vec<&Json>> {
    match (fields.get("const"), fields.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(Json::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

/// Numbers are equal when their values are.
pub(super) fn same(a: &Json, b: &Json) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        // Numbers within others may be written in two ways.
        _ => a == b || a.is_array() && b.is_array() || a.is_object() && b.is_object(),
    }
}

/// The types of values that may suit, integers among numbers.
fn type_names(fields: &Map<String, Json>) -> Vec<&'static str> {
    let named = fields.get("type").and_then(|value| types(value).ok());
    let suits = |name: &&'static str| match (&named, values(fields)) {
        (_, Some(listed)) if !listed.iter().any(|value| is_of_type(value, name)) => false,
        (None, _) => true,
        (Some(named), _) => named.contains(name) || *name == "number" && named.contains(&"integer"),
    };
    ALL_TYPES.into_iter().filter(suits).collect()
}
