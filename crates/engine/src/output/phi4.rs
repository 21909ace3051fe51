//! Phi-4-mini: a list of JSON objects between two tokens, or behind the word `functools`.
//!
//! ```text
//! <|tool_call|>[{"name": "add", "arguments": {"a": 1}}]<|/tool_call|>
//! functools[{"name": "add", "arguments": {"a": 1}}]
//! ```

use super::{Format, THINK, json_call};

pub(super) static FORMAT: Format = Format {
    name: "phi4",
    about: "a list of JSON objects between <|tool_call|> and <|/tool_call|> (Phi-4-mini)",
    is_for: |template| {
        template.contains("<|/tool|>")
            || template.contains("<|/tool_call|>")
            || template.contains("functools")
    },
    reasoning: &[THINK],
    before_text: None,
    openers: &["<|tool_call|>", "functools["],
    bare: false,
    inner: &["<|/tool_call|>"],
    id_len: None,
    quotes: true,
    calls: |r, opener| {
        Box::pin(async move {
            if opener == Some(1) {
                // The bracket is the list's.
                r.rewind(r.at() - 1);
            }
            json_call::calls(r).await?;
            r.trailing(&["<|/tool_call|>"]).await;
            Ok(())
        })
    },
    grammar: |d| {
        let (open, close) = (d.open("<|tool_call|>"), d.mark("<|/tool_call|>"));
        let all = d.separated("call", r#"", ""#);
        format!("start: {open} \"[\" {all} \"]\" {close}\n{}", d.json_calls("arguments"))
    },
    example: "<|tool_call|>[{\"name\": \"add\", \"arguments\": {\"a\": 1}}]<|/tool_call|>",
};

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn both_markers_are_read() {
        let list =
            r#"[{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}, {"name": "now"}]"#;
        for text in [format!("<|tool_call|>{list}<|/tool_call|>"), format!("functools{list}")] {
            assert_eq!(told(&FORMAT, &text), r#"add{"a": 1} | now{}"#);
        }
        assert_eq!(told(&FORMAT, "import functools"), "\"import functools");
    }
}
