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
    registry::StoreError,
    state::Decision,
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
    let body = axum::body::to_bytes(request.into_body(), CONFIGURATION_BYTES_MAX).await;
    let body: Bytes = body.map_err(|_| {
        let message = format!("a configuration has at most {CONFIGURATION_BYTES_MAX} bytes");
        (StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    let wanted: Apply =
        serde_json::from_slice(&body).map_err(|error| super::bad_request(error.to_string()))?;
    let files = wanted.files.into_iter();
    let files: Vec<(PathBuf, String)> = files.map(|file| (file.path.into(), file.text)).collect();
    let parsed = tokio::task::spawn_blocking(move || parse_files(&files));
    let parsed = parsed.await.map_err(|error| {
        let message = format!("the configuration was not read: {error}");
        (StatusCode::INTERNAL_SERVER_ERROR, message)
    })?;
    let decided = operator.mesh.apply_whole(parsed).await;
    let is_new = match decided.map_err(|error| (status_of(&error), told(&error)))? {
        Decision::New(_) => true,
        Decision::Unchanged(_) => false,
        Decision::Refused(rejected) => {
            let message = "nothing was changed: a configuration comes into force whole".to_owned();
            let answer = NotApplied { message, rejected };
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(answer)).into_response());
        }
    };
    let status = operator.mesh.status();
    Ok(Json(Applied {
        revision: status.revision,
        is_new,
        conditions: status.conditions,
    })
    .into_response())
}

fn status_of(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Conflict { .. } => StatusCode::CONFLICT,
        StoreError::Shared(_) | StoreError::Storage(_) => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::InUse { .. } | StoreError::Unreadable { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// With its causes.
fn told(error: &StoreError) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}
