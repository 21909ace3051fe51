//! Llama 3.x: the whole answer is a JSON object, at times behind a token that announces code.
//!
//! ```text
//! {"name": "add", "parameters": {"a": 1}}
//! <|python_tag|>{"name": "add", "parameters": {"a": 1}}; {"name": "add", "parameters": {"a": 2}}
//! <|python_tag|>add.call(a=1)
//! ```
//!
//! Without the token a call is one only where the answer begins; an object later on is text.

use super::{Format, THINK, json_call, python};

pub(super) static FORMAT: Format = Format {
    name: "llama3",
    about: "a bare JSON object, or behind <|python_tag|> (Llama 3.1, 3.2, 3.3)",
    is_for: |template| {
        template.contains("<|python_tag|>")
            || template.contains("<|start_header_id|>") && template.contains("parameters")
    },
    reasoning: &[THINK],
    before_text: None,
    openers: &["<|python_tag|>"],
    bare: true,
    inner: &[],
    id_len: None,
    quotes: true,
    calls: |r, opener| {
        Box::pin(async move {
            r.space().await;
            match r.peek().await {
                Some('{' | '[') | None => json_call::calls(r).await,
                _ if opener.is_none() => Err(super::reader::NoCall),
                _ => python::call(r).await,
            }
        })
    },
    grammar: |d| {
        let all = d.separated("call", r#""; ""#);
        format!("start: {all}\n{}", d.json_calls("parameters"))
    },
    example: "{\"name\": \"add\", \"parameters\": {\"a\": 1}}",
};

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn calls_are_bare_or_behind_the_token() {
        let cases = [
            ("\n{\"name\": \"add\", \"parameters\": {\"a\": 1}}\n", r#"add{"a": 1}"#),
            (
                r#"<|python_tag|>{"name": "add", "parameters": {"a": 1}}; {"name": "now", "parameters": {}}"#,
                r#"add{"a": 1} | now{}"#,
            ),
            ("<|python_tag|>add.call(a=1)", r#"add{"a": 1}"#),
            ("<|python_tag|>print(1)", "\"<|python_tag|>print(1)"),
            (r#"{"name": "Ada", "age": 3}"#, r#""{"name": "Ada", "age": 3}"#),
            (r#"So: {"name": "now"}"#, r#""So: {"name": "now"}"#),
        ];
        for (text, expected) in cases {
            assert_eq!(told(&FORMAT, text), expected);
        }
    }
}
