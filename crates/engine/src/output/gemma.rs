//! Gemma: FunctionGemma and Gemma 4 differ in their tokens only. Keys are bare, strings stand between marks and know no escapes.
//!
//! ```text
//! <start_function_call>call:add{a:1,text:<escape>x<escape>}<end_function_call>
//! <|tool_call>call:add{a:1,text:<|"|>x<|"|>}<tool_call|>
//! ```
//!
//! Gemma 3 itself was trained on no format.

use serde_json::Value;

use super::demand::{Parameter, Writer, list};
use super::reader::{DEPTH_MAX, NoCall, Reader, Reading};
use super::{Format, Reasoning, THINK};

/// What opens a call, what closes it and what quotes a string: Gemma 4's, then FunctionGemma's.
const MARKS: [[&str; 3]; 2] = [
    ["<|tool_call>", "<tool_call|>", "<|\"|>"],
    ["<start_function_call>", "<end_function_call>", "<escape>"],
];

pub(super) static FORMAT: Format = Format {
    name: "gemma",
    about: "call:NAME{KEY:VALUE} between tokens, as are strings (FunctionGemma, Gemma 4)",
    is_for: |template| MARKS.iter().any(|[open, ..]| template.contains(open)),
    reasoning: &[Reasoning { open: "<|channel>thought\n", close: "<channel|>" }, THINK],
    before_text: None,
    openers: &[MARKS[0][0], MARKS[1][0]],
    bare: false,
    inner: &[MARKS[0][1], MARKS[0][2], MARKS[1][1], MARKS[1][2], "<|channel>", "<|tool_response>"],
    id_len: None,
    quotes: false,
    calls: |r, opener| Box::pin(call(r, MARKS[opener.unwrap_or(0)])),
    grammar,
    example: "<|tool_call>call:add{a:1}<tool_call|>",
};

async fn call(r: &Reader, [_, close, quote]: [&str; 3]) -> Result<(), NoCall> {
    r.space().await;
    r.expect("call:").await?;
    let name = r.word().await;
    r.tool(&name)?;
    if r.peek().await != Some('{') {
        return Err(NoCall);
    }
    r.begin(&name, None)?;
    object(r, quote, 1).await?;
    r.end()?;
    // The response is the caller's to write; the model says that it waits for one.
    r.trailing(&[close, "<|tool_response>"]).await;
    Ok(())
}

fn value<'a>(r: &'a Reader, quote: &'a str, depth: usize) -> Reading<'a> {
    Box::pin(async move {
        if depth > DEPTH_MAX {
            return Err(NoCall);
        }
        if r.is(quote).await {
            let text = r.up_to(quote).await?;
            r.argue(&Value::from(text).to_string());
            return Ok(());
        }
        match r.peek().await.ok_or(NoCall)? {
            '{' => object(r, quote, depth).await,
            '[' => list_of(r, quote, depth).await,
            _ => {
                let word = bare(r).await;
                let json = if word == "None" { "null" } else { word.as_str() };
                serde_json::from_str::<Value>(json).map_err(|_| NoCall)?;
                r.argue(json);
                Ok(())
            }
        }
    })
}

async fn object(r: &Reader, quote: &str, depth: usize) -> Result<(), NoCall> {
    r.step();
    r.argue("{");
    let mut separator = "";
    loop {
        r.space().await;
        if r.take('}').await {
            break;
        }
        let key = if r.is(quote).await { r.up_to(quote).await? } else { bare(r).await };
        r.expect(":").await?;
        r.space().await;
        r.argue(&format!("{separator}{}: ", Value::from(key)));
        value(r, quote, depth + 1).await?;
        separator = ", ";
        r.space().await;
        match r.next().await {
            Some(',') => {}
            Some('}') => break,
            _ => return Err(NoCall),
        }
    }
    r.argue("}");
    Ok(())
}

async fn list_of(r: &Reader, quote: &str, depth: usize) -> Result<(), NoCall> {
    r.step();
    r.argue("[");
    let mut separator = "";
    loop {
        r.space().await;
        if r.take(']').await {
            break;
        }
        r.argue(separator);
        value(r, quote, depth + 1).await?;
        separator = ", ";
        r.space().await;
        match r.next().await {
            Some(',') => {}
            Some(']') => break,
            _ => return Err(NoCall),
        }
    }
    r.argue("]");
    Ok(())
}

/// What stands between punctuation.
async fn bare(r: &Reader) -> String {
    let mut word = String::new();
    while let Some(c) = r.peek().await
        && !":,{}[]<>\"".contains(c)
        && !c.is_control()
    {
        word.push(c);
        r.step();
    }
    word.trim().to_owned()
}

fn grammar(d: &Writer<'_>) -> String {
    let marks = MARKS.iter().find(|[open, ..]| d.demand.template.contains(open)).unwrap_or(&MARKS[0]);
    let [open, close, quote] = [d.open(marks[0]), d.mark(marks[1]), d.mark(marks[2])];
    let calls = d.choices(|_, tool| {
        let start = d.literal(&format!("call:{}{{", tool.name));
        format!("{open} {start} {} \"}}\" {close}", fields(d, &quote, &tool.parameters, 1))
    });
    let text = d.text_up_to("text", marks[2]);
    let any = format!(
        "any: {quote} text | NUMBER | \"true\" | \"false\" | \"null\" | \"[\" (any (\",\" any)*)? \"]\" | \"{{\" (pair (\",\" pair)*)? \"}}\"\n\
         pair: KEY \":\" any\nKEY: /[A-Za-z_][A-Za-z0-9_]*/\nNUMBER: /-?(0|[1-9][0-9]{{0,300}})(\\.[0-9]+)?/\n"
    );
    format!("start: {}\n{calls}{text}{any}", d.separated("call", ""))
}

/// What may stand in the braces of an object with this schema.
fn fields(d: &Writer<'_>, quote: &str, schema: &Value, depth: usize) -> String {
    let parameters = Parameter::all(schema).into_iter();
    let fields: Vec<_> = parameters
        .map(|p| {
            (p.required, format!("{} {}", d.literal(&format!("{}:", p.key)), value_of(d, quote, &p, depth)))
        })
        .collect();
    list(&fields, "\",\"")
}

fn value_of(d: &Writer<'_>, quote: &str, p: &Parameter, depth: usize) -> String {
    if let Some(choices) = p.choices() {
        let choices: Vec<String> =
            choices.iter().map(|c| format!("{quote} {} {quote}", d.literal(c))).collect();
        return format!("({})", choices.join(" | "));
    }
    match p.schema.get("type").and_then(Value::as_str) {
        Some("string") => format!("{quote} text"),
        Some("boolean" | "integer" | "number" | "null") => d.json(&p.schema),
        Some("array") => match p.schema.get("items") {
            Some(items) if depth < DEPTH_MAX => {
                let item = Parameter { key: String::new(), required: true, schema: items.clone() };
                let item = value_of(d, quote, &item, depth + 1);
                format!("\"[\" ({item} (\",\" {item})*)? \"]\"")
            }
            _ => r#""[" (any ("," any)*)? "]""#.to_owned(),
        },
        Some("object") if depth < DEPTH_MAX && p.schema.get("properties").is_some() => {
            format!("\"{{\" {} \"}}\"", fields(d, quote, &p.schema, depth + 1))
        }
        Some("object") => r#""{" (pair ("," pair)*)? "}""#.to_owned(),
        _ => "any".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn strings_between_marks_become_json() {
        for [open, close, quote] in MARKS {
            let text = format!(
                "{open}call:say{{text:{quote}a \"b\", {{c}}\n{quote},deep:[1,true,null,{{k:{quote}v{quote}}}]}}{close}\
                 {open}call:now{{}}{close}"
            );
            let expected = r#"say{"text": "a \"b\", {c}\n", "deep": [1, true, null, {"k": "v"}]} | now{}"#;
            assert_eq!(told(&FORMAT, &text), expected);
            let bare = format!("{open}call:say{{text:oh}}{close}");
            assert_eq!(told(&FORMAT, &bare), format!("\"{bare}"));
        }
    }

    #[test]
    fn thoughts_are_a_channel() {
        assert_eq!(told(&FORMAT, "<|channel>thought\nHm.\n<channel|>Yes."), "~Hm. | \"Yes.");
        assert_eq!(told(&FORMAT, "<|channel>thought\n<channel|>Yes."), "\"Yes.");
    }
}
