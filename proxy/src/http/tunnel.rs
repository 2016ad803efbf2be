//! A connection that has left HTTP: what it sends is one body, what it is to be sent another.
//!
//! As bodies the two directions pass through stories, hop and records like any others: counted, watched for
//! silence, at the other side's pace, and a half-close is the end of a body. Until it is told that there is nothing more
//! to come its connection is set to be reset when it is closed, whatever closes it: an end would say that this was all.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    future::{Future as _, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use crate::tcp::Stream;

use super::{Body, pump::PumpError};

/// One read, held only while there is something to read: idle tunnels are many.
const READ: usize = 16 * 1024;

/// Both ends share it.
#[derive(Clone)]
pub struct Tunnel(Rc<Inner>);

struct Inner {
    /// `None`: it has not left HTTP yet, and may never.
    stream: RefCell<Option<Stream>>,
    reader: RefCell<Option<Waker>>,
    /// What has to live as long as the connection.
    _guard: Rc<dyn Any>,
}

/// What comes out of it; begins when it is open.
#[derive(Debug)]
pub struct TunnelBody {
    tunnel: Tunnel,
    ended: bool,
}

impl Tunnel {
    /// One that may come about.
    pub fn expected() -> Self {
        Self::new(None, Rc::new(()))
    }

    /// One that has. `guard` lives as long.
    pub fn opened(stream: Stream, guard: Rc<dyn Any>) -> Self {
        Self::new(Some(stream), guard)
    }

    fn new(stream: Option<Stream>, guard: Rc<dyn Any>) -> Self {
        if let Some(stream) = &stream {
            stream.reset_on_close();
        }
        Self(Rc::new(Inner {
            stream: RefCell::new(stream),
            reader: RefCell::default(),
            _guard: guard,
        }))
    }

    /// It has come about.
    pub fn open(&self, stream: Stream) {
        stream.reset_on_close();
        self.0.stream.replace(Some(stream));
        if let Some(reader) = self.0.reader.take() {
            reader.wake();
        }
    }

    /// What comes out of it.
    pub fn body(&self) -> TunnelBody {
        TunnelBody {
            tunnel: self.clone(),
            ended: false,
        }
    }

    /// Sends all of `body`, then closes this direction. If `body` breaks off so does the connection.
    ///
    /// # Errors
    /// See [`PumpError`].
    pub async fn pour(&self, body: &mut Body) -> Result<(), PumpError> {
        loop {
            match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
                None => return self.end().await.map_err(|_| PumpError::Peer),
                // Trailers have no place where there is no HTTP.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.send(bytes, body).await?,
                    Err(_) => continue,
                },
                Some(Err(error)) => return Err(PumpError::Source(error)),
            }
        }
    }

    /// While there is no room nobody polls `body`, so it is asked for its bounds here.
    async fn send(&self, mut bytes: Bytes, body: &mut Body) -> Result<(), PumpError> {
        poll_fn(|cx| match self.poll_send(&mut bytes, cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(|_| PumpError::Peer)),
            Poll::Pending => body
                .poll_bounds(cx)
                .map(|error| Err(PumpError::Source(error))),
        })
        .await
    }

    fn poll_send(&self, bytes: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = self.0.stream.borrow_mut();
        let Some(stream) = &mut *stream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        while !bytes.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let _ = bytes.split_to(written);
        }
        Pin::new(stream).poll_flush(cx)
    }

    async fn end(&self) -> io::Result<()> {
        poll_fn(|cx| match &mut *self.0.stream.borrow_mut() {
            Some(stream) => {
                ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
                stream.end_on_close();
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Ok(())),
        })
        .await
    }
}

impl TunnelBody {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let inner = &self.tunnel.0;
        let mut stream = inner.stream.borrow_mut();
        let Some(stream) = &mut *stream else {
            inner.reader.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        };
        let mut bytes = BytesMut::with_capacity(READ);
        let read = ready!(pin!(stream.read_buf(&mut bytes)).poll(cx));
        self.ended = !matches!(read, Ok(1..));
        Poll::Ready(match read {
            Ok(0) => None,
            Ok(_) => Some(Ok(Frame::data(bytes.freeze()))),
            Err(error) => Some(Err(error)),
        })
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.ended
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("stream", &self.0.stream)
            .finish_non_exhaustive()
    }
}
