//! Everything a handshake needs, built anew whenever the SVID or the trust bundle changes.
//!
//! Rebuilding drops all session stores and ticket keys, so nobody resumes a session that was authenticated
//! under roots which no longer count.

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig, SupportedCipherSuite,
    client::Resumption,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, Ticketer, cipher_suite, kx_group},
    },
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use usher_config::{model::TrustBundle, value::SpiffeId};

use super::{
    leaf::{Leaf, PeerRefused, spki_sha256},
    verifier::{MeshVerifier, PinnedVerifier, root_of},
};

/// What is spoken inside a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// HTTP/2 between two sidecars: `usher/1+h2`.
    H2,
    /// Opaque bytes between two sidecars: `usher/1+tcp`.
    Tcp,
    /// gRPC to the control plane: `h2`. Never accepted by a sidecar.
    Control,
}

impl Alpn {
    /// The protocol's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::H2 => "usher/1+h2",
            Self::Tcp => "usher/1+tcp",
            Self::Control => "h2",
        }
    }

    /// The protocol between sidecars with this name.
    pub fn between_sidecars(name: &[u8]) -> Option<Self> {
        [Self::H2, Self::Tcp]
            .into_iter()
            .find(|alpn| alpn.name().as_bytes() == name)
    }
}

/// Sessions a workload keeps for resumption, for all its upstreams together (8 per SNI, hence 128 services).
const CLIENT_SESSIONS_MAX: usize = 1024;

/// Our own SVID and the roots that we trust, ready for handshakes. Immutable: swap it as a whole.
#[derive(Debug)]
pub struct Material {
    /// Who we are, and until when.
    pub leaf: Leaf,
    /// Of the trust bundle in it.
    pub bundle_version: u64,
    /// The root of the bundle that our own chain leads to, SHA-256 of its SubjectPublicKeyInfo; `None`: none of them.
    pub root: Option<[u8; 32]>,
    /// It is the bundle's first, which signs.
    pub is_under_active: bool,
    /// For connections from other sidecars: a client certificate is required.
    pub server: Arc<ServerConfig>,
    /// For HTTP/2 connections to other sidecars.
    pub client_h2: Arc<ClientConfig>,
    /// For opaque connections to other sidecars.
    pub client_tcp: Arc<ClientConfig>,
    /// For connections to the control plane.
    pub client_control: Arc<ClientConfig>,
}

/// Why key, certificate and bundle do not make material.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// Our own certificate is not an SVID.
    #[error("own certificate is not an SVID")]
    OwnCertificate(#[source] PeerRefused),
    /// A root in the bundle is not a certificate.
    #[error("trust bundle has an unreadable root")]
    Root(#[source] webpki::Error),
    /// Key and certificate do not belong together, or the key is unreadable.
    #[error("own key and certificate do not fit")]
    Key(#[source] rustls::Error),
}

impl Material {
    /// Our certificate chain (leaf first, without the root), its PKCS#8 key, and the roots to trust.
    ///
    /// # Errors
    /// When the parts are unreadable or do not fit; see [`MaterialError`].
    pub fn new(
        chain_der: &[Vec<u8>],
        key_pkcs8: &[u8],
        bundle: &TrustBundle,
    ) -> Result<Self, MaterialError> {
        let first = chain_der
            .first()
            .ok_or(MaterialError::OwnCertificate(PeerRefused::NoCertificate))?;
        let leaf = Leaf::read(first).map_err(MaterialError::OwnCertificate)?;
        let parts = Parts::new(chain_der, key_pkcs8, bundle)?;
        let client = |alpn| parts.client(alpn).map_err(MaterialError::Key);
        let algorithms = parts.provider.signature_verification_algorithms;
        let at = (algorithms, UnixTime::now());
        let root = root_of(chain_der, &bundle.roots, at);
        Ok(Self {
            leaf,
            bundle_version: bundle.version,
            root: root
                .and_then(|index| bundle.roots.get(index))
                .and_then(|der| spki_sha256(der).ok()),
            is_under_active: root == Some(0),
            server: parts.server().map_err(MaterialError::Key)?,
            client_h2: client(Alpn::H2)?,
            client_tcp: client(Alpn::Tcp)?,
            client_control: client(Alpn::Control)?,
        })
    }

    /// Who we are.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.leaf.spiffe_id
    }

    pub(super) fn client(&self, alpn: Alpn) -> &Arc<ClientConfig> {
        match alpn {
            Alpn::H2 => &self.client_h2,
            Alpn::Tcp => &self.client_tcp,
            Alpn::Control => &self.client_control,
        }
    }
}

pub(super) struct Parts<'a> {
    provider: Arc<CryptoProvider>,
    verifier: Arc<MeshVerifier>,
    chain_der: &'a [Vec<u8>],
    key_pkcs8: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn new(
        chain_der: &'a [Vec<u8>],
        key_pkcs8: &'a [u8],
        bundle: &TrustBundle,
    ) -> Result<Self, MaterialError> {
        let provider = Arc::new(provider());
        let verifier = MeshVerifier::new(
            bundle.trust_domain.clone(),
            &bundle.roots,
            provider.signature_verification_algorithms,
        );
        let verifier = Arc::new(verifier.map_err(MaterialError::Root)?);
        Ok(Self {
            provider,
            verifier,
            chain_der,
            key_pkcs8,
        })
    }

    fn certified(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = self
            .chain_der
            .iter()
            .map(|der| CertificateDer::from(der.clone()))
            .collect();
        (
            chain,
            PrivatePkcs8KeyDer::from(self.key_pkcs8.to_vec()).into(),
        )
    }

    pub(super) fn server(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let (chain, key) = self.certified();
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(self.verifier.clone())
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![Alpn::H2.name().into(), Alpn::Tcp.name().into()];
        // Sealed tickets instead of a session table: no memory per caller and no lock shared by the workers.
        // They live 12 h, half an SVID; the peer's own expiry is checked again on resumption.
        config.ticketer = Ticketer::new()?;
        config.send_tls13_tickets = 2;
        Ok(Arc::new(config))
    }

    pub(super) fn client(&self, alpn: Alpn) -> Result<Arc<ClientConfig>, rustls::Error> {
        let (chain, key) = self.certified();
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous() // rustls' word for any verifier that is not its own
            .with_custom_certificate_verifier(self.verifier.clone())
            .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![alpn.name().into()];
        config.resumption = Resumption::in_memory_sessions(CLIENT_SESSIONS_MAX);
        Ok(Arc::new(config))
    }
}

/// For the one call before we have an SVID: no certificate of ours, and a server whose chain contains one of the roots with
/// these SubjectPublicKeyInfo digests.
///
/// # Errors
/// When the provider lacks TLS 1.3, which aws-lc-rs never does.
pub fn pinned_client(roots: &[[u8; 32]]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(provider());
    let algorithms = provider.signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedVerifier {
            roots: roots.into(),
            algorithms,
        }))
        .with_no_client_auth();
    config.alpn_protocols = vec![Alpn::Control.name().into()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// AES-128 first: as strong as the P-256 keys that authenticate it, and the fastest with AES instructions.
const CIPHER_SUITES: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: CIPHER_SUITES.to_vec(),
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..aws_lc_rs::default_provider()
    }
}
