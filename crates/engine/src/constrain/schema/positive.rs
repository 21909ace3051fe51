//! A schema written anew: what it accepts, or less.

use serde_json::{Map, Value as Json, json};

use super::apart::ALL_TYPES;
use super::refs::{Draft, Scope};
use super::{
    EXACT_MAX, Polarity, Rewriter, all_of, any_of, array, count, evaluated, format, is_anything,
    is_unwritable, malformed, object, pattern, refused, string,
};
use crate::error::Result;

/// What asks nothing of a value.
const NOTES: [&str; 12] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$id",
    "$recursiveAnchor",
    "$schema",
    "default",
    "definitions",
    "description",
    "examples",
    "title",
];

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
        let scope = &self.document.enter(outside, schema);
        let fields = &*evaluated::plain(fields);
        let rewritten = match fields.get("$ref") {
            Some(reference) if scope.draft <= Draft::D7 => {
                self.reference("$ref", reference, scope, Polarity::Positive)?
            }
            _ if evaluated::asks(fields) => self.evaluated(fields, scope)?,
            _ => {
                let mut parts = self.direct(fields, scope)?;
                for (keyword, value) in fields {
                    self.applied(keyword, value, fields, scope, &mut parts)?;
                }
                all_of(parts)
            }
        };
        self.leave();
        Ok(rewritten)
    }

    /// What `fields` ask of values themselves, and of what is in them.
    pub(super) fn direct(&mut self, fields: &Map<String, Json>, scope: &Scope) -> Result<Vec<Json>> {
        let (mut base, mut beside) = (Map::new(), Vec::new());
        self.values(fields, &mut base)?;
        self.array(fields, scope, &mut base, &mut beside)?;
        beside.extend(self.object(fields, scope, &mut base)?);
        beside.insert(0, Json::Object(base));
        Ok(beside)
    }

    /// What `reference` names, written out where it stands with something beside it: the library under us follows no circles
    /// through such a place. Within itself it is referred to.
    fn in_place(&mut self, keyword: &str, reference: &Json, scope: &Scope) -> Result<Json> {
        let (schema, inside) = self.target(keyword, reference, scope)?;
        let place = (std::ptr::from_ref(schema), inside.dynamic.clone());
        if self.written_out.contains(&place) {
            return self.reference(keyword, reference, scope, Polarity::Positive);
        }
        self.written_out.push(place);
        let rewritten = self.positive(schema, &inside);
        self.written_out.pop();
        rewritten
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
                    check_exact(keyword, value)?;
                    base.insert("const".into(), value.clone());
                }
                "enum" => {
                    array("enum", value)?.iter().try_for_each(|value| check_exact(keyword, value))?;
                    base.insert("enum".into(), value.clone());
                }
                "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                    base.insert(keyword.clone(), json!(count(keyword, value)?));
                }
                "multipleOf" => {
                    let n = value.as_f64().filter(|n| *n > 0.0);
                    let n = n.ok_or_else(|| malformed(keyword, value, "a number above 0"))?;
                    self.multiples = Some(common_multiple(self.multiples, n)?);
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

    /// Adds to `parts` what `keyword` applies to the same value.
    pub(super) fn applied(
        &mut self,
        keyword: &str,
        value: &Json,
        fields: &Map<String, Json>,
        scope: &Scope,
        parts: &mut Vec<Json>,
    ) -> Result<()> {
        parts.push(match keyword {
            "$ref" | "$dynamicRef" | "$recursiveRef" => {
                let is_alone = fields.keys().all(|other| other == keyword || NOTES.contains(&other.as_str()));
                match is_alone {
                    true => self.reference(keyword, value, scope, Polarity::Positive)?,
                    false => self.in_place(keyword, value, scope)?,
                }
            }
            "allOf" => all_of(self.each(keyword, value, scope, Polarity::Positive)?),
            "anyOf" => any_of(self.each(keyword, value, scope, Polarity::Positive)?),
            "oneOf" => self.one_of(value, scope)?,
            "not" => match self.hinted(fields, value, scope)? {
                // Everything is forbidden, or what is can't be told.
                Json::Bool(false) if !is_anything(&self.positive(value, scope)?) => {
                    return Err(refused("not: nothing but what it forbids can be told apart"));
                }
                negated => negated,
            },
            "if" => self.conditional(fields, scope)?,
            "dependencies" | "dependentRequired" | "dependentSchemas" => {
                parts.extend(self.dependent(keyword, value, scope)?);
                return Ok(());
            }
            _ => return Ok(()),
        });
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

    /// Exactly one: each option without the others.
    fn one_of(&mut self, value: &Json, scope: &Scope) -> Result<Json> {
        let options = array("oneOf", value)?;
        let mut rewritten = Vec::new();
        for (i, option) in options.iter().enumerate() {
            let mut parts = vec![self.positive(option, scope)?];
            parts.extend(self.without_others(i, options, scope)?);
            rewritten.push(all_of(parts));
        }
        match any_of(rewritten) {
            Json::Bool(false) if options.iter().any(|option| !option.is_boolean()) => {
                Err(refused("oneOf: its options can't be told apart"))
            }
            one => Ok(one),
        }
    }

    /// The opposites of all of the options but the one of index `i`, which holds, so that none is needed where the two have
    /// nothing in common.
    pub(super) fn without_others(&mut self, i: usize, options: &[Json], scope: &Scope) -> Result<Vec<Json>> {
        let option = &options[i];
        let empty = Map::new();
        let mut parts = Vec::new();
        for (_, other) in options.iter().enumerate().filter(|(j, _)| *j != i) {
            if self.apart(option, other, &ALL_TYPES, scope, 0) {
                continue;
            }
            let negated = self.hinted(option.as_object().unwrap_or(&empty), other, scope)?;
            // They may have values of some types in common and none of others.
            let is_apart = |name: &&str| self.apart(option, other, &[*name], scope, 0);
            let others: Vec<&str> = ALL_TYPES.into_iter().filter(is_apart).collect();
            let other = if others.is_empty() { Json::Bool(false) } else { json!({ "type": others }) };
            parts.push(any_of(vec![other, negated]));
        }
        Ok(parts)
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
fn check_exact(keyword: &str, value: &Json) -> Result<()> {
    match value {
        Json::Number(n) if n.as_f64().is_none_or(|n| n.abs() > EXACT_MAX) => {
            Err(refused(format_args!("{keyword}: {n} is beyond 2^53, which many readers of JSON round")))
        }
        Json::Array(items) => items.iter().try_for_each(|item| check_exact(keyword, item)),
        Json::Object(fields) => fields.values().try_for_each(|value| check_exact(keyword, value)),
        Json::String(text) if text.contains(is_unwritable) => {
            Err(refused(format_args!("{keyword}: {text:?} has a control character, which can't be held")))
        }
        _ => Ok(()),
    }
}

/// A whole number, and by how many places its point moves to the left.
pub(super) type Decimal = (u64, u32);

/// What is a multiple of all that was met and of `n`: the library under us computes this, and remainders, in 32 bits.
fn common_multiple(met: Option<Decimal>, n: f64) -> Result<Decimal> {
    const MAX: u64 = u32::MAX as u64;
    let can_not = || refused(format_args!("multipleOf {n} has too many digits to be held"));
    let (mut whole, mut scale) = (n, 0);
    while whole.fract() != 0.0 && scale < 9 {
        whole *= 10.0;
        scale += 1;
    }
    if whole.fract() != 0.0 || whole > MAX as f64 {
        return Err(can_not());
    }
    let (coefficient, scale) = match met {
        None => (whole as u64, scale),
        Some((met, met_scale)) => {
            let all = scale.max(met_scale);
            let (a, b) = (met * 10u64.pow(all - met_scale), whole as u64 * 10u64.pow(all - scale));
            let (mut gcd, mut rest) = (a, b);
            while rest > 0 {
                (gcd, rest) = (rest, gcd % rest);
            }
            let product = a.checked_mul(b).filter(|product| *product <= MAX).ok_or_else(can_not)?;
            (product / gcd, all)
        }
    };
    // A remainder with a digit behind it, and a digit at its place.
    match coefficient * 10 + 9 * 10u64.pow(scale) <= MAX {
        true => Ok((coefficient, scale)),
        false => Err(can_not()),
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
