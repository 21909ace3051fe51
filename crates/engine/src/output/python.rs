//! Calls in Python's words: `add(a=1, names=["x", 'y'], deep={"k": None})`. Values become JSON; positions have no names, so
//! arguments need them.

use serde_json::Value;

use super::reader::{DEPTH_MAX, NoCall, Reader, Reading};

/// Reads a call.
pub(super) async fn call(r: &Reader) -> Result<(), NoCall> {
    let name = r.word().await;
    let name = name.strip_suffix(".call").unwrap_or(&name);
    r.tool(name)?;
    r.expect("(").await?;
    r.begin(name, None)?;
    r.argue("{");
    let mut separator = "";
    loop {
        r.space().await;
        if r.take(')').await {
            break;
        }
        let key = r.word().await;
        if key.is_empty() {
            return Err(NoCall);
        }
        r.space().await;
        r.expect("=").await?;
        r.space().await;
        r.argue(&format!("{separator}{}: ", Value::from(key)));
        value(r, 1).await?;
        separator = ", ";
        if ends(r, ')').await? {
            break;
        }
    }
    r.argue("}");
    r.end()
}

/// Reads a comma, or `close`, which ends what holds it.
async fn ends(r: &Reader, close: char) -> Result<bool, NoCall> {
    r.space().await;
    match r.next().await {
        Some(',') => Ok(false),
        Some(c) if c == close => Ok(true),
        _ => Err(NoCall),
    }
}

fn value(r: &Reader, depth: usize) -> Reading<'_> {
    Box::pin(async move {
        if depth > DEPTH_MAX {
            return Err(NoCall);
        }
        match r.peek().await.ok_or(NoCall)? {
            '"' | '\'' => {
                let text = string(r).await?;
                r.argue(&Value::from(text).to_string());
                Ok(())
            }
            '[' => items(r, ']', depth).await,
            '(' => items(r, ')', depth).await,
            '{' => dict(r, depth).await,
            _ => word(r).await,
        }
    })
}

async fn items(r: &Reader, close: char, depth: usize) -> Result<(), NoCall> {
    r.step();
    r.argue("[");
    let mut separator = "";
    loop {
        r.space().await;
        if r.take(close).await {
            break;
        }
        r.argue(separator);
        value(r, depth + 1).await?;
        separator = ", ";
        if ends(r, close).await? {
            break;
        }
    }
    r.argue("]");
    Ok(())
}

async fn dict(r: &Reader, depth: usize) -> Result<(), NoCall> {
    r.step();
    r.argue("{");
    let mut separator = "";
    loop {
        r.space().await;
        if r.take('}').await {
            break;
        }
        let key = string(r).await?;
        r.space().await;
        r.expect(":").await?;
        r.space().await;
        r.argue(&format!("{separator}{}: ", Value::from(key)));
        value(r, depth + 1).await?;
        separator = ", ";
        if ends(r, '}').await? {
            break;
        }
    }
    r.argue("}");
    Ok(())
}

/// A number, or one of the words that stand for values.
async fn word(r: &Reader) -> Result<(), NoCall> {
    let mut word = String::new();
    while let Some(c) = r.peek().await
        && (c.is_ascii_alphanumeric() || "+-.".contains(c))
    {
        word.push(c);
        r.step();
    }
    let json = match word.as_str() {
        "True" => "true",
        "False" => "false",
        "None" => "null",
        other => other,
    };
    serde_json::from_str::<Value>(json).map_err(|_| NoCall)?;
    r.argue(json);
    Ok(())
}

async fn string(r: &Reader) -> Result<String, NoCall> {
    let quote = r.next().await.filter(|c| "\"'".contains(*c)).ok_or(NoCall)?;
    let mut text = String::new();
    loop {
        let c = match r.next().await.ok_or(NoCall)? {
            c if c == quote => return Ok(text),
            '\\' => match r.next().await.ok_or(NoCall)? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                'x' => character(r, 2).await?,
                'u' => utf16(r).await?,
                'U' => character(r, 8).await?,
                '\n' => continue,
                c @ ('\\' | '\'' | '"' | '/') => c,
                // Python leaves alone what it doesn't know.
                c => {
                    text.push('\\');
                    c
                }
            },
            c => c,
        };
        text.push(c);
    }
}

async fn hex(r: &Reader, n_digits: usize) -> Result<u32, NoCall> {
    let mut code = 0;
    for _ in 0..n_digits {
        let digit = r.next().await.and_then(|c| c.to_digit(16)).ok_or(NoCall)?;
        code = code << 4 | digit;
    }
    Ok(code)
}

async fn character(r: &Reader, n_digits: usize) -> Result<char, NoCall> {
    char::from_u32(hex(r, n_digits).await?).ok_or(NoCall)
}

/// `\u` as Python has it, or a pair of them as JSON has it.
async fn utf16(r: &Reader) -> Result<char, NoCall> {
    let first = hex(r, 4).await?;
    if let Some(c) = char::from_u32(first) {
        return Ok(c);
    }
    r.expect("\\u").await?;
    let second = hex(r, 4).await?;
    let pair = [first as u16, second as u16];
    char::decode_utf16(pair).next().and_then(Result::ok).ok_or(NoCall)
}
