//! TLS towards what has no sidecar.

use crate::value::{Certificates, Hostname};

/// What is asked of a port's endpoints before anything is sent to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendTls {
    /// TLS with a certificate that verifies.
    Verified(Origination),
    /// The same, but it is not known how: nothing is sent, requests get 503. Why, in one line.
    Refused(String),
}

/// How TLS is opened and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origination {
    /// What is asked for (SNI); what the certificate must be for, unless there are `names`. Without a wildcard.
    pub hostname: Hostname,
    /// The certificate has to have one of these instead.
    pub names: Vec<AlternativeName>,
    /// Where its chain has to lead.
    pub roots: Roots,
}

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The public web's roots, which proxies have with them.
    Web,
    /// These.
    Given(Certificates),
}

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlternativeName {
    /// A DNS name, without a wildcard; one in the certificate counts (RFC 9525 §6.3).
    Dns(Hostname),
    /// A URI, compared byte for byte.
    Uri(String),
}
