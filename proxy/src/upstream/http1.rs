//! HTTP/1.1 to an application: hyper's connection, one exchange at a time, then back to where it came from.

use std::{
    any::Any,
    net::SocketAddr,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;

use crate::{
    error::{Processing, ProxyError},
    http::{
        Body, answer, headers,
        tunnel::{Tunnel, TunnelBody},
        upgrade::Offer,
    },
    pool::IdleHttp1,
    tcp::{Looked, Stream},
};

use super::upload::Upload;

/// A connection that is free.
#[derive(Debug)]
pub struct Http1 {
    sender: SendRequest<Body>,
    endpoint: SocketAddr,
    /// Where it goes when it is free again.
    home: Weak<IdleHttp1>,
    /// It has carried an exchange and idled for so long since: the peer may be closing it just now.
    idled: Option<Duration>,
    /// Lives as long as the connection, be it HTTP or not.
    guard: Rc<dyn Any>,
}

/// Speaks HTTP/1.1 on `stream`. `guard` lives as long as the connection.
///
/// # Errors
/// [`ProxyError::UpstreamReset`], provably unprocessed.
pub async fn handshake<G: 'static>(
    stream: Stream,
    endpoint: SocketAddr,
    home: Weak<IdleHttp1>,
    guard: G,
) -> Result<Http1, ProxyError> {
    let (sender, connection) = http1::Builder::new()
        .max_headers(headers::HEADERS_MAX_USIZE)
        .max_buf_size(headers::HEADER_BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| unprocessed(endpoint))?;
    let guard: Rc<dyn Any> = Rc::new(guard);
    let kept = guard.clone();
    spawn_local(async move {
        let _guard = kept;
        // How it ended is told to the exchange under way.
        let _ = connection.with_upgrades().await;
    });
    Ok(Http1 {
        sender,
        endpoint,
        home,
        idled: None,
        guard,
    })
}

impl Http1 {
    /// Whether the next exchange can begin at once.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether it is of no more use.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// One exchange: resolves with the response's head; bodies stream on. Dropping the future or the
    /// response's body closes the connection.
    ///
    /// The request's URI must be in origin form, its `Host` in place.
    ///
    /// # Errors
    /// [`ProxyError::UpstreamReset`] with what is known of the request's effect, [`ProxyError::IdleRace`],
    /// [`ProxyError::UpstreamProtocol`].
    pub fn exchange(
        mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Body>, ProxyError>> {
        let sent = self.sender.try_send_request(request);
        async move {
            let response = sent.await.map_err(|error| self.unanswered(error))?;
            self.answer(response)
        }
    }

    /// As [`Self::exchange`], for a request that offers to leave HTTP: if the application does too, `body` is what
    /// it is sent from then on, and the answer's body what it says. To be called on a connection of its own.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub async fn switch(
        mut self,
        request: Request<Body>,
        offer: &Offer,
        mut body: Body,
    ) -> Result<Response<Body>, ProxyError> {
        let sent = self.sender.try_send_request(request).await;
        let mut response = sent.map_err(|error| self.unanswered(error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return self.answer(response);
        }
        let endpoint = self.endpoint;
        let wrong = ProxyError::UpstreamProtocol { endpoint };
        let accepted = offer.accepted_by(&response);
        let accepted = accepted.filter(|_| answer::is_sound(&response, true));
        let accepted = accepted.ok_or(wrong.clone())?;
        let upgraded = hyper::upgrade::on(&mut response).await;
        let upgraded = upgraded.map_err(|_| wrong)?;
        let parts = upgraded.downcast::<TokioIo<Stream>>();
        let parts = parts.map_err(|_| ProxyError::Internal {
            what: "an upgraded connection is not the one that was made",
        })?;
        let stream = Looked::after(parts.io.into_inner(), &parts.read_buf);
        let tunnel = Tunnel::opened(stream.into_stream(), self.guard.clone());
        let switched = Box::new(SwitchedBody {
            body: tunnel.body(),
            upload: Upload::start(async move { tunnel.pour(&mut body).await }),
            endpoint,
        });
        response.extensions_mut().insert(accepted);
        Ok(response.map(|_| Body::Switched(switched)))
    }

    fn unanswered(&self, mut error: TrySendError<Request<Body>>) -> ProxyError {
        let unsent = error.take_message().is_some();
        self.classify(unsent, error.error())
    }

    fn answer(self, response: Response<Incoming>) -> Result<Response<Body>, ProxyError> {
        if !answer::is_sound(&response, false) {
            // Dropping the connection with it: nobody knows what else comes there.
            return Err(ProxyError::UpstreamProtocol {
                endpoint: self.endpoint,
            });
        }
        let keep = headers::keep_alive(response.headers());
        let (head, incoming) = response.into_parts();
        let body = if incoming.is_end_stream() {
            self.give_back(keep);
            Body::Empty
        } else {
            Body::FromHttp1(Box::new(Http1Body {
                incoming,
                endpoint: self.endpoint,
                connection: Some((self, keep)),
            }))
        };
        Ok(Response::from_parts(head, body))
    }

    /// It was free for this long, and carries the next exchange.
    pub fn reused_after(self, idled: Duration) -> Self {
        Self {
            idled: Some(idled),
            ..self
        }
    }

    fn give_back(self, keep: headers::KeepAlive) {
        if let Some(home) = self.home.upgrade() {
            home.put(self, keep);
        }
    }

    fn classify(&self, unsent: bool, error: &hyper::Error) -> ProxyError {
        let endpoint = self.endpoint;
        if unsent {
            unprocessed(endpoint)
        } else if error.is_parse() {
            ProxyError::UpstreamProtocol { endpoint }
        } else if error.is_user() {
            // The request's own body failed: its source knows why.
            ProxyError::DownstreamBody
        } else if let Some(idled) = self.idled {
            // What dies sooner was not closed for its idleness, and teaches nothing about how long others may idle.
            if idled >= IDLED_MIN
                && let Some(home) = self.home.upgrade()
            {
                home.raced(idled);
            }
            ProxyError::IdleRace { endpoint, idled }
        } else {
            ProxyError::UpstreamReset {
                endpoint,
                processing: Processing::Unknown,
            }
        }
    }
}

/// No server closes what has been idle for less: one whose connections die so soon after an exchange has crashed, or
/// drops what it should answer.
pub(super) const IDLED_MIN: Duration = Duration::from_millis(250);

/// A response body that comes over HTTP/1.1; at its end the connection is free.
#[derive(Debug)]
pub struct Http1Body {
    incoming: Incoming,
    endpoint: SocketAddr,
    connection: Option<(Http1, headers::KeepAlive)>,
}

impl Http1Body {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let frame = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(_)) => {
                self.connection = None;
                Some(Err(ProxyError::UpstreamBrokeOff {
                    endpoint: self.endpoint,
                }))
            }
            None => None,
        };
        if (frame.is_none() || self.incoming.is_end_stream())
            && let Some((connection, keep)) = self.connection.take()
        {
            connection.give_back(keep);
        }
        Poll::Ready(frame)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What an application says that has left HTTP; what it is said may still be going the other way.
#[derive(Debug)]
pub struct SwitchedBody {
    body: TunnelBody,
    upload: Upload,
    endpoint: SocketAddr,
}

impl SwitchedBody {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let frame = ready!(self.body.poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|_| {
                let endpoint = self.endpoint;
                self.upload
                    .failure()
                    .unwrap_or(ProxyError::UpstreamBrokeOff { endpoint })
            })
        }))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Ready when the caller's side has ended too.
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
