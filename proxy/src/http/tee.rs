//! A request body that is copied while it passes.
//!
//! The original is pulled at its own upstream's pace and never waits for a copy. What a copy has not been asked for yet
//! is kept for it, at most [`LAG_MAX`]; one that falls further behind is given up. Chunks are shared, not copied: what
//! is kept costs memory only until the slower of the two has sent it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use crate::error::ProxyError;

use super::Body;

/// How many bytes a copy may be behind. 64 KiB, as what is kept for retries: a mirror that keeps pace with its primary
/// never has more outstanding than a window. A single larger chunk is let pass.
pub(super) const LAG_MAX: usize = 64 * 1024;

/// The original; wraps the caller's body.
#[derive(Debug)]
pub struct Tee {
    source: Body,
    lanes: Vec<Rc<RefCell<Lane>>>,
}

/// One copy.
#[derive(Debug)]
pub struct CopyBody(Rc<RefCell<Lane>>);

/// Looks at how a copy fares.
#[derive(Debug)]
pub struct CopyWatch(Rc<RefCell<Lane>>);

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The original has passed.
    Whole,
    /// It broke off, or was not needed to its end.
    Cut,
    /// The copy fell behind.
    Lagged,
}

#[derive(Debug, Default)]
struct Lane {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    trailers: Option<HeaderMap>,
    fate: Option<Fate>,
    /// Nobody reads any more.
    unread: bool,
    reader: Option<Waker>,
    watcher: Option<Waker>,
}

impl Tee {
    /// Wraps `source`.
    pub fn new(source: Body) -> Self {
        Self {
            source,
            lanes: Vec::new(),
        }
    }

    /// One more copy, of all that has not passed yet.
    pub fn copy(&mut self) -> (CopyBody, CopyWatch) {
        let lane = Rc::new(RefCell::new(Lane::default()));
        self.lanes.push(lane.clone());
        (CopyBody(lane.clone()), CopyWatch(lane))
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let frame = ready!(Pin::new(&mut self.source).poll_frame(cx));
        for lane in &self.lanes {
            let mut lane = lane.borrow_mut();
            match &frame {
                None => lane.settle(Fate::Whole),
                Some(Err(_)) => lane.settle(Fate::Cut),
                Some(Ok(frame)) => lane.take(frame),
            }
        }
        // Nobody asks for more after the last frame where the length is known.
        if self.source.is_end_stream() {
            self.end(Fate::Whole);
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> http_body::SizeHint {
        self.source.size_hint()
    }

    fn end(&self, fate: Fate) {
        for lane in &self.lanes {
            lane.borrow_mut().settle(fate);
        }
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.end(Fate::Cut);
    }
}

impl Lane {
    fn take(&mut self, frame: &Frame<Bytes>) {
        if self.unread || self.fate.is_some() {
            return;
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        } else if let Some(chunk) = frame.data_ref() {
            if self.bytes > 0 && self.bytes.saturating_add(chunk.len()) > LAG_MAX {
                self.chunks = VecDeque::new();
                self.settle(Fate::Lagged);
                return;
            }
            self.bytes += chunk.len();
            self.chunks.push_back(chunk.clone());
        }
        wake(&mut self.reader);
    }

    /// The first word on it is the last.
    fn settle(&mut self, fate: Fate) {
        if self.fate.is_none() {
            self.fate = Some(fate);
            wake(&mut self.reader);
            wake(&mut self.watcher);
        }
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl CopyBody {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let mut lane = self.0.borrow_mut();
        match lane.fate {
            Some(Fate::Cut | Fate::Lagged) => {
                return Poll::Ready(Some(Err(ProxyError::DownstreamBody)));
            }
            Some(Fate::Whole) | None => {}
        }
        if let Some(chunk) = lane.chunks.pop_front() {
            lane.bytes = lane.bytes.saturating_sub(chunk.len());
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if let Some(trailers) = lane.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if lane.fate.is_some() {
            return Poll::Ready(None);
        }
        lane.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let lane = self.0.borrow();
        lane.fate == Some(Fate::Whole) && lane.chunks.is_empty() && lane.trailers.is_none()
    }
}

impl Drop for CopyBody {
    fn drop(&mut self) {
        let mut lane = self.0.borrow_mut();
        lane.unread = true;
        lane.chunks = VecDeque::new();
        lane.bytes = 0;
    }
}

impl CopyWatch {
    /// Ready once it is known what becomes of the copy.
    pub async fn fate(&self) -> Fate {
        std::future::poll_fn(|cx| {
            let mut lane = self.0.borrow_mut();
            match lane.fate {
                Some(fate) => Poll::Ready(fate),
                None => {
                    lane.watcher = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests;
