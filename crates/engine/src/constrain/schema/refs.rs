//! References between schemas of one document: `$ref` by pointer, by `$id`, by anchor, and dynamic ones.
//!
//! A dynamic reference means the anchor of its name in the outermost of the schemas with an identifier that lead to it. So a
//! scope remembers for each name which that is, and the same schema reached on two ways may become two.
//!
//! Other documents are not fetched: a reference to one is refused.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;

use super::refused;
use crate::error::Result;

/// The draft a schema is written in, where that makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Draft {
    /// Identified by `id`; nothing beside `$ref` counts.
    D4,
    /// 6 and 7: nothing beside `$ref` counts.
    D7,
    D2019,
    /// 2020-12; also where no draft is named.
    D2020,
}

/// Where a schema stands: what its references are relative to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scope {
    /// Without a fragment.
    pub base: String,
    pub draft: Draft,
    /// For each dynamic anchor, the identifier of the outermost schema on the way here that has it.
    pub dynamic: Dynamic,
}

/// Identifiers of schemas by names of anchors.
pub(super) type Dynamic = BTreeMap<String, String>;

/// The name under which `$recursiveAnchor` is kept; no anchor is called so.
const RECURSIVE: &str = "#";

impl Scope {
    /// The scope inside `schema`, which may have an identifier of its own.
    fn inside(&self, schema: &Json) -> Self {
        let draft = schema.get("$schema").and_then(Json::as_str).and_then(draft_of).unwrap_or(self.draft);
        let keyword = if draft == Draft::D4 { "id" } else { "$id" };
        let id = schema.get(keyword).and_then(Json::as_str);
        // In old drafts, what stands beside a reference does not count.
        let id = id.filter(|_| draft > Draft::D7 || schema.get("$ref").is_none());
        let base = id.map_or_else(|| self.base.clone(), |id| join(&self.base, id).0);
        Self { base, draft, dynamic: self.dynamic.clone() }
    }
}

fn draft_of(uri: &str) -> Option<Draft> {
    [
        ("draft-04", Draft::D4),
        ("draft-06", Draft::D7),
        ("draft-07", Draft::D7),
        ("2019-09", Draft::D2019),
        ("2020-12", Draft::D2020),
    ]
    .into_iter()
    .find_map(|(name, draft)| uri.contains(name).then_some(draft))
}

/// A schema and what can be referred to in it.
#[derive(Debug)]
pub(super) struct Document<'a> {
    schema: &'a Json,
    pub root: Scope,
    /// By identifier.
    resources: HashMap<String, (&'a Json, Scope)>,
    /// By identifier and anchor.
    anchors: HashMap<(String, String), (&'a Json, Scope)>,
    /// The names of dynamic anchors, by identifier.
    dynamic: HashMap<String, Vec<String>>,
}

/// Keywords whose value is a schema, an array of schemas or, where marked, an object of schemas.
const SCHEMAS: &[&str] = &[
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const MAPS_OF_SCHEMAS: &[&str] =
    &["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];

impl<'a> Document<'a> {
    pub fn read(schema: &'a Json) -> Self {
        let root = Scope { base: String::new(), draft: Draft::D2020, dynamic: Dynamic::new() };
        let mut document = Self {
            schema,
            root: root.clone(),
            resources: HashMap::new(),
            anchors: HashMap::new(),
            dynamic: HashMap::new(),
        };
        let inside = root.inside(schema);
        document.resources.insert(inside.base.clone(), (schema, root.clone()));
        document.walk(schema, &root);
        document
    }

    /// Notes all identifiers; JSON is not deeper than its reader allows.
    fn walk(&mut self, schema: &'a Json, outside: &Scope) {
        let Some(fields) = schema.as_object() else { return };
        let scope = outside.inside(schema);
        if scope.base != outside.base {
            self.resources.entry(scope.base.clone()).or_insert((schema, outside.clone()));
        }
        let mut anchor = |name: &str| {
            self.anchors.insert((scope.base.clone(), name.to_owned()), (schema, outside.clone()));
        };
        for keyword in ["$anchor", "$dynamicAnchor"] {
            if let Some(name) = fields.get(keyword).and_then(Json::as_str) {
                anchor(name);
            }
        }
        let id = fields.get("$id").or_else(|| fields.get("id")).and_then(Json::as_str);
        if let Some(name) = id.and_then(|id| id.strip_prefix('#')) {
            anchor(name);
        }
        let mut dynamic = |name: &str| {
            self.dynamic.entry(scope.base.clone()).or_default().push(name.to_owned());
        };
        if let Some(name) = fields.get("$dynamicAnchor").and_then(Json::as_str) {
            dynamic(name);
        }
        if fields.get("$recursiveAnchor") == Some(&Json::Bool(true)) {
            dynamic(RECURSIVE);
        }
        for (keyword, value) in fields {
            if SCHEMAS.contains(&keyword.as_str()) {
                match value {
                    Json::Array(schemas) => schemas.iter().for_each(|s| self.walk(s, &scope)),
                    one => self.walk(one, &scope),
                }
            } else if let (true, Json::Object(schemas)) = (MAPS_OF_SCHEMAS.contains(&keyword.as_str()), value)
            {
                schemas.values().for_each(|s| self.walk(s, &scope));
            }
        }
    }

    /// The scope inside `schema`, which stands in scope `outside`.
    pub fn enter(&self, outside: &Scope, schema: &Json) -> Scope {
        let mut scope = outside.inside(schema);
        for name in self.dynamic.get(&scope.base).into_iter().flatten() {
            scope.dynamic.entry(name.clone()).or_insert_with(|| scope.base.clone());
        }
        scope
    }

    /// The schema that `$dynamicRef` or `$recursiveRef` means in `scope`, and the scope it stands in: what `$ref` would mean, and
    /// where that is dynamic the outermost on the way.
    pub fn resolve_dynamic(
        &self,
        keyword: &str,
        reference: &Json,
        scope: &Scope,
    ) -> Result<(&'a Json, Scope)> {
        let (base, fragment) = join(&scope.base, super::string(keyword, reference)?);
        let name = if keyword == "$recursiveRef" { RECURSIVE.to_owned() } else { decode(&fragment) };
        let is_dynamic = self.dynamic.get(&base).is_some_and(|names| names.contains(&name));
        match scope.dynamic.get(&name).filter(|_| is_dynamic) {
            Some(outermost) => {
                let fragment = if name == RECURSIVE { "" } else { &name };
                self.find(outermost, fragment, reference, scope)
            }
            None => self.resolve(reference, scope),
        }
    }

    /// The schema that `reference` names from `scope`, and the scope it stands in.
    pub fn resolve(&self, reference: &Json, scope: &Scope) -> Result<(&'a Json, Scope)> {
        let (base, fragment) = join(&scope.base, super::string("$ref", reference)?);
        self.find(&base, &fragment, reference, scope)
    }

    /// The schema at `fragment` of the schema identified by `base`, reached from scope `from`.
    fn find(&self, base: &str, fragment: &str, reference: &Json, from: &Scope) -> Result<(&'a Json, Scope)> {
        let missing = || {
            refused(format_args!("$ref {reference} is not in the schema; other documents are not fetched"))
        };
        let reached =
            |(schema, scope): (&'a Json, Scope)| (schema, Scope { dynamic: from.dynamic.clone(), ..scope });
        if !fragment.is_empty() && !fragment.starts_with('/') {
            let anchor = self.anchors.get(&(base.to_owned(), decode(fragment)));
            return anchor.cloned().map(reached).ok_or_else(missing);
        }
        let (mut schema, mut scope) = match self.resources.get(base) {
            Some(resource) => resource.clone(),
            None if base.is_empty() => (self.schema, self.root.clone()),
            None => return Err(missing()),
        };
        for part in fragment.split('/').skip(1) {
            scope = scope.inside(schema);
            let part = decode(part).replace("~1", "/").replace("~0", "~");
            schema = match schema {
                Json::Array(items) => part.parse::<usize>().ok().and_then(|i| items.get(i)),
                other => other.get(&part),
            }
            .ok_or_else(missing)?;
        }
        Ok(reached((schema, scope)))
    }
}

/// A reference relative to `base`: the document and the fragment.
fn join(base: &str, reference: &str) -> (String, String) {
    let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    let is_absolute = path.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let path = if path.is_empty() {
        base.to_owned()
    } else if is_absolute {
        path.to_owned()
    } else {
        let root_end =
            base.find("://").map_or(0, |i| base[i + 3..].find('/').map_or(base.len(), |j| i + 3 + j));
        let (root, old) = base.split_at(root_end);
        if let Some(rest) = path.strip_prefix("//") {
            format!("{}//{rest}", base.split_once("//").map_or("", |(scheme, _)| scheme))
        } else if path.starts_with('/') {
            format!("{root}{}", normalise(path))
        } else {
            let folder = old.rfind('/').map_or(if root.is_empty() { "" } else { "/" }, |i| &old[..=i]);
            format!("{root}{}", normalise(&format!("{folder}{path}")))
        }
    };
    (path, fragment.to_owned())
}

/// A path without `.` and `..`.
fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." if parts.len() > 1 => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Without percent encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
