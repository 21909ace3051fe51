//! JSON, read strictly as it is written: what follows a value is never looked at.

use super::reader::{DEPTH_MAX, NoCall, Reader, Reading};

/// Reads a value.
pub(super) fn value(r: &Reader, depth: usize) -> Reading<'_> {
    Box::pin(async move {
        if depth > DEPTH_MAX {
            return Err(NoCall);
        }
        match r.peek().await.ok_or(NoCall)? {
            '{' => object(r, depth).await,
            '[' => array(r, depth).await,
            '"' => skip_string(r).await,
            '-' | '0'..='9' => number(r).await,
            't' => letters(r, "true").await,
            'f' => letters(r, "false").await,
            'n' => letters(r, "null").await,
            _ => Err(NoCall),
        }
    })
}

/// Reads a string and says what it holds.
pub(super) async fn string(r: &Reader) -> Result<String, NoCall> {
    let start = r.at();
    skip_string(r).await?;
    serde_json::from_str(&r.read_since(start)).map_err(|_| NoCall)
}

async fn object(r: &Reader, depth: usize) -> Result<(), NoCall> {
    r.step();
    r.space().await;
    if r.take('}').await {
        return Ok(());
    }
    loop {
        r.space().await;
        skip_string(r).await?;
        r.space().await;
        letters(r, ":").await?;
        r.space().await;
        value(r, depth + 1).await?;
        r.space().await;
        match r.next().await {
            Some(',') => {}
            Some('}') => return Ok(()),
            _ => return Err(NoCall),
        }
    }
}

async fn array(r: &Reader, depth: usize) -> Result<(), NoCall> {
    r.step();
    r.space().await;
    if r.take(']').await {
        return Ok(());
    }
    loop {
        r.space().await;
        value(r, depth + 1).await?;
        r.space().await;
        match r.next().await {
            Some(',') => {}
            Some(']') => return Ok(()),
            _ => return Err(NoCall),
        }
    }
}

async fn skip_string(r: &Reader) -> Result<(), NoCall> {
    letters(r, "\"").await?;
    loop {
        match r.peek().await.ok_or(NoCall)? {
            '\0'..='\x1f' => return Err(NoCall),
            '"' => {
                r.step();
                return Ok(());
            }
            '\\' => {
                r.step();
                match r.next().await.ok_or(NoCall)? {
                    '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {}
                    'u' => {
                        for _ in 0..4 {
                            r.next().await.filter(char::is_ascii_hexdigit).ok_or(NoCall)?;
                        }
                    }
                    _ => return Err(NoCall),
                }
            }
            _ => r.step(),
        }
    }
}

async fn number(r: &Reader) -> Result<(), NoCall> {
    r.take('-').await;
    if !r.take('0').await {
        digits(r).await?;
    }
    if r.take('.').await {
        digits(r).await?;
    }
    if r.take('e').await || r.take('E').await {
        let _sign = r.take('+').await || r.take('-').await;
        digits(r).await?;
    }
    Ok(())
}

/// One or more.
async fn digits(r: &Reader) -> Result<(), NoCall> {
    let start = r.at();
    while r.peek().await.is_some_and(|c| c.is_ascii_digit()) {
        r.step();
    }
    if r.at() > start { Ok(()) } else { Err(NoCall) }
}

/// These, character by character: unlike [`Reader::is`] it takes nothing back, as what is read may have been given out.
async fn letters(r: &Reader, expected: &str) -> Result<(), NoCall> {
    for c in expected.chars() {
        if r.next().await != Some(c) {
            return Err(NoCall);
        }
    }
    Ok(())
}
