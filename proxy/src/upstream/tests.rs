//! The hop against an HTTP/2 peer that misbehaves on purpose: what is known of a failed request's effect.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{Reason, server};
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::{
    net::{TcpListener, TcpStream},
    task::spawn_local,
};

use super::*;
use crate::{
    error::{Processing, ProxyError},
    http::{Body, Interim},
    tcp::Stream,
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
        processing(&hop.exchange(get(), &Interim::default()).await),
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
        processing(&hop.exchange(get(), &Interim::default()).await),
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
        processing(&hop.exchange(get(), &Interim::default()).await),
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
    hop.exchange(get(), &Interim::default()).await.unwrap();
    while !hop.is_closed() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        processing(&hop.exchange(get(), &Interim::default()).await),
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
    let exchange = spawn_local(async move { hop.exchange(get(), &Interim::default()).await });
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
    let frame = http_body::Frame::trailers(trailers.clone());
    let body = crate::http::Replay::new(Body::from_frames([frame]), 0);
    let request = Request::post("http://a.b/")
        .body(Body::Replay(body.attempt().unwrap()))
        .unwrap();
    let response = hop.exchange(request, &Interim::default()).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "body");
}
