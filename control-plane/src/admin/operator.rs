//! The operator socket: `POST /v1/tokens` and `POST /v1/apply` on `<data>/operator.sock`.
//!
//! Made inside a directory that only we can enter, with its final mode, and moved into place: at no moment could
//! another user have opened it.

use std::{
    fs, io,
    num::NonZeroU32,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    http::StatusCode,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::net::UnixListener;
use tracing::info;
use usher_config::value::{Name, ServiceName, parse_duration};

use super::answer::Refused;
use crate::{
    ca::{
        steward::Steward,
        token::{TokenError, TokenRequest, TokenStore},
    },
    state::State as Mesh,
};

/// Largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 4 * 1024;

/// Life of a token when the request names none.
const TTL_DEFAULT: Duration = Duration::from_secs(3600);

/// What `POST /v1/tokens` takes. The identity is named by its service account, or by a service (else a Workload) that
/// exactly one account may run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateToken {
    /// Namespace of the identity.
    pub namespace: String,
    /// Service account of the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The service to run, when no account is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// GEP-2257 duration, at most 90 days. Default `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// Default: any number within its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<NonZeroU32>,
}

/// What `POST /v1/tokens` answers. No `Debug`: it holds the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedToken {
    /// The token itself, said only this once.
    pub token: String,
    /// Names it in logs.
    pub id: String,
    /// RFC 3339.
    pub expires_at: String,
    /// Namespace of the identity it permits.
    pub namespace: String,
    /// Service account of the identity it permits.
    pub service_account: String,
    /// Why the token may not do what its maker wants: no Workload has this service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Binds the socket, mode 0600; one that a dead control plane left is replaced.
///
/// # Errors
/// The directory cannot be written.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let private = tempfile::Builder::new()
        .prefix(".operator-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(directory)?;
    let unfinished = private.path().join("sock");
    let listener = UnixListener::bind(&unfinished)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))?;
    fs::rename(&unfinished, path)?;
    Ok(listener)
}

/// What the socket answers with.
#[derive(Clone)]
pub struct Operator {
    /// Which accounts may run which service.
    pub mesh: Mesh,
    /// The tokens.
    pub tokens: Arc<TokenStore>,
    /// Whether configuration may be written.
    pub source: Source,
    /// The roots.
    pub steward: Arc<Steward>,
    /// What a backup is made of, beside those.
    pub kept: Arc<backup::Kept>,
}

/// Where a mesh's configuration comes from: one place, so that nobody's word is quietly taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory, watched.
    Directory(PathBuf),
    /// A Kubernetes cluster, followed.
    Cluster,
    /// Whoever writes it into the store (`usher apply`).
    Store,
}

/// The socket's routes.
pub fn router(operator: Operator) -> Router {
    Router::new()
        .route("/v1/tokens", post(create_token))
        .route("/v1/rollback", post(history::rollback))
        .route("/v1/callers/dismiss", post(callers::dismiss))
        .route("/v1/callers", get(callers::callers))
        .route("/v1/ca", get(authority::status))
        .route("/v1/ca/rotate", post(authority::rotate))
        .route("/v1/ca/retire", post(authority::retire))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .route("/v1/revisions/{number}", get(history::revision))
        .route("/v1/configuration", get(history::configuration))
        .route("/v1/status", get(history::status))
        .route("/v1/objects", get(history::objects))
        .route("/v1/revisions", get(history::revisions))
        .route("/v1/apply", post(apply::apply))
        .route("/v1/backup", get(backup::backup))
        .with_state(operator)
}

async fn create_token(
    State(operator): State<Operator>,
    request: Result<Json<CreateToken>, JsonRejection>,
) -> Result<(StatusCode, Json<CreatedToken>), Refused> {
    let Json(request) = request.map_err(|error| (error.status(), error.body_text()))?;
    let request = understand(&request, &operator.mesh).map_err(bad_request)?;
    let (tokens, wanted) = (Arc::clone(&operator.tokens), request.clone());
    let (token, expires_at) =
        tokio::task::spawn_blocking(move || tokens.create(&wanted, SystemTime::now()))
            .await
            .map_err(|_| {
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the token was not made".to_owned(),
                )
            })?
            .map_err(|error| (status_of(&error), error.to_string()))?;
    let TokenRequest {
        namespace,
        service_account,
        ..
    } = request;
    info!(token = token.id(), %namespace, %service_account, "join token made");
    let expires_at = OffsetDateTime::from(expires_at)
        .format(&Rfc3339)
        .unwrap_or_default();
    let created = CreatedToken {
        token: token.reveal(),
        id: token.id().to_owned(),
        expires_at,
        namespace: namespace.to_string(),
        warning: unknown::account(
            &operator.mesh.known_accounts(),
            &namespace,
            &service_account,
        ),
        service_account: service_account.to_string(),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

fn understand(request: &CreateToken, mesh: &Mesh) -> Result<TokenRequest, String> {
    let name = |field: &str, text: &str| {
        text.parse::<Name>()
            .map_err(|error| format!("{field}: {error}"))
    };
    let namespace = name("namespace", &request.namespace)?;
    let service_account = match (&request.service_account, &request.service) {
        (Some(account), _) => name("serviceAccount", account)?,
        (None, Some(service)) => {
            let service = ServiceName {
                namespace: namespace.clone(),
                name: name("service", service)?,
            };
            let mut accounts = mesh.service_account_of(&service);
            accounts.sort();
            accounts.dedup();
            only_account(&service, accounts, &mesh.known_accounts())?
        }
        (None, None) => return Err("serviceAccount, or service, is needed".to_owned()),
    };
    let ttl = match &request.ttl {
        Some(text) => parse_duration(text).map_err(|error| format!("ttl: {error}"))?,
        None => TTL_DEFAULT,
    };
    Ok(TokenRequest {
        namespace,
        service_account,
        ttl,
        uses: request.uses,
    })
}

fn only_account(
    service: &ServiceName,
    mut accounts: Vec<Name>,
    known: &[(ServiceName, Vec<Name>)],
) -> Result<Name, String> {
    match (accounts.pop(), accounts.is_empty()) {
        (Some(account), true) => Ok(account),
        (None, _) => Err(unknown::service(known, service)),
        (Some(last), false) => {
            let names: Vec<String> = accounts
                .iter()
                .chain([&last])
                .map(Name::to_string)
                .collect();
            Err(format!(
                "{service} may be run as {}: say which one (--service-account)",
                names.join(", ")
            ))
        }
    }
}

fn bad_request(message: String) -> Refused {
    (StatusCode::BAD_REQUEST, message)
}

fn status_of(error: &TokenError) -> StatusCode {
    match error {
        TokenError::Ttl => StatusCode::BAD_REQUEST,
        TokenError::Reserved => StatusCode::FORBIDDEN,
        TokenError::TooMany => StatusCode::TOO_MANY_REQUESTS,
        TokenError::Random | TokenError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

pub mod apply;
pub mod authority;
pub mod backup;
pub mod callers;
pub mod history;
mod unknown;

#[cfg(test)]
mod tests;
