//! An answer as server-sent events, a chunk of JSON to each.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::Value as Json;
use tokio::sync::mpsc::Receiver;

use crate::ask::Said;

/// What makes chunks of what is said.
pub trait Telling: Send + Unpin + 'static {
    /// Adds the chunks for it.
    fn tell(&mut self, said: Said, to: &mut Told);
}

/// Chunks to send.
#[derive(Debug, Default)]
pub struct Told {
    text: String,
    is_over: bool,
}

impl Told {
    /// One event.
    pub fn chunk(&mut self, json: &Json) {
        self.text.push_str("data: ");
        self.text.push_str(&json.to_string());
        self.text.push_str("\n\n");
    }

    /// The last one.
    pub fn done(&mut self) {
        self.text.push_str("data: [DONE]\n\n");
        self.is_over = true;
    }
}

/// The events of a request, as its client reads them.
struct Events<T> {
    said: Receiver<Said>,
    telling: T,
    is_over: bool,
}

impl<T: Telling> Stream for Events<T> {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut told = Told::default();
        while !self.is_over && told.text.is_empty() {
            match self.said.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.is_over = true,
                Poll::Ready(Some(said)) => {
                    self.telling.tell(said, &mut told);
                    self.is_over |= told.is_over;
                }
            }
        }
        Poll::Ready((!told.text.is_empty()).then_some(Ok(told.text)))
    }
}

/// The response that tells `said` as it comes. A client that goes drops it, and with it the receiver.
pub fn respond(said: Receiver<Said>, telling: impl Telling) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Body::from_stream(Events { said, telling, is_over: false })).into_response()
}
