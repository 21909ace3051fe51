//! LFM2: a list of calls in Python's words between two tokens. JSON objects in the list are read too.
//!
//! ```text
//! <|tool_call_start|>[add(a=1, b=True), now()]<|tool_call_end|>
//! ```

use super::demand::{Parameter, Writer, list};
use super::parts::Kind;
use super::reader::{NoCall, Reader};
use super::{Format, THINK, json_call, python};

const OPEN: &str = "<|tool_call_start|>";
const CLOSE: &str = "<|tool_call_end|>";

pub(super) static FORMAT: Format = Format {
    name: "lfm2",
    about: "calls in Python's words between <|tool_call_start|> and <|tool_call_end|> (LFM2, LFM2.5)",
    is_for: |template| {
        ["<|tool_call_start|>", "<|tool_list_start|>", "List of tools: ["]
            .iter()
            .any(|m| template.contains(m))
    },
    reasoning: &[THINK],
    before_text: None,
    openers: &[OPEN],
    bare: false,
    inner: &[CLOSE],
    id_len: None,
    quotes: true,
    calls: |r, _| Box::pin(calls(r)),
    grammar,
    example: "<|tool_call_start|>[add(a=1)]<|tool_call_end|>",
};

async fn calls(r: &Reader) -> Result<(), NoCall> {
    r.space().await;
    let start = r.at();
    let listed = r.take('[').await;
    r.space().await;
    if r.peek().await == Some('{') {
        r.rewind(start);
        json_call::calls(r).await?;
        r.trailing(&[CLOSE]).await;
        return Ok(());
    }
    loop {
        r.space().await;
        python::call(r).await?;
        let end = r.at();
        r.space().await;
        if listed && r.take(']').await {
            r.give(Kind::Markup);
            break;
        }
        if !r.take(',').await {
            r.rewind(end);
            break;
        }
    }
    r.trailing(&[CLOSE]).await;
    Ok(())
}

fn grammar(d: &Writer<'_>) -> String {
    let calls = d.choices(|_, tool| {
        let arguments = Parameter::all(&tool.parameters).into_iter().map(|p| {
            let value = match () {
                () if p.is("boolean") => r#"("True" | "False")"#.to_owned(),
                () if p.is("null") => r#""None""#.to_owned(),
                () => d.json(&p.schema),
            };
            (p.required, format!("{} {value}", d.literal(&format!("{}=", p.key))))
        });
        let arguments: Vec<_> = arguments.collect();
        format!("{} {} \")\"", d.literal(&format!("{}(", tool.name)), list(&arguments, r#"", ""#))
    });
    format!(
        "start: {} \"[\" {} \"]\" {}\n{calls}",
        d.open(OPEN),
        d.separated("call", r#"", ""#),
        d.mark(CLOSE)
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn values_in_pythons_words_become_json() {
        let cases = [
            (
                r#"say(text="a\"\n\u00e9", deep=[1, -2.5, True, None, ('x',), {'k': "\x41"}])"#,
                r#"say{"text": "a\"\né", "deep": [1, -2.5, true, null, ["x"], {"k": "A"}]}"#,
            ),
            ("add(a = 1, ), now()", r#"add{"a": 1} | now{}"#),
            (r#"{"name": "add", "arguments": {"a": 1}}"#, r#"add{"a": 1}"#),
        ];
        for (calls, expected) in cases {
            assert_eq!(told(&FORMAT, &format!("{OPEN}[{calls}]{CLOSE}")), expected);
        }
    }

    #[test]
    fn what_python_would_compute_is_text() {
        for call in
            ["add(1)", "add(a=b)", "add(a=1+1)", "add(a=[1)", "add(a='x)", "add(a=f(1))", "print(a=1)", ""]
        {
            let text = format!("{OPEN}[{call}]{CLOSE}");
            assert_eq!(told(&FORMAT, &text), format!("\"{text}"));
        }
    }
}
