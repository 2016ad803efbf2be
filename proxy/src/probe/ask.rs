//! One question to the application, as the kubelet would ask it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::danger;
use crate::{
    bootstrap::{Probe, Question},
    health::{connected, grpc},
};

/// What counts as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A status from 200 to 399, `SERVING`: probes.
    Success,
    /// That there was one: hooks.
    AnyAnswer,
}

/// To the same place, as the kubelet follows them.
const REDIRECTS_MAX: usize = 10;

/// The error says what came instead.
pub(super) async fn ask(probe: &Probe, expected: Expected) -> Result<(), String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, probe.port.get()));
    match &probe.question {
        Question::Tcp => connected(address).await.map(drop),
        Question::Grpc { service } => grpc(address, service).await,
        Question::Http { path, headers, tls } => {
            let mut path = path.clone();
            for _ in 0..=REDIRECTS_MAX {
                let response = once(address, &path, headers, *tls).await?;
                let status = response.status();
                match moved(&response) {
                    Some(next) if expected == Expected::Success => path = next,
                    _ if passes(status) || expected == Expected::AnyAnswer => return Ok(()),
                    _ => return Err(status.to_string()),
                }
            }
            Err(format!("more than {REDIRECTS_MAX} redirects"))
        }
    }
}

fn passes(status: StatusCode) -> bool {
    (200..400).contains(&status.as_u16())
}

/// Where a redirect leads, if that is another path of the same application.
fn moved(response: &Response<Incoming>) -> Option<String> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let is_redirect =
        response.status().is_redirection() && response.status() != StatusCode::NOT_MODIFIED;
    let is_path = location.starts_with('/') && !location.starts_with("//");
    (is_redirect && is_path).then(|| location.to_owned())
}

async fn once(
    address: SocketAddr,
    path: &str,
    headers: &[(HeaderName, HeaderValue)],
    tls: bool,
) -> Result<Response<Incoming>, String> {
    let path: Uri = path
        .parse()
        .map_err(|_| format!("a redirect to `{}`", path.escape_debug()))?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path;
    *request.headers_mut() = all(address, headers)?;
    let stream = connected(address).await?;
    if !tls {
        return exchange(stream, request).await;
    }
    let config = danger::any_certificate().map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::IpAddress(address.ip().into());
    let connecting = connector.connect(name, stream).await;
    let stream = connecting.map_err(|error| format!("no TLS ({error})"))?;
    exchange(stream, request).await
}

fn all(address: SocketAddr, headers: &[(HeaderName, HeaderValue)]) -> Result<HeaderMap, String> {
    let host = HeaderValue::from_str(&address.to_string()).map_err(|error| error.to_string())?;
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.append(name.clone(), value.clone());
    }
    all.entry(header::HOST).or_insert(host);
    // By its beginning applications know probes.
    all.entry(header::USER_AGENT)
        .or_insert(HeaderValue::from_static("kube-probe/usher"));
    all.entry(header::ACCEPT)
        .or_insert(HeaderValue::from_static("*/*"));
    Ok(all)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let (response, connection) = (sender.send_request(request), connection);
    tokio::pin!(response, connection);
    let response = tokio::select! {
        response = &mut response => response,
        // An application may close as soon as it has answered.
        _ = &mut connection => response.await,
    };
    response.map_err(|error| format!("no HTTP/1.1 answer ({error})"))
}
