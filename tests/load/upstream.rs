//! The server behind the proxies.

use std::convert::Infallible;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::protocol::Protocol;

/// Answers every request on 127.0.0.1 with 200 and 1 KiB, until it is killed.
pub(crate) async fn serve(port: u16, protocol: Protocol) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let body = Bytes::from(vec![b'u'; 1024]);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match protocol {
            Protocol::Http1 => tokio::spawn(http1(stream, body.clone())),
            Protocol::Grpc => tokio::spawn(grpc(stream, message(&body))),
        };
    }
}

async fn http1(stream: TcpStream, body: Bytes) {
    let answer = service_fn(move |_| {
        let body = body.clone();
        async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

/// Headers, one message, trailers: as a unary call is answered.
async fn grpc(stream: TcpStream, message: Bytes) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let frames = [Frame::data(message.clone()), Frame::trailers(trailers)];
        let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
        async move {
            // As every server of a unary call: an answer before the request's end would reset the stream.
            let _ = request.into_body().collect().await;
            let mut response = Response::new(StreamBody::new(frames));
            let grpc = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert("content-type", grpc);
            Ok::<_, Infallible>(response)
        }
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

/// gRPC's frame: not compressed, length, payload.
pub(crate) fn message(payload: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(payload.len() + 5);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    message.extend_from_slice(&[0]);
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(payload);
    message.freeze()
}
