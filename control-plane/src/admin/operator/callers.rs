//! Who calls in plaintext, and `POST /v1/callers/dismiss`: lets a service become `Strict` although callers are listed.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use usher_config::value::{InvalidValue, ServiceName};

use super::{
    Operator, Refused,
    apply::{said, status_of, told},
    bad_request,
};
use crate::{admin::answer::written, state::DISMISSED_FOR, status::CallerReport};

/// What it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dismiss {
    /// Of which service, `namespace/service`; `None`: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Whose command it is, as he says himself.
    #[serde(default)]
    pub author: String,
}

/// What it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dismissed {
    /// Who is listed, and holds nothing up until then.
    pub callers: Vec<CallerReport>,
    /// RFC 3339.
    pub until: String,
    /// The same in seconds from now.
    pub for_seconds: u64,
}

pub(super) async fn callers(State(operator): State<Operator>) -> Result<Response, Refused> {
    written(move || Json(operator.mesh.callers()).into_response()).await
}

pub(super) async fn dismiss(
    State(operator): State<Operator>,
    request: Result<Json<Dismiss>, JsonRejection>,
) -> Result<Json<Dismissed>, Refused> {
    let Json(wanted) = request.map_err(|error| (error.status(), error.body_text()))?;
    let service = wanted.service.as_deref().map(str::parse::<ServiceName>);
    let service = service
        .transpose()
        .map_err(|error: InvalidValue| bad_request(format!("service: {error}")))?;
    if let Some(service) = &service
        && !operator.mesh.has_service(service)
    {
        return Err(bad_request(format!(
            "there is no service {service}: usher services"
        )));
    }
    let is_meant = |one: &CallerReport| {
        let of = service.as_ref();
        of.is_none_or(|of| {
            one.namespace == of.namespace.as_str() && one.service == of.name.as_str()
        })
    };
    let mut callers = operator.mesh.callers();
    callers.retain(is_meant);
    let author = said(&wanted.author);
    let until = operator.mesh.dismiss_callers(service, author).await;
    let until = until.map_err(|error| (status_of(&error), told(&error)))?;
    Ok(Json(Dismissed {
        callers,
        until: crate::clock::text(until),
        for_seconds: DISMISSED_FOR.as_secs(),
    }))
}
