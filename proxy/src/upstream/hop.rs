//! HTTP/2 to another sidecar (or to an application that speaks it), on `h2` directly.
//!
//! Why not hyper's client: it hides stream identifiers and GOAWAY, and with them the knowledge whether a
//! failed request can have been processed, which is what retry safety rests on. Writes of one turn leave
//! together (see `tcp::coalesce`).

use std::{
    cell::Cell,
    future::{Future as _, poll_fn},
    mem::take,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, client};
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use tokio::{task::spawn_local, time::timeout};
use usher_config::value::SpiffeId;

use crate::{
    error::{Processing, ProxyError},
    http::{
        Body, Interim, RecvBody,
        apart::fields_apart,
        headers::{HEADER_BYTES_MAX, HEADERS_MAX},
        pump::{WithHead, pump},
        upgrade::Offer,
        windows::{CONNECTION_WINDOW, RESET_STREAM_KEPT, SEND_BUFFER_MAX, STREAM_WINDOW},
    },
    policy::timeout::{DEADLINE, GRPC_TIMEOUT},
    tcp::{Stream, coalesce},
    telemetry::trace_context::{REQUEST_ID, TRACEPARENT},
};

use super::upload::Upload;

/// Streams that we reset are remembered for answers on their way, so many: callers leave and attempts time out in swarms too, and
/// 1,024 answers to forgotten streams in its life end a connection.
const RESET_STREAMS_MAX: usize = 8_192;

/// What a peer has said before it left is read for so long at most, once it cannot be written to.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// A connection that requests can be sent on. Clones share it; it closes when the last one is gone and
/// the last stream has ended.
#[derive(Debug, Clone)]
pub struct Hop {
    send: client::SendRequest<Bytes>,
    state: Rc<State>,
}

#[derive(Debug)]
struct State {
    endpoint: SocketAddr,
    peer: Option<SpiffeId>,
    active: Cell<u32>,
    closed: Cell<bool>,
    /// A request has been sent.
    used: Cell<bool>,
    /// What requests have sent before they knew of room for it.
    with_head: WithHead,
}

/// Speaks HTTP/2 on `stream`. `guard` lives as long as the connection; `peer` is who was verified to be there.
///
/// # Errors
/// [`ProxyError::UpstreamReset`], provably unprocessed.
pub async fn handshake<G: 'static>(
    stream: Stream,
    endpoint: SocketAddr,
    peer: Option<SpiffeId>,
    guard: G,
) -> Result<Hop, ProxyError> {
    let (io, flusher) = coalesce(stream);
    let (send, mut connection) = client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_BYTES_MAX + 32 * HEADERS_MAX)
        .max_send_buffer_size(SEND_BUFFER_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .reset_stream_duration(RESET_STREAM_KEPT)
        .enable_push(false)
        .handshake(io)
        .await
        .map_err(|_| unprocessed(endpoint))?;
    let state = Rc::new(State {
        endpoint,
        peer,
        active: Cell::new(0),
        closed: Cell::new(false),
        used: Cell::new(false),
        with_head: WithHead::default(),
    });
    let shared = state.clone();
    spawn_local(async move {
        let _guard = guard;
        let written = poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            if polled.is_pending() && matches!(flusher.poll_flush(cx), Poll::Ready(Err(_))) {
                return Poll::Ready(Err(()));
            }
            polled.map(|_| Ok(()))
        });
        let written = written.await;
        shared.closed.set(true);
        // A peer that closed with something unread has reset the connection, but what it said before is still to be read:
        // a GOAWAY says which requests it has not seen.
        if written.is_err() {
            let _ = timeout(LAST_WORDS_MAX, connection).await;
        }
    });
    Ok(Hop { send, state })
}

impl Hop {
    #[cfg(test)]
    pub(super) fn unwritten(&self) -> usize {
        self.state.with_head.bytes()
    }

    /// Who was verified to be there; `None`: plaintext.
    pub fn peer(&self) -> Option<&SpiffeId> {
        self.state.peer.as_ref()
    }

    /// Streams in flight.
    pub fn active(&self) -> u32 {
        self.state.active.get()
    }

    /// Whether no request can be sent any more. `h2` learns of a GOAWAY before the connection ends, so this
    /// asks it.
    pub fn is_closed(&mut self) -> bool {
        if self.state.closed.get() {
            return true;
        }
        let ready = self
            .send
            .poll_ready(&mut Context::from_waker(std::task::Waker::noop()));
        matches!(ready, Poll::Ready(Err(_)))
    }

    /// One exchange: resolves with the response's head; bodies stream on. Dropping the future or the
    /// response's body resets the stream. `request` is taken.
    ///
    /// The request's URI must have scheme and authority. What comes before the answer goes to `interim`.
    ///
    /// # Errors
    /// [`ProxyError::UpstreamReset`] with what is known of the request's effect, [`ProxyError::RefusedUnseen`],
    /// [`ProxyError::UpstreamProtocol`], and whatever broke the request's own body.
    pub async fn exchange(
        &mut self,
        request: &mut Request<Body>,
        interim: &Interim,
    ) -> Result<Response<Body>, ProxyError> {
        let Begun {
            offer,
            lease,
            upload,
            mut response,
        } = self.begin(request)?;
        let answered = poll_fn(|cx| {
            while let Poll::Ready(Some(Ok(told))) = response.poll_informational(cx) {
                interim.forward(told);
            }
            Pin::new(&mut response).poll(cx)
        });
        let mut response = match answered.await {
            Ok(response) => response,
            Err(error) => {
                return Err(upload.failure().unwrap_or_else(|| self.classify(&error)));
            }
        };
        if let Some(offer) = offer {
            offer.answered_by_sidecar(&mut response);
        }
        Ok(response.map(|recv| {
            if recv.is_end_stream() && upload.is_done() {
                return Body::Empty;
            }
            Body::FromHop(Box::new(HopBody {
                recv: RecvBody::new(recv),
                upload,
                lease,
            }))
        }))
    }

    /// Opens the stream and sends what is there.
    fn begin(&mut self, request: &mut Request<Body>) -> Result<Begun, ProxyError> {
        let endpoint = self.state.endpoint;
        let (mut head, mut body) = take(request).into_parts();
        let bodiless = body.is_end_stream();
        let offer = Offer::to_sidecar(&mut head);
        fields_apart(&mut head.headers);
        if !self.state.used.replace(true) {
            introduce(&mut head.headers);
        }
        let sent = self
            .send
            .send_request(Request::from_parts(head, ()), bodiless);
        let (response, mut stream) = sent.map_err(|_| unprocessed(endpoint))?;
        let lease = Lease::new(&self.state);
        let upload = if bodiless {
            Upload::Done
        } else {
            let with_head = Some(self.state.with_head.clone());
            Upload::start(async move { pump(&mut body, &mut stream, with_head).await })
        };
        Ok(Begun {
            offer,
            lease,
            upload,
            response,
        })
    }

    /// What a failed stream says about its request (RFC 9113 §8.7).
    ///
    /// `h2` fails a stream with a remote GOAWAY only if its identifier is above the last one that the peer
    /// processed; streams below it fail with an I/O error when the connection ends.
    fn classify(&self, error: &h2::Error) -> ProxyError {
        let endpoint = self.state.endpoint;
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        if error.is_remote() && refused && self.peer().is_some() {
            return ProxyError::RefusedUnseen { endpoint };
        }
        if error.is_remote() && (refused || error.is_go_away()) {
            return unprocessed(endpoint);
        }
        if error.is_library() {
            return ProxyError::UpstreamProtocol { endpoint };
        }
        ProxyError::UpstreamReset {
            endpoint,
            processing: Processing::Unknown,
        }
    }
}

/// Lets a connection's first request put the fields that no other will repeat into HPACK's table all the same, for their
/// names' sake: later ones refer to these, and neither side spells, compresses, reads and keeps them with each request.
fn introduce(fields: &mut HeaderMap) {
    for name in [REQUEST_ID, TRACEPARENT, DEADLINE, GRPC_TIMEOUT] {
        if let Some(value) = fields.get_mut(name) {
            value.set_sensitive(false);
        }
    }
}

/// A request on its way.
struct Begun {
    offer: Option<Offer>,
    lease: Lease,
    upload: Upload,
    response: client::ResponseFuture,
}

/// Counts a stream while it lives.
#[derive(Debug)]
struct Lease(Rc<State>);

impl Lease {
    fn new(state: &Rc<State>) -> Self {
        state.active.set(state.active.get() + 1);
        Self(state.clone())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
    }
}

/// A response body that comes over HTTP/2; its request's body may still be going the other way.
#[derive(Debug)]
pub struct HopBody {
    recv: RecvBody,
    upload: Upload,
    lease: Lease,
}

impl HopBody {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let frame = ready!(self.recv.poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|_| {
                let endpoint = self.lease.0.endpoint;
                self.upload
                    .failure()
                    .unwrap_or(ProxyError::UpstreamBrokeOff { endpoint })
            })
        }))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.recv.is_end_stream()
    }

    /// Ready when the request's body has ended too.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.upload.poll_end(cx)
    }
}

fn unprocessed(endpoint: SocketAddr) -> ProxyError {
    ProxyError::UpstreamReset {
        endpoint,
        processing: Processing::Unprocessed,
    }
}
