//! HTTP/1.1 for a handful of clients: bounded connections, time limits, small answers.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tracing::debug;

/// Connections at once; more wait in the backlog.
const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Answer = Response<Full<Bytes>>;

/// Room for one more connection.
#[derive(Debug, Clone)]
pub(super) struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTIONS_MAX)))
    }
}

impl Slots {
    /// `None`: never, nobody closes the semaphore.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().acquire_owned().await.ok()
    }
}

/// Serves one connection to its end, on a task of its own.
pub(super) fn serve<S, H, F>(stream: S, slot: Option<OwnedSemaphorePermit>, handler: H)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let handler = move |request| -> Handling { Box::pin(handler(request)) };
    tokio::spawn(serve_boxed(Box::pin(stream), slot, Box::new(handler)));
}

/// Of one type for TCP and sockets of the file system: hyper's server is not compiled twice.
trait Connection: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Connection for S {}

type Handling = Pin<Box<dyn Future<Output = Answer> + Send>>;

async fn serve_boxed(
    stream: Pin<Box<dyn Connection>>,
    slot: Option<OwnedSemaphorePermit>,
    handler: Box<dyn Fn(Request<Incoming>) -> Handling + Send + Sync>,
) {
    let service = service_fn(|request| handler(request).map(Ok::<_, Infallible>));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "admin connection ended");
    }
    drop(slot);
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}

pub(super) fn json(value: &serde_json::Value) -> Answer {
    answer(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

pub(super) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
