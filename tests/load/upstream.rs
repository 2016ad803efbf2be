//! The server behind the proxies, in a process of its own on core 0.

use std::convert::Infallible;

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use clap::ValueEnum as _;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use usher_tests::{Process, eventually};

use crate::{process, protocol::Protocol};

/// What a source of bytes writes at once.
const CHUNK: usize = 256 * 1024;

/// A running one; killed when dropped, whatever happens to the measurement.
pub(crate) struct Upstream {
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
    /// Where it takes whatever is posted, over HTTP/1.1: trace collectors of peers.
    pub(crate) collector: u16,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Upstream {
    pub(crate) async fn start(protocol: Protocol) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = std::process::Command::new(std::env::current_exe()?);
        let protocol = protocol.to_possible_value();
        let protocol = protocol.context("a protocol has a name")?;
        command.args(["upstream", protocol.get_name()]);
        let process = Process::start(command, folder.path().join("upstream.log"));
        process::pin(process.pid(), 0)?;
        let ports = eventually("the upstream says where it listens", async || {
            let printed = process.printed();
            let mut ports = printed.lines().next()?.split(' ').map(str::parse::<u16>);
            Some((ports.next()?.ok()?, ports.next()?.ok()?))
        })
        .await;
        Ok(Self {
            port: ports.0,
            collector: ports.1,
            _process: process,
            _folder: folder,
        })
    }
}

/// Answers every request with 200 and 1 KiB, until it is killed; prints its two ports.
pub(crate) async fn serve(protocol: Protocol) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let collector = TcpListener::bind("127.0.0.1:0").await?;
    println!(
        "{} {}",
        listener.local_addr()?.port(),
        collector.local_addr()?.port()
    );
    let body = Bytes::from(vec![b'u'; 1024]);
    loop {
        let (stream, taken) = tokio::select! {
            accepted = listener.accept() => (accepted?.0, protocol),
            accepted = collector.accept() => (accepted?.0, Protocol::Http1),
        };
        stream.set_nodelay(true)?;
        match taken {
            Protocol::Http1 => tokio::spawn(http1(stream, body.clone())),
            Protocol::Http2 => tokio::spawn(http2(stream, body.clone())),
            Protocol::Grpc => tokio::spawn(grpc(stream, message(&body))),
            Protocol::Tcp => tokio::spawn(source(stream)),
        };
    }
}

async fn http1(stream: TcpStream, body: Bytes) {
    let answer = service_fn(move |_| whole(body.clone()));
    let _ = hyper::server::conn::http1::Builder::new()
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn http2(stream: TcpStream, body: Bytes) {
    let answer = service_fn(move |_| whole(body.clone()));
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn whole(body: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(body)))
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

/// Reads how many bytes are wanted (eight bytes, the highest first), writes as many, and so on.
async fn source(mut stream: TcpStream) {
    let chunk = vec![b'u'; CHUNK];
    while let Ok(mut wanted) = stream.read_u64().await {
        while wanted > 0 {
            let length = usize::try_from(wanted).map_or(CHUNK, |wanted| wanted.min(CHUNK));
            let part = chunk.get(..length).unwrap_or_default();
            if stream.write_all(part).await.is_err() {
                return;
            }
            wanted -= part.len() as u64;
        }
    }
}
