//! Whether a sidecar can go on with the identity of an earlier run.
//!
//! It takes one only if it is of the namespace and the account that it was told; with another one it waits for a token, as
//! with none.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use usher_config::value::Name;

use super::state_directory::StateDirectory;
use crate::ca::svid::Claims;

/// Where a sidecar keeps its identity, in its state directory.
pub(super) const IDENTITY: &str = "identity.json";

/// What counts of the file.
#[derive(Deserialize)]
struct Kept {
    /// DER in base64, the sidecar's own certificate first.
    chain: Vec<String>,
}

/// `account`: the one that is asked for; `None`: any of the namespace.
pub(super) fn has_identity(
    state: &StateDirectory,
    namespace: &Name,
    account: Option<&str>,
) -> bool {
    std::fs::read(state.file(IDENTITY)).is_ok_and(|bytes| fits(&bytes, namespace, account))
}

fn fits(bytes: &[u8], namespace: &Name, account: Option<&str>) -> bool {
    let claims = || {
        let kept: Kept = serde_json::from_slice(bytes).ok()?;
        let certificate = STANDARD.decode(kept.chain.first()?).ok()?;
        Claims::of_verified(&certificate.into()).ok()
    };
    claims().is_some_and(|claims| {
        claims.id.namespace == *namespace
            && account.is_none_or(|account| claims.id.service_account.as_str() == account)
    })
}

#[cfg(test)]
mod tests;
