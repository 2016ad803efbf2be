//! HTTP/1.1 from a caller, by hyper, behind a strict reader ([`super::guarded`]) and under watch
//! ([`super::watch`]).

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Frame, SizeHint};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::{
    error::{Flag, ProxyError},
    http::{Body, headers},
    tcp::Stream,
};

use super::{
    Bound, Served, UntilDrain,
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
pub async fn http1<F, Fut>(
    stream: Stream,
    mut drain: UntilDrain,
    handler: F,
) -> Result<Served, hyper::Error>
where
    F: Fn(Request<Body>) -> Fut,
    Fut: Future<Output = Response<Body>>,
{
    let watch = Rc::new(Watch::default());
    let service = service_fn(|mut request: Request<hyper::body::Incoming>| {
        let in_flight = InFlight::begin(&watch);
        if let Some(refusal) = watch.refusal() {
            request.extensions_mut().insert(refusal);
        }
        // hyper keeps a place of the future's size in every connection, idle ones too.
        let answer = Box::pin(handler(request.map(Body::incoming)));
        let watch = &watch;
        async move {
            let mut response = answer.await;
            close_if_refused(&mut response);
            // An application's HTTP/1.0 is its own affair; hyper minds what the caller speaks.
            *response.version_mut() = Version::HTTP_11;
            watch.decide(if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                Decision::Upgraded
            } else {
                Decision::StaysHttp
            });
            Ok::<_, Infallible>(response.map(|body| Answer {
                body,
                _in_flight: in_flight,
            }))
        }
    });
    let io = GuardedStream::new(stream, watch.clone());
    let connection = http1::Builder::new()
        .max_headers(headers::HEADERS_MAX_USIZE)
        .max_buf_size(BUFFER)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let mut draining = pin!(drain.reached());
    let mut drained = false;
    let mut look = pin!(watch.watch());
    let mut ended_by = Served::Whole;
    std::future::poll_fn(|cx| {
        // First of all: hyper drops a connection that is to shut down before it has read from it, and a
        // request may be waiting there.
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended.map(|()| ended_by));
        }
        let mut leave = !drained && draining.as_mut().poll(cx).is_ready();
        drained |= leave;
        if ended_by == Served::Whole
            && let Poll::Ready(bound) = look.as_mut().poll(cx)
        {
            ended_by = Served::Bounded(bound);
            match bound {
                // There is nothing graceful to wait for: no request will come, or no answer will go.
                Bound::SlowHead | Bound::SlowBody | Bound::Unread => {
                    return Poll::Ready(Ok(ended_by));
                }
                Bound::Idle | Bound::SlowHandshake | Bound::Flood => leave = true,
            }
        }
        if !leave {
            return Poll::Pending;
        }
        connection.as_mut().graceful_shutdown();
        connection.as_mut().poll(cx).map_ok(|()| ended_by)
    })
    .await
}

/// Whoever sends what this proxy does not take for a request has lost the thread, or wants us to: what comes next
/// on this connection may not be meant as it reads (SEMANTICS §10).
fn close_if_refused(response: &mut Response<Body>) {
    let refused = response
        .headers()
        .get(headers::REASON)
        .is_some_and(|reason| reason.as_bytes().starts_with(Flag::Dpe.as_str().as_bytes()));
    if refused {
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
