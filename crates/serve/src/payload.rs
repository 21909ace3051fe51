//! A request's body, whole; what goes wrong with it is refused in the same form as everything else.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use tokio::time::timeout;

use crate::refusal::Refusal;

/// The largest body: a context of text several times over.
pub const BYTES_MAX: usize = 8 << 20;

/// How long all of it may take to come.
const ALL_BY: Duration = Duration::from_secs(30);

/// The body.
#[derive(Debug)]
pub struct Payload(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let length =
            request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > BYTES_MAX as u64) {
            return Err(Refusal::TooLarge(BYTES_MAX));
        }
        match timeout(ALL_BY, Bytes::from_request(request, state)).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(e)) if e.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Refusal::TooLarge(BYTES_MAX)),
            Ok(Err(_)) | Err(_) => {
                Err(Refusal::request("the body broke off, expected as many bytes as its head says"))
            }
        }
    }
}
