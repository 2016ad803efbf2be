//! What is registered, for whoever can speak HTTP: services, instances, and what comes and goes (server-sent events).
//!
//! Reading only. Who may be a service is proven by an identity, over mutual TLS on the port for sidecars; a word in
//! plaintext proves nothing, and a token sent along would be everybody's on the way.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    Json,
    extract::{
        ConnectInfo, Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;

use super::Rest;
use crate::{
    admin::answer::{Refused, not_seen, written},
    status::{ChangeReport, EndpointReport, InstanceReport, ServiceReport},
    watch::{Asker, Filter, Told, TooMany, Watch},
};

/// What a reader may narrow the answer to. A word that is not known is a mistake, not an answer with more in it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wanted {
    namespace: Option<String>,
    service: Option<String>,
    zone: Option<String>,
    healthy: Option<bool>,
}

impl Wanted {
    fn filter(self) -> Filter {
        Filter {
            namespace: self.namespace,
            service: self.service,
            zone: self.zone,
            healthy: self.healthy,
        }
    }
}

type Asked = Result<Query<Wanted>, QueryRejection>;

fn understand(asked: Asked) -> Result<Filter, Refused> {
    let allowed = "allowed: namespace, service, zone (texts), healthy (true, false)";
    match asked {
        Ok(Query(wanted)) => Ok(wanted.filter()),
        Err(error) => Err((
            error.status(),
            format!("{}; {allowed}\n", error.body_text()),
        )),
    }
}

/// `GET /v1/services/{namespace}/{name}`.
pub(super) async fn service(
    State(rest): State<Rest>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<ServiceReport>, Refused> {
    let Path((namespace, name)) = path.map_err(|error| (error.status(), error.body_text()))?;
    let shown = rest.mesh.shown().await.map_err(not_seen)?;
    let mut found = shown.status.services.iter();
    found
        .find(|service| service.namespace == namespace && service.name == name)
        .cloned()
        .map(Json)
        .ok_or_else(|| {
            let message =
                format!("there is no service {namespace}/{name}; all: GET /v1/services\n");
            (StatusCode::NOT_FOUND, message)
        })
}

/// `GET /v1/callers`.
pub(super) async fn callers(State(rest): State<Rest>) -> Result<Response, Refused> {
    written(move || Json(rest.mesh.callers()).into_response()).await
}

/// `GET /v1/instances`.
pub(super) async fn instances(State(rest): State<Rest>, asked: Asked) -> Result<Response, Refused> {
    let filter = understand(asked)?;
    let shown = rest.mesh.shown().await.map_err(not_seen)?;
    written(move || {
        let services = shown.status.services.iter();
        let instances = services
            .filter(|one| filter.takes(one))
            .flat_map(|service| {
                let of = |endpoint: &EndpointReport| InstanceReport {
                    namespace: service.namespace.clone(),
                    service: service.name.clone(),
                    endpoint: endpoint.clone(),
                };
                let wanted = service.endpoints.iter();
                let wanted = wanted.filter(|endpoint| filter.takes_instance(endpoint));
                wanted.map(of).collect::<Vec<_>>()
            });
        Json(instances.collect::<Vec<_>>()).into_response()
    })
    .await
}

/// `GET /v1/watch`.
pub(super) async fn watch(
    State(rest): State<Rest>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    asked: Asked,
) -> Result<Response, Refused> {
    let filter = understand(asked)?;
    let watch = rest.watchers.watch(&Asker::at(from.ip()), filter);
    let watch = watch.map_err(|error| {
        let status = match error {
            TooMany::Share => StatusCode::TOO_MANY_REQUESTS,
            TooMany::All => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{error}\n"))
    })?;
    let events = Sse::new(events(watch)).keep_alive(KeepAlive::default());
    let mut response = events.into_response();
    // Of a proxy on the way, which would keep it until there is enough.
    let unbuffered = HeaderValue::from_static("no");
    response
        .headers_mut()
        .insert("x-accel-buffering", unbuffered);
    Ok(response)
}

fn events(watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> {
    let told = stream::unfold(watch, async |mut watch| Some((watch.next().await?, watch)));
    told.flat_map(|told| stream::iter(as_events(told)))
}

fn as_events(told: Told) -> Vec<Result<Event, Infallible>> {
    let events: Vec<Event> = match told {
        Told::Changes(changes) => changes.iter().filter_map(change).collect(),
        Told::Synced => vec![Event::default().event("synced").data("{}")],
        Told::Ended(why) => {
            let data = serde_json::json!({ "reason": why }).to_string();
            vec![Event::default().event("ended").data(data)]
        }
    };
    events.into_iter().map(Ok).collect()
}

/// Plain data: it can always be written.
fn change(change: &ChangeReport) -> Option<Event> {
    Event::default().event("change").json_data(change).ok()
}

/// `GET /openapi.json`: made from the types by a test, and checked in.
pub(super) async fn openapi() -> impl IntoResponse {
    const DOCUMENT: &str = include_str!("openapi.json");
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}
