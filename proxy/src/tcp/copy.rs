//! Opaque copying: both ways at once, half-closes passed on, idle streams ended.

use std::{
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

/// First buffer of each direction; replaced by one of [`BUFFER_MAX`] when a read fills it: most streams are
/// small messages, and an idle stream should not hold memory for the rare bulk transfer.
const BUFFER_MIN: usize = 4 * 1024;

/// 16 TLS records: larger ones brought nothing more on loopback.
const BUFFER_MAX: usize = 256 * 1024;

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
/// What broke the stream, with what had been carried until then. Dropping the streams then resets the side that
/// would else believe it was all.
pub async fn copy(
    downstream: &mut Stream,
    upstream: &mut Stream,
    idle: Option<Duration>,
) -> (Copied, Result<(), BrokeOff>) {
    let mut there = Direction::default();
    let mut back = Direction::default();
    let mut timer: Option<Pin<Box<Sleep>>> =
        idle.map(|idle| Box::pin(sleep_until(Instant::now() + idle)));
    let mut seen = 0;
    let result = poll_fn(|cx| {
        let first = there.poll(cx, downstream, upstream);
        let second = back.poll(cx, upstream, downstream);
        match (first, second) {
            (Poll::Ready(Err(error)), _) => {
                return Poll::Ready(Err(if there.broken {
                    BrokeOff::Downstream(error)
                } else {
                    BrokeOff::Upstream(error)
                }));
            }
            (_, Poll::Ready(Err(error))) => {
                return Poll::Ready(Err(if back.broken {
                    BrokeOff::Upstream(error)
                } else {
                    BrokeOff::Downstream(error)
                }));
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(())),
            (Poll::Pending, _) | (_, Poll::Pending) => {}
        }
        let (Some(timer), Some(idle)) = (&mut timer, idle) else {
            return Poll::Pending;
        };
        // The timer is moved only when it fires: moving it with every byte would cost more than the byte.
        while timer.as_mut().poll(cx).is_ready() {
            let moved = there.bytes + back.bytes;
            if moved == seen {
                return Poll::Ready(Err(BrokeOff::Idle));
            }
            seen = moved;
            timer.as_mut().reset(Instant::now() + idle);
        }
        Poll::Pending
    })
    .await;
    let idle_ended = matches!(result, Err(BrokeOff::Idle));
    // Closing would tell the other side that this is all there is: whoever reads to the end would believe it.
    if back.broken || idle_ended {
        downstream.reset_on_close();
    }
    if there.broken || idle_ended {
        upstream.reset_on_close();
    }
    let copied = Copied {
        from_downstream: there.bytes,
        from_upstream: back.bytes,
    };
    (copied, result)
}

#[derive(Debug, Default)]
struct Direction {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    bytes: u64,
    dirty: bool,
    /// It broke where it came from.
    broken: bool,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Closing,
    Closed,
}

impl Direction {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.state {
                State::Closed => return Poll::Ready(Ok(())),
                State::Closing => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.buffer = Vec::new();
                    self.state = State::Closed;
                }
                State::Open if self.start < self.end => ready!(self.poll_write(cx, to))?,
                State::Open => match self.poll_fill(cx, from)? {
                    Poll::Ready(0) => self.state = State::Closing,
                    Poll::Ready(_) => {}
                    Poll::Pending => {
                        if self.dirty {
                            ready!(Pin::new(&mut *to).poll_flush(cx))?;
                            self.dirty = false;
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, from: &mut Stream) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_MIN];
        }
        let mut buf = ReadBuf::new(&mut self.buffer);
        let read = ready!(Pin::new(from).poll_read(cx, &mut buf));
        self.broken = read.is_err();
        read?;
        let filled = buf.filled().len();
        (self.start, self.end) = (0, filled);
        Poll::Ready(Ok(filled))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        let pending = self.buffer.get(self.start..self.end).unwrap_or_default();
        let written = ready!(Pin::new(to).poll_write(cx, pending))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.start += written;
        self.bytes += u64::try_from(written).unwrap_or(0);
        self.dirty = true;
        if self.start == self.end && self.end == self.buffer.len() && self.end < BUFFER_MAX {
            self.buffer.resize(BUFFER_MAX, 0);
        }
        Poll::Ready(Ok(()))
    }
}
