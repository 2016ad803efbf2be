//! Answers that are as large as the mesh.

use axum::{http::StatusCode, response::Response};

use crate::registry::StoreError;

/// A refusal: a status, and one line for people.
pub(super) type Refused = (StatusCode, String);

/// The mesh could not be looked at, by a mistake of ours.
pub(super) fn not_seen(error: StoreError) -> Refused {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}

/// Not on the threads on which streams are answered and leases renewed.
pub(super) async fn written(
    write: impl FnOnce() -> Response + Send + 'static,
) -> Result<Response, Refused> {
    let written = tokio::task::spawn_blocking(write).await;
    written.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
}
