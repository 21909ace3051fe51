//! Connections: taken in, counted, limited and closed.
//!
//! Each connection has a seat, of which there are so many. Where all are taken, the connection that has waited longest without a
//! complete head of a request makes room for the next; while all are at work on requests the next one waits outside. So whoever
//! opens thousands of connections and says nothing, or says it byte by byte, keeps nobody else from being answered. When the system
//! has no descriptor left the same is done, and a moment later tried again.
//!
//! A panic in a route ends that request alone. On [`Phase::Closing`] nobody is let in any more and connections close after
//! the answer they are at. There is no TLS and no HTTP/2: who wants them puts a proxy before this.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::refusal::Refusal;
use crate::wire::Wire;

/// How long to wait before the next try, when a connection can't be taken in.
const PAUSE: Duration = Duration::from_millis(20);
/// Connections that the system keeps for us until we come to them.
const BACKLOG: u32 = 1024;
/// Bytes on their way to a client, in the system and here: what an answer may be ahead of a client that reads slowly.
const SENT_AHEAD: u32 = 128 << 10;

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections that are open at the same time.
    pub connections_max: usize,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// How long a connection may be open without a request.
    pub idle: Duration,
    /// How long a request's head may take, from its first byte.
    pub head: Duration,
    /// How long its body may take.
    pub body: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub stall: Duration,
    /// How long a request may wait and be computed; `None` for as long as it takes.
    pub answer: Option<Duration>,
    /// How long answers under way may go on once the server is to stop.
    pub drain: Duration,
}

impl Limits {
    /// Limits that no well-meaning client meets; the time of an answer is not limited.
    pub fn usual() -> Self {
        Self {
            connections_max: 12_000,
            head_bytes_max: 64 << 10,
            idle: Duration::from_secs(75),
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            answer: None,
            drain: Duration::from_secs(5),
        }
    }
}

/// How far the server is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Phase {
    /// It serves.
    Open,
    /// It takes nothing more in; answers under way go on.
    Closing,
    /// Answers under way end.
    Over,
}

/// Waits until the server has come to `phase`.
pub async fn reached(at: &mut watch::Receiver<Phase>, phase: Phase) {
    // Where nobody can tell any more it is over.
    let _ = at.wait_for(|now| *now >= phase).await;
}

/// Listens at `address`.
///
/// # Errors
/// When the address can't be had.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Elsewhere than on Windows this lets a server come back at once, and no second one in.
    if cfg!(not(windows)) {
        socket.set_reuseaddr(true)?;
    }
    socket.set_send_buffer_size(SENT_AHEAD)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves who comes, until [`Phase::Closing`] and the end of the last connection.
/// The time in which connections are served is counted in `spent_ns`.
pub async fn listen(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    phase: watch::Receiver<Phase>,
    spent_ns: Arc<AtomicU64>,
) {
    let room = Arc::new(Room {
        seats: Arc::new(Semaphore::new(limits.connections_max)),
        waiting: Mutex::default(),
        n_turns: AtomicU64::new(0),
    });
    let mut closing = phase.clone();
    let serving = async {
        loop {
            // What fails here is one connection, or a lack that others' going ends.
            let Ok((stream, _)) = listener.accept().await else {
                room.shed();
                sleep(PAUSE).await;
                continue;
            };
            // Tokens are small and wanted at once.
            let _ = stream.set_nodelay(true);
            let seat = room.seat().await;
            tokio::spawn(connection(stream, seat, router.clone(), limits, phase.clone(), spent_ns.clone()));
        }
    };
    tokio::select! {
        () = serving => {}
        () = reached(&mut closing, Phase::Closing) => {}
    }
    drop(listener);
    let all = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    let _ = room.seats.acquire_many(all).await;
}

/// One connection, from its first byte to its last.
async fn connection<S>(
    stream: S,
    seat: Arc<Seat>,
    router: Router,
    limits: Limits,
    mut phase: watch::Receiver<Phase>,
    spent_ns: Arc<AtomicU64>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let wire = TokioIo::new(Wire::new(stream, seat.clone(), limits));
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        seat.work();
        let back = Back(seat.clone());
        let mut answer = Box::pin(router.call(request));
        async move {
            let answered = poll_fn(|context| {
                catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))).unwrap_or_else(|_| {
                    let why = "the request broke off, which is a fault of this program";
                    Poll::Ready(Ok(Refusal::Failed(why.into()).into_response()))
                })
            });
            let response = answered.await?;
            Ok::<_, Infallible>(response.map(|body| Answer { body, _back: back }))
        }
    });
    let mut builder = http1::Builder::new();
    // The wire's limits are finer than these.
    builder.header_read_timeout(None);
    builder
        .max_header_size(limits.head_bytes_max)
        .max_buf_size(limits.head_bytes_max.max(SENT_AHEAD as usize));
    let mut connection = pin!(builder.serve_connection(wire, service));
    let mut is_closing = false;
    loop {
        tokio::select! {
            // What went wrong was between the two of them; there is nobody else to tell.
            _ = timed(connection.as_mut(), &spent_ns) => return,
            () = seat.leave.notified() => {
                if seat.turn() != 0 {
                    return;
                }
            }
            () = reached(&mut phase, Phase::Closing), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// `work`, whose time at work is counted.
async fn timed<F: Future>(mut work: Pin<&mut F>, spent_ns: &AtomicU64) -> F::Output {
    poll_fn(|context| {
        let start = Instant::now();
        let polled = work.as_mut().poll(context);
        spent_ns.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
        polled
    })
    .await
}

/// The seats.
#[derive(Debug)]
struct Room {
    seats: Arc<Semaphore>,
    /// Who waits for a request, by turn: who has waited longest comes first.
    waiting: Mutex<BTreeMap<u64, Arc<Notify>>>,
    n_turns: AtomicU64,
}

impl Room {
    /// A seat, once there is one.
    async fn seat(self: &Arc<Self>) -> Arc<Seat> {
        loop {
            let free = self.seats.clone().try_acquire_owned();
            let free = match free {
                Ok(free) => Some(free),
                Err(_) => {
                    self.shed();
                    timeout(PAUSE, self.seats.clone().acquire_owned()).await.ok().and_then(Result::ok)
                }
            };
            if let Some(free) = free {
                let seat = Seat {
                    room: self.clone(),
                    turn: AtomicU64::new(0),
                    leave: Arc::new(Notify::new()),
                    reader: Mutex::default(),
                    _free: free,
                };
                seat.wait();
                return Arc::new(seat);
            }
        }
    }

    /// Asks the connection to leave that has waited for a request for longest.
    fn shed(&self) {
        let first = self.waiting().pop_first();
        if let Some((_, leave)) = first {
            leave.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, and whose turn it is.
#[derive(Debug)]
pub struct Seat {
    room: Arc<Room>,
    turn: AtomicU64,
    leave: Arc<Notify>,
    reader: Mutex<Option<Waker>>,
    _free: OwnedSemaphorePermit,
}

impl Seat {
    /// A number for each time that a request is waited for, 0 while one is worked on.
    pub fn turn(&self) -> u64 {
        self.turn.load(Relaxed)
    }

    /// Wakes the reader when the next request is waited for.
    pub fn wakes(&self, reader: &Waker) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(reader.clone());
    }

    fn wait(&self) {
        let turn = 1 + self.room.n_turns.fetch_add(1, Relaxed);
        self.turn.store(turn, Relaxed);
        self.room.waiting().insert(turn, self.leave.clone());
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        reader.into_iter().for_each(Waker::wake);
    }

    fn work(&self) {
        let turn = self.turn.swap(0, Relaxed);
        self.room.waiting().remove(&turn);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.work();
    }
}

/// Goes when a request has been answered.
struct Back(Arc<Seat>);

impl Drop for Back {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// The body of an answer. When it is sent, the client's next request is waited for.
struct Answer {
    body: Body,
    _back: Back,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
