//! What a caller outside the mesh may say about itself, and what it is told.
//!
//! `X-Forwarded-*` is believed by many an application: it decides on redirects, on links in mails, on whom to rate-limit.
//! What an outsider writes there is dropped, and replaced by what this gateway has seen; so does every proxy that trusts
//! nobody by default (Traefik, Caddy). Proxies before it are believed if its operator says how many there are. `Forwarded`
//! (RFC 7239) says the same in other words and would contradict.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use smallvec::SmallVec;
use usher_config::value::{begins_like, is_like};

use crate::{error::Flag, telemetry::trace_context::REQUEST_ID};

use super::headers::{self, REASON};

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
    /// How many proxies before us are believed: they have written where their callers come from.
    pub trusted_hops: u8,
}

/// Takes from a request what only the mesh may say, and says what is true: before anything else looks at its headers.
/// What comes back is where the request was made, as far as can be known.
pub fn come_in(headers: &mut HeaderMap, outsider: Outsider<'_>) -> IpAddr {
    // First: `Connection` may name any field, and one that is written below must not go with it.
    headers::remove_hop_by_hop(headers);
    headers::remove_ours(headers, &[]);
    let told = told(headers, outsider.trusted_hops);
    headers::remove_where(headers, is_claim);
    let peer = outsider.ip.to_canonical();
    let scheme = if outsider.tls { "https" } else { "http" };
    let (mut way, told_scheme) = told.unwrap_or_default();
    let scheme = told_scheme.unwrap_or(scheme);
    way.push(peer);
    let client = way.first().copied().unwrap_or(peer);
    let way: SmallVec<[String; 2]> = way.iter().map(ToString::to_string).collect();
    if let Ok(way) = HeaderValue::try_from(way.join(", ")) {
        headers.insert(FORWARDED_FOR, way);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    if let Some(host) = outsider
        .host
        .and_then(|host| HeaderValue::from_str(host).ok())
    {
        headers.insert(FORWARDED_HOST, host);
    }
    client
}

/// Addresses that a request came by, the caller's first.
type Way = SmallVec<[IpAddr; 2]>;

/// What `hops` proxies before us say: the last so many addresses, and the scheme. `None`: they are not to be believed, or
/// have not all written an address, so that some of it may be the caller's own words.
fn told(headers: &HeaderMap, hops: u8) -> Option<(Way, Option<&'static str>)> {
    if hops == 0 {
        return None;
    }
    let fields = headers.get_all(FORWARDED_FOR).iter().rev();
    let entries = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
    let last = entries.take(hops.into()).map(address);
    let mut way = last.collect::<Option<Way>>()?;
    way.reverse();
    let mut schemes = headers.get_all(FORWARDED_PROTO).iter();
    let scheme = match (schemes.next().map(HeaderValue::as_bytes), schemes.next()) {
        (Some(b"https"), None) => Some("https"),
        (Some(b"http"), None) => Some("http"),
        _ => None,
    };
    (way.len() == usize::from(hops)).then_some((way, scheme))
}

/// An entry of `X-Forwarded-For`: some proxies write a port too.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let ip = bare.unwrap_or(text).parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    ip.or_else(with_port).map(|ip: IpAddr| ip.to_canonical())
}

/// Fields that say what only we know, in every spelling that a server may take for them.
fn is_claim(name: &HeaderName) -> bool {
    let prefixes = [X_FORWARDED, ENVOY];
    let names = [&header::FORWARDED, &REAL_IP, &REQUEST_ID];
    prefixes
        .iter()
        .any(|prefix| begins_like(name.as_str(), prefix))
        || names
            .iter()
            .any(|claim| is_like(name.as_str(), claim.as_str()))
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
