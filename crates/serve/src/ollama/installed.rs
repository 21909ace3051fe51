//! Models on the device, as Ollama's clients fetch and remove them: `POST /api/pull`, `DELETE /api/delete`.
//!
//! The server has no store. It is given one as a [`Library`], or none, and then says which command does what was asked. A pull goes on
//! when its client has gone, and there is one at a time. What is on the device can be asked: it is loaded when it is first asked for,
//! and stays as long as the server does. Left out, and refused: making, copying and publishing models, and blobs.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Json as AsJson;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::{Receiver, channel};

use super::models::take_name;
use crate::app::{App, plain};
use crate::fields::Fields;
use crate::payload::{Payload, aside};
use crate::refusal::Refusal;

/// Lines of progress that may wait for a slow client; more are left out.
const LINES_MAX: usize = 64;

/// The models on the device, where clients may change them.
pub trait Library: fmt::Debug + Send + Sync {
    /// Fetches the model called `name`, telling how far it is.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is none, `InvalidInput` when that is no name, `PermissionDenied` when it may not
    /// be fetched.
    fn pull(&self, name: &str, tell: &mut dyn FnMut(Progress<'_>)) -> io::Result<()>;

    /// What is on the device.
    ///
    /// # Errors
    /// When that can't be found out.
    fn list(&self) -> io::Result<Vec<Installed>>;

    /// Removes the model called `name`.
    ///
    /// # Errors
    /// As [`Self::pull`].
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A model on the device, as it is listed.
#[derive(Debug, Clone)]
pub struct Installed {
    /// The name that loads it.
    pub name: String,
    /// Its size.
    pub n_bytes: u64,
    /// When it came, in seconds since 1970.
    pub modified: Option<u64>,
}

/// How far a file is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a str,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes of all of it.
    pub size: u64,
}

/// What the store can't do, and what does it.
static ELSEWHERE: &[(&str, &str)] = &[
    ("/api/create", "models are not made by the server; `ingle quantize` writes them"),
    ("/api/copy", "models get no further names from the server; `ingle pull MODEL --as NAME` gives one"),
    ("/api/push", "models are not published from here"),
    ("/api/blobs/", "files are not sent to the server; `ingle pull PATH` takes one where it lies"),
];

/// The routes of those.
pub async fn elsewhere(uri: Uri) -> Refusal {
    let found = ELSEWHERE.iter().find(|(path, _)| uri.path().starts_with(path));
    found.map_or(Refusal::Method, |(_, why)| Refusal::Elsewhere((*why).to_owned()))
}

/// `POST /api/pull`
pub async fn pull(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<Response, Refusal> {
    let mut fields = Fields::parse(&body)?;
    let name = take_plain_name(&mut fields)?;
    let streams = fields.flag("stream")?.unwrap_or(true);
    fields.unsupported("insecure", &[json!(false)])?;
    fields.end()?;
    let library = library(&app, &format!("fetch models; `ingle pull {name}` does"))?;
    let only = app.pulling.clone().try_lock_owned().map_err(|_| Refusal::Busy)?;
    let (to, told) = channel(LINES_MAX);
    let line = |json: Json| format!("{json}\n");
    let work = move || {
        let _only = only;
        let mut tell = |Progress { file, done, size }: Progress<'_>| {
            let status = format!("pulling {file}");
            let json = json!({ "status": status, "digest": file, "total": size, "completed": done });
            // A client that is slow misses some, one that has gone all.
            let _ = to.try_send(line(json));
        };
        let pulled = library.pull(&name, &mut tell).map_err(|e| Refusal::from(&e));
        let last = match &pulled {
            Ok(()) => json!({ "status": "success" }),
            Err(refusal) => refusal.ollama(),
        };
        let _ = to.blocking_send(line(last));
        pulled
    };
    if streams {
        // Its end is told in its last line.
        drop(tokio::task::spawn_blocking(work));
        let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
        return Ok((headers, Body::from_stream(Lines(told))).into_response());
    }
    drop(told);
    aside(work).await?;
    Ok(AsJson(json!({ "status": "success" })).into_response())
}

/// `DELETE /api/delete`
pub async fn delete(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<(), Refusal> {
    let mut fields = Fields::parse(&body)?;
    let name = take_plain_name(&mut fields)?;
    fields.end()?;
    let library = library(&app, &format!("remove models; `ingle rm {name}` does"))?;
    if app.serves(&name) {
        return Err(Refusal::field("model", format!("model: {name} is being served, and can't be removed")));
    }
    aside(move || library.remove(&name).map_err(|e| Refusal::from(&e))).await
}

/// The store, where clients may change it.
fn library(app: &App, what: &str) -> Result<Arc<dyn Library>, Refusal> {
    let why =
        || Refusal::Elsewhere(format!("this server was not started with --manage, so it does not {what}"));
    app.library.clone().ok_or_else(why)
}

/// Takes a name, without the tag that clients put behind names that have none.
fn take_plain_name(fields: &mut Fields) -> Result<String, Refusal> {
    take_name(fields).map(|name| plain(&name).to_owned())
}

/// Of a library's failure.
impl From<&io::Error> for Refusal {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound(error.to_string()),
            io::ErrorKind::InvalidInput => Self::field("model", error.to_string()),
            io::ErrorKind::PermissionDenied => Self::Forbidden(error.to_string()),
            io::ErrorKind::OutOfMemory => Self::Memory(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Lines as they come.
struct Lines(Receiver<String>);

impl Stream for Lines {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|line| line.map(Ok))
    }
}
