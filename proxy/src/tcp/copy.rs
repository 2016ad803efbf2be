//! Opaque copying: both ways at once, half-closes passed on, idle streams ended.
//!
//! From its first byte on a stream's connections are set to be reset when they are closed, until each is told that the
//! other side is done. So whatever ends it early, a drain's grace or a kill of this process among it, is seen as such:
//! whoever reads to the end would else believe it.
//!
//! A stream holds no memory of its own but for what its other side has not taken yet: all streams of a worker read into
//! one [`Scratch`], in turns, and what is written at once never leaves it.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::Stream;

/// The most that is read at once: 16 TLS records; larger ones brought nothing more on loopback.
const READ_MAX: usize = 256 * 1024;

/// The least: what is read at once from whoever is faster than its other side, and then held.
const READ_MIN: usize = 16 * 1024;

/// Where all streams of a worker read into.
#[derive(Default)]
pub struct Scratch(RefCell<Vec<u8>>);

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// How much a stream carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes from the caller.
    pub from_downstream: u64,
    /// Bytes from the called.
    pub from_upstream: u64,
}

/// How a stream ended before both sides had said that they were done.
#[derive(Debug, thiserror::Error)]
pub enum BrokeOff {
    /// No byte moved for the time allowed.
    #[error("stream idle")]
    Idle,
    /// The caller's connection broke.
    #[error("caller's connection broke off")]
    Downstream(#[source] io::Error),
    /// The called one's connection broke.
    #[error("connection to the called one broke off")]
    Upstream(#[source] io::Error),
}

/// Copies until both directions have ended. `idle` bounds the time in which no byte moves either way.
///
/// # Errors
/// What broke the stream, with what had been carried until then. Dropping the streams, or this future, resets each side
/// that has not been told before that it was all.
pub async fn copy(
    downstream: &mut Stream,
    upstream: &mut Stream,
    idle: Option<Duration>,
    scratch: &Scratch,
) -> (Copied, Result<(), BrokeOff>) {
    downstream.reset_on_close();
    upstream.reset_on_close();
    let mut both = Both::default();
    let mut timer: Option<Pin<Box<Sleep>>> =
        idle.map(|idle| Box::pin(sleep_until(Instant::now() + idle)));
    let mut seen = 0;
    let result = poll_fn(|cx| {
        if both
            .poll(cx, (&mut *downstream, &mut *upstream), scratch)
            .is_ready()
        {
            return Poll::Ready(both.result());
        }
        let (Some(timer), Some(idle)) = (&mut timer, idle) else {
            return Poll::Pending;
        };
        // The timer is moved only when it fires: moving it with every byte would cost more than the byte.
        while timer.as_mut().poll(cx).is_ready() {
            let moved = both.there.bytes + both.back.bytes;
            if moved == seen {
                return Poll::Ready(Err(BrokeOff::Idle));
            }
            seen = moved;
            timer.as_mut().reset(Instant::now() + idle);
        }
        Poll::Pending
    })
    .await;
    if both.back.has_ended() {
        downstream.end_on_close();
    }
    if both.there.has_ended() {
        upstream.end_on_close();
    }
    let copied = Copied {
        from_downstream: both.there.bytes,
        from_upstream: both.back.bytes,
    };
    (copied, result)
}

/// From downstream to upstream, and back.
#[derive(Debug, Default)]
struct Both {
    there: Direction,
    back: Direction,
}

impl Both {
    /// Until there is a [`Both::result`].
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (downstream, upstream): (&mut Stream, &mut Stream),
        scratch: &Scratch,
    ) -> Poll<()> {
        let Self { there, back } = self;
        loop {
            let first = there.poll(cx, (downstream, upstream), scratch);
            // Whoever takes no more bytes may have sent some before it broke. Its error has been taken by the write: the
            // next read would find a clean end.
            back.is_cut |= there.cannot_write();
            let second = back.poll(cx, (upstream, downstream), scratch);
            if back.cannot_write() && !there.is_cut {
                there.is_cut = true;
                continue;
            }
            return match (first, second) {
                (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(()),
                _ if there.cannot_read() || back.cannot_read() => Poll::Ready(()),
                _ => Poll::Pending,
            };
        }
    }

    fn result(&mut self) -> Result<(), BrokeOff> {
        match (self.there.failure.take(), self.back.failure.take()) {
            (Some(Failure::Write(error)), _) | (None, Some(Failure::Read(error))) => {
                Err(BrokeOff::Upstream(error))
            }
            (Some(Failure::Read(error)), _) | (None, Some(Failure::Write(error))) => {
                Err(BrokeOff::Downstream(error))
            }
            (None, None) => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Direction {
    /// Read, and not taken yet by the other side.
    held: Vec<u8>,
    /// Of `held`, what it has taken.
    taken: usize,
    /// How much to read at once.
    read_max: usize,
    bytes: u64,
    dirty: bool,
    /// Where it comes from has broken: its end is none.
    is_cut: bool,
    failure: Option<Failure>,
    state: State,
}

#[derive(Debug)]
enum Failure {
    Read(io::Error),
    Write(io::Error),
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Closing,
    /// The other side has been told so.
    Closed,
    /// It has not, and will not be.
    Broken,
}

impl Default for Direction {
    fn default() -> Self {
        Self {
            held: Vec::new(),
            taken: 0,
            read_max: READ_MIN,
            bytes: 0,
            dirty: false,
            is_cut: false,
            failure: None,
            state: State::Open,
        }
    }
}

impl Direction {
    fn has_ended(&self) -> bool {
        self.state == State::Closed
    }

    fn cannot_write(&self) -> bool {
        matches!(self.failure, Some(Failure::Write(_)))
    }

    fn cannot_read(&self) -> bool {
        matches!(self.failure, Some(Failure::Read(_)))
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut Stream, &mut Stream),
        scratch: &Scratch,
    ) -> Poll<()> {
        if matches!(self.state, State::Closed | State::Broken) {
            return Poll::Ready(());
        }
        let failure = match ready!(self.advance(cx, (from, to), scratch)) {
            Ok(()) => return Poll::Ready(()),
            Err(failure) => failure,
        };
        self.failure = Some(failure);
        self.state = State::Broken;
        self.held = Vec::new();
        Poll::Ready(())
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut Stream, &mut Stream),
        scratch: &Scratch,
    ) -> Poll<Result<(), Failure>> {
        loop {
            match self.state {
                State::Closed | State::Broken => return Poll::Ready(Ok(())),
                State::Closing => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Failure::Write)?;
                    self.state = State::Closed;
                }
                State::Open if !self.held.is_empty() => {
                    ready!(self.write_held(cx, to)).map_err(Failure::Write)?;
                }
                State::Open => match self.carry(cx, (from, to), scratch)? {
                    Poll::Ready(0) if self.is_cut => self.state = State::Broken,
                    Poll::Ready(0) => self.state = State::Closing,
                    Poll::Ready(_) => {}
                    Poll::Pending => {
                        if self.dirty {
                            ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Failure::Write)?;
                            self.dirty = false;
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// Reads once, and writes what can be written at once; 0 at the end.
    fn carry(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut Stream, &mut Stream),
        scratch: &Scratch,
    ) -> Poll<Result<usize, Failure>> {
        // Nobody else can have it: polling a stream runs nothing else of ours.
        let mut scratch = scratch.0.borrow_mut();
        if scratch.is_empty() {
            *scratch = vec![0; READ_MAX];
        }
        let place = scratch.get_mut(..self.read_max).unwrap_or_default();
        let mut place = ReadBuf::new(place);
        ready!(Pin::new(from).poll_read(cx, &mut place)).map_err(Failure::Read)?;
        let mut rest = place.filled();
        let read = rest.len();
        while !rest.is_empty() {
            match self.write(cx, to, rest).map_err(Failure::Write)? {
                Poll::Ready(written) => rest = rest.get(written..).unwrap_or_default(),
                Poll::Pending => break,
            }
        }
        if rest.is_empty() {
            if read == self.read_max {
                self.read_max = (self.read_max * 2).min(READ_MAX);
            }
        } else {
            // It would only be held longer.
            self.read_max = READ_MIN;
            self.held = rest.to_vec();
            self.taken = 0;
        }
        Poll::Ready(Ok(read))
    }

    fn write_held(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        let held = std::mem::take(&mut self.held);
        let written = self.write(cx, to, held.get(self.taken..).unwrap_or_default());
        self.held = held;
        self.taken += ready!(written)?;
        if self.taken >= self.held.len() {
            self.held = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Stream,
        pending: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(to).poll_write(cx, pending))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.bytes += u64::try_from(written).unwrap_or(0);
        self.dirty = true;
        Poll::Ready(Ok(written))
    }
}

#[cfg(test)]
mod tests;
