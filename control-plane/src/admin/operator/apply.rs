//! `POST /v1/apply`: a whole configuration, written into the store. All of it comes into force, or nothing does.

use std::path::PathBuf;

use axum::{
    Json,
    body::Bytes,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use usher_config::parse::parse_files;

use super::{Operator, Refused, Source};
use crate::{
    admin::answer::not_seen,
    registry::{StoreError, store::Origin},
    state::{By, Decision},
    status::{Condition, RejectedObject, RevisionStatus},
};

/// Largest configuration, in bytes: 100,000 objects.
const CONFIGURATION_BYTES_MAX: usize = 64 << 20;

/// What it takes: files, of which what is not there any more is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Apply {
    /// All of the configuration.
    pub files: Vec<File>,
    /// Whose command it is, as he says himself.
    #[serde(default)]
    pub author: String,
    /// Why, in his words.
    #[serde(default)]
    pub message: String,
    /// Also what locks out who is listed as a caller in plaintext.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// A file with objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct File {
    /// By which mistakes name it.
    pub path: String,
    /// YAML.
    pub text: String,
}

/// What is in force now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The revision.
    pub revision: RevisionStatus,
    /// `false`: it says what was in force before.
    pub is_new: bool,
    /// What does not have the effect that its author may expect.
    pub conditions: Vec<Condition>,
}

/// Why nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotApplied {
    /// One line.
    pub message: String,
    /// Objects with mistakes.
    pub rejected: Vec<RejectedObject>,
}

pub(super) async fn apply(
    State(operator): State<Operator>,
    request: Request,
) -> Result<Response, Refused> {
    if let Source::Directory(directory) = &operator.source {
        let message = format!(
            "this control plane takes its configuration from the directory {}: change it there, or start it without \
             --config, and what is applied stays in its store",
            directory.display()
        );
        return Err((StatusCode::CONFLICT, message));
    }
    if operator.source == Source::Cluster {
        let message = "this control plane takes its configuration from its Kubernetes cluster: kubectl apply it there";
        return Err((StatusCode::CONFLICT, message.to_owned()));
    }
    let body = axum::body::to_bytes(request.into_body(), CONFIGURATION_BYTES_MAX).await;
    let body: Bytes = body.map_err(|_| {
        let message = format!("a configuration has at most {CONFIGURATION_BYTES_MAX} bytes");
        (StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    let wanted: Apply =
        serde_json::from_slice(&body).map_err(|error| super::bad_request(error.to_string()))?;
    let by = By {
        origin: Origin::Apply,
        author: said(&wanted.author),
        message: said(&wanted.message),
        forced: wanted.force,
    };
    let files = wanted.files.into_iter();
    let files: Vec<(PathBuf, String)> = files.map(|file| (file.path.into(), file.text)).collect();
    let parsed = tokio::task::spawn_blocking(move || parse_files(&files));
    let parsed = parsed.await.map_err(|error| {
        let message = format!("the configuration was not read: {error}");
        (StatusCode::INTERNAL_SERVER_ERROR, message)
    })?;
    let decided = operator.mesh.apply_whole(parsed, &by).await;
    let is_new = match decided.map_err(|error| (status_of(&error), told(&error)))? {
        Decision::New(_) => true,
        Decision::Unchanged(_) => false,
        Decision::Pinned(number) => {
            let message = format!(
                "revision {number} is held since a rollback: usher rollback --release, and then apply"
            );
            return Err((StatusCode::CONFLICT, message));
        }
        Decision::Refused(rejected) => {
            let message = "nothing was changed: a configuration comes into force whole".to_owned();
            let answer = NotApplied { message, rejected };
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(answer)).into_response());
        }
    };
    let shown = operator.mesh.shown().await.map_err(not_seen)?;
    Ok(Json(Applied {
        revision: shown.status.revision.clone(),
        is_new,
        conditions: shown.status.conditions.clone(),
    })
    .into_response())
}

/// What people say about themselves, cut to what a terminal shows in a line.
pub(super) fn said(text: &str) -> String {
    text.chars()
        .filter(|one| !one.is_control())
        .take(200)
        .collect()
}

pub(super) fn status_of(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Conflict { .. } => StatusCode::CONFLICT,
        StoreError::Shared(_) | StoreError::Storage(_) => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::InUse { .. }
        | StoreError::Unreadable { .. }
        | StoreError::NotUnderstood { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// With its causes.
pub(super) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}
