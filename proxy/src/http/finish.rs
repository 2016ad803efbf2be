//! The last stage of every story: a result becomes the response that the caller gets, watched to its end.

use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body as _;

use crate::{error::ProxyError, worker::Record};

use super::{
    Body,
    error_response::{self, Dialect},
    headers,
    watched::{Bounds, Observer, Watched},
};

/// Answers. The record speaks when the response has passed.
pub fn finish(
    result: Result<(Response<Body>, Bounds), ProxyError>,
    dialect: Dialect,
    mut record: Box<Record>,
) -> Response<Body> {
    let (mut response, bounds) = result.unwrap_or_else(|error| {
        record.error(&error);
        (error_response::respond(&error, dialect), Bounds::default())
    });
    headers::remove_hop_by_hop(response.headers_mut());
    record.head(response.status(), response.headers());
    let two_way = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let bodiless = record.answers_head();
    if bodiless {
        announce_length(&mut response);
    }
    response.map(|body| {
        if bodiless || (body.is_end_stream() && !two_way) {
            record.end(0, Ok(()));
            return Body::Empty;
        }
        let request = record.request.clone();
        let watched = Watched::new(body, record, bounds, request);
        Body::Watched(Box::new(if two_way { watched.two_way() } else { watched }))
    })
}

/// In place of an answer, to another sidecar: its request has not been seen by anybody, and may go elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused;

/// Refuses another sidecar's request, which is provably unprocessed: its stream is reset with `REFUSED_STREAM` (RFC 9113
/// §8.7). No header could say the same: applications write headers. Log and metrics have what anybody else would be answered.
pub fn refuse(error: &ProxyError, dialect: Dialect, mut record: Box<Record>) -> Response<Body> {
    let unsaid = error_response::respond(error, dialect);
    record.error(error);
    record.head(unsaid.status(), unsaid.headers());
    record.end(0, Ok(()));
    let mut refusal = Response::new(Body::Empty);
    // For whoever does not know a refusal.
    *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    refusal.extensions_mut().insert(Refused);
    refusal
}

/// What is answered to HEAD has no body (RFC 9110 §9.3.2), only its length: over HTTP/2 strict callers take a body there for
/// a broken stream.
pub(super) fn announce_length(response: &mut Response<Body>) {
    let length = response.body().size_hint().exact();
    let length = length.filter(|length| *length > 0);
    if let Some(length) = length
        && !response.headers().contains_key(header::CONTENT_LENGTH)
    {
        let length = HeaderValue::from(length);
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length);
    }
}
