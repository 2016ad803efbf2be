//! A request body that can be sent again: kept while it passes, as long as it is small.
//!
//! Nothing is read ahead: an attempt pulls from the caller at the upstream's pace, and what it pulled stays in
//! memory up to the policy's limit (default 64 KiB). Beyond that the copy is dropped and with it the right to
//! repeat; the attempt under way is not disturbed.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::error::ProxyError;

use super::Body;

/// Chunks whose sum is no more become one.
const JOINED_MAX: usize = 1024;

/// What several attempts share.
#[derive(Debug, Clone)]
pub struct Replay(Rc<RefCell<Kept>>);

#[derive(Debug)]
struct Kept {
    source: Body,
    chunks: VecDeque<Bytes>,
    /// How many of `chunks` the attempt has read.
    read: usize,
    /// Nobody will begin anew: what has been read is not kept.
    released: bool,
    trailers: Option<HeaderMap>,
    bytes: usize,
    bytes_max: usize,
    /// The last that asked the source for more waits for it.
    waits: bool,
    /// How the source ended, if it has.
    ended: Option<Result<(), ProxyError>>,
    /// Something passed that is not kept.
    lost: bool,
    /// All that came from the caller, kept or not.
    passed: u64,
    /// Number of the attempt that may read.
    attempt: u32,
    /// Nothing more is taken from the source until the next attempt.
    paused: bool,
    /// Whoever found it paused.
    stalled: Option<Waker>,
    size: SizeHint,
}

/// One attempt's view.
#[derive(Debug)]
pub struct ReplayBody {
    kept: Rc<RefCell<Kept>>,
    attempt: u32,
    begun: bool,
    trailers_done: bool,
}

impl Replay {
    /// Keeps at most `bytes_max` of `source`.
    pub fn new(source: Body, bytes_max: usize) -> Self {
        let size = source.size_hint();
        Self(Rc::new(RefCell::new(Kept {
            source,
            chunks: VecDeque::new(),
            read: 0,
            released: false,
            trailers: None,
            bytes: 0,
            bytes_max,
            waits: false,
            ended: None,
            lost: false,
            passed: 0,
            attempt: 0,
            paused: false,
            stalled: None,
            size,
        })))
    }

    /// The whole body, from its beginning. Ends the view of any earlier attempt.
    ///
    /// `None` when the beginning is gone.
    pub fn attempt(&self) -> Option<ReplayBody> {
        let mut kept = self.0.borrow_mut();
        if !kept.is_whole() {
            return None;
        }
        kept.end_attempt();
        kept.paused = false;
        kept.read = 0;
        let attempt = kept.attempt;
        drop(kept);
        Some(ReplayBody {
            kept: self.0.clone(),
            attempt,
            begun: false,
            trailers_done: false,
        })
    }

    /// Another attempt will follow: until then nothing more is taken from the caller, so that what is kept cannot
    /// outgrow its bound meanwhile. The attempt under way waits, and is not disturbed otherwise.
    pub fn pause(&self) {
        self.0.borrow_mut().paused = true;
    }

    /// Ends the view of the attempt under way.
    pub fn end_attempt(&self) {
        self.0.borrow_mut().end_attempt();
    }

    /// Bytes that came from the caller so far.
    pub fn bytes_passed(&self) -> u64 {
        self.0.borrow().passed
    }

    /// Whether an attempt waits for the caller to send more: what it does not get done meanwhile is not its endpoint's fault.
    pub fn waits_for_caller(&self) -> bool {
        self.0.borrow().waits
    }

    /// Whether another attempt is possible.
    pub fn is_possible(&self) -> bool {
        self.0.borrow().is_whole()
    }

    /// No further attempt will be made: what the one under way has read is let go, and nothing more is kept.
    pub fn release(&self) {
        let mut kept = self.0.borrow_mut();
        kept.released = true;
        let read = kept.read.min(kept.chunks.len());
        kept.chunks.drain(..read);
        kept.chunks.shrink_to_fit();
        kept.read = 0;
    }
}

impl Kept {
    /// Whether an attempt could begin.
    fn is_whole(&self) -> bool {
        !self.lost && !self.released && !matches!(self.ended, Some(Err(_)))
    }

    fn end_attempt(&mut self) {
        self.attempt += 1;
        if let Some(stalled) = self.stalled.take() {
            stalled.wake();
        }
    }

    /// The next of the chunks that were kept.
    fn again(&mut self) -> Option<Bytes> {
        if self.released {
            return self.chunks.pop_front();
        }
        let chunk = self.chunks.get(self.read).cloned()?;
        self.read += 1;
        Some(chunk)
    }

    /// Pulls one frame from the caller and keeps it if it fits.
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let polled = Pin::new(&mut self.source).poll_frame(cx);
        self.waits = polled.is_pending();
        match ready!(polled) {
            None => {
                self.ended = Some(Ok(()));
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.ended = Some(Err(error.clone()));
                Poll::Ready(Some(Err(error)))
            }
            Some(Ok(frame)) => {
                if let Some(chunk) = frame.data_ref() {
                    self.keep(chunk.clone());
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.trailers = Some(trailers.clone());
                    self.ended = Some(Ok(()));
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn keep(&mut self, chunk: Bytes) {
        self.passed += u64::try_from(chunk.len()).unwrap_or(0);
        if self.lost || self.released {
            return;
        }
        self.bytes = self.bytes.saturating_add(chunk.len());
        if self.bytes > self.bytes_max {
            self.lost = true;
            self.chunks = VecDeque::new();
            self.read = 0;
        } else {
            self.push(chunk);
            self.read = self.chunks.len();
        }
    }

    /// Small chunks are joined: each would hold a place here, and the buffer that it was read into. Called only when all
    /// that is kept has been read.
    fn push(&mut self, chunk: Bytes) {
        let joins = |last: &mut Bytes| last.len() + chunk.len() <= JOINED_MAX;
        let Some(last) = self.chunks.pop_back_if(joins) else {
            return self.chunks.push_back(chunk);
        };
        let copied = |shared: Bytes| BytesMut::from(shared.as_ref());
        let mut joined = last.try_into_mut().unwrap_or_else(copied);
        joined.extend_from_slice(&chunk);
        self.chunks.push_back(joined.freeze());
    }
}

impl ReplayBody {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let mut kept = self.kept.borrow_mut();
        if kept.attempt != self.attempt {
            return Poll::Ready(Some(Err(ProxyError::Internal {
                what: "an abandoned attempt still reads its body",
            })));
        }
        self.begun = true;
        if let Some(chunk) = kept.again() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &kept.ended {
            Some(Ok(())) if self.trailers_done => return Poll::Ready(None),
            Some(Ok(())) => {
                self.trailers_done = true;
                return Poll::Ready(
                    kept.trailers
                        .clone()
                        .map(|trailers| Ok(Frame::trailers(trailers))),
                );
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error.clone()))),
            None if kept.paused => {
                kept.stalled = Some(cx.waker().clone());
                return Poll::Pending;
            }
            None => {}
        }
        let frame = ready!(kept.poll_source(cx));
        if let Some(Ok(frame)) = &frame
            && frame.is_trailers()
        {
            self.trailers_done = true;
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let kept = self.kept.borrow();
        let all_read = kept.read >= kept.chunks.len();
        match &kept.ended {
            Some(Ok(())) => all_read && (self.trailers_done || kept.trailers.is_none()),
            Some(Err(_)) => false,
            None => all_read && kept.source.is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        if self.begun {
            SizeHint::default()
        } else {
            self.kept.borrow().size
        }
    }
}
