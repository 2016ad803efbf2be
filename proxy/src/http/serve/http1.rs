//! HTTP/1.1 from a caller, by hyper, behind a strict reader ([`super::guarded`]) and under watch
//! ([`super::watch`]).
//!
//! hyper never closes the connection: after an upgrade it goes on without hyper, as two bodies ([`Tunnel`]).

use std::{
    cell::RefCell,
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{Either, select},
};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite as _;

use crate::{
    error::ProxyError,
    http::{
        Body, Interim, headers,
        outside::{self, LastOfConnection},
        tunnel::Tunnel,
        upgrade::{Accepted, Offer},
    },
    tcp::Stream,
};

use super::{
    Bound, Handler, Idle, Served, UntilDrain,
    guarded::GuardedStream,
    watch::{Decision, InFlight, Watch},
};

/// hyper's buffer: a head of the largest size that is taken has to fit with room to spare, because it is the
/// scanner that decides about sizes.
const BUFFER: usize = headers::HEADER_BUFFER + 8 * 1024;

/// Serves requests until the connection ends, or drains.
///
/// # Errors
/// What hyper saw: mostly callers that went away; malformed requests have been answered.
pub async fn http1(
    stream: Stream,
    (mut drain, idle): (UntilDrain, Idle),
    handler: Handler<'_>,
) -> Result<Served, hyper::Error> {
    let watch = Rc::new(Watch::default());
    let switched = Switched::default();
    let service = service_fn(|mut request: Request<Incoming>| {
        let in_flight = InFlight::begin(&watch);
        if request.version() == Version::HTTP_10 {
            watch.speaks_1_0();
        }
        if let Some(refusal) = watch.refusal() {
            request.extensions_mut().insert(refusal);
        }
        let answered = answer(handler, request, (&watch, in_flight), &switched);
        // hyper keeps a place of the future's size in every connection, idle ones too.
        Box::pin(answered.map(Ok::<_, Infallible>))
    });
    let io = GuardedStream::new(stream, watch.clone());
    let mut connection = http1::Builder::new()
        .max_headers(headers::HEADERS_MAX_USIZE)
        .max_buf_size(BUFFER)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(io), service);
    let mut draining = pin!(drain.reached());
    let mut drained = false;
    let mut look = pin!(watch.watch(idle));
    let mut ended_by = Served::Whole;
    poll_fn(|cx| {
        // First of all: hyper drops a connection that is to shut down before it has read from it, and a
        // request may be waiting there.
        if let Poll::Ready(ended) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(ended.map(|()| ended_by));
        }
        let mut leave = !drained && draining.as_mut().poll(cx).is_ready();
        drained |= leave;
        if ended_by == Served::Whole
            && let Poll::Ready(bound) = look.as_mut().poll(cx)
        {
            ended_by = Served::Bounded(bound);
            if is_abandoned(ended_by) {
                return Poll::Ready(Ok(ended_by));
            }
            leave = true;
        }
        if !leave {
            return Poll::Pending;
        }
        Pin::new(&mut connection).graceful_shutdown();
        connection.poll_without_shutdown(cx).map_ok(|()| ended_by)
    })
    .await?;
    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    let mut io = io.into_inner();
    match switched.take() {
        Some(opened) => go_on(*opened, io.into_upgraded(&read_buf)).await,
        None if is_abandoned(ended_by) => {}
        None => {
            let shutdown = poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx));
            if let Either::Left((Ok(()), _)) = select(pin!(shutdown), look).await {
                io.end_on_close();
            }
        }
    }
    Ok(ended_by)
}

/// Without hyper. How it ends is told to those who watch the bodies.
async fn go_on((tunnel, mut body): (Tunnel, Body), stream: Stream) {
    tunnel.open(stream);
    let _ = tunnel.pour(&mut body).await;
    poll_fn(|cx| body.poll_over(cx)).await;
}

/// What goes on once hyper is done with a connection that has left HTTP, and what it is to be sent.
type Switched = RefCell<Option<Box<(Tunnel, Body)>>>;

async fn answer(
    handler: Handler<'_>,
    request: Request<Incoming>,
    (watch, in_flight): (&Watch, InFlight),
    switched: &Switched,
) -> Response<Answer> {
    let (request, tunnel) = expect_upgrade(request);
    let mut response = handler(request, Interim::default()).await;
    close_if_refused(&mut response);
    // An application's HTTP/1.0 is its own affair; hyper minds what the caller speaks.
    *response.version_mut() = Version::HTTP_11;
    let mut decision = Decision::StaysHttp;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(tunnel) = tunnel
    {
        decision = Decision::Upgraded;
        let body = switch(&mut response);
        switched.replace(Some(Box::new((tunnel, body))));
    }
    watch.decide(decision);
    response.map(|body| Answer {
        body,
        _in_flight: in_flight,
    })
}

/// There is nothing graceful to wait for: no request will come, or no answer will go.
fn is_abandoned(ended: Served) -> bool {
    match ended {
        Served::Bounded(Bound::SlowHead | Bound::SlowBody | Bound::Unread) => true,
        Served::Whole | Served::Bounded(Bound::Idle | Bound::SlowHandshake | Bound::Flood) => false,
    }
}

/// If the caller offers to leave HTTP, what it says from then on is the request's body.
fn expect_upgrade(request: Request<Incoming>) -> (Request<Body>, Option<Tunnel>) {
    let Some(offer) = Offer::of(&request) else {
        return (request.map(Body::incoming), None);
    };
    let tunnel = Tunnel::expected();
    let mut request = request.map(|_| Body::Tunnel(tunnel.body()));
    request.extensions_mut().insert(offer);
    (request, Some(tunnel))
}

/// Makes it the 101 that hyper is to write; what is to be sent after it.
fn switch(response: &mut Response<Body>) -> Body {
    if let Some(accepted) = response.extensions_mut().remove::<Accepted>() {
        accepted.answer(response.headers_mut());
    }
    std::mem::take(response.body_mut())
}

/// Whoever sends what this proxy does not take for a request has lost the thread, or wants us to: what comes next
/// on this connection may not be meant as it reads (SEMANTICS §10).
fn close_if_refused(response: &mut Response<Body>) {
    let marked = response.extensions().get::<LastOfConnection>();
    if marked.is_some() || outside::was_refused(response.headers()) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
}

/// A response's body; the request is in flight until it has passed.
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
