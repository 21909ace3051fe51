//! JSON Schema keyword by keyword: what passes the mask and what does not, where that takes more than handing the keyword on.

use ingle_engine::constrain::Grammar;
use serde_json::{Value as Json, json};

use super::{accepts, demo};

/// Checks a schema, what it must accept and what it must reject.
fn check(table: &[(Json, &[&str], &[&str])]) {
    let loaded = demo::load(None, 1);
    for (schema, accepted, rejected) in table {
        let grammar = Grammar::JsonSchema(schema.to_string());
        let constraint = loaded.constraint(&grammar).unwrap_or_else(|e| panic!("{schema}: {e}"));
        for text in *accepted {
            assert!(accepts(&loaded, &constraint, text), "{schema} accepts {text}");
        }
        for text in *rejected {
            assert!(!accepts(&loaded, &constraint, text), "{schema} rejects {text}");
        }
    }
}

#[test]
fn what_nothing_else_looks_at_is_known_in_every_way_to_hold() {
    let either = json!({ "properties": { "a": {} }, "unevaluatedProperties": false,
        "anyOf": [{ "properties": { "b": {} }, "required": ["b"] }, { "properties": { "c": {} }, "required": ["c"] }] });
    let depends = json!({ "if": { "properties": { "a": { "const": 1 } }, "required": ["a"] }, "unevaluatedProperties": false,
        "then": { "properties": { "b": {} } }, "else": { "patternProperties": { "^x": {} } } });
    let elsewhere = json!({ "$ref": "#/$defs/d", "unevaluatedProperties": { "type": "null" },
        "$defs": { "d": { "properties": { "a": {} } } } });
    let cousins = json!({ "allOf": [{ "properties": { "a": {} } }, { "unevaluatedProperties": false }] });
    let needed = json!({ "properties": { "a": {} }, "unevaluatedProperties": false,
        "dependentSchemas": { "a": { "properties": { "b": {} } } } });
    let items = json!({ "prefixItems": [{}], "contains": { "type": "string" }, "unevaluatedItems": false,
        "anyOf": [{ "prefixItems": [true, { "const": 1 }] }, true] });
    let old = json!({ "$schema": "https://json-schema.org/draft/2019-09/schema", "items": [{}], "unevaluatedItems": false });
    check(&[
        (
            either,
            &[r#"{"a":1,"b":1}"#, r#"{"c":1}"#, r#"{"a":1,"b":1,"c":1}"#],
            &[r#"{"a":1}"#, r#"{"b":1,"d":1}"#],
        ),
        (depends, &[r#"{"a":1,"b":1}"#, r#"{"xy":1}"#, "{}"], &[r#"{"a":1,"x":1}"#, r#"{"b":1}"#]),
        (elsewhere, &[r#"{"a":1,"b":null}"#, "3"], &[r#"{"a":1,"b":1}"#]),
        (cousins, &["{}"], &[r#"{"a":1}"#]),
        (needed, &[r#"{"a":1,"b":1}"#], &[r#"{"b":1}"#]),
        (items, &[r#"[1,"a"]"#, r#"["a"]"#, r#"["a",1]"#, r#"[2,1,"a"]"#], &["[1]", r#"["a",2]"#, "[2,1]"]),
        (old, &["[1]", "[]"], &["[1,2]"]),
    ]);
}

#[test]
fn a_dynamic_reference_means_the_outermost_anchor_on_the_way() {
    let list = json!({ "$id": "list", "type": "array", "items": { "$dynamicRef": "#item" },
        "$defs": { "item": { "$dynamicAnchor": "item" } } });
    let of = |name: &str, item: Json| {
        json!({ "$id": name, "$ref": "list",
        "$defs": { "item": { "$dynamicAnchor": "item", "allOf": [item] } } })
    };
    let schema = json!({ "$id": "https://example.com/root", "type": "object", "additionalProperties": false,
        "properties": { "n": { "$ref": "numbers" }, "s": { "$ref": "strings" }, "any": { "$ref": "list" } },
        "$defs": { "list": list, "numbers": of("numbers", json!({ "type": "number" })),
            "strings": of("strings", json!({ "type": "string" })) } });
    let tree = json!({ "$schema": "https://json-schema.org/draft/2019-09/schema", "$id": "https://example.com/strict",
        "$recursiveAnchor": true, "$ref": "tree", "required": ["v"], "$defs": { "tree": { "$id": "tree",
            "$recursiveAnchor": true, "type": "object",
            "properties": { "v": {}, "c": { "type": "array", "items": { "$recursiveRef": "#" } } } } } });
    check(&[
        (
            schema,
            &[r#"{"n":[1],"s":["a"],"any":[1,"a"]}"#],
            &[r#"{"n":["a"]}"#, r#"{"s":[1]}"#, r#"{"any":1}"#],
        ),
        (tree, &[r#"{"v":1,"c":[{"v":2}]}"#], &[r#"{"v":1,"c":[{}]}"#, "{}"]),
    ]);
}

#[test]
fn what_an_array_contains_may_be_at_any_early_place() {
    check(&[
        (
            json!({ "type": "array", "contains": { "const": 5 } }),
            &["[5]", "[3,4,5]", "[1,2,3,4,5,6]"],
            &["[]", "[3,4]"],
        ),
        (
            json!({ "contains": { "const": 1 }, "minContains": 2 }),
            &["[1,2,1]", "[1,1]", "1"],
            &["[1]", "[1,2]"],
        ),
        (
            json!({ "contains": { "const": 1 }, "maxContains": 2, "minContains": 0 }),
            &["[]", "[2,1,1,3]"],
            &["[1,1,1]", "[1,2,1,1]"],
        ),
        (json!({ "not": { "contains": { "const": 1 } } }), &["[]", "[2,0.5]"], &["[1]", "[2,1]"]),
    ]);
}

#[test]
fn unique_items_of_known_values_come_in_any_order() {
    check(&[
        (
            json!({ "type": "array", "items": { "enum": ["a", "b", 1, 1.0] }, "uniqueItems": true }),
            &[r#"["b","a"]"#, r#"[1,"b"]"#, "[]"],
            &[r#"["a","a"]"#, "[1,1]"],
        ),
        (
            json!({ "prefixItems": [{ "type": "boolean" }, { "type": ["null", "boolean"] }], "items": false,
                "uniqueItems": true }),
            &["[true,false]", "[false,null]", "[true]"],
            &["[true,true]", "[null]"],
        ),
    ]);
}

#[test]
fn options_are_told_apart_by_their_patterns_and_numbers() {
    check(&[
        (
            json!({ "oneOf": [{ "format": "uuid" }, { "pattern": "^\\$[A-Z]+$" }] }),
            &["\"$A\"", "\"00000000-0000-0000-0000-000000000000\""],
            &["\"a\"", "1"],
        ),
        (json!({ "not": { "enum": [1, 2] } }), &["0", "1.5", "3", "\"1\""], &["1", "2", "2.0"]),
        (json!({ "if": { "const": 1 }, "then": false }), &["2", "null"], &["1"]),
        (json!({ "properties": { "a": { "not": {} } } }), &["{}", r#"{"b":1}"#], &[r#"{"a":1}"#]),
        (json!({ "patternProperties": { "f.*": true, "b.*": false } }), &[r#"{"foo":1}"#], &[r#"{"fb":1}"#]),
    ]);
}

#[test]
fn what_readers_round_is_not_written() {
    let below = json!({ "type": "number", "exclusiveMaximum": 1 });
    let date = json!({ "type": "string", "format": "date" });
    check(&[
        (below, &["0.99999999999999", "0.5", "-7"], &["1", "1.0", "0.99999999999999999999"]),
        (json!({ "type": "number", "maximum": 1 }), &["0.99999999999999999999", "1"], &["1.1"]),
        (
            date,
            &["\"0001-01-01\"", "\"0400-02-29\"", "\"2000-02-29\""],
            &["\"0000-02-29\"", "\"0000-01-01\"", "\"1900-02-29\""],
        ),
    ]);
}

#[test]
fn what_is_refused_is_named() {
    let loaded = demo::load(None, 1);
    let many: Vec<Json> =
        (0..9).map(|i| json!({ "anyOf": [{ "properties": { format!("p{i}"): {} } }, true] })).collect();
    for (schema, reason) in [
        (
            json!({ "patternProperties": { "a": { "type": "null" }, "b": { "type": "string" } } }),
            "patternProperties",
        ),
        (json!({ "type": "number", "multipleOf": 7e-9 }), "multipleOf"),
        (json!({ "allOf": [{ "multipleOf": 65537 }, { "multipleOf": 65539 }] }), "multipleOf"),
        (json!({ "enum": [9_007_199_254_740_993u64] }), "enum: 9007199254740993"),
        (json!({ "allOf": many, "unevaluatedProperties": false }), "unevaluatedProperties"),
        (
            json!({ "type": "string", "pattern": "[a-z]+ [0-9]+", "minLength": 100, "maxLength": 2000 }),
            "minLength",
        ),
        (json!({ "uniqueItems": true, "items": { "type": "string" } }), "uniqueItems"),
        (json!({ "not": { "type": ["number", "string", "boolean", "null", "array", "object"] } }), "not"),
    ] {
        let error =
            loaded.constraint(&Grammar::JsonSchema(schema.to_string())).expect_err(reason).to_string();
        assert!(error.contains(reason) && !error.contains('\n'), "{schema}: {error}");
    }
}
