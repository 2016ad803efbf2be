//! Registering as JSON, on the port for sidecars: the same calls as `usher.v1.Registry`, for programs without gRPC.
//!
//! It is the same service behind another syntax: mutual TLS with an SVID that configuration lets be the service, the
//! same bounds, the same words. There is no way in without: an instance is who proves to be one.

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{post, put},
};
use serde::{Deserialize, Serialize};
use tonic::{Code, Request, Status};
use usher_config::wire::v1::{
    DeregisterRequest, Lease, RegisterRequest, RenewLeaseRequest, registry_server::Registry as _,
};

use super::RegistryService;
use crate::ca::Peer;

/// Largest request, in bytes: names, an address, a line.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Carries the lease; not in the path or the query, which are logged on the way.
pub const LEASE_HEADER: &str = "x-usher-lease";

/// `POST /v1/instances`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RegisterInstance {
    /// The namespace of its service.
    pub namespace: String,
    /// The service that it is an instance of.
    pub service: String,
    /// DNS-1123, unique in the service.
    pub instance: String,
    /// `ip:port` where it accepts the mesh's mutual TLS.
    pub address: String,
    /// Whether it takes requests.
    pub healthy: bool,
    /// Why not, in one line for people.
    #[serde(default)]
    pub health_reason: String,
    /// Where it runs. Default: its Workload's.
    #[serde(default)]
    pub zone: String,
}

/// `PUT /v1/instances/{namespace}/{service}/{instance}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RenewInstance {
    /// Whether it takes requests now.
    pub healthy: bool,
    /// What ails it, in one line for people.
    #[serde(default)]
    pub health_reason: String,
    /// The configuration that it runs; 0: does not say.
    #[serde(default)]
    pub revision: u64,
}

/// What holds a place in the registry.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GrantedLease {
    /// To be shown with each renewal, and at the end.
    pub lease: String,
    /// It ends after so many milliseconds; renew at a third of them.
    pub ttl_ms: u64,
}

/// The answer to `DELETE /v1/instances/{namespace}/{service}/{instance}`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Deregistered {
    /// Every caller has dropped it: nobody sends it anything any more.
    pub confirmed: bool,
}

/// How long to wait for callers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wait {
    #[serde(default)]
    wait_ms: u64,
}

/// A refusal: a status, and one line for people.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists => StatusCode::CONFLICT,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(code, status.message().to_owned())
    }
}

impl From<JsonRejection> for Refused {
    fn from(error: JsonRejection) -> Self {
        Self(error.status(), error.body_text())
    }
}

type Named = Path<(String, String, String)>;

/// The routes, before `service`.
pub fn routes(service: RegistryService) -> Router {
    Router::new()
        .route("/v1/instances", post(register))
        .route(
            "/v1/instances/{namespace}/{service}/{instance}",
            put(renew).delete(deregister),
        )
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(service)
}

/// The same request as a sidecar's, from the same peer.
fn from_peer<T>(message: T, peer: Option<Extension<Peer>>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(Extension(peer)) = peer {
        request.extensions_mut().insert(peer);
    }
    request
}

fn lease_of(headers: &HeaderMap) -> Result<String, Refused> {
    let lease = headers
        .get(LEASE_HEADER)
        .and_then(|lease| lease.to_str().ok());
    lease.map(str::to_owned).ok_or_else(|| {
        let message =
            format!("the header {LEASE_HEADER} is missing: the lease that registering gave");
        Refused(StatusCode::BAD_REQUEST, message)
    })
}

fn granted(lease: Lease) -> GrantedLease {
    GrantedLease {
        lease: lease.lease_id,
        ttl_ms: lease.ttl_ms,
    }
}

async fn register(
    State(service): State<RegistryService>,
    peer: Option<Extension<Peer>>,
    request: Result<Json<RegisterInstance>, JsonRejection>,
) -> Result<(StatusCode, Json<GrantedLease>), Refused> {
    let Json(instance) = request?;
    let message = RegisterRequest {
        namespace: instance.namespace,
        service: instance.service,
        instance: instance.instance,
        address: instance.address,
        healthy: instance.healthy,
        zone: instance.zone,
        health_reason: instance.health_reason,
        // Known by sidecars.
        plaintext_callers: None,
    };
    let lease = service.register(from_peer(message, peer)).await?;
    Ok((StatusCode::CREATED, Json(granted(lease.into_inner()))))
}

async fn renew(
    State(registry): State<RegistryService>,
    peer: Option<Extension<Peer>>,
    Path((namespace, service, instance)): Named,
    headers: HeaderMap,
    request: Result<Json<RenewInstance>, JsonRejection>,
) -> Result<Json<GrantedLease>, Refused> {
    let Json(renewal) = request?;
    let message = RenewLeaseRequest {
        namespace,
        service,
        instance,
        lease_id: lease_of(&headers)?,
        healthy: renewal.healthy,
        revision: renewal.revision,
        health_reason: renewal.health_reason,
        plaintext_callers: None,
    };
    let lease = registry.renew(from_peer(message, peer)).await?;
    Ok(Json(granted(lease.into_inner())))
}

async fn deregister(
    State(registry): State<RegistryService>,
    peer: Option<Extension<Peer>>,
    Path((namespace, service, instance)): Named,
    Query(Wait { wait_ms }): Query<Wait>,
    headers: HeaderMap,
) -> Result<Json<Deregistered>, Refused> {
    let message = DeregisterRequest {
        namespace,
        service,
        instance,
        lease_id: lease_of(&headers)?,
        wait_ms,
    };
    let answer = registry.deregister(from_peer(message, peer)).await?;
    let confirmed = answer.into_inner().confirmed;
    Ok(Json(Deregistered { confirmed }))
}

#[cfg(test)]
mod tests;
