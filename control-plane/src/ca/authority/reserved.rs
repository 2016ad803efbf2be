//! The identity of the control plane: whoever had it could be the control plane to every sidecar.

use usher_config::value::Name;

/// Namespace of the control plane's identity.
pub const NAMESPACE: &str = usher_config::kind::MESH_NAMESPACE;
/// Service account of the control plane's identity.
pub const SERVICE_ACCOUNT: &str = "usher";

#[allow(clippy::expect_used, reason = "constants, checked by a test")]
pub(super) fn namespace() -> Name {
    NAMESPACE.parse().expect("a DNS label")
}

#[allow(clippy::expect_used, reason = "constants, checked by a test")]
pub(super) fn service_account() -> Name {
    SERVICE_ACCOUNT.parse().expect("a DNS label")
}
