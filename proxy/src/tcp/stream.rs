//! A connection as the request path sees it: plain or mutual TLS, either role.
//!
//! An enum and not a type parameter: serving and calling code is then compiled once, and a pool can hold
//! all kinds. TLS state is boxed, because most of a `Stream`'s moves happen before its first byte.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use super::{Looked, socket};

/// A byte stream to a peer.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS: the application beside us, or an endpoint without a sidecar.
    Plain(TcpStream),
    /// A sidecar called us.
    Accepted(Box<server::TlsStream<TcpStream>>),
    /// We called a sidecar.
    Connected(Box<client::TlsStream<TcpStream>>),
    /// Either of the former, its first bytes looked at.
    Looked(Box<Looked>),
}

impl Stream {
    /// Dropping it from now on resets the connection instead of ending it.
    pub fn reset_on_close(&self) {
        // A connection that refuses this is gone already.
        let _ = SockRef::from(self.connection()).set_linger(Some(Duration::ZERO));
    }

    /// Takes [`Self::reset_on_close`] back: the other side has been told that this was all.
    pub fn end_on_close(&self) {
        let _ = SockRef::from(self.connection()).set_linger(None);
    }

    /// HTTP/2 with another sidecar begins on it: from now on its peer is gone if it takes nothing for 20 s.
    pub fn becomes_hop(&self) {
        socket::tune_hop(self.connection());
    }

    fn connection(&self) -> &TcpStream {
        match self {
            Self::Plain(inner) => inner,
            Self::Accepted(inner) => inner.get_ref().0,
            Self::Connected(inner) => inner.get_ref().0,
            Self::Looked(inner) => inner.inner().connection(),
        }
    }
}

macro_rules! each {
    ($self:expr, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain(inner) => {
                let $io = Pin::new(inner);
                $call
            }
            Stream::Accepted(inner) => {
                let $io = Pin::new(inner.as_mut());
                $call
            }
            Stream::Connected(inner) => {
                let $io = Pin::new(inner.as_mut());
                $call
            }
            Stream::Looked(inner) => {
                let $io = Pin::new(inner.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(inner) => inner.is_write_vectored(),
            Self::Accepted(inner) => inner.is_write_vectored(),
            Self::Connected(inner) => inner.is_write_vectored(),
            Self::Looked(inner) => inner.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_shutdown(cx))
    }
}
