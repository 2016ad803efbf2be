//! Calls REST peers: kept-alive connections, a limit on time and size, the current trace in every call.
//!
//! Never repeats a call by itself: who may repeat what is decided by those who know the request.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use crate::dial::Dialer;
use crate::rest::IDEMPOTENCY_KEY;
use crate::trace;

/// Largest answer taken, in bytes.
const ANSWER_MAX: usize = 1024 * 1024;

/// A call that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call can't be written as HTTP.
    #[error("the call to {url} can't be made")]
    Malformed {
        /// Who was to be called.
        url: String,
        /// Why not.
        #[source]
        source: http::Error,
    },
    /// The connection failed or broke.
    #[error("no answer from {url}")]
    Unreachable {
        /// Who was called.
        url: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer took too long.
    #[error("no answer from {url} within {limit:?}")]
    TooSlow {
        /// Who was called.
        url: String,
        /// How long we waited.
        limit: Duration,
    },
}

/// What a peer answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Any status: an error status is an answer, too.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// At most 1 MiB.
    pub body: Bytes,
}

/// A pool of connections to all peers; cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: Client<Dialer, Full<Bytes>>,
}

impl HttpClient {
    /// A client without open connections.
    #[must_use]
    pub fn new(dialer: Dialer) -> Self {
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .retry_canceled_requests(false)
            .build(dialer);
        Self { inner }
    }

    /// # Errors
    /// When no whole answer came within `limit`.
    pub async fn get(&self, url: String, limit: Duration) -> Result<Answer, CallError> {
        let request = Request::get(&url).body(Full::default());
        self.call(url, request, limit).await
    }

    /// Sends `json`, with `key` as `Idempotency-Key`.
    ///
    /// # Errors
    /// When no whole answer came within `limit`.
    pub async fn post(
        &self,
        url: String,
        key: &str,
        json: String,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let request = Request::post(&url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, key)
            .body(json.into());
        self.call(url, request, limit).await
    }

    async fn call(
        &self,
        url: String,
        request: http::Result<Request<Full<Bytes>>>,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let mut request = match request {
            Ok(request) => request,
            Err(source) => return Err(CallError::Malformed { url, source }),
        };
        trace::current().write(request.headers_mut());
        match timeout(limit, self.exchange(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(CallError::Unreachable { url, source }),
            Err(_) => Err(CallError::TooSlow { url, limit }),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let (head, body) = self.inner.request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}
