//! How the webhook proves itself to API servers: a certificate of the mesh's own authority, under DNS names.
//!
//! It leads to the mesh's roots, which are the `caBundle`. So several control planes need no key in common, each has its own in
//! memory, and a change of roots is one for the webhook, too: while it lasts, the chain has what leads to the older root.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rcgen::KeyPair;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use tracing::{error, info};

use crate::{
    ca::{Authority, authority::SVID_LIFETIME, svid::ProvenKey},
    listener::tls::TlsError,
};

/// How soon a failed renewal is tried again: half a life is left.
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// The configuration of the webhook's port. Handshakes use the newest certificate; connections keep theirs.
pub(super) struct WebhookTls {
    authority: Arc<Authority>,
    names: Vec<String>,
    own: Arc<Own>,
    config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Own(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl WebhookTls {
    /// # Errors
    /// The authority cannot sign, or a name is none.
    pub(super) fn new(authority: Arc<Authority>, names: Vec<String>) -> Result<Self, TlsError> {
        let own = Arc::new(Own(ArcSwap::from_pointee(certify(&authority, &names)?)));
        // API servers are no part of the mesh: they may offer what Go has, also where only NIST's curves are allowed.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(own.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // API servers keep their connections; and a session would outlive the certificate that began it.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            authority,
            names,
            own,
            config: Arc::new(config),
        })
    }

    /// For the next handshake.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Renews key and certificate at half of each life, and whenever roots or intermediate change, for ever. What cannot be
    /// renewed now is tried again; what was there before serves until then.
    pub(super) async fn keep_fresh(&self) {
        let mut changes = self.authority.changes();
        let mut wait = half_life();
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
            wait = match certify(&self.authority, &self.names) {
                Ok(certified) => {
                    self.own.0.store(Arc::new(certified));
                    info!("webhook certificate renewed");
                    half_life()
                }
                Err(cause) => {
                    let error: &dyn std::error::Error = &cause;
                    error!(error, "webhook certificate not renewed");
                    RETRY_PAUSE
                }
            };
        }
    }
}

fn half_life() -> Duration {
    SVID_LIFETIME.unsigned_abs() / 2
}

fn certify(authority: &Authority, names: &[String]) -> Result<CertifiedKey, TlsError> {
    let pair = KeyPair::generate().map_err(TlsError::Key)?;
    let key = ProvenKey::of(&pair)?;
    let chain = authority.issue_webhook(names, &key, OffsetDateTime::now_utc())?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let signer = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(private)?;
    Ok(CertifiedKey::new(chain, signer))
}
