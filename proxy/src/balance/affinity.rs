//! What requests are kept together by: a header, a cookie, a query parameter, or who calls.

use http::{HeaderMap, header::COOKIE};
use usher_config::model::HashKey;

use crate::random;

/// The hash of the first of these that a request has; `None`: it has none of them. Values are taken as they are
/// written. `source` stands for the caller.
pub fn key(by: &[HashKey], headers: &HeaderMap, query: &str, source: u64) -> Option<u64> {
    by.iter().find_map(|key| match key {
        HashKey::Header(name) => Some(hash(headers.get(name)?.as_bytes())),
        HashKey::Cookie(name) => cookie(headers, name).map(hash),
        HashKey::Query(name) => parameter(query, name).map(hash),
        HashKey::Source => Some(source),
    })
}

/// The same for the same bytes, in every process: FNV-1a, and a finalizer that spreads it over all 64 bits.
pub fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    random::split(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold)).0
}

/// RFC 6265 §4.2.1; the first of that name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
        pair.strip_prefix(name.as_bytes())?
            .strip_prefix(b"=")
            .map(<[u8]>::trim_ascii)
    })
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a [u8]> {
    let mut pairs = query.split('&');
    pairs.find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.as_bytes()))
}
