//! The page: its files are part of the program and served as they are.

use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::refusal::Refusal;

/// A file of the page.
struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// All of them; the first is what `/` shows.
static FILES: &[File] = &[File {
    name: "index.html",
    kind: "text/html; charset=utf-8",
    text: include_str!("../page/index.html"),
}];

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

fn respond(file: &'static File) -> Response {
    let headers: [(HeaderName, HeaderValue); 5] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, file.text).into_response()
}
