//! What a stream holds: nothing, unless its other side is slow.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::tcp::tests::pair;

/// Polls until nothing moves any more.
async fn settle(both: &mut Both, streams: &mut (Stream, Stream), scratch: &Scratch) {
    for _ in 0..100 {
        let (downstream, upstream) = streams;
        let polled = poll_fn(|cx| {
            let polled = both.poll(cx, (&mut *downstream, &mut *upstream), scratch);
            Poll::Ready(polled.is_ready())
        });
        assert!(!polled.await);
        tokio::task::yield_now().await;
    }
}

fn held(both: &Both) -> usize {
    both.there.held.capacity() + both.back.held.capacity()
}

#[tokio::test]
async fn an_idle_stream_holds_nothing_however_much_it_has_carried() {
    let (mut caller, downstream) = pair().await;
    let (upstream, mut called) = pair().await;
    let mut streams = (Stream::Plain(downstream), Stream::Plain(upstream));
    let (mut both, scratch) = (Both::default(), Scratch::default());
    let bulk = vec![7; 64 * 1024];
    for _ in 0..32 {
        let mut carried = vec![0; bulk.len()];
        for (from, to) in [(&mut caller, &mut called)] {
            from.write_all(&bulk).await.unwrap();
            settle(&mut both, &mut streams, &scratch).await;
            to.read_exact(&mut carried).await.unwrap();
        }
        assert_eq!(carried, bulk);
    }
    assert_eq!(both.there.bytes, 32 * 64 * 1024);
    assert_eq!(held(&both), 0);
    assert!(size_of::<Both>() <= 256, "{}", size_of::<Both>());
}

#[tokio::test]
async fn what_a_slow_reader_leaves_is_bounded_and_not_lost() {
    let (caller, downstream) = pair().await;
    let (upstream, mut called) = pair().await;
    let mut streams = (Stream::Plain(downstream), Stream::Plain(upstream));
    let (mut both, scratch) = (Both::default(), Scratch::default());
    // Until nobody takes any more.
    let mut sent = 0_usize;
    let chunk: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    loop {
        let written = write_now(&caller, chunk.get(sent % chunk.len()..).unwrap());
        settle(&mut both, &mut streams, &scratch).await;
        match written {
            0 => break,
            written => sent += written,
        }
    }
    assert!(
        held(&both) > 0 && held(&both) <= READ_MAX,
        "{}",
        held(&both)
    );
    let mut got = 0;
    let mut piece = vec![0; 64 * 1024];
    while got < sent {
        settle(&mut both, &mut streams, &scratch).await;
        let count = called.read(&mut piece).await.unwrap();
        for (at, byte) in piece.get(..count).unwrap().iter().enumerate() {
            assert_eq!(usize::from(*byte), (got + at) % 256);
        }
        got += count;
    }
    settle(&mut both, &mut streams, &scratch).await;
    assert_eq!(held(&both), 0);
}

fn write_now(stream: &TcpStream, bytes: &[u8]) -> usize {
    stream.try_write(bytes).unwrap_or(0)
}
