//! Looks at a response body's first frame without losing it: gRPC may say "failed" only in its trailers, and
//! what has not been told to the caller yet can still be retried.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
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

/// Waits for the first frame; its trailers, if it is that. Bounded by one frame.
///
/// # Errors
/// What broke the body.
pub async fn peek(mut body: Body) -> Result<(Body, Option<HeaderMap>), ProxyError> {
    match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        None => Ok((Body::Empty, None)),
        Some(Err(error)) => Err(error),
        Some(Ok(frame)) => {
            let trailers = frame.trailers_ref().cloned();
            Ok((
                Body::Begun(Box::new(Begun {
                    first: Some(frame),
                    rest: body,
                })),
                trailers,
            ))
        }
    }
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
