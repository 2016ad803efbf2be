//! `ConfigMap` (core/v1), as far as it holds CA certificates: those are no secrets, so configuration may carry them.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::Certificates;

/// CA certificates that a BackendTLSPolicy of the same namespace may refer to. A ConfigMap without the key `ca.crt` is for
/// others and passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ConfigMapSpec {
    /// Of its keys only one is for Usher.
    pub data: CaCertificates,
}

/// Other keys are for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct CaCertificates {
    /// PEM, 1 to 64 certificates.
    #[serde(rename = "ca.crt")]
    pub ca_crt: Certificates,
}
