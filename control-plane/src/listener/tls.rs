//! How the control plane proves itself, and whom it lets shake hands.
//!
//! TLS 1.3 only, X25519MLKEM768 first. No resumption: a resumed session skips the verifier, and sidecars hold
//! one long connection each, so there is nothing to win. The own certificate comes from our own authority and
//! is replaced at half its life; the root travels behind it, as a joining sidecar knows only its digest.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rcgen::KeyPair;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::TLS13,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use tracing::{error, info};

use crate::ca::{
    Authority, Grounds,
    authority::IssueError,
    svid::{ProvenKey, SvidError},
};

/// How soon a failed renewal is tried again: half a life is left, there is no hurry.
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// Why the control plane has no TLS identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority refused its own control plane.
    #[error("cannot issue the control plane's own identity")]
    Issue(#[from] IssueError),
    /// No key could be made.
    #[error("cannot make a key")]
    Key(#[source] rcgen::Error),
    /// The key just made is of another kind.
    #[error("the key just made is not usable")]
    Svid(#[from] SvidError),
    /// rustls does not take what we made.
    #[error("cannot set TLS up")]
    Rustls(#[from] rustls::Error),
    /// The root cannot be a trust anchor.
    #[error("the root certificate cannot verify clients")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The one TLS provider, with the mesh's key exchanges only: post-quantum first.
pub fn provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
    ];
    Arc::new(CryptoProvider {
        kx_groups,
        ..aws_lc_rs::default_provider()
    })
}

/// The configuration of port 15012.
///
/// # Errors
/// The root cannot be used as a trust anchor.
pub fn server_config(
    authority: &Authority,
    own: Arc<OwnIdentity>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    roots.add(authority.root().clone())?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(own);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The control plane's own SVID and key, in memory only: a restart makes new ones.
#[derive(Debug)]
pub struct OwnIdentity {
    current: ArcSwap<CertifiedKey>,
}

impl OwnIdentity {
    /// Makes a key and has it signed.
    ///
    /// # Errors
    /// The authority cannot sign, for example because the root has ended.
    pub fn new(authority: &Authority) -> Result<Self, TlsError> {
        Ok(Self {
            current: ArcSwap::from_pointee(certify(authority)?),
        })
    }

    /// Replaces key and SVID now; handshakes from here on use the new one.
    ///
    /// # Errors
    /// As [`Self::new`]; the old one stays then.
    pub fn renew(&self, authority: &Authority) -> Result<(), TlsError> {
        self.current.store(Arc::new(certify(authority)?));
        Ok(())
    }

    /// Renews at half of each life, for ever.
    pub async fn keep_fresh(&self, authority: &Authority) {
        let mut wait = half_life();
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.renew(authority) {
                Ok(()) => {
                    info!("own identity renewed");
                    half_life()
                }
                Err(cause) => {
                    error!(
                        error = &cause as &dyn std::error::Error,
                        "own identity not renewed"
                    );
                    RETRY_PAUSE
                }
            };
        }
    }
}

impl ResolvesServerCert for OwnIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn half_life() -> Duration {
    crate::ca::authority::SVID_LIFETIME.unsigned_abs() / 2
}

fn certify(authority: &Authority) -> Result<CertifiedKey, TlsError> {
    let pair = KeyPair::generate().map_err(TlsError::Key)?;
    let key = ProvenKey::of(&pair)?;
    let (id, now) = (authority.own_id(), OffsetDateTime::now_utc());
    let svid = authority.issue(&id, &key, now, Grounds::ControlPlane)?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let signer = provider().key_provider.load_private_key(private)?;
    Ok(CertifiedKey::new(
        vec![svid.certificate, authority.root().clone()],
        signer,
    ))
}
