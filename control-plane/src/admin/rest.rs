//! The read-only REST interface, described by `/openapi.json`.
//!
//! On loopback it answers only requests addressed to an IP or to `localhost`: a web page that points its own
//! name at 127.0.0.1 (DNS rebinding) must not read the mesh through a developer's browser.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header, uri::Authority as HostHeader},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};

use time::OffsetDateTime;

use super::answer::{Refused, not_seen, written};
use crate::{
    ca::Authority,
    state::State as Mesh,
    status::{RevisionStatus, StatusReport},
    telemetry::metrics::Metrics,
    watch::Watchers,
};

mod objects;
mod registry;

/// For everybody who looks around.
const ALLOWED: &str = "allowed: GET /v1/status, /v1/objects, /v1/objects/KIND/NAMESPACE/NAME, /v1/services, \
                       /v1/services/NAMESPACE/NAME, /v1/instances, /v1/watch, /v1/callers, /v1/revisions, /metrics, /healthz, as /openapi.json says; for people: usher status, \
                       usher get, usher services, usher instances, usher watch, usher callers\n";

/// For who would register here.
const READ_ONLY: &str = "this port is for reading; instances register with their identity on the port for sidecars (15012), \
                         which usher run does by itself\n";

/// What REST answers from.
#[derive(Clone)]
pub struct Rest {
    /// The living mesh.
    pub mesh: Mesh,
    /// Counters, and the gauges set at each scrape.
    pub metrics: Arc<Metrics>,
    /// For the root's end.
    pub authority: Arc<Authority>,
    /// Who follows what comes and goes.
    pub watchers: Watchers,
}

/// The routes, for a listener on `address`.
pub fn router(rest: Rest, address: SocketAddr) -> Router {
    let router = Router::new()
        .route("/v1/objects", get(objects::objects))
        .merge(whole())
        .route("/v1/instances", get(registry::instances))
        .route("/v1/watch", get(registry::watch))
        .route("/openapi.json", get(registry::openapi))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(async || (StatusCode::NOT_FOUND, ALLOWED))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, READ_ONLY))
        .with_state(rest);
    if address.ip().is_loopback() {
        router.layer(middleware::from_fn(addressed_to_loopback))
    } else {
        router
    }
}

/// What is answered whole: whoever asks for a part must not take the whole for it.
fn whole() -> Router<Rest> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/services", get(services))
        .route(
            "/v1/objects/{kind}/{namespace}/{name}",
            get(objects::object),
        )
        .route("/v1/services/{namespace}/{name}", get(registry::service))
        .route("/v1/callers", get(registry::callers))
        .route("/v1/revisions", get(revisions))
        .route_layer(middleware::from_fn(without_query))
}

async fn without_query(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if query.is_empty() {
        return next.run(request).await;
    }
    let path = request.uri().path();
    let parameter = query.split(['=', '&']).next().unwrap_or_default();
    // Back into a terminal.
    let parameter: String = parameter
        .chars()
        .filter(char::is_ascii_graphic)
        .take(64)
        .collect();
    let message = format!(
        "found parameter `{parameter}`, allowed: none for {path}; GET /v1/instances and /v1/watch take namespace, service, \
         zone and healthy, GET /v1/objects kind, namespace and name\n"
    );
    (StatusCode::BAD_REQUEST, message).into_response()
}

async fn addressed_to_loopback(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if host.is_some_and(is_own_name) {
        return next.run(request).await;
    }
    let message = "this interface answers to IP addresses and localhost only\n";
    (StatusCode::MISDIRECTED_REQUEST, message).into_response()
}

fn is_own_name(host: &str) -> bool {
    host.parse::<HostHeader>().is_ok_and(|authority| {
        let name = authority.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

async fn status(State(rest): State<Rest>) -> Result<Response, Refused> {
    let json = rest.mesh.shown_status_json().await.map_err(not_seen)?;
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, json).into_response())
}

async fn services(State(rest): State<Rest>) -> Result<Response, Refused> {
    let shown = rest.mesh.shown().await.map_err(not_seen)?;
    written(move || Json(&shown.status.services).into_response()).await
}

async fn revisions(State(rest): State<Rest>) -> Json<Vec<RevisionStatus>> {
    Json(rest.mesh.revisions())
}

async fn metrics(State(rest): State<Rest>) -> Result<impl axum::response::IntoResponse, Refused> {
    let shown = rest.mesh.shown().await.map_err(not_seen)?;
    observe(&rest, &shown.status);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((kind, rest.metrics.render()))
}

/// Sets the gauges to what holds now.
fn observe(rest: &Rest, status: &StatusReport) {
    let gauges = &rest.metrics.mesh;
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let endpoints = || {
        status
            .services
            .iter()
            .flat_map(|service| &service.endpoints)
    };
    gauges
        .revision
        .set(i64::try_from(status.revision.number).unwrap_or(i64::MAX));
    gauges.rejected_objects.set(count(status.rejected.len()));
    for (state, number) in [
        ("total", status.objects.total),
        ("accepted", status.objects.accepted),
        ("unresolved", status.objects.unresolved),
        ("programmed", status.objects.programmed),
        ("not_programmed", status.objects.not_programmed),
    ] {
        let gauge = gauges.objects.with_label_values(&[state]);
        gauge.set(i64::from(number));
    }
    // Every Service has a port, a Workload none.
    let called = status.services.iter().filter(|one| !one.ports.is_empty());
    gauges.services.set(count(called.count()));
    gauges.endpoints.set(count(endpoints().count()));
    gauges.endpoints_ready.set(count(
        endpoints().filter(|endpoint| endpoint.healthy).count(),
    ));
    gauges.proxies.set(count(status.proxies.len()));
    let behind = status
        .proxies
        .iter()
        .filter(|proxy| !proxy.up_to_date)
        .count();
    gauges.proxies_behind.set(count(behind));
    let callers = i64::from(status.plaintext_callers.callers);
    gauges.plaintext_callers.set(callers);
    let is_reachable = status.store.as_ref().is_none_or(|store| store.reachable);
    gauges.store_reachable.set(i64::from(is_reachable));
    let seconds = |end: Option<OffsetDateTime>| end.map_or(0, OffsetDateTime::unix_timestamp);
    gauges
        .root_expiry
        .set(seconds(rest.authority.root_not_after()));
    let issuer = rest.authority.issuer();
    gauges
        .issuer_expiry
        .set(seconds(issuer.map(|issuer| issuer.not_after)));
}

#[cfg(test)]
mod tests;
