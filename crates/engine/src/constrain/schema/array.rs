//! Arrays: items in place and the rest. What some of them must be is in [`super::contains`], that all differ in [`unique`].

use serde_json::{Map, Value as Json, json};

use super::refs::{Draft, Scope};
use super::{Rewriter, array, unique};
use crate::error::Result;

/// What a schema asks of items: those at the first places, and all that follow.
pub(super) struct Items<'a> {
    pub places: &'a [Json],
    pub rest: Option<&'a Json>,
}

/// The items that `fields` ask for, by whichever keywords the draft has for them.
pub(super) fn items<'a>(fields: &'a Map<String, Json>, scope: &Scope) -> Result<Items<'a>> {
    // Old drafts: a list of schemas is for places, and what follows has a keyword of its own.
    let (places, rest) = match (fields.get("items"), fields.get("prefixItems")) {
        (Some(places @ Json::Array(_)), _) => (Some(places), fields.get("additionalItems")),
        (items, places) if scope.draft == Draft::D2020 => (places, items),
        (items, _) => (None, items),
    };
    let places = places.map_or(Ok(&[] as &[Json]), |places| array("items", places).map(Vec::as_slice))?;
    Ok(Items { places, rest })
}

impl Rewriter<'_> {
    /// Adds to `base` what `fields` ask of arrays, and to `parts` what must hold beside it. `base` has `minItems` and `maxItems`
    /// already.
    pub(super) fn array(
        &mut self,
        fields: &Map<String, Json>,
        scope: &Scope,
        base: &mut Map<String, Json>,
        parts: &mut Vec<Json>,
    ) -> Result<()> {
        let items = items(fields, scope)?;
        if !items.places.is_empty() {
            let places = items.places.iter().map(|place| self.positive(place, scope));
            base.insert("prefixItems".into(), json!(places.collect::<Result<Vec<_>>>()?));
        }
        if let Some(rest) = items.rest {
            base.insert("items".into(), self.positive(rest, scope)?);
        }
        if let Some(contained) = fields.get("contains") {
            parts.extend(self.contains(contained, fields, scope)?);
        }
        if fields.get("uniqueItems") == Some(&Json::Bool(true)) {
            parts.extend(unique::distinct(base)?);
        }
        Ok(())
    }
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
