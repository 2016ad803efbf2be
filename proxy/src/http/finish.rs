//! The last stage of every story: a result becomes the response that the caller gets, watched to its end.

use http::{Response, StatusCode};
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
    response.map(|body| {
        if body.is_end_stream() && !two_way {
            record.end(0, Ok(()));
            return Body::Empty;
        }
        let request = record.request.clone();
        let watched = Watched::new(body, record, bounds, request);
        Body::Watched(Box::new(if two_way { watched.two_way() } else { watched }))
    })
}
