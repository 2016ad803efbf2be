//! Copying passes half-closes on; coalescing writes once per turn.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
};

use super::*;

pub(super) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// What ends a connection whose peer reads nothing is the kernel's, and needs minutes to be seen: this is what it is told.
#[tokio::test]
async fn only_between_sidecars_is_a_peer_that_takes_nothing_taken_for_gone() {
    let (stream, _peer) = pair().await;
    tune(&stream);
    let socket = |stream: &Stream| match stream {
        Stream::Plain(inner) => {
            let socket = socket2::SockRef::from(inner);
            (
                socket.tcp_user_timeout().unwrap(),
                socket.tcp_keepalive_retries().unwrap(),
            )
        }
        _ => panic!("plain"),
    };
    let stream = Stream::Plain(stream);
    assert_eq!(socket(&stream), (None, 2));
    stream.becomes_hop();
    assert_eq!(socket(&stream), (Some(Duration::from_secs(20)), 2));
}

/// As when a drain's grace is over, or the process is killed.
#[tokio::test]
async fn a_stream_that_is_dropped_under_way_is_reset_at_both_ends() {
    let (mut caller, downstream) = pair().await;
    let (upstream, mut called) = pair().await;
    let copying = async move {
        let (mut downstream, mut upstream) = (Stream::Plain(downstream), Stream::Plain(upstream));
        copy(&mut downstream, &mut upstream, None, &Scratch::default()).await
    };
    let talking = async {
        caller.write_all(b"question").await.unwrap();
        called.read_exact(&mut [0; 8]).await.unwrap();
    };
    tokio::select! {
        _ = copying => panic!("nobody has ended it"),
        () = talking => {}
    }
    for end in [&mut caller, &mut called] {
        let error = end.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_half_closed_stream_still_carries_the_answer() {
    let (mut caller, downstream) = pair().await;
    let (upstream, mut called) = pair().await;
    let proxy = tokio::task::LocalSet::new();
    let copying = proxy.run_until(async move {
        let (mut downstream, mut upstream) = (Stream::Plain(downstream), Stream::Plain(upstream));
        copy(&mut downstream, &mut upstream, None, &Scratch::default()).await
    });
    let talking = async {
        caller.write_all(b"question").await.unwrap();
        caller.shutdown().await.unwrap();
        let mut question = String::new();
        called.read_to_string(&mut question).await.unwrap();
        called.write_all(&vec![b'a'; 300_000]).await.unwrap();
        drop(called);
        let mut answer = Vec::new();
        caller.read_to_end(&mut answer).await.unwrap();
        (question, answer.len())
    };
    let ((copied, result), said) = tokio::join!(copying, talking);
    result.unwrap();
    assert_eq!(said, ("question".into(), 300_000));
    assert_eq!(
        copied,
        Copied {
            from_downstream: 8,
            from_upstream: 300_000
        }
    );
}

#[tokio::test]
async fn a_stream_that_breaks_off_does_not_end_cleanly() {
    let (mut caller, downstream) = pair().await;
    let (upstream, mut called) = pair().await;
    let copying = async move {
        let (mut downstream, mut upstream) = (Stream::Plain(downstream), Stream::Plain(upstream));
        copy(&mut downstream, &mut upstream, None, &Scratch::default())
            .await
            .1
    };
    let talking = async {
        called.write_all(b"half an ans").await.unwrap();
        let mut half = [0; 11];
        caller.read_exact(&mut half).await.unwrap();
        Stream::Plain(called).reset_on_close();
        caller.read_to_end(&mut Vec::new()).await
    };
    let (copied, read) = tokio::join!(copying, talking);
    assert!(matches!(copied, Err(BrokeOff::Upstream(_))));
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// The write towards who broke off is the first to notice, and the read after it finds nothing but an end.
#[tokio::test]
async fn half_an_answer_is_none_though_its_caller_is_still_talking() {
    let (mut caller, downstream) = pair().await;
    let (upstream, mut called) = pair().await;
    let copying = async move {
        let (mut downstream, mut upstream) = (Stream::Plain(downstream), Stream::Plain(upstream));
        copy(&mut downstream, &mut upstream, None, &Scratch::default())
            .await
            .1
    };
    let talking = async {
        called.write_all(b"half an ans").await.unwrap();
        let mut half = [0; 11];
        caller.read_exact(&mut half).await.unwrap();
        called.write_all(b"wer, not all").await.unwrap();
        caller.try_write(b"and another thing").unwrap();
        Stream::Plain(called).reset_on_close();
        let mut rest = Vec::new();
        let ended = caller.read_to_end(&mut rest).await;
        (rest, ended)
    };
    let (copied, (rest, ended)) = tokio::join!(copying, talking);
    assert!(matches!(copied, Err(BrokeOff::Upstream(_))), "{copied:?}");
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!(b"wer, not all".starts_with(&rest));
}

#[tokio::test]
async fn an_idle_stream_ends() {
    let (_caller, downstream) = pair().await;
    let (upstream, _called) = pair().await;
    let (mut downstream, mut upstream) = (Stream::Plain(downstream), Stream::Plain(upstream));
    let (_, result) = copy(
        &mut downstream,
        &mut upstream,
        Some(Duration::from_millis(20)),
        &Scratch::default(),
    )
    .await;
    assert!(matches!(result, Err(BrokeOff::Idle)));
}

#[derive(Default)]
struct CountsWrites {
    writes: std::rc::Rc<std::cell::RefCell<Vec<Vec<u8>>>>,
}

impl AsyncRead for CountsWrites {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for CountsWrites {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.borrow_mut().push(buf.to_vec());
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn frames_of_one_turn_leave_in_one_write() {
    let io = CountsWrites::default();
    let writes = io.writes.clone();
    let (mut near, flusher) = coalesce(io);
    near.write_all(b"head").await.unwrap();
    near.flush().await.unwrap();
    near.write_all(b"body").await.unwrap();
    near.flush().await.unwrap();
    assert!(writes.borrow().is_empty());
    std::future::poll_fn(|cx| flusher.poll_flush(cx))
        .await
        .unwrap();
    assert_eq!(*writes.borrow(), [b"headbody".to_vec()]);
}
