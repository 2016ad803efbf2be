//! Callers that speak mutual TLS to an inbound proxy: with a sidecar's own identity, or with a peer's certificate.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::ValueEnum;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
        pem::PemObject as _,
    },
};
use tokio_rustls::TlsConnector;

/// What the two sides agree on a key with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyExchange {
    /// What every peer has.
    X25519,
    /// Safe against quantum computers too: what sidecars choose among themselves.
    X25519MlKem768,
}

/// What proxies speak among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hop {
    Http1,
    Http2,
}

/// What a caller shows, and how it names whom it calls.
#[derive(Debug)]
pub(crate) struct Caller {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    alpn: &'static [u8],
    /// What is spoken inside.
    pub(crate) hop: Hop,
    server: &'static str,
}

impl Caller {
    /// With the identity of the sidecar whose state is in that folder.
    pub(crate) fn of_a_sidecar(state: &Path) -> Result<Self> {
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
        Ok(Self {
            chain: chain?,
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes(field("key")?)?)),
            alpn: b"usher/1+h2",
            hop: Hop::Http2,
            server: "8080.api.default",
        })
    }

    /// The same, at a control plane.
    pub(crate) fn at_a_control_plane(state: &Path) -> Result<Self> {
        Ok(Self {
            alpn: b"h2",
            server: "control-plane",
            ..Self::of_a_sidecar(state)?
        })
    }

    /// With the certificate that both sides of a peer have.
    pub(crate) fn of_a_peer(folder: &Path) -> Result<Self> {
        Ok(Self {
            chain: vec![CertificateDer::from_pem_file(folder.join("cert.pem"))?],
            key: PrivateKeyDer::from_pem_file(folder.join("key.pem"))?,
            alpn: b"http/1.1",
            hop: Hop::Http1,
            server: "peer",
        })
    }

    /// Makes full handshakes only.
    pub(crate) fn connector(&self, exchange: KeyExchange) -> Result<TlsConnector> {
        let group = match exchange {
            KeyExchange::X25519 => aws_lc_rs::kx_group::X25519,
            KeyExchange::X25519MlKem768 => aws_lc_rs::kx_group::X25519MLKEM768,
        };
        let provider = CryptoProvider {
            kx_groups: vec![group],
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            ..aws_lc_rs::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![self.alpn.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// The name to connect under.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>> {
        Ok(ServerName::try_from(self.server)?)
    }
}
/// It is measured, not trusted.
#[derive(Debug)]
pub(crate) struct Anybody;

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
