//! An instance's application: answers, and writes down what must not be done twice.

use std::{convert::Infallible, path::PathBuf};

use anyhow::{Result, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use super::ledger::Ledger;
use crate::{protocol::Protocol, upstream::message};

/// The header with a request's number.
pub(super) const NUMBER: &str = "x-number";

/// What it speaks, and where it writes.
#[derive(Debug, clap::Args)]
pub(crate) struct Application {
    protocol: Protocol,
    ledger: PathBuf,
    /// On 127.0.0.1; 0: any that is free. The address is the first line that it prints.
    #[arg(long, env = "PORT")]
    port: u16,
}

/// Until it is killed.
pub(crate) async fn serve(arguments: &Application) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", arguments.port)).await?;
    println!("{}", listener.local_addr()?);
    let ledger = Ledger::at(arguments.ledger.clone());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match arguments.protocol {
            Protocol::Http1 => tokio::spawn(http1(stream, ledger.clone())),
            Protocol::Grpc => tokio::spawn(grpc(stream, ledger.clone())),
            Protocol::Tcp => tokio::spawn(echo(stream)),
            Protocol::Http2 => bail!("no application of that kind"),
        };
    }
}

async fn http1(stream: TcpStream, ledger: Ledger) {
    let answer = service_fn(move |request| answer(request, ledger.clone(), "text/plain"));
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn grpc(stream: TcpStream, ledger: Ledger) {
    let answer = service_fn(move |request| answer(request, ledger.clone(), "application/grpc"));
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

type Frames = futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>;

/// What changes something is written down before it is answered.
async fn answer(
    request: Request<Incoming>,
    ledger: Ledger,
    content_type: &'static str,
) -> Result<Response<StreamBody<Frames>>> {
    let (head, body) = request.into_parts();
    body.collect().await?;
    if head.method == Method::POST {
        let number = head.headers.get(NUMBER).and_then(|n| n.to_str().ok());
        let Some(number) = number.and_then(|number| number.parse().ok()) else {
            bail!("a request without {NUMBER}");
        };
        ledger.append(number)?;
    }
    let frames = if content_type == "application/grpc" {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        vec![
            Ok(Frame::data(message(&[b'u'; 1024]))),
            Ok(Frame::trailers(trailers)),
        ]
    } else {
        vec![Ok(Frame::data(Bytes::from_static(&[b'u'; 1024])))]
    };
    let mut response = Response::new(StreamBody::new(futures_util::stream::iter(frames)));
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    Ok(response)
}

/// Everything comes back, until the caller's half is closed.
async fn echo(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
    let _ = write.shutdown().await;
}
