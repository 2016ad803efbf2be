//! What is counted apart: parts of a request → one number.
//!
//! 128 bits of a keyed hash stand for the key itself. So a table's size does not depend on what callers send, no API key lies
//! in memory, and whoever does not know the secret can neither find two keys that meet nor choose where one falls.

use std::{
    hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState},
    net::IpAddr,
};

use http::{HeaderMap, HeaderName};
use usher_config::{
    model::LimitKey,
    value::{SpiffeId, is_like},
};

/// Claims of a verified token.
pub type Claims = usher_config::decide::access::Claims;

/// What is known of a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// From the verified certificate; `None`: plaintext, or from outside.
    pub identity: Option<&'a SpiffeId>,
    /// As sent.
    pub headers: &'a HeaderMap,
    /// Normalised, without the query.
    pub path: &'a str,
    /// The rule that took it; empty where there is none.
    pub route: &'a str,
    /// Where it comes from, at a gateway.
    pub source: Option<IpAddr>,
    /// `None`: no token.
    pub claims: Option<&'a Claims>,
}

/// The secret with which a limit's keys become numbers.
#[derive(Debug, Clone, Default)]
pub struct Hashing(RandomState);

/// The number of a request's key. Of no parts: 0.
pub(super) fn number(parts: &[LimitKey], asked: &Asked<'_>, hashing: &Hashing) -> u128 {
    if parts.is_empty() {
        return 0;
    }
    let mut digest = hashing.0.build_hasher();
    for part in parts {
        match part {
            LimitKey::Identity => put(&mut digest, asked.identity.map(|id| id.as_str().as_bytes())),
            LimitKey::Header(name) => put(&mut digest, only(asked.headers, name)),
            LimitKey::Claim(name) => put_claim(&mut digest, asked.claims, name),
            LimitKey::Path => put(&mut digest, Some(asked.path.as_bytes())),
            LimitKey::Route => put(&mut digest, Some(asked.route.as_bytes())),
            LimitKey::Source => put_source(&mut digest, asked.source),
        }
    }
    let (mut high, mut low) = (digest.clone(), digest);
    high.write_u8(1);
    low.write_u8(2);
    u128::from(high.finish()) << 64 | u128::from(low.finish())
}

/// The header's value. Of several, or beside a name that a server may take for it, nobody knows which one counts: they are
/// none, or each more would be a bucket more.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut all = (headers.iter()).filter(|(other, _)| is_like(other.as_str(), name.as_str()));
    match (all.next(), all.next()) {
        (Some((written, value)), None) if written == name => Some(value.as_bytes()),
        _ => None,
    }
}

/// With its length, so that `a`, `bc` is not `ab`, `c`; what is not there is not the same as what is empty.
fn put(digest: &mut DefaultHasher, part: Option<&[u8]>) {
    match part {
        None => digest.write_u8(0),
        Some(bytes) => {
            digest.write_u8(1);
            digest.write_usize(bytes.len());
            digest.write(bytes);
        }
    }
}

fn put_claim(digest: &mut DefaultHasher, claims: Option<&Claims>, name: &str) {
    match claims.and_then(|claims| claims.get(name)) {
        None | Some(serde_json::Value::Null) => put(digest, None),
        Some(serde_json::Value::String(text)) => put(digest, Some(text.as_bytes())),
        // Numbers, and whatever else a claim may be, as they are written.
        Some(other) => put(digest, Some(other.to_string().as_bytes())),
    }
}

/// The first 64 bits of an IPv6 address: whoever has one has as many as he likes of those that begin alike.
fn put_source(digest: &mut DefaultHasher, source: Option<IpAddr>) {
    match source.map(|ip| ip.to_canonical()) {
        None => put(digest, None),
        Some(IpAddr::V4(ip)) => put(digest, Some(&ip.octets())),
        Some(IpAddr::V6(ip)) => put(digest, ip.octets().get(..8)),
    }
}
