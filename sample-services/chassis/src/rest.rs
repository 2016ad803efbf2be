//! Serves REST: health, trace context, a limit on requests at once and on each one's time, graceful stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::problem::{Mistake, Problem};
use crate::shutdown::Shutdown;
use crate::{rules, trace};

/// Header that makes a POST repeatable.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How long a request may take; longer than all a service waits for on its behalf.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(15);

/// How long a stopping service waits for requests under way; longer than a request may take.
pub const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Requests at once; more are refused with 503 instead of queued without bound.
const REQUESTS_MAX: usize = 1024;

/// Largest request body in bytes: far above any object the bank takes.
const BODY_MAX: usize = 64 * 1024;

/// The value of `Idempotency-Key`, if the caller sent one.
///
/// # Errors
/// The mistake when it is not an id ([`rules::ID`]).
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Mistake> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if rules::is_id(key) => Ok(Some(key.to_owned())),
        Ok(key) => Err(Mistake::new("Idempotency-Key", key, rules::ID)),
        Err(_) => Err(Mistake::new(
            "Idempotency-Key",
            "bytes that are no text",
            rules::ID,
        )),
    }
}

/// A bound port, not yet served: its address is known before the first request.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// # Errors
    /// When the port is taken or not ours to bind.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// Where it listens, with the port the system picked for 0.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Unwraps the socket, for servers other than REST.
    #[must_use]
    pub fn into_inner(self) -> TcpListener {
        self.0
    }
}

/// Serves `routes` and `GET /healthz` until `shutdown`, then finishes what is under way.
///
/// # Errors
/// When accepting connections fails for good.
pub async fn serve(listener: Listener, routes: Router, shutdown: Shutdown) -> std::io::Result<()> {
    info!(address = %listener.address()?, "listening");
    let app = guard(routes).merge(health(shutdown.clone()));
    let listener = listener.0.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "a connection keeps its delay");
        }
    });
    let server = axum::serve(listener, app).with_graceful_shutdown(shutdown.clone().requested());
    tokio::select! {
        ended = IntoFuture::into_future(server) => ended,
        () = stop_limit(shutdown) => {
            warn!(limit = ?STOP_LIMIT, "requests were cut off: they took too long to finish");
            Ok(())
        }
    }
}

/// Ends [`STOP_LIMIT`] after the request to stop.
pub(crate) async fn stop_limit(shutdown: Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(STOP_LIMIT).await;
}

/// Wraps `routes` in what every request passes; public for tests that call a router without a socket.
pub fn guard(routes: Router) -> Router {
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
    routes
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is no such path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the path does not allow this method",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(slots, around))
}

async fn around(State(slots): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_slot) = slots.try_acquire() else {
        return Problem::unavailable("too many requests at once").into_response();
    };
    let context = trace::TraceContext::continue_from(request.headers());
    let request_id = context.request_id().clone();
    let mut response = trace::scope(context, async {
        let answer = timeout(REQUEST_LIMIT, next.run(request)).await;
        answer.unwrap_or_else(|_| Problem::unavailable("the request took too long").into_response())
    })
    .await;
    response.headers_mut().insert(trace::REQUEST_ID, request_id);
    response
}

fn health(shutdown: Shutdown) -> Router {
    let answer = async move || {
        if shutdown.is_requested() {
            Problem::unavailable("stopping").into_response()
        } else {
            axum::Json(serde_json::json!({ "status": "serving" })).into_response()
        }
    };
    Router::new().route("/healthz", get(answer))
}
