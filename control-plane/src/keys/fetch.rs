//! One set, fetched: GET over HTTP/1.1, once, within bounds.

use std::{io, path::Path, sync::Arc, time::Duration};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use usher_config::value::{JWKS_BYTES_MAX, Jwks, JwksUri};

use crate::telemetry::metrics::KeysMetrics;

/// For all of it.
const WITHIN: Duration = Duration::from_secs(10);

/// Why there is no set. Never a word of what came instead.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// Not within ten seconds.
    #[error("no whole answer within 10 s")]
    Slow,
    /// Not HTTP, or broken off.
    #[error("no HTTP answer")]
    Http(#[source] hyper::Error),
    /// Not 200.
    #[error("answered {0}; redirects are not followed")]
    Status(StatusCode),
    /// Too long, or broken off.
    #[error("the answer breaks off, or is longer than 64 KiB")]
    Body,
    /// Something else.
    #[error("the answer is no JSON Web Key Set with a usable public key")]
    NoSet,
}

/// Why the given roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// Of the file.
    #[error("cannot read certificates from {path}: {why}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Of the TLS library.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Fetches. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    tls: TlsConnector,
    metrics: KeysMetrics,
}

impl Fetcher {
    /// Believes the web's roots (Mozilla's), and those in `more`, a PEM file.
    ///
    /// # Errors
    /// [`RootsError`].
    pub fn new(more: Option<&Path>, metrics: KeysMetrics) -> Result<Self, RootsError> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = more {
            let wrong = |why: String| RootsError::File {
                path: path.display().to_string(),
                why,
            };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
            let mut found = false;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| wrong(error.to_string()))?;
                found = true;
            }
            if !found {
                return Err(wrong("it has none".to_owned()));
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            metrics,
        })
    }

    /// The set that is there now.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(&self, uri: &JwksUri) -> Result<Jwks, FetchError> {
        let fetched = timeout(WITHIN, self.fetch_whole(uri)).await;
        let fetched = fetched.unwrap_or(Err(FetchError::Slow));
        match &fetched {
            Ok(_) => self.metrics.fetched.inc(),
            Err(_) => self.metrics.failed.inc(),
        }
        fetched
    }

    async fn fetch_whole(&self, uri: &JwksUri) -> Result<Jwks, FetchError> {
        let unusable = |why: &str| FetchError::Connect(io::Error::other(why.to_owned()));
        let parsed: http::Uri = uri.as_str().parse().map_err(|_| unusable("no URI"))?;
        let host = parsed.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = parsed
            .port_u16()
            .unwrap_or(if uri.is_plaintext() { 80 } else { 443 });
        let stream = TcpStream::connect((bare, port)).await;
        let stream = stream.map_err(FetchError::Connect)?;
        if uri.is_plaintext() {
            return get(stream, &parsed).await;
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| unusable("no host name"))?;
        let stream = self.tls.connect(name, stream).await;
        get(stream.map_err(FetchError::Connect)?, &parsed).await
    }
}

async fn get<S>(stream: S, uri: &http::Uri) -> Result<Jwks, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::handshake::<_, Empty<&[u8]>>(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(FetchError::Http)?;
    // Ends with the sender.
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .body(Empty::new());
    let request = request.map_err(|_| FetchError::NoSet)?;
    let response = sender.send_request(request).await;
    let response = response.map_err(FetchError::Http)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), JWKS_BYTES_MAX).collect();
    let body = body.await.map_err(|_| FetchError::Body)?.to_bytes();
    let text = std::str::from_utf8(&body).map_err(|_| FetchError::NoSet)?;
    text.parse().map_err(|_| FetchError::NoSet)
}

#[cfg(test)]
mod tests;
