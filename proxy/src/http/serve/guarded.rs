//! A caller's HTTP/1.1 stream, of which nothing is read on that is not one unambiguous message.
//!
//! hyper reads through this. A head that arrives whole is judged where hyper's buffer has it, without a copy;
//! only parts are kept here until they are whole. In place of a head that is refused hyper gets one of ours
//! ([`STAND_IN`]), and the service learns that this is what it has got: so a refusal is answered after the
//! requests before it, in order, logged and counted like any other answer, and hyper closes the connection.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    http::strict::{Scanner, Verdict},
    tcp::{Looked, Stream},
};

use super::watch::{Decision, Watch};

/// What stands for a refused head. `-` is a method, and what access logs show for one that could not be read.
const STAND_IN: &[u8] = b"- / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// A step in reading what has to be kept.
const STEP: usize = 4 * 1024;

/// What a caller may still send after its request was refused, and how long. Closing while bytes arrive would
/// reset the connection, and the caller might never see why (RFC 9112 §9.6).
const LINGER_BYTES: usize = 1024 * 1024;
const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct GuardedStream {
    stream: Stream,
    watch: Rc<Watch>,
    scanner: Scanner,
    /// Read and not yet passed on.
    held: BytesMut,
    /// Of those, in order.
    cleared: usize,
    lingering: Option<Lingering>,
    /// What ends it early shall be seen.
    resets: bool,
}

#[derive(Debug)]
struct Lingering {
    left: usize,
    until: Pin<Box<Sleep>>,
}

/// Whether the reader gets something.
enum Step {
    Filled,
    Again,
}

impl GuardedStream {
    pub(super) fn new(stream: Stream, watch: Rc<Watch>) -> Self {
        Self {
            stream,
            watch,
            scanner: Scanner::default(),
            held: BytesMut::new(),
            cleared: 0,
            lingering: None,
            resets: false,
        }
    }

    /// Its end has been told, after everything that was to be said.
    pub(super) fn end_on_close(&self) {
        if self.resets {
            self.stream.end_on_close();
        }
    }

    /// An answer without a length ends with its connection: from its first byte on whatever cuts it short, a drain's grace
    /// or a kill among it, has to look like that.
    fn before_writing(&mut self) {
        if self.watch.until_end() && !self.resets {
            self.resets = true;
            self.stream.reset_on_close();
        }
    }

    /// The stream itself, after an upgrade: `read` and what is held come first, and nothing is judged any more.
    pub(super) fn into_upgraded(self, read: &[u8]) -> Stream {
        let seen = [read, &self.held].concat();
        Looked::after(self.stream, &seen).into_stream()
    }

    /// Reads into the caller's buffer and judges there; what cannot pass yet is moved to `held`.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Step>> {
        let before = buf.filled().len();
        if ready!(self.poll_stream(cx, buf)?).is_none() {
            return Poll::Ready(Ok(Step::Filled));
        }
        let mut passed = before;
        while let Some(rest @ [_, ..]) = buf.filled().get(passed..) {
            let kept = match self.scanner.scan(rest) {
                Verdict::Pass(length) => {
                    passed += length;
                    continue;
                }
                Verdict::Skip(length) => rest.get(length..).unwrap_or_default(),
                Verdict::Hold | Verdict::Wait | Verdict::Refuse(_) | Verdict::Broken => rest,
            };
            self.held.extend_from_slice(kept);
            break;
        }
        buf.set_filled(passed);
        Poll::Ready(Ok(if passed > before {
            Step::Filled
        } else {
            Step::Again
        }))
    }

    /// `None` at the end of the stream.
    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Option<()>>> {
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) else {
            if self.scanner.is_in_body() {
                self.watch.awaits_body();
            }
            return Poll::Pending;
        };
        read?;
        if buf.filled().len() == before {
            return Poll::Ready(Ok(None));
        }
        self.watch.read();
        Poll::Ready(Ok(Some(())))
    }

    /// Judges what is held, and passes on what is in order.
    fn poll_held(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Step>> {
        while self.cleared == 0 {
            match self.scanner.scan(&self.held) {
                Verdict::Pass(length) => self.cleared = length,
                Verdict::Skip(length) => {
                    self.held.advance(length);
                    return Poll::Ready(Ok(Step::Again));
                }
                Verdict::Hold => return self.poll_more(cx),
                Verdict::Wait => match self.watch.decision(self.scanner.requests(), cx.waker()) {
                    None => return self.poll_more(cx),
                    Some(Decision::Upgraded) => self.scanner.upgraded(),
                    Some(Decision::StaysHttp) => self.scanner.not_upgraded(),
                },
                Verdict::Refuse(refusal) => {
                    self.watch.refuse(self.scanner.requests() + 1, refusal);
                    self.held = BytesMut::from(STAND_IN);
                    self.cleared = STAND_IN.len();
                    self.lingering = Some(Lingering::begin());
                }
                Verdict::Broken => {
                    self.held = BytesMut::new();
                    self.lingering = Some(Lingering::begin());
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
            }
        }
        let length = self.cleared.min(buf.remaining());
        buf.put_slice(self.held.get(..length).unwrap_or_default());
        self.held.advance(length);
        self.cleared -= length;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        Poll::Ready(Ok(Step::Filled))
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Step>> {
        // A caller that waits for its upgrade has little to say until it has it.
        if self.held.len() > 2 * crate::http::headers::HEADER_BUFFER {
            return Poll::Pending;
        }
        let mut step = [0; STEP];
        let mut more = ReadBuf::new(&mut step);
        if ready!(self.poll_stream(cx, &mut more)?).is_none() {
            return Poll::Ready(Ok(Step::Filled));
        }
        self.held.extend_from_slice(more.filled());
        Poll::Ready(Ok(Step::Again))
    }

    /// Reads what nobody wants until it ends.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(lingering) = &mut self.lingering else {
            return Poll::Ready(Ok(()));
        };
        let mut step = [0; STEP];
        loop {
            if lingering.left == 0 {
                return Poll::Pending;
            }
            let mut more = ReadBuf::new(&mut step);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut more))?;
            if more.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            lingering.left = lingering.left.saturating_sub(more.filled().len());
        }
    }
}

impl Lingering {
    fn begin() -> Self {
        Self {
            left: LINGER_BYTES,
            until: Box::pin(sleep_until(Instant::now() + LINGER)),
        }
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.held.is_empty() && this.scanner.is_over() {
                return this.poll_discard(cx);
            }
            let step = if this.held.is_empty() {
                ready!(this.poll_direct(cx, buf))?
            } else {
                ready!(this.poll_held(cx, buf))?
            };
            if matches!(step, Step::Filled) {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.before_writing();
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.before_writing();
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        // Our end is closed; the caller's may still be sending.
        if this.poll_discard(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        match &mut this.lingering {
            Some(lingering) => lingering.until.as_mut().poll(cx).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}
