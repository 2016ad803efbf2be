//! Requests whose end may not say what nobody but us may say at their beginning.
//!
//! Whoever merges trailers into the head would take a claim that follows a body for a verified one.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderName, Request};
use http_body::{Body as _, Frame, SizeHint};
use usher_config::value::is_like;

use crate::error::ProxyError;

use super::{Body, headers::remove_where};

/// A body without such trailers.
#[derive(Debug)]
pub struct Unsaid {
    body: Body,
    names: Arc<[HeaderName]>,
}

/// Takes fields of these names, in every spelling that a server may take for them, out of what follows the body.
pub fn in_trailers(request: &mut Request<Body>, names: &Arc<[HeaderName]>) {
    if !names.is_empty() && !request.body().is_end_stream() {
        let body = std::mem::take(request.body_mut());
        let names = names.clone();
        *request.body_mut() = Body::Unsaid(Box::new(Unsaid { body, names }));
    }
}

impl Unsaid {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let mut frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            remove_where(trailers, |name| {
                let mut names = self.names.iter();
                names.any(|one| is_like(name.as_str(), one.as_str()))
            });
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
