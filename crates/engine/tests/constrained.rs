//! Answers of a given form: what grammars accept token by token, what is refused before, and what the demo model says
//! under random schemas.

mod demo;
#[path = "structured/schemas.rs"]
mod schemas;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ingle_engine::constrain::{Constraint, Grammar};
use ingle_engine::generate::{Event, Finish, Outcome, Overflow, Request};
use ingle_engine::model_file::Loaded;
use ingle_engine::sample::Params;
use ingle_model::token::Parse;
use serde_json::{Value as Json, json};

/// Whether `text` passes the mask of every place and may end.
fn accepts(loaded: &Loaded, constraint: &Constraint, text: &str) -> bool {
    let mut constraint = constraint.clone();
    let passes = ids(loaded, text).into_iter().all(|id| {
        let mut row = vec![0.0; loaded.model.config.vocab];
        constraint.mask(&mut row).is_ok() && row[id as usize] == 0.0 && constraint.accept(id).is_ok()
    });
    passes && constraint.may_end()
}

fn ids(loaded: &Loaded, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    loaded.tokenizer().unwrap().encode(text, Parse::Text, &mut ids).unwrap();
    ids
}

fn schema(schema: &Json) -> Grammar {
    Grammar::JsonSchema(schema.to_string())
}

#[test]
fn grammars_accept_their_texts_and_no_others() {
    let loaded = demo::load(None, 1);
    let choices = Grammar::Choices(vec!["yes".into(), "yes, but".into(), "n/o (".into()]);
    let date = schema(&json!({ "type": "string", "format": "date" }));
    let gbnf = |text: &str| Grammar::Gbnf(text.to_owned());
    let table: &[(Grammar, &[&str], &[&str])] = &[
        (Grammar::JsonObject, &["{}", r#"{"a": [1, null]}"#], &["[]", "1", "{} {}", ""]),
        (Grammar::Regex("[a-c]{2,3}".into()), &["ab", "ccc"], &["a", "abcd", "xy"]),
        (Grammar::Lark("start: \"a\" start | \"b\"\n".into()), &["b", "aab"], &["a", "aa", "ba"]),
        (choices, &["yes", "yes, but", "n/o ("], &["no", "yes,", "ye"]),
        // Words overlap: a reader that takes the longest would lose these.
        (gbnf("root ::= [a-z]+ \"x\" | \"ab\" \"c\"?"), &["abx", "xx", "ab", "abc"], &["x", "abd", "ax1"]),
        (gbnf("root ::= \"(\" root \")\" | \"\" # nested"), &["", "()", "((()))"], &["(", "(()", ")("]),
        (
            gbnf(
                "root ::= list\nlist ::= \"[\" (item (\",\" item)*)? \"]\"\nitem ::= [^\\]\\[,]{1,2} | list",
            ),
            &["[]", "[a,bc]", "[a,[b],[]]"],
            &["[abc]", "[a,]", "a"],
        ),
        (gbnf("root ::= \"\\x41\\u00e9\\\"\\n\" .{2}"), &["Aé\"\nxy"], &["A", "Aé\"\nx"]),
        (date, &["\"2024-02-29\"", "\"1999-12-31\""], &["\"2023-02-29\"", "\"2023-04-31\"", "\"x\""]),
        (
            schema(&json!({ "type": "string", "pattern": "^a.{1,2}[.\\[&]$" })),
            &["\"abc[\"", "\"ab&\""],
            &["\"ab\"", "\"a\\rb.\\r\""],
        ),
        (
            schema(
                &json!({ "oneOf": [{ "type": "integer", "minimum": 5 }, { "type": "integer", "maximum": 7 }] }),
            ),
            &["4", "8"],
            &["5", "6", "7", "\"\""],
        ),
        (
            schema(&json!({ "not": { "enum": ["a", "bc", null] } })),
            &["\"\"", "\"b\"", "\"bcd\"", "1"],
            &["\"a\"", "\"bc\"", "null"],
        ),
        (
            schema(
                &json!({ "if": { "type": "string" }, "then": { "maxLength": 1 }, "else": { "const": 3 } }),
            ),
            &["\"a\"", "3"],
            &["\"ab\"", "4", "null"],
        ),
        (
            schema(
                &json!({ "type": "object", "properties": { "a": {}, "b": {}, "c": {} }, "additionalProperties": false,
            "minProperties": 2, "dependentRequired": { "a": ["c"] } }),
            ),
            &[r#"{"b":1,"c":1}"#, r#"{"a":1,"c":1}"#],
            &[r#"{"a":1,"b":1}"#, r#"{"c":1}"#, "{}"],
        ),
        (
            schema(
                &json!({ "type": "array", "items": { "enum": [1, 2, 3] }, "uniqueItems": true, "minItems": 1 }),
            ),
            &["[1]", "[1,3]", "[1,2,3]"],
            &["[]", "[1,1]", "[2,2]"],
        ),
        (
            schema(
                &json!({ "$ref": "#/$defs/a~1b", "$defs": { "a/b": { "type": "array", "items": { "$ref": "#n" } },
            "n": { "$anchor": "n", "type": "array", "items": { "$ref": "#" }, "maxItems": 1 } } }),
            ),
            &["[]", "[[],[[]]]"],
            &["[1]", "[[[],[]]]"],
        ),
        (
            schema(
                &json!({ "propertyNames": { "pattern": "^[ab]+$" }, "type": "object", "additionalProperties": { "type": "null" } }),
            ),
            &["{}", r#"{"ab":null}"#],
            &[r#"{"c":null}"#, r#"{"a":1}"#, r#"{"\u0061c":null}"#],
        ),
    ];
    for (grammar, accepted, rejected) in table {
        let constraint = loaded.constraint(grammar).unwrap_or_else(|e| panic!("{grammar:?}: {e}"));
        for text in *accepted {
            assert!(accepts(&loaded, &constraint, text), "{grammar:?} accepts {text}");
        }
        for text in *rejected {
            assert!(!accepts(&loaded, &constraint, text), "{grammar:?} rejects {text}");
        }
    }
}

#[test]
fn numbers_are_those_that_64_bits_hold() {
    let loaded = demo::load(None, 1);
    let number = schema(&json!({ "type": "number" }));
    let open = schema(&json!({ "type": "object" }));
    let large = format!("1{}", "0".repeat(307));
    let multiple = schema(&json!({ "type": "integer", "multipleOf": 7 }));
    let table: &[(&Grammar, &[&str], &[&str])] = &[
        (&number, &["1e307", "-2.5E-9", "6.02214076e+23", "1e-4000", &large], &["2e1640", "1e308"]),
        (&number, &[], &[&format!("{large}0"), &format!("{large}e1")]),
        (&open, &[r#"{"1e999": "1e999", "n": [18446744073709551616]}"#], &[r#"{"n": [1e999]}"#]),
        (&multiple, &["7", "-14", "9007199254740988"], &["8", "1e7", "70000000000000000"]),
    ];
    for (grammar, accepted, rejected) in table {
        let constraint = loaded.constraint(grammar).unwrap();
        accepted.iter().for_each(|text| assert!(accepts(&loaded, &constraint, text), "{text}"));
        rejected.iter().for_each(|text| assert!(!accepts(&loaded, &constraint, text), "{text}"));
    }
}

#[test]
fn a_vocabulary_is_made_ahead_and_once() {
    let loaded = demo::load(None, 1);
    std::thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(|| loaded.prepare_constraints().unwrap())));
    });
    assert!(loaded.constraint(&Grammar::JsonObject).is_ok());
}

#[test]
fn what_can_not_be_held_is_refused_with_the_reason() {
    let loaded = demo::load(None, 1);
    let table = [
        (Grammar::JsonSchema("{".into()), "not JSON"),
        (schema(&json!({ "type": "array", "uniqueItems": true })), "uniqueItems"),
        (schema(&json!({ "$ref": "https://example.com/other" })), "other documents are not fetched"),
        (schema(&json!({ "$ref": "#/$defs/none" })), "#/$defs/none"),
        (schema(&json!({ "pattern": "(?=a)" })), "look-around"),
        (schema(&json!({ "pattern": "(a)\\1" })), "back reference"),
        (schema(&json!({ "const": "a\u{0}b" })), "control character"),
        (schema(&json!({ "const": 9_007_199_254_740_993u64 })), "2^53"),
        (schema(&json!({ "type": "text" })), "expected one of"),
        (schema(&json!({ "required": "a" })), "required is \"a\", expected an array"),
        (schema(&json!({ "allOf": [{ "type": "null" }, { "type": "string" }] })), "nsatisfiable"),
        (schema(&json!({ "type": "integer", "minimum": 3, "maximum": 2 })), "minimum (3)"),
        (
            schema(&json!({ "x-guidance": { "lenient": true }, "uniqueItems": true, "type": "array" })),
            "uniqueItems",
        ),
        (Grammar::Regex("a(?!b)".into()), "look-around"),
        (Grammar::Lark("start: %json {}".into()), "%json"),
        (Grammar::Lark("start: missing".into()), "missing"),
        (Grammar::Gbnf("root ::= other".into()), "other, which is not defined"),
        (Grammar::Gbnf("root ::= \"a\"\nroot ::= \"b\"".into()), "twice"),
        (Grammar::Gbnf("a ::= \"a\"".into()), "no rule called root"),
        (Grammar::Gbnf("root ::= (\"a\"".into()), "line 1"),
        (Grammar::Gbnf(format!("root ::= {}", "(".repeat(10_000))), "parentheses"),
        (Grammar::Choices(vec![]), "empty"),
    ];
    for (grammar, reason) in table {
        let error = loaded.constraint(&grammar).expect_err(reason).to_string();
        assert!(error.contains(reason) && !error.contains('\n'), "{grammar:?}: {error}");
    }
    let deep = format!("{}true{}", r#"{"not":"#.repeat(120), "}".repeat(120));
    assert!(loaded.constraint(&Grammar::JsonSchema(deep)).is_err());
}

#[test]
fn what_was_taken_back_leaves_no_trace() {
    let loaded = demo::load(None, 1);
    let grammar = schema(
        &json!({ "type": "object", "properties": { "a": { "enum": ["x", "y"] }, "b": { "type": "integer" } } }),
    );
    let fresh = loaded.constraint(&grammar).unwrap();
    let row = |constraint: &mut Constraint| {
        let mut row = vec![0.0f32; loaded.model.config.vocab];
        constraint.mask(&mut row).unwrap();
        row
    };
    let text = ids(&loaded, r#"{"a": "x", "b": 12}"#);
    for n_back in 1..=text.len() {
        let (mut there_and_back, mut straight) = (fresh.clone(), fresh.clone());
        text.iter().for_each(|&id| there_and_back.accept(id).unwrap());
        assert!(there_and_back.may_end());
        there_and_back.take_back(n_back).unwrap();
        text[..text.len() - n_back].iter().for_each(|&id| straight.accept(id).unwrap());
        assert_eq!(row(&mut there_and_back), row(&mut straight));
        assert_eq!(there_and_back.may_end(), straight.may_end());
    }
    assert!(fresh.clone().take_back(1).is_err());
}

struct Answer {
    outcome: Outcome,
    text: String,
}

fn answer(loaded: &Arc<Loaded>, constraint: &Constraint, params: &Params, stop: &[String]) -> Answer {
    let prompt = demo::encode(loaded, "Once upon a time there was");
    let request = Request {
        prompt: &prompt,
        params,
        stop,
        max_tokens: 900,
        overflow: Overflow::Error,
        keep: 0,
        logprobs: None,
        constraint: Some(constraint),
    };
    let mut text = String::new();
    let outcome =
        demo::session(loaded, 1024, "f16", 64).generate(&request, &AtomicBool::new(false), |event| {
            if let Event::Text(piece) = event {
                text.push_str(piece);
            }
        });
    Answer { outcome: outcome.unwrap(), text }
}

/// A schema of a few small kinds, whose answers are bounded.
fn random_schema(random: &mut impl FnMut(usize) -> usize, depth: usize) -> Json {
    match random(if depth > 2 { 6 } else { 9 }) {
        0 => json!({ "type": "integer", "minimum": random(50), "exclusiveMaximum": 60 + random(1000) }),
        1 => json!({ "type": "string", "minLength": random(3), "maxLength": 3 + random(12) }),
        2 => json!({ "enum": ["red", "green", random(100), null, [1, 2]] }),
        3 => json!({ "type": ["boolean", "null"] }),
        4 => {
            let format = ["date", "time", "ipv4", "uuid", "date-time"][random(5)];
            json!({ "type": "string", "format": format })
        }
        5 => {
            let pattern = ["^[A-Z]{2}-\\d{1,4}$", "^(a|b){1,5}c$", "^\\w{3,8}$"][random(3)];
            json!({ "type": "string", "pattern": pattern })
        }
        6 => {
            let min = random(3);
            json!({ "type": "array", "items": random_schema(random, depth + 1), "minItems": min, "maxItems": min + random(3) })
        }
        7 => {
            json!({ "oneOf": [random_schema(random, depth + 1), { "const": "other" }, { "type": "integer", "maximum": -5, "minimum": -9 }] })
        }
        _ => {
            let properties: serde_json::Map<String, Json> =
                (0..1 + random(4)).map(|i| (format!("name {i}"), random_schema(random, depth + 1))).collect();
            let required: Vec<String> = properties.keys().filter(|_| random(2) == 0).cloned().collect();
            json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
        }
    }
}

#[test]
fn answers_under_random_schemas_are_valid() {
    check_answers(60);
}

/// What the issue asks for: 300 of 300.
#[test]
#[ignore = "the same with more answers, for an optimised build"]
fn three_hundred_answers_under_random_schemas_are_valid() {
    check_answers(300);
}

fn check_answers(n: u64) {
    let loaded = demo::load(None, 2);
    let mut state = 7u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut n_answers = 0;
    while n_answers < n {
        let schema = random_schema(&mut random, 0);
        let constraint = match loaded.constraint(&Grammar::JsonSchema(schema.to_string())) {
            Ok(constraint) => constraint,
            // A option that can't be told from the others.
            Err(e) => {
                assert!(e.to_string().contains("oneOf"), "{schema}: {e}");
                continue;
            }
        };
        n_answers += 1;
        let params = Params { temperature: 1.0, seed: n_answers, ..Params::GREEDY };
        let Answer { outcome, text } = answer(&loaded, &constraint, &params, &[]);
        assert_eq!(outcome.finish, Finish::EndOfText, "{schema}: {text}");
        let instance: Json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{schema}: {text}: {e}"));
        let judge = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        assert!(judge.is_valid(&instance), "{schema}: {text}");
    }
}

#[test]
fn banned_and_stop_strings_work_within_a_form() {
    let loaded = demo::load(None, 2);
    let pattern = Grammar::Regex("[a-z ]{40}".into());
    let constraint = loaded.constraint(&pattern).unwrap();
    let free = answer(&loaded, &constraint, &Params::GREEDY, &[]).text;
    assert_eq!(free.len(), 40);
    let banned = &free[5..9];
    let params = Params { banned_strings: vec![banned.to_owned()], ..Params::GREEDY };
    let without = answer(&loaded, &constraint, &params, &[]);
    assert!(
        without.text.len() == 40 && !without.text.contains(banned),
        "{} without {banned:?}",
        without.text
    );
    assert!(without.text.bytes().all(|b| b.is_ascii_lowercase() || b == b' '));
    let stopped = answer(&loaded, &constraint, &Params::GREEDY, &[banned.to_owned()]);
    assert_eq!(
        (stopped.outcome.finish, stopped.text.as_str()),
        (Finish::Stop(0), &free[..free.find(banned).unwrap()])
    );
}
