//! Hermes, and whoever took it over: Qwen2.5, Qwen3, SmolLM3, Granite 4 and many fine-tunes.
//!
//! ```text
//! <tool_call>
//! {"name": "add", "arguments": {"a": 1}}
//! </tool_call>
//! ```

use super::{Format, THINK, json_call};

pub(super) static FORMAT: Format = Format {
    name: "hermes",
    about: "a JSON object in <tool_call> tags (Hermes, Qwen2.5, Qwen3, Granite 4)",
    is_for: |template| template.contains("<tool_call>"),
    reasoning: &[THINK],
    before_text: None,
    openers: &["<tool_call>"],
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
        let (open, close) = (d.open("<tool_call>"), d.mark("</tool_call>"));
        let all = d.separated("tagged", r#""\n""#);
        let calls = d.json_calls("arguments");
        format!("start: {all}\ntagged: {open} \"\\n\" call \"\\n\" {close}\n{calls}")
    },
    example: "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>",
};

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn objects_come_as_models_write_them() {
        let cases = [
            (r#"{"arguments": {"a": 1}, "name": "add"}"#, r#"add{"a": 1}"#),
            (r#"{"name": "add", "arguments": "{\"a\": 2}"}"#, r#"add{"a": 2}"#),
            (r#"{"name": "now"}"#, "now{}"),
            (r#"{"name": "now", "arguments": null}"#, "now{}"),
            (r#"{"id": "7", "type": "function", "function": {"name": "now", "arguments": ""}}"#, "now#7{}"),
            (
                r#"{"name": "say", "arguments": {"text": "</tool_call> \"é\" \ud83e\udd8a"}}"#,
                r#"say{"text": "</tool_call> \"é\" \ud83e\udd8a"}"#,
            ),
            (
                "{\"name\": \"now\", \"arguments\": {}}\n{\"name\": \"now\", \"arguments\": {}}",
                "now{} | now{}",
            ),
            (r#"[{"name": "now"}, {"name": "now"}]"#, "now{} | now{}"),
        ];
        for (object, expected) in cases {
            assert_eq!(told(&FORMAT, &format!("<tool_call>\n{object}\n</tool_call>")), expected);
        }
    }

    #[test]
    fn what_is_no_object_of_a_call_is_text() {
        let cases = [
            r#"{"name": "add", "arguments": [1]}"#,
            r#"{"name": "add", "arguments": {"a": 01}}"#,
            r#"{"name": "add", "arguments": {"a": 1,}}"#,
            r#"{"name": "add", "arguments": {"a": "\ud800"}}"#,
            r#"{"name": "add", "arguments": {"a": 1e999}}"#,
            r#"{"name": "add", "arguments": "{\"a\": "}"#,
            r#"{"name": "add", "arguments": {"a": 1}, "more": 1}"#,
            r#"{"name": "add", "name": "now"}"#,
            "{}",
            "[]",
            "add",
        ];
        for object in cases {
            let text = format!("<tool_call>{object}</tool_call>");
            assert_eq!(told(&FORMAT, &text), format!("\"{text}"));
        }
    }

    #[test]
    fn a_call_within_what_was_none_is_found() {
        let text = format!("The tag is <tool_call>, so: {}", FORMAT.example);
        assert_eq!(told(&FORMAT, &text), "\"The tag is <tool_call>, so: | add{\"a\": 1}");
    }

    #[test]
    fn the_closing_tag_may_be_missing() {
        assert_eq!(told(&FORMAT, "<tool_call>{\"name\": \"now\"} So."), "now{} | \" So.");
    }
}
