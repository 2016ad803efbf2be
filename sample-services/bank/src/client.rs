//! The launcher's HTTP client: sidecars' admin sockets, metrics, and services through a sidecar.
//!
//! One connection per call: the launcher asks a few questions a second, and a connection kept would hide
//! that a process was started again.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// No answer that the launcher asks for is longer.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The value of a header, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text, for people.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a successful answer.
    ///
    /// # Errors
    /// When the status isn't 2xx, or the body isn't what was expected.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        if !self.status.is_success() {
            bail!("answered {}: {}", self.status, self.text());
        }
        serde_json::from_slice(&self.body)
            .with_context(|| format!("unexpected answer {}", self.text()))
    }
}

/// Sends one request and reads the whole answer within `limit`.
///
/// # Errors
/// When the address doesn't accept a connection, or no whole answer arrived in time.
pub(crate) async fn exchange(
    address: &Address,
    request: Request<Full<Bytes>>,
    limit: Duration,
) -> anyhow::Result<Answer> {
    let talk = async {
        match address {
            Address::Tcp(address) => over(TcpStream::connect(address).await?, request).await,
            Address::Unix(path) => over(UnixStream::connect(path).await?, request).await,
        }
    };
    timeout(limit, talk)
        .await
        .with_context(|| format!("no answer within {limit:?}"))?
}

/// Fetches `path` from a server that is addressed directly.
///
/// # Errors
/// As [`exchange`].
pub(crate) async fn fetch(address: &Address, path: &str) -> anyhow::Result<Answer> {
    let request = Request::get(path)
        .header("host", "localhost")
        .body(Full::default())?;
    exchange(address, request, Duration::from_secs(2)).await
}

async fn over<S>(stream: S, request: Request<Full<Bytes>>) -> anyhow::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends by itself: with the answer, or when the sender is dropped.
    let driver = tokio::spawn(connection);
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer's body broke off: {error}"))?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    };
    let answer = answer.await;
    driver.abort();
    answer
}

#[cfg(test)]
mod tests;
