//! What a stranger can try with a socket, a certificate, and the mesh's own protocols.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::Endpoint;
use usher_config::wire::v1::{RegisterRequest, registry_client::RegistryClient};

/// How [`handshake`] ends when the other side takes the stranger for one of its own.
pub(super) const LET_IN: &str = "let in";
const PATIENCE: Duration = Duration::from_secs(10);
/// The victim's service port and name, as a mesh peer would ask for it.
const SERVER_NAME: &str = "50051.account.bank";

/// A key and its certificates.
#[derive(Debug)]
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

/// What is shown when the other side asks for a certificate.
#[derive(Debug)]
pub(super) enum Credentials {
    None,
    Of(Identity),
}

impl Identity {
    /// A certificate with this SPIFFE ID, signed by an authority made up on the spot.
    pub(super) fn forged(spiffe_id: &str) -> anyhow::Result<Self> {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
        let mut leaf = CertificateParams::default();
        leaf.subject_alt_names = vec![SanType::URI(spiffe_id.try_into()?)];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &root)?;
        Ok(Self {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der().into(),
        })
    }

    /// The real one, that a sidecar keeps in its state directory.
    pub(super) fn kept_in(state: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Kept {
            key: String,
            chain: Vec<String>,
        }
        let path = state.join("identity.json");
        let text =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let kept: Kept = serde_json::from_slice(&text)?;
        let chain: Result<Vec<_>, _> = kept
            .chain
            .iter()
            .map(|text| STANDARD.decode(text))
            .collect();
        let chain = chain?.into_iter().map(CertificateDer::from).collect();
        Ok(Self {
            chain,
            key: STANDARD.decode(&kept.key)?.into(),
        })
    }
}

/// Says an HTTP request in the clear; the first line of the answer, if there is one.
pub(super) async fn speak_plaintext(address: SocketAddr) -> anyhow::Result<Option<String>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = b"GET /v1/stats HTTP/1.1\r\nhost: account.bank\r\nconnection: close\r\n\r\n";
    // A refusal may come before the request is through: that is an answer, not a mistake of ours.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .context("no end of the connection")?;
    Ok(String::from_utf8_lossy(&answer)
        .lines()
        .next()
        .map(str::to_owned))
}

/// Does a mesh peer's handshake and waits for the first byte of HTTP/2; tells how it ended.
///
/// In TLS 1.3 a client has finished before the server has looked at its certificate: only a byte from the
/// application protocol proves that the server let it in.
pub(super) async fn handshake(address: SocketAddr, credentials: Credentials) -> String {
    let talk = async {
        let mut stream = connect(address, credentials, b"usher/1+h2").await?;
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await?;
        stream.flush().await?;
        let read = stream.read(&mut [0; 64]).await?;
        anyhow::Ok(if read > 0 {
            LET_IN.to_owned()
        } else {
            "connection closed".to_owned()
        })
    };
    match timeout(PATIENCE, talk).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "nothing was answered".to_owned(),
    }
}

/// Asks the registry to be an instance of `service`; its answer.
pub(super) async fn register(
    registry: SocketAddr,
    identity: &Identity,
    service: &str,
) -> anyhow::Result<tonic::Status> {
    let (chain, key) = (identity.chain.clone(), identity.key.clone_key());
    let connector = tower::service_fn(move |_| {
        let identity = Identity {
            chain: chain.clone(),
            key: key.clone_key(),
        };
        async move {
            let stream = connect(registry, Credentials::Of(identity), b"h2").await;
            stream.map(TokioIo::new).map_err(std::io::Error::other)
        }
    });
    let channel = Endpoint::from_static("http://usher")
        .connect_with_connector(connector)
        .await?;
    let request = RegisterRequest {
        namespace: "bank".to_owned(),
        service: service.to_owned(),
        instance: "impostor".to_owned(),
        address: "127.0.0.1:9".to_owned(),
        healthy: true,
        ..Default::default()
    };
    match RegistryClient::new(channel).register(request).await {
        Ok(_) => Ok(tonic::Status::ok("registered")),
        Err(status) => Ok(status),
    }
}

async fn connect(
    address: SocketAddr,
    credentials: Credentials,
    protocol: &[u8],
) -> anyhow::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible(provider)));
    let mut config = match credentials {
        Credentials::None => config.with_no_client_auth(),
        Credentials::Of(Identity { chain, key }) => {
            config.with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))?
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(SERVER_NAME)?;
    Ok(TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?)
}

/// An intruder does not care whom he robs: any server certificate will do.
#[derive(Debug)]
struct Gullible(Arc<CryptoProvider>);

impl ServerCertVerifier for Gullible {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
