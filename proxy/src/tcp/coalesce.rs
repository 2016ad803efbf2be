//! Gathers everything that is written within one turn of a connection's driver into one write.
//!
//! Why: `h2` flushes after nearly every frame: four TLS records and four system calls for one gRPC
//! response. Here a flush only marks what is pending; the driver really flushes once, after it has polled
//! the connection. Bounded: beyond [`PENDING_MAX`] a write goes through at once and its back pressure is felt.
//!
//! The turns of a worker's connections do not overlap, so one buffer per worker serves them all: it is warm, it does not
//! grow step by step, and a connection that waits has none. Only what a slow peer does not take stays with its connection.

use std::{
    cell::{Cell, RefCell},
    io,
    mem::take,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much may wait for the end of a turn: four full TLS records.
const PENDING_MAX: usize = 64 * 1024;

/// A larger buffer is not kept for the next turn: one write may go beyond [`PENDING_MAX`].
const SPARE_MAX: usize = 2 * PENDING_MAX;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The end that a protocol implementation writes to.
#[derive(Debug)]
pub struct Coalesced<S>(Rc<RefCell<Pending<S>>>);

/// The end that a driver flushes.
#[derive(Debug)]
pub struct Flusher<S>(Rc<RefCell<Pending<S>>>);

#[derive(Debug)]
struct Pending<S> {
    io: S,
    bytes: Vec<u8>,
    /// How many of `bytes` have gone into `io`.
    written: usize,
    /// Something went into `io` that has not been flushed.
    dirty: bool,
    /// It takes nothing any more. Who flushes hears of it; who writes does not: `h2` would give up what it can still read.
    broken: Option<io::ErrorKind>,
}

/// Splits a stream into the end to write to and the end to flush.
pub fn coalesce<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> (Coalesced<S>, Flusher<S>) {
    let shared = Rc::new(RefCell::new(Pending {
        io,
        bytes: Vec::new(),
        written: 0,
        dirty: false,
        broken: None,
    }));
    (Coalesced(shared.clone()), Flusher(shared))
}

impl<S: AsyncWrite + Unpin> Pending<S> {
    fn gather(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.take();
            self.bytes.reserve(PENDING_MAX);
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn give_back(&mut self) {
        let mut bytes = take(&mut self.bytes);
        self.written = 0;
        bytes.clear();
        if (PENDING_MAX..=SPARE_MAX).contains(&bytes.capacity()) {
            SPARE.set(bytes);
        }
    }

    /// The peer is slow: what it has taken goes, and what is left waits in a buffer of its size.
    fn settle(&mut self) {
        self.bytes.drain(..self.written);
        self.written = 0;
        if self.bytes.len() < self.bytes.capacity() / 2 {
            let left = self.bytes.to_vec();
            self.give_back();
            self.bytes = left;
        }
    }

    /// Whether there is room; what cannot be written is forgotten.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.bytes.len() - self.written >= PENDING_MAX {
            let drained = ready!(self.poll_drain(cx));
            self.note(&drained);
        }
        if self.broken.is_some() {
            self.give_back();
        }
        Poll::Ready(())
    }

    fn note(&mut self, result: &io::Result<()>) {
        if let Err(error) = result {
            self.broken = Some(error.kind());
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self
            .bytes
            .get(self.written..)
            .filter(|left| !left.is_empty())
        {
            let Poll::Ready(written) = Pin::new(&mut self.io).poll_write(cx, left)? else {
                self.settle();
                return Poll::Pending;
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            self.dirty = true;
        }
        if self.bytes.capacity() > 0 {
            self.give_back();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let flushed = ready!(self.poll_through(cx));
        self.note(&flushed);
        Poll::Ready(flushed)
    }

    fn poll_through(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if self.dirty {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Flusher<S> {
    /// Writes out what has gathered. To be called at the end of each turn.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_flush(cx)
    }
}

impl<S: AsyncRead + Unpin> Flusher<S> {
    /// Reads and forgets until the peer has closed too. Closing while it still says something (HTTP/2: window
    /// updates) would reset the connection, and what it has not read yet would be lost with it.
    pub fn poll_linger(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 1024];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pending = self.0.borrow_mut();
        ready!(pending.poll_room(cx));
        pending.gather(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pending = self.0.borrow_mut();
        ready!(pending.poll_room(cx));
        for buf in bufs {
            pending.gather(buf);
        }
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pending = self.0.borrow_mut();
        ready!(pending.poll_flush(cx))?;
        Pin::new(&mut pending.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
