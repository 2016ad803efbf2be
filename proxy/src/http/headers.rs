//! Header edits that both directions need, in place.
//!
//! Hop-by-hop fields say something about one connection only (RFC 9110 §7.6.1) and are never forwarded;
//! `TE: trailers` is kept, because without it gRPC servers refuse. Fields that carry our own words are taken
//! from whoever is not trusted to say them.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;
use usher_config::value::{begins_like, is_like};

/// The largest header block that is taken, in bytes (SEMANTICS §10).
pub const HEADER_BYTES_MAX: u32 = 60 * 1024;
/// As [`HEADER_BYTES_MAX`], for buffers.
pub const HEADER_BUFFER: usize = 60 * 1024;
/// The most fields that are taken.
pub const HEADERS_MAX: u32 = 100;
/// As [`HEADERS_MAX`], for collections.
pub const HEADERS_MAX_USIZE: usize = 100;

/// Why this proxy answered itself: `<flag> <slug>`.
pub const REASON: HeaderName = HeaderName::from_static("x-usher-reason");
/// Which policy's fallback answered.
pub const FALLBACK: HeaderName = HeaderName::from_static("x-usher-fallback");
/// Who called, from their certificate (Envoy's format).
pub const CLIENT_CERTIFICATE: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const OURS: &str = "x-usher-";

/// Removes what belongs to the connection that a message came by. `Expect` goes too: this proxy answers it.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        remove_named_by_connection(headers);
    }
    let te_trailers = headers.contains_key(header::TE) && te_has_trailers(headers);
    // One look at each field that is there costs less than a search for each that might be.
    let named: SmallVec<[HeaderName; 4]> = headers
        .keys()
        .filter(|name| is_hop_by_hop(name))
        .cloned()
        .collect();
    for name in named {
        headers.remove(name);
    }
    if te_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "expect"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
    )
}

/// `Connection` may name further fields. Not those that frame or address the message: a caller could make
/// the next hop misread it.
fn remove_named_by_connection(headers: &mut HeaderMap) {
    let mut named: SmallVec<[HeaderName; 4]> = SmallVec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(token.trim_ascii()) {
                named.push(name);
            }
        }
    }
    for name in named {
        if ![
            header::TE,
            header::HOST,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
        ]
        .contains(&name)
        {
            headers.remove(name);
        }
    }
}

fn te_has_trailers(headers: &HeaderMap) -> bool {
    let trailers = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"trailers");
    headers
        .get_all(header::TE)
        .iter()
        .any(|te| te.as_bytes().split(|b| *b == b',').any(trailers))
}

/// Removes what only the mesh may say, however it is spelled: every `x-usher-…` field but `kept`, and who called
/// ([`CLIENT_CERTIFICATE`]).
pub fn remove_ours(headers: &mut HeaderMap, kept: &[HeaderName]) {
    remove_where(headers, |name| is_ours(name) && !kept.contains(name));
}

fn is_ours(name: &HeaderName) -> bool {
    begins_like(name.as_str(), OURS) || is_like(name.as_str(), CLIENT_CERTIFICATE.as_str())
}

/// Removes the fields with such names.
pub fn remove_where(headers: &mut HeaderMap, such: impl Fn(&HeaderName) -> bool) {
    let found: SmallVec<[HeaderName; 4]> =
        headers.keys().filter(|name| such(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Removes from trailers what may only stand in a head (RFC 9110 §6.5.1): whoever merges the two would else let a
/// message's end say how long it was, where it goes, or who sent it.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| is_of_head(name) || is_ours(name));
}

fn is_of_head(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length"
            | "transfer-encoding"
            | "host"
            | "connection"
            | "te"
            | "trailer"
            | "upgrade"
            | "authorization"
            | "cookie"
    )
}

/// What a response says about its connection's future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// Nothing: our own default rules.
    Unsaid,
    /// `Keep-Alive: timeout=…`: the peer closes after so long.
    For(Duration),
}

/// Reads `Keep-Alive` (RFC 2068 §19.7.1.1, still sent by most HTTP/1.1 servers that mean it).
pub fn keep_alive(headers: &HeaderMap) -> KeepAlive {
    let Some(text) = headers
        .get(KEEP_ALIVE)
        .and_then(|value| value.to_str().ok())
    else {
        return KeepAlive::Unsaid;
    };
    let seconds = text
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout=")?.trim().parse().ok());
    seconds.map_or(KeepAlive::Unsaid, |seconds| {
        KeepAlive::For(Duration::from_secs(seconds))
    })
}
