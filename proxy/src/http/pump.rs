//! Body → HTTP/2 stream, at the pace of the peer's window.

use std::{future::poll_fn, pin::Pin, task::Poll};

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
pub const WITH_HEAD_MAX: usize = 16 * 1024;

/// Sends all of `body`, with its trailers, and ends the stream. `early`: so many bytes at its beginning are left with `h2`
/// whether the peer's window has room for them yet or not.
///
/// # Errors
/// See [`PumpError`]. A dropped future resets the stream as soon as `send` is dropped too.
pub async fn pump(
    body: &mut Body,
    send: &mut SendStream<Bytes>,
    mut early: usize,
) -> Result<(), PumpError> {
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
                if !bytes.is_empty() && bytes.len() <= early {
                    early -= bytes.len();
                    send.send_data(bytes, last).map_err(|_| PumpError::Peer)?;
                } else {
                    early = 0;
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
