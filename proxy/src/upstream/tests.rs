//! The hop against an HTTP/2 peer that misbehaves on purpose: what is known of a failed request's effect.

use std::{net::SocketAddr, pin::pin};

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::{Reason, server};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    task::spawn_local,
};

use super::*;
use crate::{
    error::{Processing, ProxyError},
    http::{Body, Interim, Replay},
    tcp::Stream,
    telemetry::trace_context::{Caller, ensure_request_id},
};

type Connection = server::Connection<TcpStream, Bytes>;

async fn hop<F, Fut>(peer: F) -> Hop
where
    F: FnOnce(Connection) -> Fut + 'static,
    Fut: Future<Output = Result<(), h2::Error>> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    spawn_local(async move {
        let (stream, _) = listener.accept().await.unwrap();
        peer(server::handshake(stream).await.unwrap()).await
    });
    let stream = Stream::Plain(TcpStream::connect(address).await.unwrap());
    handshake_hop(stream, address, None, ()).await.unwrap()
}

fn get() -> Request<Body> {
    Request::get("http://account.bank/")
        .body(Body::Empty)
        .unwrap()
}

fn processing(result: &Result<Response<Body>, ProxyError>) -> Processing {
    result
        .as_ref()
        .map(Response::status)
        .unwrap_err()
        .processing()
}

#[tokio::test(flavor = "local")]
async fn a_refused_stream_is_provably_unprocessed() {
    let mut hop = hop(async |mut connection| {
        while let Some(stream) = connection.accept().await {
            stream?.1.send_reset(Reason::REFUSED_STREAM);
        }
        Ok(())
    })
    .await;
    assert_eq!(
        processing(&hop.exchange(&mut get(), &Interim::default()).await),
        Processing::Unprocessed
    );
}

#[tokio::test(flavor = "local")]
async fn any_other_reset_may_have_been_processed() {
    let mut hop = hop(async |mut connection| {
        while let Some(stream) = connection.accept().await {
            stream?.1.send_reset(Reason::INTERNAL_ERROR);
        }
        Ok(())
    })
    .await;
    assert_eq!(
        processing(&hop.exchange(&mut get(), &Interim::default()).await),
        Processing::Unknown
    );
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_breaks_may_have_processed() {
    let mut hop = hop(async |mut connection| {
        let accepted = connection.accept().await;
        drop((accepted, connection));
        Ok(())
    })
    .await;
    assert_eq!(
        processing(&hop.exchange(&mut get(), &Interim::default()).await),
        Processing::Unknown
    );
    assert!(hop.is_closed());
}

#[tokio::test(flavor = "local")]
async fn after_goaway_no_request_is_sent() {
    let mut hop = hop(async |mut connection| {
        let (_, mut respond) = connection.accept().await.unwrap()?;
        connection.graceful_shutdown();
        respond.send_response(Response::new(()), true)?;
        std::future::poll_fn(|cx| connection.poll_closed(cx)).await
    })
    .await;
    hop.exchange(&mut get(), &Interim::default()).await.unwrap();
    while !hop.is_closed() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        processing(&hop.exchange(&mut get(), &Interim::default()).await),
        Processing::Unprocessed
    );
}

#[tokio::test(flavor = "local")]
async fn a_dropped_exchange_resets_its_stream() {
    let (told, hears) = tokio::sync::oneshot::channel();
    let mut hop = hop(async move |mut connection| {
        let (_, mut respond) = connection.accept().await.unwrap()?;
        let reset = spawn_local(async move {
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            told.send(reason.unwrap()).unwrap();
        });
        connection.accept().await;
        reset.await.unwrap();
        Ok(())
    })
    .await;
    let exchange = spawn_local(async move { hop.exchange(&mut get(), &Interim::default()).await });
    tokio::task::yield_now().await;
    exchange.abort();
    assert_eq!(hears.await.unwrap(), Reason::CANCEL);
}

#[tokio::test(flavor = "local")]
async fn trailers_arrive_after_the_body() {
    let mut hop = hop(async |mut connection| {
        let (request, mut respond) = connection.accept().await.unwrap()?;
        spawn_local(async move {
            let sent = request.into_body().trailers().await.unwrap();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream
                .send_data(Bytes::from_static(b"body"), false)
                .unwrap();
            stream.send_trailers(sent.unwrap_or_default()).unwrap();
        });
        connection.accept().await;
        Ok(())
    })
    .await;
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("checksum"),
        http::HeaderValue::from_static("1"),
    )]);
    let frame = Frame::trailers(trailers.clone());
    let body = Replay::new(Body::from_frames([frame]), 0);
    let mut request = Request::post("http://a.b/")
        .body(Body::Replay(body.attempt().unwrap()))
        .unwrap();
    let response = hop
        .exchange(&mut request, &Interim::default())
        .await
        .unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "body");
}

fn post(frames: usize, bytes: usize) -> (Request<Body>, Replay) {
    let frame = || Frame::data(Bytes::from(vec![b'x'; bytes]));
    let body = Body::from_frames((0..frames).map(|_| frame()));
    let body = Replay::new(body, 1024 * 1024);
    let request = Request::post("http://account.bank/")
        .body(Body::Replay(body.attempt().unwrap()))
        .unwrap();
    (request, body)
}

/// How much of a body is on its way before the connection has had a turn.
async fn taken_at_once(frames: usize, bytes: usize) -> u64 {
    let mut hop = hop(async |_| std::future::pending().await).await;
    let (mut request, body) = post(frames, bytes);
    let interim = Interim::default();
    let mut exchange = pin!(hop.exchange(&mut request, &interim));
    assert!(exchange.as_mut().now_or_never().is_none());
    body.bytes_passed()
}

#[tokio::test(flavor = "local")]
async fn a_small_body_leaves_with_its_head() {
    assert_eq!(taken_at_once(2, 1024).await, 2 * 1024);
}

#[tokio::test(flavor = "local")]
async fn a_large_body_waits_for_its_window() {
    // 16 KiB, and the frame that waits.
    assert_eq!(taken_at_once(4, 8 * 1024).await, 3 * 8 * 1024);
}

#[tokio::test(flavor = "local")]
async fn a_peer_that_answers_and_reads_nothing_makes_us_keep_a_bounded_part() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_local(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut builder = server::Builder::new();
        let handshake = builder.initial_window_size(0).handshake(stream);
        let mut connection: Connection = handshake.await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(Response::new(()), true).unwrap();
        }
    });
    let stream = Stream::Plain(TcpStream::connect(address).await.unwrap());
    let mut hop = handshake_hop(stream, address, None, ()).await.unwrap();
    let mut before = 0;
    for _ in 0..100 {
        before = hop.unwritten();
        let (mut request, _) = post(1, 16 * 1024);
        let answer = hop.exchange(&mut request, &Interim::default()).await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert!(hop.unwritten() <= 1024 * 1024, "{}", hop.unwritten());
    assert_eq!(hop.unwritten(), before, "it goes on growing");
}

#[tokio::test(flavor = "local")]
async fn what_is_written_makes_room() {
    let mut hop = hop(async |mut connection| {
        while let Some(stream) = connection.accept().await {
            let (request, mut respond) = stream?;
            spawn_local(async move {
                let mut body = request.into_body();
                while body.data().await.is_some() {}
                respond.send_response(Response::new(()), true)
            });
        }
        Ok(())
    })
    .await;
    for _ in 0..3 {
        let (mut request, _) = post(1, 1024);
        hop.exchange(&mut request, &Interim::default())
            .await
            .unwrap();
    }
    // `h2` keeps the last frame that it wrote.
    assert!(hop.unwritten() <= 1024, "{}", hop.unwritten());
}

#[tokio::test(flavor = "local")]
async fn names_of_fields_that_are_new_each_time_are_spelled_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = Stream::Plain(TcpStream::connect(address).await.unwrap());
    let (mut peer, _) = listener.accept().await.unwrap();
    let hop = handshake_hop(stream, address, None, ()).await.unwrap();
    let mut preface = [0; 24];
    peer.read_exact(&mut preface).await.unwrap();
    let mut lengths = Vec::new();
    for id in ["11111111", "22222222", "33333333"] {
        let mut request = get();
        let random = id.parse().unwrap();
        ensure_request_id(request.headers_mut(), Caller::Untrusted, random);
        let mut hop = hop.clone();
        spawn_local(async move {
            hop.exchange(&mut request, &Interim::default())
                .await
                .map(drop)
        });
        lengths.push(next_header_block(&mut peer).await);
    }
    let value = 36 * 6 / 8;
    let spelled = "x-request-id".len() * 5 / 8;
    // The rest: four pseudo-headers, and index and length of the one field.
    assert!(lengths[1] < value + spelled, "{lengths:?}");
    assert!(lengths[2] < value + spelled, "{lengths:?}");
}

async fn next_header_block(peer: &mut TcpStream) -> usize {
    const HEADERS: u8 = 1;
    loop {
        let mut head = [0; 9];
        peer.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        peer.read_exact(&mut payload).await.unwrap();
        if head[3] == HEADERS {
            return length;
        }
    }
}
