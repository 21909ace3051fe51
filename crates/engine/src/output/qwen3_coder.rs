//! Qwen3-Coder and Qwen3.5: tags all the way down. Values are bare text, read by the tool's schema.
//!
//! ```text
//! <tool_call>
//! <function=add>
//! <parameter=a>
//! 1
//! </parameter>
//! </function>
//! </tool_call>
//! ```
//!
//! A value ends at the first `</parameter>`, so none can hold that; arguments are told value by value.

use super::demand::{Parameter, Writer};
use super::reader::{NoCall, Reader};
use super::typed::json_of;
use super::{Format, THINK, json_call};

pub(super) static FORMAT: Format = Format {
    name: "qwen3-coder",
    about: "a tag for each parameter in <function=NAME> (Qwen3-Coder, Qwen3.5)",
    is_for: |template| template.contains("<function=") && template.contains("<parameter="),
    reasoning: &[THINK],
    before_text: None,
    openers: &["<tool_call>", "<function="],
    bare: false,
    inner: &["</tool_call>"],
    id_len: None,
    quotes: false,
    calls: |r, opener| Box::pin(calls(r, opener == Some(0))),
    grammar,
    example: "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
};

async fn calls(r: &Reader, tagged: bool) -> Result<(), NoCall> {
    if tagged {
        r.space().await;
        if matches!(r.peek().await, Some('{' | '[')) {
            // Qwen3.5 falls back to what Qwen3 wrote.
            json_call::calls(r).await?;
            r.trailing(&["</tool_call>"]).await;
            return Ok(());
        }
        r.expect("<function=").await?;
    }
    function(r).await?;
    r.trailing(&["</tool_call>"]).await;
    Ok(())
}

async fn function(r: &Reader) -> Result<(), NoCall> {
    let name = r.word().await;
    r.expect(">").await?;
    let tool = r.begin(&name, None)?;
    let mut separator = "{";
    loop {
        r.space().await;
        if r.is("</function>").await {
            break;
        }
        r.expect("<parameter=").await?;
        let key = r.up_to(">").await?;
        let value = r.up_to("</parameter>").await?;
        let value = value.strip_prefix('\n').unwrap_or(&value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let value = json_of(tool, &key, value);
        r.argue(&format!("{separator}{}: {value}", serde_json::Value::from(key)));
        separator = ", ";
    }
    r.argue(if separator == "{" { "{}" } else { "}" });
    r.end()
}

fn grammar(d: &Writer<'_>) -> String {
    let (open, close) = (d.open("<tool_call>"), d.mark("</tool_call>"));
    let mut values = String::new();
    let calls = d.choices(|i, tool| {
        let mut parameters = String::new();
        for (j, parameter) in Parameter::all(&tool.parameters).iter().enumerate() {
            let start = d.literal(&format!("<parameter={}>\n", parameter.key));
            let optional = if parameter.required { "" } else { "?" };
            parameters += &format!("({start} value_{i}_{j}){optional} ");
            values += &format!("value_{i}_{j}{}\n", value(d, parameter));
        }
        let name = d.literal(&format!("\n<function={}>\n", tool.name));
        format!("{open} {name} {parameters}\"</function>\\n\" {close}")
    });
    format!("start: {}\n{calls}{values}", d.separated("call", r#""\n""#))
}

/// A value and what closes it, as the body of a rule. A text runs up to that.
fn value(d: &Writer<'_>, parameter: &Parameter) -> String {
    let close = d.literal("\n</parameter>\n");
    match parameter.choices() {
        Some(choices) => {
            let choices: Vec<String> = choices.iter().map(|choice| d.literal(choice)).collect();
            format!(": ({}) {close}", choices.join(" | "))
        }
        None if parameter.is("string") => format!("[suffix={close}]: /(.|\\n)*/"),
        None => format!(": {} {close}", d.json(&parameter.schema)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn values_are_what_the_schema_wants() {
        let text = "<tool_call>\n<function=say>\n<parameter=text>\n12\n<b>\"é\"</b>\n\n</parameter>\n<parameter=deep>\n[1, {\"k\": 2}]\n</parameter>\n</function>\n</tool_call>";
        assert_eq!(told(&FORMAT, text), r#"say{"text": "12\n<b>\"é\"</b>\n", "deep": [1, {"k": 2}]}"#);
    }

    #[test]
    fn the_outer_tag_may_be_missing_and_arguments_too() {
        assert_eq!(told(&FORMAT, "So.\n<function=now>\n</function>\n</tool_call>"), "\"So. | now{}");
        assert_eq!(told(&FORMAT, "<tool_call>\n{\"name\": \"now\"}\n</tool_call>"), "now{}");
        let broken = "<function=now>\n<parameter=a>\n1\n</function>";
        assert_eq!(told(&FORMAT, broken), format!("\"{broken}"));
    }
}
