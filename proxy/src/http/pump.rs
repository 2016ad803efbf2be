//! Body → HTTP/2 stream, at the pace of the peer's window.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body as _, Frame};

use crate::error::ProxyError;

use super::Body;

/// Why a body did not get through. The stream has been reset in every case.
#[derive(Debug)]
pub enum PumpError {
    /// The peer wants no more of it.
    Peer,
    /// The body's own source broke off.
    Source(ProxyError),
}

enum Next {
    Frame(Option<Result<Frame<Bytes>, ProxyError>>),
    Reset,
}

/// A request's first bytes that leave together with its head, 16 KiB: what most requests have at all. `h2` gives a stream no
/// window before its connection has opened it, so who waits for one sends the head alone and the body a turn later.
const WITH_HEAD_MAX: usize = 16 * 1024;

/// Such bytes of all requests on a connection that `h2` has not written yet. A peer that gives no window, and answers all the
/// same, would else make us keep ever more of them: `h2` forgets no byte of a stream that both sides have ended.
const WITH_HEADS_MAX: usize = 1024 * 1024;

/// One connection's.
#[derive(Debug, Clone, Default)]
pub struct WithHead(Arc<AtomicUsize>);

/// Counts until `h2` has written it, or dropped it.
struct Counted {
    bytes: Bytes,
    all: Arc<AtomicUsize>,
}

impl WithHead {
    /// What is counted now.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// The same bytes, if there is room for them.
    fn enter(&self, bytes: &Bytes) -> Option<Bytes> {
        // One thread counts up; `h2` may drop what it has on another only when that one is gone.
        if self.0.load(Relaxed) + bytes.len() > WITH_HEADS_MAX {
            return None;
        }
        self.0.fetch_add(bytes.len(), Relaxed);
        Some(Bytes::from_owner(Counted {
            bytes: bytes.clone(),
            all: self.0.clone(),
        }))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes.len(), Relaxed);
    }
}

/// Sends all of `body`, with its trailers, and ends the stream. `with_head`: its first bytes are left with `h2` whether the
/// peer's window has room for them yet or not.
///
/// # Errors
/// See [`PumpError`]. A dropped future resets the stream as soon as `send` is dropped too.
pub async fn pump(
    body: &mut Body,
    send: &mut SendStream<Bytes>,
    with_head: Option<WithHead>,
) -> Result<(), PumpError> {
    let mut left = WITH_HEAD_MAX;
    loop {
        let next = poll_fn(|cx| {
            if send.poll_reset(cx).is_ready() {
                return Poll::Ready(Next::Reset);
            }
            Pin::new(&mut *body).poll_frame(cx).map(Next::Frame)
        })
        .await;
        let frame = match next {
            Next::Reset => return Err(PumpError::Peer),
            Next::Frame(None) => {
                return send
                    .send_data(Bytes::new(), true)
                    .map_err(|_| PumpError::Peer);
            }
            Next::Frame(Some(Ok(frame))) => frame,
            Next::Frame(Some(Err(error))) => {
                send.send_reset(reset_reason(&error));
                return Err(PumpError::Source(error));
            }
        };
        match frame.into_data() {
            Ok(bytes) => {
                let last = body.is_end_stream();
                let fits = !bytes.is_empty() && bytes.len() <= left;
                let entered = with_head.as_ref().filter(|_| fits);
                if let Some(bytes) = entered.and_then(|with_head| with_head.enter(&bytes)) {
                    left -= bytes.len();
                    send.send_data(bytes, last).map_err(|_| PumpError::Peer)?;
                } else {
                    left = 0;
                    send_bytes(bytes, last, send, body).await?;
                }
                if last {
                    return Ok(());
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return send.send_trailers(trailers).map_err(|_| PumpError::Peer);
            }
        }
    }
}

/// While there is no room nobody polls `body`, so it is asked for its bounds here: a peer that reads nothing
/// must not keep a stream for ever.
async fn send_bytes(
    mut bytes: Bytes,
    last: bool,
    send: &mut SendStream<Bytes>,
    body: &mut Body,
) -> Result<(), PumpError> {
    if bytes.is_empty() {
        if last {
            return send.send_data(bytes, true).map_err(|_| PumpError::Peer);
        }
        return Ok(());
    }
    while !bytes.is_empty() {
        send.reserve_capacity(bytes.len());
        let mut room = send.capacity();
        if room == 0 {
            let waited = poll_fn(|cx| match send.poll_capacity(cx) {
                Poll::Ready(room) => Poll::Ready(Ok(room)),
                Poll::Pending => body.poll_bounds(cx).map(Err),
            });
            room = match waited.await {
                Ok(Some(Ok(room))) => room,
                Ok(Some(Err(_)) | None) => return Err(PumpError::Peer),
                Err(error) => {
                    send.send_reset(reset_reason(&error));
                    return Err(PumpError::Source(error));
                }
            };
        }
        let chunk = bytes.split_to(room.min(bytes.len()));
        let end = last && bytes.is_empty();
        send.send_data(chunk, end).map_err(|_| PumpError::Peer)?;
    }
    Ok(())
}

/// How a body's failure is told to the HTTP/2 peer that was to receive it.
fn reset_reason(error: &ProxyError) -> Reason {
    match error {
        ProxyError::DownstreamGone | ProxyError::DownstreamBody => Reason::CANCEL,
        _ => Reason::INTERNAL_ERROR,
    }
}
