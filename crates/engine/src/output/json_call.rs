//! Calls that are JSON objects with a name and arguments, as most models write them.
//!
//! Keys come in any order; an `id` may be there and a `type`, and all may lie in a `function`, as in the API. Arguments that
//! come before the name wait for it. Some models write the arguments as a string that holds JSON: it is unpacked. A call
//! without arguments has none: `{}`.

use super::json;
use super::parts::Kind;
use super::reader::{Copying, NoCall, Reader, Reading};

/// Reads a call, or several: in a list or one behind the other.
pub(super) async fn calls(r: &Reader) -> Result<(), NoCall> {
    r.space().await;
    let listed = r.take('[').await;
    loop {
        r.space().await;
        call(r).await?;
        let end = r.at();
        r.space().await;
        if listed && r.take(']').await {
            r.give(Kind::Markup);
            return Ok(());
        }
        let goes_on = r.take(',').await || r.take(';').await || r.peek().await == Some('{');
        if !goes_on {
            r.rewind(end);
            return Ok(());
        }
    }
}

/// Reads the JSON object that is the arguments of a call to this tool, and ends the call with it.
pub(super) async fn arguments(r: &Reader, name: &str, id: Option<&str>) -> Result<(), NoCall> {
    r.tool(name)?;
    r.space().await;
    if r.peek().await != Some('{') {
        return Err(NoCall);
    }
    r.begin(name, id)?;
    read_arguments(r).await?;
    r.end()
}

async fn read_arguments(r: &Reader) -> Result<(), NoCall> {
    r.copy(Copying::On);
    json::value(r, 0).await?;
    r.copy(Copying::Off);
    Ok(())
}

#[derive(Debug, Default)]
struct Seen {
    id: Option<String>,
    name: Option<String>,
    arguments: Arguments,
}

#[derive(Debug, Default)]
enum Arguments {
    #[default]
    None,
    /// They wait for the name.
    Kept(String),
    Told,
}

async fn call(r: &Reader) -> Result<(), NoCall> {
    let mut seen = Seen::default();
    fields(r, &mut seen, Level::Call).await?;
    match &seen.arguments {
        Arguments::Told => {}
        kept => {
            r.begin(seen.name.as_deref().ok_or(NoCall)?, seen.id.as_deref())?;
            r.argue(if let Arguments::Kept(json) = kept { json } else { "{}" });
        }
    }
    r.end()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Call,
    Function,
}

fn fields<'a>(r: &'a Reader, seen: &'a mut Seen, level: Level) -> Reading<'a> {
    Box::pin(async move {
        r.expect("{").await?;
        loop {
            r.space().await;
            let key = json::string(r).await?;
            r.space().await;
            r.expect(":").await?;
            r.space().await;
            let next = r.peek().await.ok_or(NoCall)?;
            match key.as_str() {
                "name" | "function" if next == '"' && seen.name.is_none() => {
                    let name = json::string(r).await?;
                    r.tool(&name)?;
                    seen.name = Some(name);
                }
                "function" if next == '{' && level == Level::Call => {
                    fields(r, seen, Level::Function).await?;
                }
                "arguments" | "parameters" if matches!(seen.arguments, Arguments::None) => {
                    seen.arguments = arguments_field(r, seen, next).await?;
                }
                "id" | "call_id" | "tool_call_id" if next == '"' => seen.id = Some(json::string(r).await?),
                "type" if next == '"' => json::value(r, 0).await?,
                _ => return Err(NoCall),
            }
            r.space().await;
            match r.next().await {
                Some(',') => {}
                Some('}') => return Ok(()),
                _ => return Err(NoCall),
            }
        }
    })
}

async fn arguments_field(r: &Reader, seen: &Seen, next: char) -> Result<Arguments, NoCall> {
    match (next, &seen.name) {
        ('{', Some(name)) => {
            r.begin(name, seen.id.as_deref())?;
            read_arguments(r).await?;
            Ok(Arguments::Told)
        }
        ('"', _) => {
            let text = json::string(r).await?;
            Ok(Arguments::Kept(if text.trim().is_empty() { "{}".to_owned() } else { text }))
        }
        _ => {
            let start = r.at();
            json::value(r, 0).await?;
            let text = r.read_since(start);
            Ok(Arguments::Kept(if text == "null" { "{}".to_owned() } else { text }))
        }
    }
}
