//! The mesh's roots, for the operator: what there is, another one, one less.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Operator, Refused};
use crate::ca::{
    roots::{Force, RootError},
    steward::{CaReport, Rotated, StewardError},
};

/// What `POST /v1/ca/retire` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retire {
    /// The first characters of the root's SHA-256, as many as make it the only one.
    pub root: String,
    /// Also if sidecars that are not connected now may still need it.
    #[serde(default)]
    pub force: bool,
    /// Its key is in wrong hands: also if connected sidecars need it.
    #[serde(default)]
    pub compromised: bool,
}

/// What `POST /v1/ca/rotate` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rotate {
    /// Control planes that are not heard of are not waited for.
    #[serde(default)]
    pub force: bool,
}

pub(super) async fn status(State(operator): State<Operator>) -> Result<Json<CaReport>, Refused> {
    let report = operator.steward.report(OffsetDateTime::now_utc()).await;
    report.map(Json).map_err(|error| refused(&error))
}

pub(super) async fn rotate(
    State(operator): State<Operator>,
    request: Result<Json<Rotate>, JsonRejection>,
) -> Result<Json<Rotated>, Refused> {
    let Json(request) = request.map_err(|error| (error.status(), error.body_text()))?;
    let now = OffsetDateTime::now_utc();
    let rotated = operator.steward.rotate(request.force, now).await;
    rotated.map(Json).map_err(|error| refused(&error))
}

pub(super) async fn retire(
    State(operator): State<Operator>,
    request: Result<Json<Retire>, JsonRejection>,
) -> Result<Json<CaReport>, Refused> {
    let Json(request) = request.map_err(|error| (error.status(), error.body_text()))?;
    let force = match (request.compromised, request.force) {
        (true, _) => Force::Everybody,
        (false, true) => Force::Absent,
        (false, false) => Force::Nobody,
    };
    let now = OffsetDateTime::now_utc();
    let retired = operator.steward.retire(&request.root, force, now).await;
    retired.map(Json).map_err(|error| refused(&error))
}

fn refused(error: &StewardError) -> Refused {
    let status = match error {
        StewardError::Trust(_) => StatusCode::SERVICE_UNAVAILABLE,
        StewardError::Authority(_) => StatusCode::INTERNAL_SERVER_ERROR,
        StewardError::Root(RootError::Unknown { .. } | RootError::Ambiguous(_)) => {
            StatusCode::NOT_FOUND
        }
        StewardError::Root(_) | StewardError::Overtaken | StewardError::Diverged { .. } => {
            StatusCode::CONFLICT
        }
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    (status, message)
}
