//! HTTP/1.1 from a caller, by hyper.
//!
//! hyper's own header timeout also ends idle connections and costs a timer per request. [`Watch`] instead
//! looks once in a while whether a request's head has been arriving for too long.

use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};

use crate::{
    error::ProxyError,
    http::{Body, headers},
    tcp::Stream,
};

use super::UntilDrain;

/// Two looks at a head that is not yet complete: at least 10 s, at most 20 s.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Looks without a byte or a request: an hour, the longest keep-alive that clients commonly use.
const IDLE_LOOKS_MAX: u32 = 360;

/// Looks at an answer that the caller does not read: five minutes, as the default `timeouts.idle`.
const UNREAD_LOOKS_MAX: u32 = 30;

/// Serves requests until the connection ends, or drains.
///
/// # Errors
/// What hyper saw: mostly callers that went away; malformed requests have been answered with 400.
pub async fn http1<F, Fut>(
    stream: Stream,
    mut drain: UntilDrain,
    handler: F,
) -> Result<(), hyper::Error>
where
    F: Fn(Request<Body>) -> Fut,
    Fut: Future<Output = Response<Body>>,
{
    let watch = Rc::new(Watch::default());
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let in_flight = InFlight::begin(&watch);
        // hyper keeps a place of the future's size in every connection, idle ones too.
        let answer = Box::pin(handler(request.map(Body::incoming)));
        async move {
            let response = answer.await;
            Ok::<_, Infallible>(response.map(|body| Answer {
                body,
                _in_flight: in_flight,
            }))
        }
    });
    let io = WatchedStream {
        stream,
        watch: watch.clone(),
    };
    let connection = http1::Builder::new()
        .max_headers(headers::HEADERS_MAX_USIZE)
        .max_buf_size(headers::HEADER_BUFFER)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let mut draining = pin!(drain.reached());
    let mut drained = false;
    let mut look = pin!(watch.watch());
    let mut slow = false;
    std::future::poll_fn(|cx| {
        // First of all: hyper drops a connection that is to shut down before it has read from it, and a
        // request may be waiting there.
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        let mut leave = !drained && draining.as_mut().poll(cx).is_ready();
        drained |= leave;
        if !slow && look.as_mut().poll(cx).is_ready() {
            slow = true;
            leave = true;
            // There is nothing graceful to wait for: no head will come, or no answer will go.
            if watch.reading_head() || watch.unread() {
                return Poll::Ready(Ok(()));
            }
        }
        if !leave {
            return Poll::Pending;
        }
        connection.as_mut().graceful_shutdown();
        connection.as_mut().poll(cx)
    })
    .await
}

/// What a connection has been doing.
#[derive(Debug, Default)]
struct Watch {
    /// Reads that brought bytes.
    reads: Cell<u64>,
    /// Of those, before the last request began or ended.
    reads_settled: Cell<u64>,
    requests: Cell<u64>,
    in_flight: Cell<bool>,
    /// Writes that went through.
    writes: Cell<u64>,
    /// The last one did not.
    blocked: Cell<bool>,
    unread_looks: Cell<u32>,
}

impl Watch {
    /// The caller has taken nothing of its answer for too long. hyper asks a body for nothing while it cannot
    /// write, so the body's own bounds do not help.
    fn unread(&self) -> bool {
        self.unread_looks.get() >= UNREAD_LOOKS_MAX
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        self.blocked.set(written.is_pending());
        if written.is_ready() {
            self.writes.set(self.writes.get() + 1);
        }
    }

    fn reading_head(&self) -> bool {
        !self.in_flight.get() && self.reads.get() > self.reads_settled.get()
    }

    /// Returns when the connection has been too slow with a head, idle or unread for too long.
    async fn watch(&self) {
        let mut suspect: Option<u64> = None;
        let mut idle_looks = 0;
        loop {
            let (reads, requests) = (self.reads.get(), self.requests.get());
            let writes = self.writes.get();
            sleep(LOOK_EVERY).await;
            idle_looks = if self.reads.get() == reads && !self.in_flight.get() {
                idle_looks + 1
            } else {
                0
            };
            let slow = self.reading_head() && suspect == Some(self.requests.get());
            let unread = self.blocked.get() && self.writes.get() == writes;
            self.unread_looks.set(if unread {
                self.unread_looks.get() + 1
            } else {
                0
            });
            if slow || idle_looks >= IDLE_LOOKS_MAX || self.unread() {
                return;
            }
            suspect = (self.reading_head() && requests == self.requests.get()).then_some(requests);
        }
    }
}

struct InFlight(Rc<Watch>);

impl InFlight {
    fn begin(watch: &Rc<Watch>) -> Self {
        watch.requests.set(watch.requests.get() + 1);
        watch.in_flight.set(true);
        Self(watch.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(false);
        self.0.reads_settled.set(self.0.reads.get());
    }
}

/// A response's body; the request is in flight until it has passed, whatever still comes in meanwhile.
struct Answer {
    body: Body,
    _in_flight: InFlight,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        http_body::Body::poll_frame(Pin::new(&mut self.body), cx)
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

#[derive(Debug)]
struct WatchedStream {
    stream: Stream,
    watch: Rc<Watch>,
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.watch.reads.set(self.watch.reads.get() + 1);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
