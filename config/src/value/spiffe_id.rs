//! SPIFFE names: `spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>`.

use std::{fmt, str::FromStr, sync::Arc};

use super::{InvalidValue, Name};

/// The part of a SPIFFE ID before the path: who signs (SPIFFE-ID §2.1: `a-z 0-9 . - _`, ≤ 255).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The domain as text.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    /// `usher.local`: cannot clash with a public name.
    fn default() -> Self {
        Self("usher.local".into())
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        // The `spiffe` crate also accepts a whole SPIFFE ID here and takes its domain.
        match spiffe::TrustDomain::new(text) {
            Ok(_) if !text.contains('/') => Ok(Self(text.into())),
            _ => Err(InvalidValue::new(
                text,
                "a trust domain: 1-255 of a-z, 0-9, '.', '-', '_'",
            )),
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a workload is, on Kubernetes and off it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    /// Who vouches for the name.
    pub trust_domain: TrustDomain,
    /// The workload's namespace.
    pub namespace: Name,
    /// The workload's service account.
    pub service_account: Name,
}

impl SpiffeId {
    /// The identity of a service account.
    pub fn new(trust_domain: TrustDomain, namespace: Name, service_account: Name) -> Self {
        let text = format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}");
        Self {
            text: text.into(),
            trust_domain,
            namespace,
            service_account,
        }
    }

    /// The URI.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || {
            InvalidValue::new(
                text,
                "spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>",
            )
        };
        let rest = text.strip_prefix("spiffe://").ok_or_else(invalid)?;
        let mut parts = rest.split('/');
        let (Some(domain), Some("ns"), Some(namespace), Some("sa"), Some(account), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(invalid());
        };
        Ok(Self::new(
            domain.parse().map_err(|_| invalid())?,
            namespace.parse().map_err(|_| invalid())?,
            account.parse().map_err(|_| invalid())?,
        ))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}
