//! Certificates of a test's own root, callers that trust it, and a mesh behind them.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use anyhow::Result;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName, version::TLS12};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use usher_tests::{Application, Mesh, Sidecar, reply, yaml};

/// A private root and the leaves that it signs.
pub(crate) struct Root {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Root {
    pub(crate) fn new() -> Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let mut parameters = rcgen::CertificateParams::new(Vec::new())?;
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key)?;
        let issuer = rcgen::Issuer::new(parameters, key);
        Ok(Self {
            certificate,
            issuer,
        })
    }

    /// Its own certificate in PEM.
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Chain and key in PEM.
    pub(crate) fn leaf(&self, names: &[&str]) -> Result<(String, String)> {
        let key = rcgen::KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let leaf = rcgen::CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        Ok((leaf.pem(), key.serialize_pem()))
    }

    pub(crate) fn client(&self, alpn: &[&[u8]], only_1_2: bool) -> Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = match only_1_2 {
            true => builder.with_protocol_versions(&[&TLS12])?,
            false => builder.with_safe_default_protocol_versions()?,
        };
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// A server that shows a leaf.
pub(crate) fn acceptor((chain, key): &(String, String)) -> Result<TlsAcceptor> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

pub(super) fn write(path: &std::path::Path, text: &str, mode: u32) -> Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// `--certificate NAME=…`, the files written.
pub(super) fn certificate(
    mesh: &Mesh,
    name: &str,
    (chain, key): &(String, String),
) -> Result<[String; 2]> {
    let (certificate, secret) = files(mesh, &name.replace('/', "."));
    write(&certificate, chain, 0o644)?;
    write(&secret, key, 0o600)?;
    let value = format!("{name}={},{}", certificate.display(), secret.display());
    Ok(["--certificate".to_owned(), value])
}

pub(super) fn files(mesh: &Mesh, name: &str) -> (PathBuf, PathBuf) {
    (
        mesh.path(&format!("{name}.crt")),
        mesh.path(&format!("{name}.key")),
    )
}

pub(super) async fn connect(
    client: &TlsConnector,
    address: &str,
    host: &str,
) -> Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(host.to_owned())?;
    Ok(client.connect(name, stream).await?)
}

/// The answer's head and body, over HTTP/1.1.
pub(super) async fn get(
    stream: &mut TlsStream<TcpStream>,
    host: &str,
    path: &str,
) -> Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

pub(super) fn leaf_of(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default()
}

pub(super) fn tls_listener(
    name: &str,
    (port, protocol): (u16, &str),
    hostname: &str,
    tls: &str,
) -> String {
    format!(
        "  - {{ name: {name}, port: {port}, protocol: {protocol}, hostname: \"{hostname}\", tls: {tls} }}\n"
    )
}

/// The mesh with one service `shop`, and its gateway's documents.
pub(super) async fn mesh(documents: &[String]) -> Result<(Mesh, Application, Sidecar)> {
    let mut all = vec![yaml::service("shop", 8080, "http"), yaml::workload("edge")];
    all.extend_from_slice(documents);
    let mesh = Mesh::start(&all).await?;
    let shop = Application::answering(|request, _| {
        let proto = request.headers.get("x-forwarded-proto");
        let proto = proto.map_or("", |value| value.to_str().unwrap_or_default());
        reply(200, format!("shop {} {proto}", request.path))
    })
    .await?;
    let sidecar = mesh.sidecar("shop").application(&shop).start().await?;
    Ok((mesh, shop, sidecar))
}
