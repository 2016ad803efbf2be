//! A stream whose first bytes have been looked at and not taken.
//!
//! What `peek` is for a socket, for streams whose bytes exist only after decryption: whoever reads it sees every
//! byte, in order.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::Stream;

/// See the module.
#[derive(Debug)]
pub struct Looked {
    inner: Stream,
    seen: BytesMut,
}

impl Looked {
    /// Nothing seen yet.
    pub fn new(inner: Stream) -> Self {
        Self {
            inner,
            seen: BytesMut::new(),
        }
    }

    /// `seen` had been read from it before.
    pub fn after(inner: Stream, seen: &[u8]) -> Self {
        let seen = BytesMut::from(seen);
        Self { inner, seen }
    }

    /// What has come so far and nobody has taken.
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Waits for more; 0 at the stream's end. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// The stream broke.
    pub async fn more(&mut self) -> io::Result<usize> {
        self.inner.read_buf(&mut self.seen).await
    }

    /// To be read from its first byte.
    pub fn into_stream(self) -> Stream {
        if self.seen.is_empty() {
            self.inner
        } else {
            Stream::Looked(Box::new(self))
        }
    }

    /// As [`Stream::reset_on_close`].
    pub fn reset_on_close(&self) {
        self.inner.reset_on_close();
    }

    /// The stream itself.
    pub(super) fn inner(&self) -> &Stream {
        &self.inner
    }
}

impl AsyncRead for Looked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let count = self.seen.len().min(buf.remaining());
        buf.put_slice(self.seen.get(..count).unwrap_or_default());
        self.seen.advance(count);
        if self.seen.is_empty() {
            self.seen = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Looked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
