//! DeepSeek V3 and R1, which write a kind and a block of Markdown, and V3.1, which does without.
//!
//! ````text
//! <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add
//! ```json
//! {"a": 1}
//! ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>
//! <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>
//! ````

use super::reader::{NoCall, Reader};
use super::{Format, THINK, json_call};

const ALL: &str = "<｜tool▁calls▁begin｜>";
const ALL_END: &str = "<｜tool▁calls▁end｜>";
const ONE: &str = "<｜tool▁call▁begin｜>";
const ONE_END: &str = "<｜tool▁call▁end｜>";
const SEPARATOR: &str = "<｜tool▁sep｜>";

pub(super) static FORMAT: Format = Format {
    name: "deepseek",
    about: "names and arguments between <｜tool▁call▁begin｜> and <｜tool▁call▁end｜> (DeepSeek V3, R1, V3.1)",
    is_for: |template| template.contains(ONE),
    reasoning: &[THINK],
    before_text: None,
    openers: &[ALL, ONE],
    bare: false,
    inner: &[ALL_END, ONE_END, SEPARATOR],
    id_len: None,
    quotes: true,
    calls: |r, opener| Box::pin(calls(r, opener == Some(0))),
    grammar: |d| {
        let all = d.open(ALL);
        let [all_end, one, one_end, separator] = [ALL_END, ONE, ONE_END, SEPARATOR].map(|m| d.mark(m));
        let in_markdown = d.demand.template.contains("```json");
        let calls = d.calls(|tool, arguments| match in_markdown {
            true => {
                let name = d.literal(&format!("{}\n```json\n", tool.name));
                format!("{one} \"function\" {separator} {name} {arguments} \"\\n```\" {one_end}")
            }
            false => format!("{one} {} {separator} {arguments} {one_end}", d.literal(&tool.name)),
        });
        let between = if in_markdown { r#""\n""# } else { "" };
        format!("start: {all} {} {all_end}\n{calls}", d.separated("call", between))
    },
    example: "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
};

async fn calls(r: &Reader, listed: bool) -> Result<(), NoCall> {
    if listed {
        r.space().await;
        r.expect(ONE).await?;
    }
    loop {
        let mut name = r.word().await;
        r.expect(SEPARATOR).await?;
        if r.peek().await != Some('{') {
            // The first word was the kind.
            name = r.word().await;
            r.space().await;
            r.is("```json").await;
        }
        json_call::arguments(r, &name, None).await?;
        r.trailing(&["```", ONE_END]).await;
        let end = r.at();
        r.space().await;
        if !r.is(ONE).await {
            r.rewind(end);
            break;
        }
    }
    r.trailing(&[ALL_END]).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn blocks_of_markdown_and_bare_arguments_are_read() {
        let block =
            |name: &str| format!("{ONE}function{SEPARATOR}{name}\n```json\n{{\"a\": 1}}\n```{ONE_END}");
        let two = format!("Yes.\n{ALL}{}\n{}{ALL_END}", block("add"), block("say"));
        assert_eq!(told(&FORMAT, &two), r#""Yes. | add{"a": 1} | say{"a": 1}"#);
        let bare =
            format!("{ALL}{ONE}add{SEPARATOR}{{\"a\": 1}}{ONE_END}{ONE}now{SEPARATOR}{{}}{ONE_END}{ALL_END}");
        assert_eq!(told(&FORMAT, &bare), r#"add{"a": 1} | now{}"#);
    }
}
