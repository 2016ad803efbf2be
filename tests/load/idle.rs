//! What connections cost that nobody uses: memory of a sidecar with thousands of them, and after they are gone.
//!
//! Each connection carries one request first, as a kept one has; then it only waits.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use usher_tests::{Mesh, yaml};

use crate::{measure, one_worker};

/// How many, of each kind.
#[derive(Debug, clap::Args)]
pub(crate) struct Idle {
    /// Plaintext keep-alive connections of the application.
    #[arg(long, default_value_t = 9_000)]
    plain: usize,
    /// Mutual TLS connections of callers.
    #[arg(long, default_value_t = 2_000)]
    mesh: usize,
}

/// How long before memory is read: buffers that are given back later do not count.
const SETTLED: Duration = Duration::from_secs(2);

/// Prints a table.
pub(crate) async fn idle(arguments: Idle, upstream: u16) -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let api = one_worker(mesh.sidecar("api").port(upstream))
        .start()
        .await?;
    let web = one_worker(mesh.sidecar("web")).start().await?;
    println!(
        "{:<28} {:>9} {:>11} {:>11} {:>13} {:>12}",
        "", "idle KiB", "connections", "KiB", "KiB each", "after, x idle"
    );
    let pids = [web.proxy_pid()?];
    let before = measure::rss_kib(&pids)?;
    let mut held = Vec::new();
    for _ in 0..arguments.plain {
        held.push(plain(&web.outbound).await?);
    }
    row("plaintext keep-alive", held, before, &pids).await?;
    let pids = [api.proxy_pid()?];
    let connector = connector(web.state())?;
    let before = measure::rss_kib(&pids)?;
    let mut held = Vec::new();
    for _ in 0..arguments.mesh {
        held.push(meshed(&connector, &api.inbound).await?);
    }
    row("mutual TLS, HTTP/2", held, before, &pids).await
}

async fn row<T>(name: &str, held: Vec<T>, before: u64, pids: &[u32]) -> Result<()> {
    tokio::time::sleep(SETTLED).await;
    let (count, with) = (held.len(), measure::rss_kib(pids)?);
    drop(held);
    tokio::time::sleep(SETTLED).await;
    let after = measure::rss_kib(pids)?;
    #[allow(
        clippy::cast_precision_loss,
        reason = "kibibytes of a process fit 53 bits"
    )]
    let (each, ratio) = (
        with.saturating_sub(before) as f64 / count.max(1) as f64,
        after as f64 / before as f64,
    );
    println!("{name:<28} {before:>9} {count:>11} {with:>11} {each:>13.1} {ratio:>12.2}");
    Ok(())
}

async fn plain(outbound: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(outbound).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    while !answer.windows(5).any(|end| end == b"uuuuu") || answer.len() < 1_100 {
        let read = stream.read_buf(&mut answer).await?;
        ensure!(read > 0, "closed: {}", String::from_utf8_lossy(&answer));
    }
    Ok(stream)
}

/// A connection that another sidecar could have made, kept by its sender of requests.
async fn meshed(
    connector: &TlsConnector,
    inbound: &str,
) -> Result<h2::client::SendRequest<bytes::Bytes>> {
    let stream = TcpStream::connect(inbound).await?;
    let name = ServerName::try_from("8080.api.default")?;
    let stream = connector.connect(name, stream).await?;
    let (mut send, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let request = http::Request::get("http://api.default:8080/").body(())?;
    let (response, _) = send.send_request(request, true)?;
    let mut response = response.await?;
    ensure!(response.status() == 200, "{response:?}");
    while let Some(chunk) = response.body_mut().data().await {
        let chunk = chunk?.len();
        response.body_mut().flow_control().release_capacity(chunk)?;
    }
    Ok(send)
}

/// With the identity of the sidecar whose folder that is.
fn connector(state: &Path) -> Result<TlsConnector> {
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(state.join("identity.json"))?)?;
    let bytes = |value: &serde_json::Value| -> Result<Vec<u8>> {
        Ok(STANDARD.decode(value.as_str().context("identity.json is not as expected")?)?)
    };
    let field = |name: &str| kept.get(name).context("identity.json is not as expected");
    let chain = field("chain")?.as_array().context("no chain")?;
    let chain: Result<Vec<_>> = chain
        .iter()
        .map(|der| Ok(CertificateDer::from(bytes(der)?)))
        .collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes(field("key")?)?));
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_auth_cert(chain?, key)?;
    config.alpn_protocols = vec![b"usher/1+h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// It is measured, not trusted.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
