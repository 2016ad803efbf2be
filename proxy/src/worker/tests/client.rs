//! Callers of the kinds that tests need: raw bytes, and HTTP/2 with prior knowledge.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::combinators::BoxBody;
use hyper_util::rt::{TokioExecutor, TokioIo};

/// Bytes there, and all that comes back until it closes or pauses.
pub(super) fn talk(to: SocketAddr, request: &[u8]) -> String {
    heard(to, request).0
}

/// The same, and whether the connection was reset.
pub(super) fn heard(to: SocketAddr, request: &[u8]) -> (String, bool) {
    let mut stream = match TcpStream::connect(to) {
        // Accepted and reset before `connect` has returned.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            return (String::new(), true);
        }
        connected => connected.unwrap(),
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    if let Err(error) = stream.write_all(request) {
        // It was reset before it had been written to.
        let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        return (String::new(), kinds.contains(&error.kind()));
    }
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    let reset = loop {
        match stream.read(&mut chunk) {
            Ok(0) => break false,
            Ok(read) => answer.extend_from_slice(&chunk[..read]),
            Err(error) => break error.kind() == io::ErrorKind::ConnectionReset,
        }
    };
    (String::from_utf8_lossy(&answer).into_owned(), reset)
}

pub(super) fn grpc_request<B>(authority: &str, body: B) -> Request<B> {
    Request::post(format!("http://{authority}/bank.Account/Debit"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(body)
        .unwrap()
}

pub(super) async fn h2c(
    to: SocketAddr,
) -> hyper::client::conn::http2::SendRequest<BoxBody<Bytes, Infallible>> {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}
