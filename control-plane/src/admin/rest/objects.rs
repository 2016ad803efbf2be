//! What became of each object, for whoever can speak HTTP.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use usher_config::kind::{Choice as _, Kind};

use super::Rest;
use crate::{
    admin::answer::{Refused, not_seen, written},
    status::ObjectReport,
};

/// Which of them. A word that is not known is a mistake, not an answer with more in it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wanted {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

impl Wanted {
    fn takes(&self, object: &ObjectReport) -> bool {
        let is =
            |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
        is(&self.kind, &object.kind)
            && is(&self.namespace, &object.namespace)
            && is(&self.name, &object.name)
    }
}

/// `GET /v1/objects`.
pub(super) async fn objects(
    State(rest): State<Rest>,
    asked: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(wanted) = asked.map_err(|error| {
        let allowed = "allowed: kind, namespace, name";
        (
            error.status(),
            format!("{}; {allowed}\n", error.body_text()),
        )
    })?;
    let kinds = Kind::ALL.iter().map(|(word, _)| *word);
    if let Some(kind) = &wanted.kind
        && !kinds.clone().any(|word| word == kind)
    {
        let allowed: Vec<&str> = kinds.collect();
        let message = format!("kind: found {kind:?}, allowed: {}\n", allowed.join(", "));
        return Err((StatusCode::BAD_REQUEST, message));
    }
    let shown = rest.mesh.shown().await.map_err(not_seen)?;
    written(move || {
        let objects = shown.objects.iter();
        let objects: Vec<&ObjectReport> = objects.filter(|one| wanted.takes(one)).collect();
        Json(objects).into_response()
    })
    .await
}
