//! gpt-oss: an answer is several messages, each with a channel, and perhaps a recipient, in its header.
//!
//! ```text
//! <|channel|>analysis<|message|>Thoughts.<|end|><|start|>assistant<|channel|>final<|message|>Text.<|return|>
//! <|start|>assistant to=functions.add<|channel|>commentary json<|message|>{"a": 1}<|call|>
//! <|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 1}<|call|>
//! ```
//!
//! The prompt ends with `<|start|>assistant`, so an answer begins within a header. A message on `commentary` to nobody is
//! said to the user.

use super::demand::{Beside, Writer};
use super::parts::Kind;
use super::reader::{NoCall, Reader};
use super::{Format, Reasoning, json_call};

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
/// What ends a message, and what begins the next if nothing does.
const BORDERS: &[&str] = &["<|end|>", "<|return|>", "<|call|>", START, CHANNEL];

pub(super) static FORMAT: Format = Format {
    name: "harmony",
    about: "messages on channels (gpt-oss)",
    is_for: |template| template.contains(CHANNEL) && template.contains(MESSAGE),
    reasoning: &[Reasoning { open: "<|channel|>analysis<|message|>", close: "<|end|>" }],
    before_text: Some("<|channel|>final<|message|>"),
    openers: BORDERS,
    bare: true,
    inner: &[MESSAGE, "<|constrain|>"],
    id_len: None,
    quotes: true,
    calls: |r, opener| Box::pin(message(r, opener)),
    grammar,
    example: "<|start|>assistant to=functions.add<|channel|>commentary json<|message|>{\"a\": 1}<|call|>",
};

async fn message(r: &Reader, opener: Option<usize>) -> Result<(), NoCall> {
    let opener = opener.map(|i| BORDERS[i]);
    if let Some("<|end|>" | "<|return|>" | "<|call|>") = opener {
        r.give(Kind::Markup);
        return Ok(());
    }
    if opener == Some(START) {
        r.expect("assistant").await?;
    }
    let mut recipient = None;
    if opener != Some(CHANNEL) {
        recipient = to(r).await;
        r.space().await;
        r.expect(CHANNEL).await?;
    }
    let channel = r.word().await;
    if recipient.is_none() {
        recipient = to(r).await;
    }
    r.space().await;
    r.is("<|constrain|>").await;
    let _content_type = r.word().await;
    r.space().await;
    r.expect(MESSAGE).await?;
    if let Some(tool) = recipient {
        json_call::arguments(r, &tool, None).await?;
        r.trailing(&["<|call|>"]).await;
        return Ok(());
    }
    let kind = match channel.as_str() {
        "analysis" => Kind::Reasoning,
        "commentary" | "final" => Kind::Text,
        _ => return Err(NoCall),
    };
    r.give(Kind::Markup);
    r.until(kind, BORDERS).await;
    Ok(())
}

/// Reads ` to=NAME`.
async fn to(r: &Reader) -> Option<String> {
    let start = r.at();
    r.space().await;
    if r.is("to=").await {
        return Some(r.word().await);
    }
    r.rewind(start);
    None
}

/// An answer calls once: `<|call|>` ends it. One that need not call may say something before it does, or nothing else; then a call's
/// recipient may stand on either side of its channel, as models write both.
fn grammar(d: &Writer<'_>) -> String {
    let [start, channel, message, call] = [START, CHANNEL, MESSAGE, "<|call|>"].map(|m| d.mark(m));
    let calls = d.calls(|tool, arguments| {
        let name = d.literal(&format!(" to=functions.{}", tool.name));
        format!("{name} {channel} \"commentary json\" {message} {arguments} {call}")
    });
    let thoughts = d.text_up_to("thoughts", "<|end|>");
    if d.demand.beside == Beside::Nothing {
        return format!(
            "start: ({channel} \"analysis\" {message} thoughts {start} \"assistant\")? call\n{calls}{thoughts}"
        );
    }
    let json = d.mark("<|constrain|>");
    let late: Vec<String> = (0..d.demand.tools.len())
        .map(|i| {
            let name = d.literal(&format!("commentary to=functions.{} ", d.demand.tools[i].name));
            format!("{channel} {name} {json} \"json\" {message} arguments_{i} {call}")
        })
        .collect();
    format!(
        "start: before* (call | late | {channel} \"final\" {message} SAID?)\n\
         before: {channel} (\"analysis\" | \"commentary\") {message} thoughts {start} \"assistant\"\n\
         late: {}\n{calls}{thoughts}",
        late.join(" | ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn channels_say_what_a_text_is() {
        let cases = [
            (
                "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
                "~Hm. | \"Yes.",
            ),
            ("<|channel|>final<|message|>Yes.", "\"Yes."),
            (
                "<|channel|>commentary<|message|>Wait.<|end|><|start|>assistant<|channel|>analysis<|message|>Hm.",
                "\"Wait. | ~Hm.",
            ),
            (
                "<|channel|>commentary to=functions.add <|constrain|>json<|message|>{\"a\": 1}<|call|>",
                r#"add{"a": 1}"#,
            ),
            (" to=functions.add<|channel|>commentary json<|message|>{\"a\": 1}", r#"add{"a": 1}"#),
            ("<|channel|>commentary to=python<|message|>1", "\"<|channel|>commentary to=python<|message|>1"),
            ("Plain.", "\"Plain."),
        ];
        for (text, expected) in cases {
            assert_eq!(told(&FORMAT, text), expected);
        }
    }
}
