//! An HTTP/1 response's head, as hyper read it: whether it says one thing about where it ends.
//!
//! hyper reads responses as browsers have to, and lets one framing win over another. Nothing of that is forwarded
//! (responses are framed anew), but an application that says two things has not said which one it meant, and
//! the rest of its connection may be anything (RFC 9112 §6.3).

use http::{HeaderMap, Response, StatusCode, Version, header};

use super::headers::{HEADER_BUFFER, HEADERS_MAX_USIZE};

/// Whether the head is unambiguous and within the bounds that requests have too. `asked_upgrade`: 101 is an answer
/// to the request.
pub fn is_sound<B>(response: &Response<B>, asked_upgrade: bool) -> bool {
    let headers = response.headers();
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    (!upgraded || asked_upgrade)
        && has_one_framing(headers, response.version())
        && headers.len() <= HEADERS_MAX_USIZE
        && size(headers) <= HEADER_BUFFER
}

fn has_one_framing(headers: &HeaderMap, version: Version) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, _) => lengths.next().is_none(),
        (Some(_), Some(_)) => false,
        // Whatever came before `chunked` would have to be undone by somebody, and the field does not go on.
        (Some(coding), None) => {
            version == Version::HTTP_11
                && codings.next().is_none()
                && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
    }
}

/// As HTTP/1 writes it: colon, space, CR and LF.
fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}
