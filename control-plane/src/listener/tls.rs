//! How the control plane proves itself, and whom it lets shake hands.
//!
//! TLS 1.3 only, X25519MLKEM768 first. No resumption: a resumed session skips the verifier, and sidecars hold
//! one long connection each, so there is nothing to win. The own certificate comes from our own authority and
//! is replaced at half its life; the roots travel behind it, as a joining sidecar knows only a digest of one.

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
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
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

/// The configuration of port 15012, made anew whenever the mesh's roots or our intermediate change.
pub struct MeshTls {
    authority: Arc<Authority>,
    own: Arc<OwnIdentity>,
    config: ArcSwap<ServerConfig>,
}

impl MeshTls {
    /// # Errors
    /// The authority cannot sign, or its roots cannot be trust anchors.
    pub fn new(authority: Arc<Authority>) -> Result<Self, TlsError> {
        let own = Arc::new(OwnIdentity::new(&authority)?);
        let config = server_config(&authority, Arc::clone(&own))?;
        Ok(Self {
            authority,
            own,
            config: ArcSwap::from(config),
        })
    }

    /// For the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// To which root of the mesh a verified chain leads.
    pub fn root_of(&self, chain: &[CertificateDer<'_>]) -> Option<Arc<str>> {
        self.authority.root_of(chain).map(Arc::from)
    }

    /// Done when the mesh no longer trusts this root: whoever has proved to be somebody by it may be anybody.
    pub fn gone(&self, root: Arc<str>) -> impl Future<Output = ()> + Send + 'static {
        let authority = Arc::clone(&self.authority);
        async move {
            let mut changes = authority.changes();
            while authority.roots().get(&root).is_some() && changes.changed().await.is_ok() {}
        }
    }

    /// Renews our own SVID at half of each life, and follows the authority, for ever. What cannot be renewed now is tried
    /// again; what was there before serves until then.
    pub async fn keep_fresh(&self) {
        let mut changes = self.authority.changes();
        let mut wait = half_life();
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
            wait = match self.refresh() {
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

    fn refresh(&self) -> Result<(), TlsError> {
        // First whom we believe: that needs nothing signed.
        self.config
            .store(server_config(&self.authority, Arc::clone(&self.own))?);
        self.own.renew(&self.authority)
    }
}

fn server_config(
    authority: &Authority,
    own: Arc<OwnIdentity>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    for root in authority.trust_bundle().roots {
        roots.add(root.into())?;
    }
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
    // Roots, too: a sidecar that joins knows only the digest of one of them.
    let mut chain = svid.chain;
    let roots = authority.trust_bundle().roots.into_iter();
    chain.extend(roots.map(CertificateDer::from));
    Ok(CertifiedKey::new(chain, signer))
}
