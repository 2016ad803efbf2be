//! What a caller outside the mesh may say about itself, and what it is told.
//!
//! `X-Forwarded-*` is believed by many an application: it decides on redirects, on links in mails, on whom to rate-limit.
//! What an outsider writes there is dropped, and replaced by what this gateway has seen; so does every proxy that trusts
//! nobody by default (Traefik, Caddy). `Forwarded` (RFC 7239) says the same in other words and would contradict.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

use crate::error::Flag;

use super::headers::{self, REASON, REQUEST_ID};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED: &str = "x-forwarded-";

/// For other hops of Envoy's kind: deadlines, retries, internal addresses.
const ENVOY: &str = "x-envoy-";

/// What is seen of an outsider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outsider<'a> {
    /// Where its connection comes from.
    pub ip: IpAddr,
    /// Whether that was TLS, up to here.
    pub tls: bool,
    /// Which host it asked for, as written.
    pub host: Option<&'a str>,
}

/// Takes from a request what only the mesh may say, and says what is true: before anything else looks at its headers.
pub fn come_in(headers: &mut HeaderMap, outsider: Outsider<'_>) {
    // First: `Connection` may name any field, and one that is written below must not go with it.
    headers::remove_hop_by_hop(headers);
    headers::remove_ours(headers, &[]);
    headers::remove_where(headers, is_claim);
    if let Ok(ip) = HeaderValue::try_from(outsider.ip.to_canonical().to_string()) {
        headers.insert(FORWARDED_FOR, ip);
    }
    let scheme = if outsider.tls { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    if let Some(host) = outsider
        .host
        .and_then(|host| HeaderValue::from_str(host).ok())
    {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// Fields that say what only we know, in every spelling that a server may take for them.
fn is_claim(name: &HeaderName) -> bool {
    let prefixes = [X_FORWARDED, ENVOY];
    let names = [&header::FORWARDED, &REAL_IP, &REQUEST_ID];
    prefixes
        .iter()
        .any(|prefix| headers::begins_like(name, prefix))
        || names
            .iter()
            .any(|claim| headers::is_like(name, claim.as_str()))
}

/// The caller has sent what is no request: its connection ends with this answer.
#[derive(Debug, Clone, Copy)]
pub struct LastOfConnection;

/// Takes from an answer what only the mesh may know.
pub fn go_out<B>(response: &mut Response<B>) {
    if was_refused(response.headers()) {
        response.extensions_mut().insert(LastOfConnection);
    }
    headers::remove_ours(response.headers_mut(), &[]);
}

/// Whether the answer says that what came was no request to be forwarded.
pub(super) fn was_refused(headers: &HeaderMap) -> bool {
    let refused = Flag::Dpe.as_str().as_bytes();
    let reason = headers.get(REASON);
    reason.is_some_and(|reason| reason.as_bytes().starts_with(refused))
}
