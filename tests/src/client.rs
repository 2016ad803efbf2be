//! A caller: one connection a request, HTTP/1.1 or HTTP/2 with prior knowledge.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// A whole response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Trailers, if any.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value as text; empty when it is not there.
    pub fn header(&self, name: &str) -> String {
        let value = self
            .headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        value.unwrap_or_default()
    }
}

/// Where requests go, and over which protocol.
#[derive(Debug, Clone)]
pub struct Client {
    address: String,
    http2: bool,
}

impl Client {
    /// Calls through a sidecar's outbound listener: the URL's host names the service.
    pub fn through(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            http2: false,
        }
    }

    /// Calls the address itself; URLs are paths.
    pub fn direct(address: &str) -> Self {
        Self::through(address)
    }

    /// The same, over HTTP/2 with prior knowledge.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// GET.
    pub async fn get(&self, url: &str) -> Result<Answer> {
        self.send(Method::GET, url, HeaderMap::new(), Bytes::new())
            .await
    }

    /// POST.
    pub async fn post(&self, url: &str, body: impl Into<Bytes>) -> Result<Answer> {
        self.send(Method::POST, url, HeaderMap::new(), body.into())
            .await
    }

    /// Any request.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer> {
        let uri: Uri = url.parse().with_context(|| url.to_owned())?;
        let authority = uri
            .authority()
            .map_or(self.address.as_str(), |authority| authority.as_str());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let target = if self.http2 {
            format!("http://{authority}{path}")
        } else {
            path.to_owned()
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .body(Full::new(body))?;
        *request.headers_mut() = headers;
        if !self.http2 {
            request
                .headers_mut()
                .insert(http::header::HOST, authority.parse()?);
        }
        let stream = TcpStream::connect(&self.address)
            .await
            .with_context(|| self.address.clone())?;
        stream.set_nodelay(true)?;
        let response = if self.http2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_bytes(),
            trailers,
        })
    }
}
