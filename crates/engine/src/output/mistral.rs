//! Mistral. The older form is a list of JSON objects, the newer a name and its arguments; ids have nine characters.
//!
//! ```text
//! [TOOL_CALLS][{"name": "add", "arguments": {"a": 1}, "id": "abcdefghi"}]
//! [TOOL_CALLS]add[CALL_ID]abcdefghi[ARGS]{"a": 1}
//! ```

use super::reader::{NoCall, Reader};
use super::{Format, Reasoning, THINK, json_call};

pub(super) static FORMAT: Format = Format {
    name: "mistral",
    about: "a list of JSON objects, or names with arguments, behind [TOOL_CALLS] (Mistral, Ministral, Magistral)",
    is_for: |template| template.contains("[TOOL_CALLS]"),
    reasoning: &[Reasoning { open: "[THINK]", close: "[/THINK]" }, THINK],
    before_text: None,
    openers: &["[TOOL_CALLS]"],
    bare: false,
    inner: &["[CALL_ID]", "[ARGS]"],
    id_len: Some(9),
    quotes: true,
    calls: |r, _| Box::pin(calls(r)),
    grammar: |d| {
        let open = d.open("[TOOL_CALLS]");
        if d.demand.template.contains("[ARGS]") {
            let args = d.mark("[ARGS]");
            let calls =
                d.calls(|tool, arguments| format!("{open} {} {args} {arguments}", d.literal(&tool.name)));
            format!("start: {}\n{calls}", d.separated("call", ""))
        } else {
            format!(
                "start: {open} \"[\" {} \"]\"\n{}",
                d.separated("call", r#"", ""#),
                d.json_calls("arguments")
            )
        }
    },
    example: "[TOOL_CALLS]add[ARGS]{\"a\": 1}",
};

async fn calls(r: &Reader) -> Result<(), NoCall> {
    r.space().await;
    if matches!(r.peek().await, Some('[' | '{')) {
        return json_call::calls(r).await;
    }
    let name = r.word().await;
    let id = if r.is("[CALL_ID]").await { Some(r.word().await) } else { None };
    r.is("[ARGS]").await;
    json_call::arguments(r, &name, id.as_deref()).await
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let cases = [
            (r#"[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}, "id": "abcdefghi"}]"#, r#"add{"a": 1}"#),
            (
                r#"[TOOL_CALLS] [{"name": "now", "arguments": {}}, {"name": "add", "arguments": {"a": 1}}]"#,
                r#"now{} | add{"a": 1}"#,
            ),
            (r#"[TOOL_CALLS]add[CALL_ID]abcdefghi[ARGS]{"a": 1}"#, r#"add#abcdefghi{"a": 1}"#),
            (r#"[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]add{"a": 1}"#, r#"now{} | add{"a": 1}"#),
            ("[TOOL_CALLS]now[ARGS]", "\"[TOOL_CALLS]now[ARGS]"),
        ];
        for (text, expected) in cases {
            assert_eq!(told(&FORMAT, text), expected);
        }
    }
}
