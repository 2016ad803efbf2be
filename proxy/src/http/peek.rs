//! Looks at a response body's first frame without losing it: gRPC may say "failed" only in its trailers, and
//! what has not been told to the caller yet can still be retried.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};

use crate::error::ProxyError;

use super::Body;

/// A body whose first frame has been seen.
#[derive(Debug)]
pub struct Begun {
    first: Option<Frame<Bytes>>,
    rest: Body,
}

/// Waits for the first frame; its trailers, if it is that. Bounded by one frame. Dropped before it came, nothing
/// of the body is lost.
///
/// # Errors
/// What broke the body.
pub async fn peek(body: &mut Body) -> Result<Option<HeaderMap>, ProxyError> {
    let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await else {
        *body = Body::Empty;
        return Ok(None);
    };
    let frame = frame?;
    let trailers = frame.trailers_ref().cloned();
    let rest = std::mem::replace(body, Body::Empty);
    let first = Some(frame);
    *body = Body::Begun(Box::new(Begun { first, rest }));
    Ok(trailers)
}

/// The whole of a body, with its trailers, off its connection; `None`: it broke, or holds more than `most` bytes.
pub async fn take_whole(mut body: Body, most: usize) -> Option<Body> {
    let (mut bytes, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.ok()?.into_data() {
            Ok(data) if data.len() <= most.saturating_sub(bytes.len()) => {
                bytes.extend_from_slice(&data);
            }
            Ok(_) => return None,
            Err(frame) => trailers = Some(frame),
        }
    }
    let begun = |first, rest| {
        let first = Some(first);
        Body::Begun(Box::new(Begun { first, rest }))
    };
    let rest = trailers.map_or(Body::Empty, |trailers| begun(trailers, Body::Empty));
    Some(if bytes.is_empty() {
        rest
    } else {
        begun(Frame::data(bytes.freeze()), rest)
    })
}

impl Begun {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        match self.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }
}
