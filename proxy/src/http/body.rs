//! The one body type of the request path: whatever comes in on one side, frame by frame to the other.
//!
//! An enum and not a boxed trait object: the common cases need no allocation and no virtual call. Nothing is
//! buffered here; see [`super::Replay`] for the one bounded exception.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{
    error::ProxyError,
    http::{CopyBody, ReplayBody, Tee},
    upstream::{HopBody, Http1Body, SwitchedBody},
};

use super::{
    Interim, apart::data_apart, headers, peek::Begun, tunnel::TunnelBody, unsaid::Unsaid,
    watched::Watched,
};

/// A message body in either direction.
#[derive(Debug, Default)]
pub enum Body {
    /// None at all.
    #[default]
    Empty,
    /// Made by this proxy.
    Full(Bytes),
    /// From an HTTP/1.1 caller.
    Incoming(Incoming),
    /// From an HTTP/2 caller.
    Http2(RecvBody),
    /// From any caller, kept for a repeat while it passes.
    Replay(ReplayBody),
    /// From any caller, copied while it passes.
    Tee(Box<Tee>),
    /// Such a copy.
    Copy(CopyBody),
    /// From an HTTP/1.1 upstream.
    FromHttp1(Box<Http1Body>),
    /// From an HTTP/2 upstream.
    FromHop(Box<HopBody>),
    /// From a caller that will have left HTTP.
    Tunnel(TunnelBody),
    /// From an upstream that has left HTTP.
    Switched(Box<SwitchedBody>),
    /// From any upstream, its first frame already seen.
    Begun(Box<Begun>),
    /// What a test wants.
    #[cfg(test)]
    Frames(std::collections::VecDeque<Frame<Bytes>>),
    /// From any caller, without trailers that only we may write.
    Unsaid(Box<Unsaid>),
    /// A response on its way down, with what has to happen when it ends.
    Watched(Box<Watched>),
}

impl Body {
    #[cfg(test)]
    pub(crate) fn from_frames(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Self {
        Self::Frames(frames.into_iter().collect())
    }

    /// A body from hyper.
    pub fn incoming(incoming: Incoming) -> Self {
        if incoming.is_end_stream() {
            Self::Empty
        } else {
            Self::Incoming(incoming)
        }
    }
}

impl Body {
    /// Ready when the body has been under way, or without a byte, for too long. For whoever cannot take a frame
    /// just now; polling for frames sees to it by itself.
    pub(super) fn poll_bounds(&mut self, cx: &mut Context<'_>) -> Poll<ProxyError> {
        match self {
            Self::Watched(body) => body.poll_unread(cx),
            _ => Poll::Pending,
        }
    }

    /// Ready when nothing is left to be done for this exchange, after its last frame: what has left HTTP may be
    /// closed in one direction and go on in the other.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Watched(body) => body.poll_over(cx),
            _ => Poll::Ready(()),
        }
    }

    /// Ready when the request that this is the answer to has ended.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        match self {
            Self::FromHop(body) => body.poll_upload(cx),
            Self::Switched(body) => body.poll_upload(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Incoming(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map_ok(data_apart)
                .map_ok(without_head_fields)
                .map_err(|_| ProxyError::DownstreamBody),
            Self::Http2(recv) => recv
                .poll_frame(cx)
                .map_ok(data_apart)
                .map_ok(without_head_fields)
                .map_err(|_| ProxyError::DownstreamBody),
            Self::Replay(replay) => replay.poll_frame(cx),
            Self::Tee(tee) => tee.poll_frame(cx),
            Self::Copy(copy) => copy.poll_frame(cx),
            Self::Tunnel(body) => body.poll_frame(cx).map_err(|_| ProxyError::DownstreamBody),
            Self::Switched(body) => body.poll_frame(cx),
            Self::FromHttp1(body) => body
                .poll_frame(cx)
                .map_ok(data_apart)
                .map_ok(without_head_fields),
            Self::FromHop(body) => body
                .poll_frame(cx)
                .map_ok(data_apart)
                .map_ok(without_head_fields),
            #[cfg(test)]
            Self::Frames(frames) => Poll::Ready(frames.pop_front().map(Ok)),
            Self::Begun(body) => body.poll_frame(cx),
            Self::Watched(body) => body.poll_frame(cx),
            Self::Unsaid(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Http2(recv) => recv.is_end_stream(),
            Self::Replay(replay) => replay.is_end_stream(),
            Self::Tee(tee) => tee.is_end_stream(),
            Self::Copy(copy) => copy.is_end_stream(),
            Self::Tunnel(body) => body.is_end_stream(),
            Self::Switched(body) => body.is_end_stream(),
            Self::FromHttp1(body) => body.is_end_stream(),
            Self::FromHop(body) => body.is_end_stream(),
            #[cfg(test)]
            Self::Frames(frames) => frames.is_empty(),
            Self::Begun(body) => body.is_end_stream(),
            Self::Watched(body) => body.is_end_stream(),
            Self::Unsaid(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => u64::try_from(bytes.len())
                .map_or_else(|_| SizeHint::default(), SizeHint::with_exact),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Replay(replay) => replay.size_hint(),
            Self::Tee(tee) => tee.size_hint(),
            Self::FromHttp1(body) => body.size_hint(),
            Self::Watched(body) => body.size_hint(),
            Self::Unsaid(body) => body.size_hint(),
            #[cfg(test)]
            Self::Frames(_) => SizeHint::default(),
            Self::Http2(_)
            | Self::Copy(_)
            | Self::FromHop(_)
            | Self::Begun(_)
            | Self::Tunnel(_)
            | Self::Switched(_) => SizeHint::default(),
        }
    }
}

fn without_head_fields(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        headers::clean_trailers(trailers);
    }
    frame
}

/// A body received over HTTP/2. Flow-control credit is returned as soon as a frame is taken: the side that it
/// goes to has a window of its own, and takes no frame before there is room.
#[derive(Debug)]
pub struct RecvBody {
    recv: h2::RecvStream,
    data_done: bool,
    /// Who waits to be told before it sends any of this.
    expects: Option<Interim>,
}

impl RecvBody {
    /// Wraps a stream's receiving half.
    pub fn new(recv: h2::RecvStream) -> Self {
        Self {
            recv,
            data_done: false,
            expects: None,
        }
    }

    /// `caller` sends it only when told to, which is as soon as somebody wants it.
    pub(super) fn expecting(mut self, caller: Interim) -> Self {
        self.expects = Some(caller);
        self
    }

    /// Whether nothing more will come.
    pub fn is_end_stream(&self) -> bool {
        self.recv.is_end_stream()
    }

    /// The next frame; after the last one, `None`.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(caller) = self.expects.take() {
            caller.go_on();
        }
        if !self.data_done {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    // An error means that the stream is over, which the next poll reports.
                    let _ = self.recv.flow_control().release_capacity(bytes.len());
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_done = true,
            }
        }
        match ready!(self.recv.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}
