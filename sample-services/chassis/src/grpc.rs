//! Serves and calls gRPC: health, trace context, deadlines, graceful stop.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use http::Request;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Response, Status};
use tower::{Layer, Service};
use tracing::{info, warn};

use crate::dial::Dialer;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_server::{Health, HealthServer};
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use crate::rest::{IDEMPOTENCY_KEY, Listener, REQUEST_LIMIT, STOP_LIMIT, stop_limit};
use crate::settings::BaseUrl;
use crate::shutdown::Shutdown;
use crate::trace;

/// Requests at once on one connection; HTTP/2 makes the peer wait with more.
const STREAMS_MAX: u32 = 1024;

/// How long a connection attempt may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Serves `routes` and `grpc.health.v1` (for `service` and for the whole server) until `shutdown`,
/// then finishes what is under way.
///
/// # Errors
/// When the server fails for good.
pub async fn serve(
    listener: Listener,
    service: &'static str,
    routes: Routes,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    info!(address = %listener.address()?, service, "listening");
    let health = HealthServer::new(HealthService {
        service,
        shutdown: shutdown.clone(),
    });
    let incoming = TcpIncoming::from(listener.into_inner()).with_nodelay(Some(true));
    let server = Server::builder()
        .layer(TraceLayer)
        .timeout(REQUEST_LIMIT)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_routes(routes.add_service(health))
        .serve_with_incoming_shutdown(incoming, shutdown.clone().requested());
    tokio::select! {
        ended = server => ended?,
        () = stop_limit(shutdown) => {
            warn!(limit = ?STOP_LIMIT, "requests were cut off: they took too long to finish");
        }
    }
    Ok(())
}

/// A channel to `url` that connects when first used, and again whenever the connection is lost.
///
/// # Errors
/// When `url` is not usable as a gRPC authority.
pub fn channel(url: &BaseUrl, dialer: &Dialer) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url.join(""))?
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    Ok(endpoint.connect_with_connector_lazy(dialer.clone()))
}

/// A request that carries the current trace, its deadline and, as `idempotency-key`, that it may be repeated.
#[must_use]
pub fn request<M>(message: M, key: &str, limit: Duration) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(limit);
    let mut headers = http::HeaderMap::new();
    trace::current().write(&mut headers);
    *request.metadata_mut() = with_trace(request.metadata().clone(), headers);
    if let Ok(key) = MetadataValue::try_from(key) {
        request.metadata_mut().insert(IDEMPOTENCY_KEY, key);
    }
    request
}

fn with_trace(metadata: MetadataMap, trace: http::HeaderMap) -> MetadataMap {
    let mut headers = metadata.into_headers();
    headers.extend(trace);
    MetadataMap::from_headers(headers)
}

/// Puts every call into the scope of its caller's trace.
#[derive(Debug, Clone, Copy)]
struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner }
    }
}

#[derive(Debug, Clone)]
struct Traced<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Traced<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let context = trace::TraceContext::continue_from(request.headers());
        Box::pin(trace::scope(context, self.inner.call(request)))
    }
}

/// `grpc.health.v1`: serving until the service is asked to stop.
#[derive(Debug)]
struct HealthService {
    service: &'static str,
    shutdown: Shutdown,
}

impl HealthService {
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || service == self.service
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("there is no such service here"));
        }
        Ok(Response::new(answer(self.shutdown.is_requested())))
    }

    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !self.knows(&request.get_ref().service) {
            let unknown = HealthCheckResponse {
                status: ServingStatus::ServiceUnknown.into(),
            };
            let stream = futures_util::stream::iter([Ok(unknown)]);
            return Ok(Response::new(Box::pin(stream)));
        }
        // Two words at most: serving, then not. The stream's end lets the server stop.
        let stream = futures_util::stream::unfold(
            Some((self.shutdown.clone(), false)),
            |state| async move {
                let (shutdown, told) = state?;
                if told {
                    shutdown.requested().await;
                    return Some((Ok(answer(true)), None));
                }
                let stopping = shutdown.is_requested();
                let next = (!stopping).then_some((shutdown, true));
                Some((Ok(answer(stopping)), next))
            },
        );
        Ok(Response::new(Box::pin(stream)))
    }
}

fn answer(stopping: bool) -> HealthCheckResponse {
    let status = if stopping {
        ServingStatus::NotServing
    } else {
        ServingStatus::Serving
    };
    HealthCheckResponse {
        status: status.into(),
    }
}
