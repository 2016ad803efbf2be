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
    roots::RootError,
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
}

pub(super) async fn status(State(operator): State<Operator>) -> Result<Json<CaReport>, Refused> {
    let report = operator.steward.report(OffsetDateTime::now_utc()).await;
    report.map(Json).map_err(|error| refused(&error))
}

pub(super) async fn rotate(State(operator): State<Operator>) -> Result<Json<Rotated>, Refused> {
    let rotated = operator.steward.rotate(OffsetDateTime::now_utc()).await;
    rotated.map(Json).map_err(|error| refused(&error))
}

pub(super) async fn retire(
    State(operator): State<Operator>,
    request: Result<Json<Retire>, JsonRejection>,
) -> Result<Json<CaReport>, Refused> {
    let Json(request) = request.map_err(|error| (error.status(), error.body_text()))?;
    let steward = &operator.steward;
    let retired = steward
        .retire(&request.root, request.force, OffsetDateTime::now_utc())
        .await;
    retired.map(Json).map_err(|error| refused(&error))
}

fn refused(error: &StewardError) -> Refused {
    let status = match error {
        StewardError::Trust(_) => StatusCode::SERVICE_UNAVAILABLE,
        StewardError::Authority(_) => StatusCode::INTERNAL_SERVER_ERROR,
        StewardError::Root(RootError::Unknown { .. } | RootError::Ambiguous(_)) => {
            StatusCode::NOT_FOUND
        }
        StewardError::Root(_) | StewardError::Overtaken => StatusCode::CONFLICT,
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
