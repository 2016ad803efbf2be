//! A response body on its way down: watched for silence and length, and told to an observer when it ends.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use usher_config::model::Timeouts;

use crate::error::ProxyError;

use super::{Body, Replay};

/// Learns how a response went.
pub trait Observer: fmt::Debug {
    /// The trailers, just before the end.
    fn trailers(&mut self, trailers: &HeaderMap);

    /// The last call: `bytes` of body had passed. Dropped responses end with [`ProxyError::DownstreamGone`].
    fn end(&mut self, bytes: u64, result: Result<(), &ProxyError>);
}

/// Bounds on a response's body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Without a byte either way.
    pub idle: Option<Duration>,
    /// No later than.
    pub until: Option<(Instant, Duration)>,
}

impl Bounds {
    /// What a policy allows, for a response that begins now.
    pub fn of(timeouts: &Timeouts) -> Self {
        Self {
            idle: timeouts.idle,
            until: timeouts
                .stream_max
                .map(|limit| (Instant::now() + limit, limit)),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Watched {
    inner: Body,
    observer: Box<dyn Observer>,
    bounds: Bounds,
    /// The request's body, if it may still be moving: bytes there are a sign of life too.
    request: Option<Replay>,
    /// Made when the body has to be waited for: most are there at once and need none.
    timer: Option<Pin<Box<Sleep>>>,
    bytes: u64,
    bytes_at_last_look: u64,
    ended: bool,
    /// The exchange has left HTTP: it ends when both directions have.
    two_way: bool,
}

impl Watched {
    /// Watches `inner`. The observer hears of the end exactly once.
    pub fn new(
        inner: Body,
        observer: Box<dyn Observer>,
        bounds: Bounds,
        request: Option<Replay>,
    ) -> Self {
        Self {
            inner,
            observer,
            bounds,
            request,
            timer: None,
            bytes: 0,
            bytes_at_last_look: 0,
            ended: false,
            two_way: false,
        }
    }

    /// The exchange lasts until the request's direction has ended too.
    pub fn two_way(mut self) -> Self {
        self.two_way = true;
        self
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(chunk) = frame.data_ref() {
                    self.bytes += u64::try_from(chunk.len()).unwrap_or(0);
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.observer.trailers(trailers);
                    self.end(Ok(()));
                }
                // Whoever knows the length does not ask for a frame after the last one.
                if self.inner.is_end_stream() {
                    self.end_of_frames();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.end(Err(&error));
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                self.end_of_frames();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let error = ready!(self.poll_unread(cx));
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn end_of_frames(&mut self) {
        if !self.two_way {
            self.end(Ok(()));
        }
    }

    /// See [`Body::poll_over`].
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended {
            return Poll::Ready(());
        }
        match self.inner.poll_upload(cx) {
            Poll::Ready(result) => {
                self.end(result.as_ref().copied());
                Poll::Ready(())
            }
            Poll::Pending => self.poll_unread(cx).map(drop),
        }
    }

    /// What ends the body while no frame passes.
    pub(super) fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<ProxyError> {
        if self.ended {
            return Poll::Pending;
        }
        let error = ready!(self.poll_bounds(cx));
        self.inner = Body::Empty;
        self.end(Err(&error));
        Poll::Ready(error)
    }

    fn poll_bounds(&mut self, cx: &mut Context<'_>) -> Poll<ProxyError> {
        let idle = self.bounds.idle;
        loop {
            let Some(timer) = &mut self.timer else {
                let Some(at) = self.next_look(Instant::now()) else {
                    return Poll::Pending;
                };
                self.bytes_at_last_look = self.moved();
                self.timer = Some(Box::pin(sleep_until(at)));
                continue;
            };
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if let Some((until, limit)) = self.bounds.until
                && until <= now
            {
                return Poll::Ready(ProxyError::StreamTooLong { limit });
            }
            let moved = self.moved();
            if let Some(limit) = idle
                && moved == self.bytes_at_last_look
            {
                return Poll::Ready(ProxyError::StreamIdle { limit });
            }
            self.timer = None;
        }
    }

    fn next_look(&self, now: Instant) -> Option<Instant> {
        let until = self.bounds.until.map(|(until, _)| until);
        match (self.bounds.idle.map(|idle| now + idle), until) {
            (Some(look), Some(until)) => Some(look.min(until)),
            (look, until) => look.or(until),
        }
    }

    fn moved(&self) -> u64 {
        self.bytes + self.request.as_ref().map_or(0, Replay::bytes_passed)
    }

    fn end(&mut self, result: Result<(), &ProxyError>) {
        if !self.ended {
            self.ended = true;
            self.observer.end(self.bytes, result);
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let result = if self.inner.is_end_stream() && !self.two_way {
            Ok(())
        } else {
            Err(&ProxyError::DownstreamGone)
        };
        self.end(result);
    }
}
