//! Arguments that models write as bare text: which JSON value is meant, by the tool's schema.

use serde_json::Value;

use super::Tool;

/// The JSON text of what was written for the parameter `key` of `tool`.
///
/// Where the schema wants a string, or says nothing of the parameter, it is one. Otherwise it is what the text says as JSON
/// (or in Python's words), and a string where it says nothing that the schema takes.
pub(super) fn json_of(tool: &Tool, key: &str, text: &str) -> String {
    let as_string = || Value::from(text).to_string();
    let Some(schema) = tool.parameters.get("properties").and_then(|all| all.get(key)) else {
        return as_string();
    };
    if let Some(choices) = schema.get("enum").and_then(Value::as_array)
        && choices.iter().any(|choice| choice.as_str() == Some(text))
    {
        return as_string();
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let json = match text.trim() {
        "True" => "true",
        "False" => "false",
        "None" => "null",
        other => other,
    };
    match serde_json::from_str::<Value>(json) {
        Ok(value) if takes(&types, &value) => json.to_owned(),
        _ => as_string(),
    }
}

/// Whether one of these types, of which a string is not asked for here, is the value's. No type takes all.
fn takes(types: &[&str], value: &Value) -> bool {
    let named = |name: &str| types.contains(&name);
    types.is_empty()
        || match value {
            Value::Null => named("null"),
            Value::Bool(_) => named("boolean"),
            Value::Number(n) => {
                named("number")
                    || named("integer") && (n.is_i64() || n.is_u64() || n.as_f64().is_some_and(is_whole))
            }
            Value::String(_) => false,
            Value::Array(_) => named("array"),
            Value::Object(_) => named("object"),
        }
}

fn is_whole(n: f64) -> bool {
    n.fract() == 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_schema_says_what_a_text_is() {
        let tool = Tool {
            name: "f".into(),
            parameters: json!({"properties": {
                "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": ["number", "null"]},
                "b": {"type": "boolean"}, "a": {"type": "array"}, "any": {}, "one": {"enum": ["1", 2]},
                "or": {"type": ["string", "integer"]},
            }}),
        };
        let cases = [
            ("s", "12", r#""12""#),
            ("s", "a\n\"b\"", r#""a\n\"b\"""#),
            ("i", " 12\n", "12"),
            ("i", "1.5", r#""1.5""#),
            ("i", "twelve", r#""twelve""#),
            ("n", "None", "null"),
            ("n", "1.5", "1.5"),
            ("b", "True", "true"),
            ("b", "1", r#""1""#),
            ("a", "[1, 2]", "[1, 2]"),
            ("any", "{\"a\": 1}", "{\"a\": 1}"),
            ("any", "plain", r#""plain""#),
            ("one", "1", r#""1""#),
            ("one", "2", "2"),
            ("or", "7", "7"),
            ("or", "seven", r#""seven""#),
            ("unknown", "7", r#""7""#),
        ];
        for (key, text, expected) in cases {
            assert_eq!(json_of(&tool, key, text), expected, "{key} {text}");
        }
    }
}
