//! Granite 3: a token, then a list of JSON objects that nothing closes. (Granite 4 writes as Hermes does.)
//!
//! ```text
//! <|tool_call|>[{"name": "add", "arguments": {"a": 1}}]
//! ```
//!
//! 3.2 announces its thoughts in plain words.

use super::{Format, Reasoning, THINK, json_call};

pub(super) static FORMAT: Format = Format {
    name: "granite",
    about: "a list of JSON objects behind <|tool_call|> (Granite 3)",
    is_for: |template| template.contains("<|start_of_role|>") && template.contains("<|tool_call|>"),
    reasoning: &[
        THINK,
        Reasoning { open: "Here is my thought process:", close: "Here is my response:" },
        Reasoning { open: "Here's my thought process:", close: "Here's my response:" },
    ],
    before_text: None,
    openers: &["<|tool_call|>", "<tool_call>"],
    bare: false,
    inner: &["</tool_call>"],
    id_len: None,
    quotes: true,
    calls: |r, _| {
        Box::pin(async {
            json_call::calls(r).await?;
            r.trailing(&["</tool_call>"]).await;
            Ok(())
        })
    },
    grammar: |d| {
        let (open, all) = (d.open("<|tool_call|>"), d.separated("call", r#"", ""#));
        format!("start: {open} \"[\" {all} \"]\"\n{}", d.json_calls("arguments"))
    },
    example: "<|tool_call|>[{\"name\": \"add\", \"arguments\": {\"a\": 1}}]",
};

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn a_list_ends_by_its_bracket() {
        let text =
            r#"<|tool_call|>[{"name": "add", "arguments": {"a": 1}}, {"name": "now", "arguments": {}}] So."#;
        assert_eq!(told(&FORMAT, text), r#"add{"a": 1} | now{} | " So."#);
        let broken = r#"<|tool_call|>[{"name": "now"}, oh]"#;
        assert_eq!(told(&FORMAT, broken), r#"now{} | ", oh]"#);
    }
}
