//! One accepted connection: bytes, the peer's identity, and the moment in which it ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::{ca::Peer, shares, telemetry::metrics::Counted};

/// A verified connection; counts as open until dropped.
pub struct MeshStream {
    tls: TlsStream<TcpStream>,
    peer: Peer,
    end: End,
    _held: Held,
}

/// Done when the connection's time is over.
pub(super) type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A place among all connections, and among those of its address.
pub(super) type Place = (OwnedSemaphorePermit, shares::Place);

/// Given back when the connection ends: its place, its place among those without a certificate, and the count.
pub(super) type Held = (Place, Option<shares::Place>, Counted);

impl MeshStream {
    pub(super) fn new(tls: TlsStream<TcpStream>, peer: Peer, end: End, held: Held) -> Self {
        Self {
            tls,
            peer,
            end,
            _held: held,
        }
    }

    /// Whose connection it is.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// tonic puts this into the extensions of every request of the connection.
impl Connected for MeshStream {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for MeshStream {
    /// Reads, until the connection's time is over: then it is as if the peer had closed.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for MeshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(context)
    }
}
