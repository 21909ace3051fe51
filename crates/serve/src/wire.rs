//! A connection's bytes, with limits to how long its client may be silent and how long it may not listen.
//!
//! Between two requests a client may be idle for a while. From the first byte of a request on, its head has to be there within a
//! shorter time, however slowly it trickles. What is sent has to find room: a client that takes nothing for too long has gone, or
//! might as well have, and its answer ends with the connection. The time of a request's body is its reader's business
//! ([`crate::payload`]), that of its answer the asker's ([`crate::ask`]).

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::listen::{Limits, Seat};

/// A stream of bytes to a client.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    seat: Arc<Seat>,
    limits: Limits,
    /// The seat's turn for which `silence` runs; 0 while a request is worked on.
    turn: u64,
    /// Whether some of the head has come.
    begun: bool,
    /// When the client must have said something.
    silence: Pin<Box<Sleep>>,
    /// When it must have taken something, while it does not.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    /// `stream`, whose client waits and is waited for at `seat`.
    pub fn new(stream: S, seat: Arc<Seat>, limits: Limits) -> Self {
        let silence = Box::pin(sleep(limits.idle));
        Self { stream, turn: seat.turn(), seat, limits, begun: false, silence, stall: None }
    }

    /// Looks whether a request has been answered since.
    fn take_turn(&mut self) {
        let turn = self.seat.turn();
        if turn != self.turn {
            self.turn = turn;
            self.begun = false;
            self.silence.as_mut().reset(Instant::now() + self.limits.idle);
        }
    }

    /// The client says nothing: an end once that is for too long, and an error amid a head.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.turn == 0 {
            // Whoever reads looks again only when bytes have come, so the seat says when it is the client's turn.
            self.seat.wakes(context.waker());
            return Poll::Pending;
        }
        if self.silence.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        if self.begun {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        if self.stall.is_none() {
            return Poll::Ready(Ok(()));
        }
        // The end of the last answer is still on its way.
        self.silence.as_mut().reset(Instant::now() + self.limits.idle);
        self.silence.as_mut().poll(context).map(Ok)
    }

    /// What became of an attempt to send.
    fn sent(&mut self, sent: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if sent.is_ready() {
            self.stall = None;
            return sent;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(self.limits.stall)));
        stall.as_mut().poll(context).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.take_turn();
        let n_before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_pending() {
            return this.poll_silence(context);
        }
        if this.turn != 0 && !this.begun && buffer.filled().len() > n_before {
            this.begun = true;
            this.silence.as_mut().reset(Instant::now() + this.limits.head);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(sent, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.sent(sent, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
