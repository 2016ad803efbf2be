//! HTTP/2 from a caller, sidecar or application, on `h2` directly.
//!
//! Floods are bounded: streams by settings; resets, pings, settings and empty frames by `h2`'s own budgets;
//! headers by size and, in the stories, by count.

use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll, time::Duration};

use bytes::Bytes;
use h2::server;
use http::{Request, Response, header};
use http_body::Body as _;
use tokio::{
    task::spawn_local,
    time::{Instant, sleep, timeout},
};

use crate::{
    http::{
        Body, Interim, RecvBody,
        apart::fields_apart,
        finish::Refused,
        headers::{HEADER_BYTES_MAX, HEADERS_MAX},
        interim::Back,
        pump::pump,
        upgrade::Accepted,
        windows::{RESET_STREAM_KEPT, SEND_BUFFER_MAX, STREAM_WINDOW},
    },
    tcp::{Stream, coalesce},
};

use super::{Bound, Handler, Handling, Idle, Served, UntilDrain};

/// One caller's streams at once. A sidecar opens a second connection long before.
const STREAMS_MAX: u32 = 1_000;
/// Streams that we reset are remembered for what their callers still send; what comes for forgotten ones ends the connection,
/// soon or at once. Refusals come in swarms when an application is gone, so one is remembered for each of these bytes of
/// the connection's window, in which all that is late has to be: 8,192 for a sidecar, 512 for an outsider.
const WINDOW_PER_RESET: u32 = 2 * 1024;
/// For preface and settings.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// For a caller to close too, after its last answer. It has been told to, and closes at once as a rule.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// Serves streams until the connection ends, or drains. `window`: how much of requests' bodies may be under way on the
/// connection, in bytes.
///
/// # Errors
/// What `h2` saw: protocol violations, floods, connections that broke.
pub async fn http2(
    stream: Stream,
    (mut drain, bounds): (UntilDrain, Idle),
    window: u32,
    handler: Handler<'_>,
) -> Result<Served, h2::Error> {
    let (io, flusher) = coalesce(stream);
    let handshake = server::Builder::new()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window)
        .max_header_list_size(HEADER_BYTES_MAX + 32 * HEADERS_MAX)
        .max_send_buffer_size(SEND_BUFFER_MAX)
        .max_concurrent_reset_streams(usize::try_from(window / WINDOW_PER_RESET).unwrap_or(0))
        .reset_stream_duration(RESET_STREAM_KEPT)
        .handshake::<_, Bytes>(io);
    // Boxed: its place in every connection's memory would be kept for as long as the connection.
    let Ok(connection) = Box::pin(timeout(HANDSHAKE_MAX, handshake)).await else {
        return Ok(Served::Bounded(Bound::SlowHandshake));
    };
    let mut connection = connection?;
    let mut draining = pin!(drain.reached());
    let mut drained = false;
    let mut idle = pin!(sleep(bounds.first));
    let (mut used, mut served) = (false, Served::Whole);
    let ended = poll_fn(|cx| {
        if !drained && draining.as_mut().poll(cx).is_ready() {
            drained = true;
            connection.graceful_shutdown();
        }
        if served == Served::Whole && idle.as_mut().poll(cx).is_ready() {
            if used || connection.has_streams() {
                used = false;
                idle.as_mut().reset(Instant::now() + bounds.between);
                // Polled once, so that it wakes us.
                let _ = idle.as_mut().poll(cx);
            } else {
                served = Served::Bounded(Bound::Idle);
                connection.graceful_shutdown();
            }
        }
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    used = true;
                    let back = Back::new(respond);
                    let interim = Interim::to(&back);
                    let request = incoming(request, &interim);
                    spawn_local(serve_stream(handler(request, interim), back));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        match flusher.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(h2_io(error))),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if drained && ended.is_ok() {
        // Boxed, as the other one below: their place, too, would be kept for as long as the connection.
        let _ = Box::pin(timeout(LINGER_MAX, poll_fn(|cx| flusher.poll_linger(cx)))).await;
    }
    let Err(error) = ended else {
        return Ok(served);
    };
    // `h2` has written a GOAWAY that says why, but a write is only gathered here.
    let _ = Box::pin(timeout(LINGER_MAX, poll_fn(|cx| flusher.poll_flush(cx)))).await;
    if error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) {
        return Ok(Served::Bounded(Bound::Flood));
    }
    Err(error)
}

fn h2_io(_: std::io::Error) -> h2::Error {
    // `h2` has no public constructor for I/O errors; all a caller does with it is to log it.
    h2::Reason::CONNECT_ERROR.into()
}

fn incoming(request: Request<h2::RecvStream>, interim: &Interim) -> Request<Body> {
    let expects = request.headers().contains_key(header::EXPECT);
    request.map(|recv| {
        if recv.is_end_stream() {
            return Body::Empty;
        }
        let body = RecvBody::new(recv);
        Body::Http2(if expects {
            body.expecting(interim.clone())
        } else {
            body
        })
    })
}

/// Answers one stream; a reset by the caller ends everything that was done for it.
async fn serve_stream(mut answer: Handling, back: Rc<Back>) {
    let answered = poll_fn(|cx| {
        if let Poll::Ready(response) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(response));
        }
        back.respond.borrow_mut().poll_reset(cx).map(|_| None)
    });
    let Some(response) = answered.await else {
        return;
    };
    drop(answer);
    if response.extensions().get::<Refused>().is_some() {
        return back
            .respond
            .borrow_mut()
            .send_reset(h2::Reason::REFUSED_STREAM);
    }
    let (mut head, mut body) = response.into_parts();
    Accepted::to_sidecar(&mut head);
    fields_apart(&mut head.headers);
    back.close();
    let bodiless = body.is_end_stream();
    let sent = back
        .respond
        .borrow_mut()
        .send_response(Response::from_parts(head, ()), bodiless);
    if let Ok(mut stream) = sent
        && !bodiless
    {
        // A body that breaks off has reset the stream; its observer knows why.
        if pump(&mut body, &mut stream, None).await.is_ok() {
            poll_fn(|cx| body.poll_over(cx)).await;
        }
    }
}

#[cfg(test)]
mod tests;
