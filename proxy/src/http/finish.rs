//! The last stage of every story: a result becomes the response that the caller gets, watched to its end.

use http::Response;
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
    response.map(|body| {
        if body.is_end_stream() {
            record.end(0, Ok(()));
            return Body::Empty;
        }
        let request = record.request.clone();
        Body::Watched(Box::new(Watched::new(body, record, bounds, request)))
    })
}
