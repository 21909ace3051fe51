//! The page: its files are part of the program and served as they are. And the ledger's, which is made when it is asked for.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::payload::aside;
use crate::refusal::Refusal;

/// A file of the page.
struct File {
    name: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($name:literal,)*) => {
        &[$(File { name: $name, text: include_str!(concat!("../page/", $name)) },)*]
    };
}

/// All of them; the first is what `/` shows.
static FILES: &[File] = files![
    "index.html",
    "announce.js",
    "answers.js",
    "api.js",
    "attachments.js",
    "chat_list.js",
    "composer.js",
    "conversation.js",
    "conversation_view.js",
    "dialogs.js",
    "dom.js",
    "early.js",
    "inline.js",
    "main.js",
    "mark.svg",
    "markdown.js",
    "markdown_view.js",
    "measure.js",
    "message_view.js",
    "model_picker.js",
    "route_picker.js",
    "sampling.js",
    "settings_form.js",
    "shortcuts.js",
    "sse.js",
    "store.js",
    "style.css",
    "theme.js",
    "transfer.js",
];

impl File {
    fn kind(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        }
    }
}

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`
pub async fn index() -> Response {
    respond(&FILES[0])
}

/// `GET /page/NAME`
pub async fn file(Path(name): Path<String>) -> Result<Response, Refusal> {
    let file = FILES.iter().find(|file| file.name == name);
    file.map(respond).ok_or_else(|| Refusal::NotFound(format!("/page/{name}: no such file")))
}

/// The ledger's page has its style within, no script, and asks for nothing.
const LEDGER_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                             frame-ancestors 'none'";

/// `GET /ledger?since=TIME`
pub async fn ledger(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    let accounts = app.accounts.clone();
    let accounts =
        accounts.ok_or_else(|| Refusal::NotFound("/ledger: this server keeps no account".into()))?;
    let since = since(uri.query().unwrap_or_default())?;
    let page = aside(move || accounts.page(since.as_deref()).map_err(Refusal::request)).await?;
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(LEDGER_POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, page).into_response())
}

/// The one parameter that is known, whose letters need no escape.
fn since(query: &str) -> Result<Option<String>, Refusal> {
    match query.split_once('=') {
        None if query.is_empty() => Ok(None),
        Some(("since", value)) => Ok(Some(value.to_owned())),
        _ => Err(Refusal::request(
            "/ledger: expected nothing but since=TIME, a day as 2026-11-01, or 90m, 24h, 7d, 2w",
        )),
    }
}

fn respond(file: &'static File) -> Response {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind())),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, file.text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_is_there_is_served_and_all_are_small() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let is_served = FILES.iter().any(|file| file.name == name);
            assert!(is_served || entry.file_type().unwrap().is_dir(), "{name} is not served");
        }
        assert!(FILES.iter().map(|file| file.text.len()).sum::<usize>() < 200_000);
    }
}
