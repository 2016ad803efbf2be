//! `BackendTLSPolicy` (Gateway API v1): TLS towards a Service that has no sidecars. Shape and meaning are upstream's.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Hostname, Name};

use super::{CoreGroup, TargetRef, choice::choice};

/// Sidecars and gateways open TLS to the targeted Services' endpoints, and send nothing before the certificate there is
/// verified. Between sidecars the mesh's own TLS is spoken, and no policy is needed. Where what it refers to is missing,
/// nothing is sent: requests get 503.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct BackendTlsPolicySpec {
    /// Services of its own namespace, or by `sectionName` one port of one; 1 to 16. A port's holds alone, then its Service's.
    pub target_refs: Vec<TargetRef>,
    /// What is verified.
    pub validation: BackendTlsValidation,
}

/// What a certificate is verified against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct BackendTlsValidation {
    /// Whose certificates it must lead to; up to 8, or none with `wellKnownCACertificates`.
    #[serde(
        rename = "caCertificateRefs",
        skip_serializing_if = "Vec::is_empty",
        default
    )]
    pub ca_certificate_refs: Vec<CaCertificateRef>,
    /// Instead of those, the roots of the public web.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<WellKnownCa>,
    /// What is asked for (SNI), and without `subjectAltNames` the name that the certificate must have. No wildcard.
    pub hostname: Hostname,
    /// The certificate must have one of these instead of `hostname`; up to 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A ConfigMap with CA certificates, in the policy's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct CaCertificateRef {
    /// Always the core group.
    pub group: CoreGroup,
    /// Always a ConfigMap.
    pub kind: ConfigMapKind,
    /// Its key `ca.crt` has them.
    pub name: Name,
}

choice! {
    /// Where CA certificates are.
    pub enum ConfigMapKind {
        /// The only one.
        ConfigMap = "ConfigMap",
    }
}

choice! {
    /// Roots that nobody has to give.
    pub enum WellKnownCa {
        /// Mozilla's list, as compiled into the proxy: its image has no operating system to ask.
        System = "System",
    }
}

choice! {
    /// What kind of name.
    pub enum SubjectAltNameType {
        /// A DNS name.
        Hostname = "Hostname",
        /// A URI, such as a SPIFFE ID.
        Uri = "URI",
    }
}

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct SubjectAltName {
    /// Which of the two is given.
    #[serde(rename = "type")]
    pub kind: SubjectAltNameType,
    /// A DNS name. No wildcard; one in the certificate counts.
    pub hostname: Option<Hostname>,
    /// Exactly as it stands in the certificate; at most 253 characters.
    pub uri: Option<String>,
}
