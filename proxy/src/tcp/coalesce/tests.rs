//! Connections of one worker share a buffer and never each other's bytes.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// Takes as much of each write as it is told, and nothing when it is told 0.
#[derive(Clone, Default)]
struct Slow(Rc<RefCell<(VecDeque<usize>, Vec<u8>)>>);

impl AsyncRead for Slow {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Slow {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (takes, taken) = &mut *self.0.borrow_mut();
        let most = takes.pop_front().unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        taken.extend_from_slice(&buf[..most]);
        Poll::Ready(Ok(most))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What one connection does: it writes so many bytes, or ends its turn.
fn steps() -> impl Strategy<Value = Vec<(usize, Option<usize>)>> {
    let size = prop_oneof![4 => 1..2_000_usize, 1 => 1..90_000_usize];
    prop::collection::vec((0..3_usize, prop::option::weighted(0.7, size)), 1..60)
}

proptest! {
    #[test]
    fn each_peer_gets_what_was_written_to_it_and_in_order(
        steps in steps(),
        takes in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0), 1..40_000_usize], 0..40), 3),
    ) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let peers: Vec<Slow> = takes
            .into_iter()
            .map(|takes| Slow(Rc::new(RefCell::new((takes.into(), Vec::new())))))
            .collect();
        let mut ends: Vec<_> = peers.iter().cloned().map(coalesce).collect();
        let mut written = [const { Vec::new() }; 3];
        for (number, (which, size)) in steps.into_iter().enumerate() {
            let (near, flusher) = &mut ends[which];
            let Some(size) = size else {
                let _ = flusher.poll_flush(&mut cx);
                continue;
            };
            let byte = |at| u8::try_from(which * 80 + (number * 7 + at) % 80).unwrap();
            let bytes: Vec<u8> = (0..size).map(byte).collect();
            if let Poll::Ready(taken) = Pin::new(near).poll_write(&mut cx, &bytes) {
                written[which].extend_from_slice(&bytes[..taken.unwrap()]);
            }
        }
        for ((peer, (_, flusher)), written) in peers.iter().zip(&ends).zip(&written) {
            while flusher.poll_flush(&mut cx).is_pending() {}
            prop_assert!(peer.0.borrow().1 == *written);
            prop_assert_eq!(flusher.0.borrow().bytes.capacity(), 0, "a connection that waits has no buffer");
        }
    }
}

#[test]
fn what_a_slow_peer_leaves_waits_in_a_buffer_of_its_size() {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let peer = Slow::default();
    peer.0.borrow_mut().0 = [990, 0].into();
    let (mut near, flusher) = coalesce(peer);
    let wrote = Pin::new(&mut near).poll_write(&mut cx, &[7; 1_000]);
    assert!(matches!(wrote, Poll::Ready(Ok(1_000))));
    assert!(flusher.poll_flush(&mut cx).is_pending());
    let pending = flusher.0.borrow();
    assert_eq!((pending.bytes.len(), pending.written), (10, 0));
    assert!(pending.bytes.capacity() < 100);
    assert!(
        SPARE.take().capacity() >= PENDING_MAX,
        "the worker has its buffer again"
    );
}
