//! What became of each object, for whoever can speak HTTP.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use usher_config::kind::{Choice as _, Kind, ObjectKey};

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
    if let Some(kind) = &wanted.kind {
        known_kind(kind)?;
    }
    let shown = rest.mesh.shown().await.map_err(not_seen)?;
    written(move || {
        let objects = shown.objects.iter();
        let objects: Vec<&ObjectReport> = objects.filter(|one| wanted.takes(one)).collect();
        Json(objects).into_response()
    })
    .await
}

/// `GET /v1/objects/{kind}/{namespace}/{name}`: the version in force, as canonical YAML (RFC 9512 names its type).
pub(super) async fn object(
    State(rest): State<Rest>,
    Path((kind, namespace, name)): Path<(String, String, String)>,
) -> Result<Response, Refused> {
    let kind = known_kind(&kind)?;
    let key = namespace.parse().ok().zip(name.parse().ok());
    let key = key.map(|(namespace, name)| ObjectKey {
        kind,
        namespace,
        name,
    });
    match key.and_then(|key| rest.mesh.text_of(&key)) {
        Some(text) => {
            let yaml = [(header::CONTENT_TYPE, "application/yaml")];
            Ok((yaml, text.to_string()).into_response())
        }
        None => {
            let message = format!("no {kind} of that name is in force; all: GET /v1/objects\n");
            Err((StatusCode::NOT_FOUND, message))
        }
    }
}

fn known_kind(text: &str) -> Result<Kind, Refused> {
    let mut kinds = Kind::ALL.iter();
    let found = kinds.find(|(word, _)| *word == text);
    found.map(|(_, kind)| *kind).ok_or_else(|| {
        let allowed: Vec<&str> = Kind::ALL.iter().map(|(word, _)| *word).collect();
        let message = format!("kind: found {text:?}, allowed: {}\n", allowed.join(", "));
        (StatusCode::BAD_REQUEST, message)
    })
}
