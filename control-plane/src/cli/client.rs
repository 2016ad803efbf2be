//! One HTTP/1.1 request to a control plane or a sidecar on this machine, over TCP or a Unix socket.

use std::{io, path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::mpsc,
    time::timeout,
};

/// Largest answer read: the status of a mesh of 100,000 endpoints, or a backup with its whole history.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Largest refusal read: one line for people.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// How long connecting may take; both ends are usually on one machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Debug, Clone)]
pub(super) enum Server {
    /// `host:port`.
    Tcp(String),
    /// A socket's path.
    Unix(PathBuf),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    ConnectTimeout,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the connection broke")]
    Http(#[source] hyper::Error),
    #[error("the request cannot be written")]
    Request(#[source] http::Error),
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes, or broke off")]
    Body,
    #[error("the answer is not what a control plane of this version says")]
    Decode(#[source] serde_json::Error),
    /// It answered, and said no; the message is its own.
    #[error("{message}")]
    Refused {
        /// The answer's status.
        status: StatusCode,
        /// The answer's body.
        message: String,
    },
}

impl Server {
    /// Reads a JSON document.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let limit = Duration::from_secs(10);
        let answer = self.ask(Method::GET, path, Bytes::new(), limit).await?;
        serde_json::from_slice(&answer).map_err(ClientError::Decode)
    }

    /// Reads an answer that may go on for ever, piece by piece.
    pub(super) async fn follow(
        &self,
        path: &str,
    ) -> Result<mpsc::Receiver<Result<Bytes, ClientError>>, ClientError> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        let limit = Duration::from_secs(10);
        let started = async {
            match self {
                Self::Tcp(authority) => {
                    stream(connect(TcpStream::connect(authority)).await?, request).await
                }
                // Nothing on that side goes on for ever.
                Self::Unix(_) => Err(ClientError::Body),
            }
        };
        timeout(limit, started)
            .await
            .map_err(|_| ClientError::Timeout(limit))?
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let host = match self {
            Self::Tcp(authority) => authority.as_str(),
            Self::Unix(_) => "localhost",
        };
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(ClientError::Request)
    }

    /// Sends a request and returns the body of a successful answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, ClientError> {
        let request = self.request(method, path, body)?;
        let exchange = async {
            match self {
                Self::Tcp(authority) => {
                    exchange(connect(TcpStream::connect(authority)).await?, request).await
                }
                Self::Unix(path) => {
                    exchange(connect(UnixStream::connect(path)).await?, request).await
                }
            }
        };
        timeout(limit, exchange)
            .await
            .map_err(|_| ClientError::Timeout(limit))?
    }
}

/// Sends a request on a connection of its own, and hands on what is answered until that ends or nobody wants it.
async fn stream(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
) -> Result<mpsc::Receiver<Result<Bytes, ClientError>>, ClientError> {
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(ClientError::Http)?;
    tokio::spawn(connection);
    let response = requests.send_request(request).await;
    let response = response.map_err(ClientError::Http)?;
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let message = Limited::new(body, REFUSAL_BYTES_MAX).collect().await;
        let message = message.map_err(|_| ClientError::Body)?.to_bytes();
        let message = String::from_utf8_lossy(&message).trim().to_owned();
        return Err(ClientError::Refused { status, message });
    }
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        // The connection lives as long as somebody may send on it.
        let _requests = requests;
        while let Some(frame) = body.frame().await {
            let bytes = frame
                .map(|frame| frame.into_data().unwrap_or_default())
                .map_err(ClientError::Http);
            if sender.send(bytes).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

async fn connect<S>(connecting: impl Future<Output = io::Result<S>>) -> Result<S, ClientError> {
    timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| ClientError::ConnectTimeout)?
        .map_err(ClientError::Connect)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Bytes, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(ClientError::Http)?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(ClientError::Http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body
            .collect()
            .await
            .map_err(|_| ClientError::Body)?
            .to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let message = String::from_utf8_lossy(&body).trim().to_owned();
        let message = if message.is_empty() {
            status.to_string()
        } else {
            message
        };
        Err(ClientError::Refused { status, message })
    };
    tokio::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        // The connection may end (`Connection: close`) before its last answer is taken out of it.
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(ClientError::Http(error)),
        },
    }
}
