//! DNS-1123 names and what is built from them.

use std::{fmt, net::Ipv4Addr, str::FromStr, sync::Arc};

use super::InvalidValue;

/// A DNS-1123 label: 1–63 of `a-z 0-9 -`, beginning and ending with a letter or digit. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const NAME_ALLOWED: &str =
    "a DNS-1123 label: 1-63 of a-z, 0-9 and '-', beginning and ending with a letter or digit";

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes.iter().all(inner)
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

impl FromStr for Name {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if is_label(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidValue::new(text, NAME_ALLOWED))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A service: `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    /// Where the service lives; names are unique inside it.
    pub namespace: Name,
    /// The service's own name.
    pub name: Name,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ServiceName {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || InvalidValue::new(text, "`namespace/name`, each a DNS-1123 label");
        let (namespace, name) = text.split_once('/').ok_or_else(invalid)?;
        Ok(Self {
            namespace: namespace.parse().map_err(|_| invalid())?,
            name: name.parse().map_err(|_| invalid())?,
        })
    }
}

/// One instance of a service: `namespace/service/instance`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceName {
    /// The service it is an instance of.
    pub service: ServiceName,
    /// Unique in the service.
    pub instance: Name,
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.instance)
    }
}

impl FromStr for InstanceName {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid =
            || InvalidValue::new(text, "`namespace/service/instance`, each a DNS-1123 label");
        let (service, instance) = text.rsplit_once('/').ok_or_else(invalid)?;
        Ok(Self {
            service: service.parse().map_err(|_| invalid())?,
            instance: instance.parse().map_err(|_| invalid())?,
        })
    }
}

/// What a gateway calls a certificate: `name`, or `namespace/name` of one that another namespace lets it show.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateName(Arc<str>);

impl CertificateName {
    /// As `--certificate` and metrics spell it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Name> for CertificateName {
    fn from(name: &Name) -> Self {
        Self(name.as_str().into())
    }
}

impl From<&ServiceName> for CertificateName {
    fn from(name: &ServiceName) -> Self {
        Self(name.to_string().into())
    }
}

impl FromStr for CertificateName {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (namespace, name) = text.split_once('/').unzip();
        let labels = [namespace, Some(name.unwrap_or(text))];
        if labels.into_iter().flatten().all(is_label) {
            Ok(Self(text.into()))
        } else {
            let allowed = "`name` or `namespace/name`, each a DNS-1123 label";
            Err(InvalidValue::new(text, allowed))
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A lower-case host name, or one whose first label is `*` (Gateway API's `Hostname`), without a port. No IP address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(Arc<str>);

impl Hostname {
    /// The pattern as text, `*.` included.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `host` (lower case, without a port) is this name, or under this wildcard.
    #[inline]
    pub fn matches(&self, host: &str) -> bool {
        match self.0.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => host == &*self.0,
        }
    }
}

impl FromStr for Hostname {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let rest = text.strip_prefix("*.").unwrap_or(text);
        // It has the letters of a DNS name; one of version 6 has colons.
        let is_address = text.parse::<Ipv4Addr>().is_ok();
        if text.len() <= 253 && rest.split('.').all(is_label) && !is_address {
            Ok(Self(text.into()))
        } else {
            Err(InvalidValue::new(
                text,
                "a lower-case DNS name, its first label may be `*`; no port, no IP address",
            ))
        }
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
