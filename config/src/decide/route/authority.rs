//! `Host` or `:authority` → which service, which port.
//!
//! Strict (RFC 9110 §7.2, RFC 3986 §3.2): user information, empty hosts and junk are refused, because two
//! hops that read an authority differently are a way around policy.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
};

use crate::{
    model::{Service, ServicePort},
    value::{Name, Port, ServiceName},
};

/// Longest host name (RFC 1035 §2.3.4).
const HOST_MAX: usize = 253;

/// An authority taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Lower case, without a trailing dot; borrowed unless letters had to change.
    pub host: Cow<'a, str>,
    /// `None`: the caller left it to us, see [`default_port`].
    pub port: Option<Port>,
}

/// Why an authority is refused with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// No host in it.
    #[error("authority has no host")]
    NoHost,
    /// `user@host`: a credential, or an attempt to look like another host.
    #[error("authority has user information")]
    UserInformation,
    /// Not a host name, an IPv4 address or a bracketed IPv6 address.
    #[error("authority has an invalid host")]
    InvalidHost,
    /// Not 1–65535.
    #[error("authority has an invalid port")]
    InvalidPort,
}

/// Takes an authority apart.
///
/// # Errors
/// Whatever is not `host[:port]`, see [`AuthorityError`].
pub fn parse(text: &str) -> Result<Authority<'_>, AuthorityError> {
    if text.contains('@') {
        return Err(AuthorityError::UserInformation);
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (ipv6(address)?, after_brackets(rest)?),
        None => split_port(text),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return Err(AuthorityError::NoHost);
    }
    let port = port.map(parse_port).transpose()?;
    let known =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    let empty_label = host.starts_with('.') || host.ends_with('.') || host.contains("..");
    if host.len() > HOST_MAX || empty_label || !host.bytes().all(known) {
        return Err(AuthorityError::InvalidHost);
    }
    let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    };
    Ok(Authority { host, port })
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

fn ipv6(address: &str) -> Result<&str, AuthorityError> {
    address
        .parse::<Ipv6Addr>()
        .map(|_| address)
        .map_err(|_| AuthorityError::InvalidHost)
}

fn after_brackets(rest: &str) -> Result<Option<&str>, AuthorityError> {
    match (rest, rest.strip_prefix(':')) {
        ("", _) => Ok(None),
        (_, Some(port)) => Ok(Some(port)),
        (_, None) => Err(AuthorityError::InvalidHost),
    }
}

/// Digits only: `+80` is a number to Rust, not a port to HTTP.
fn parse_port(text: &str) -> Result<Port, AuthorityError> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| AuthorityError::InvalidPort)
    } else {
        Err(AuthorityError::InvalidPort)
    }
}

/// What a host can mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A service, by one of its spellings.
    Service(ServiceName),
    /// An address, perhaps a service's virtual one.
    Address(IpAddr),
}

impl Authority<'_> {
    /// What the host means to a caller in `own` namespace; `None`: nothing a service can be called.
    ///
    /// `name`, `name.namespace`, and the latter with `.svc`, `.svc.cluster.local` or `.mesh`.
    pub fn meaning(&self, own: &Name) -> Option<Meaning> {
        if let Ok(address) = self.host.parse() {
            return Some(Meaning::Address(address));
        }
        let suffixes = [".svc.cluster.local", ".svc", ".mesh"];
        let stem = suffixes
            .iter()
            .find_map(|suffix| self.host.strip_suffix(suffix));
        let (name, namespace) = match (stem.unwrap_or(&self.host).split_once('.'), stem) {
            (Some((name, namespace)), _) => (name, namespace.parse().ok()?),
            (None, None) => (&*self.host, own.clone()),
            (None, Some(_)) => return None,
        };
        Some(Meaning::Service(ServiceName {
            namespace,
            name: name.parse().ok()?,
        }))
    }
}

/// The service's port that is meant: the one asked for; else 80 if it has it; else its only one.
pub fn service_port(service: &Service, asked: Option<Port>) -> Option<&ServicePort> {
    match asked {
        Some(port) => service.port(port.get()),
        None => default_port(service),
    }
}

/// Port 80 if the service has it, else its only one; `None`: the caller has to say.
pub fn default_port(service: &Service) -> Option<&ServicePort> {
    service.port(80).or(match service.ports.as_slice() {
        [only] => Some(only),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
