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

use http::{Request, Response};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};

use crate::{
    http::{Body, headers},
    tcp::Stream,
};

use super::UntilDrain;

/// Two looks at a head that is not yet complete: at least 10 s, at most 20 s.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Looks without a byte or a request: an hour, the longest keep-alive that clients commonly use.
const IDLE_LOOKS_MAX: u32 = 360;

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
        let answer = handler(request.map(Body::incoming));
        async move {
            let response = answer.await;
            drop(in_flight);
            Ok::<_, Infallible>(response)
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
        if !drained && draining.as_mut().poll(cx).is_ready() {
            drained = true;
            connection.as_mut().graceful_shutdown();
        }
        if !slow && look.as_mut().poll(cx).is_ready() {
            slow = true;
            connection.as_mut().graceful_shutdown();
            // Mid-head there is nothing graceful to wait for.
            if watch.reading_head() {
                return Poll::Ready(Ok(()));
            }
        }
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
}

impl Watch {
    fn reading_head(&self) -> bool {
        !self.in_flight.get() && self.reads.get() > self.reads_settled.get()
    }

    /// Returns when the connection has been too slow with a head, or idle for too long.
    async fn watch(&self) {
        let mut suspect: Option<u64> = None;
        let mut idle_looks = 0;
        loop {
            let (reads, requests) = (self.reads.get(), self.requests.get());
            sleep(LOOK_EVERY).await;
            idle_looks = if self.reads.get() == reads && !self.in_flight.get() {
                idle_looks + 1
            } else {
                0
            };
            let slow = self.reading_head() && suspect == Some(self.requests.get());
            if slow || idle_looks >= IDLE_LOOKS_MAX {
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
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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
