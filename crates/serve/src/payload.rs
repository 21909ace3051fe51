//! A request's body, whole; what goes wrong with it is refused in the same form as everything else.
//!
//! What bodies take of memory is bounded: each by itself, the large ones all together. What proves to be a large one
//! waits until there is room, and keeps it until it has been understood.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::refusal::Refusal;
use crate::server::App;

/// The largest body: a context of text several times over.
pub const BYTES_MAX: usize = 8 << 20;

/// A body up to this need not wait for room: nearly all are.
const SMALL_BYTES: usize = 64 << 10;
/// What larger ones may take together.
const LARGE_BYTES: usize = 4 * BYTES_MAX;
/// How long a large one waits for room.
const ROOM_BY: Duration = Duration::from_secs(5);

/// The body.
#[derive(Debug)]
pub struct Payload(pub Bytes);

/// Room for large bodies, in bytes.
pub fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LARGE_BYTES))
}

/// Does what a request asks of the reader beside the tasks that serve everybody, as it may take long and may break off.
///
/// # Errors
/// What `read` says, and [`Refusal::Failed`] when it panics.
pub async fn aside<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(read).await;
    done.unwrap_or_else(|_| Err(Refusal::Failed("reading the request broke off".into())))
}

impl FromRequest<Arc<App>> for Payload {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        let said = request.headers().get(header::CONTENT_LENGTH);
        let n_bytes = said.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
        if n_bytes > BYTES_MAX as u64 {
            return Err(Refusal::TooLarge(BYTES_MAX));
        }
        let all = timeout(app.limits.body, read(request.into_body(), n_bytes as usize, app));
        let held = all.await.unwrap_or(Err(Refusal::Slow(app.limits.body)))?;
        Ok(Self(Bytes::from_owner(held)))
    }
}

/// All of `body`, of which its head says that it has `n_bytes`, if anything.
async fn read(mut body: Body, n_bytes: usize, app: &App) -> Result<Held, Refusal> {
    let mut held = Held { bytes: Vec::with_capacity(n_bytes.min(SMALL_BYTES)), room: None };
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Refusal::request("the body broke off or is not as its head says"))?;
        let Ok(data) = frame.into_data() else { continue };
        let n_read = held.bytes.len() + data.len();
        if n_read > BYTES_MAX {
            return Err(Refusal::TooLarge(BYTES_MAX));
        }
        if n_read > SMALL_BYTES && held.room.is_none() {
            let n_at_most = if n_bytes > 0 { n_bytes } else { BYTES_MAX };
            let room = app.bodies.clone().acquire_many_owned(n_at_most as u32);
            held.room = Some(timeout(ROOM_BY, room).await.ok().and_then(Result::ok).ok_or(Refusal::Crowded)?);
            held.bytes.reserve_exact(n_at_most.saturating_sub(held.bytes.len()));
        }
        held.bytes.extend_from_slice(&data);
    }
    Ok(held)
}

/// A body and the room it takes.
struct Held {
    bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
