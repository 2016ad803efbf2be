//! TLS towards the outside world: a caller asks for a host (SNI) and is shown the certificate that fits; who it is,
//! TLS does not say.
//!
//! TLS 1.2 and 1.3, as browsers and libraries of the last ten years speak; no session outlives its gateway process, no
//! early data (0-RTT could be replayed). The client hello is read before anything is answered: the name in it picks the
//! listener, which may pass the connection on unopened.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{self, Ticketer},
    server::ProducesTickets,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{StartHandshake, server::TlsStream};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use usher_config::value::CertificateName;

use super::{
    TlsError,
    shown::{Place, Shown, stays},
};

pub use super::hello::{Hello, hello};

/// A chain to a public root has three or four.
const CHAIN_MAX: usize = 16;

/// One certificate with its key, ready to be shown.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// For HTTP: h2 and http/1.1.
    http: Arc<ServerConfig>,
    /// For opaque bytes: whatever the caller offers is the backend's affair.
    opaque: Arc<ServerConfig>,
    /// When callers stop accepting it.
    pub not_after: SystemTime,
}

/// What is inside a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// HTTP/1.1 or HTTP/2, by ALPN.
    Http,
    /// Anything.
    Opaque,
}

/// Why files do not make a certificate that can be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM.
    #[error("{what} is not PEM: {cause}")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// What is wrong with it.
        cause: rustls_pki_types::pem::Error,
    },
    /// PEM, but not as many certificates as a chain has.
    #[error("there are {0} certificates, allowed: 1 to {CHAIN_MAX}, the server's own first")]
    ChainLength(usize),
    /// The first one is not readable.
    #[error("the first certificate is not X.509")]
    Leaf,
    /// Of a kind that TLS cannot use, or broken.
    #[error("the key cannot be used: {0}")]
    Key(rustls::Error),
    /// Of another certificate.
    #[error("key and certificate do not belong together: {0}")]
    Mismatch(rustls::Error),
}

impl Certificate {
    /// From PEM: the chain, the server's own first, and its key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn new(
        chain_pem: &[u8],
        key_pem: &[u8],
        tickets: &Arc<dyn ProducesTickets>,
    ) -> Result<Self, CertificateError> {
        let pem = |what| move |cause| CertificateError::Pem { what, cause };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<_, _>>()
            .map_err(pem("the certificate"))?;
        let leaf = match chain.first() {
            Some(leaf) if chain.len() <= CHAIN_MAX => leaf,
            _ => return Err(CertificateError::ChainLength(chain.len())),
        };
        let not_after = not_after(leaf).ok_or(CertificateError::Leaf)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(pem("the key"))?;
        let key = aws_lc_rs::default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(CertificateError::Key)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(CertificateError::Mismatch)?;
        let key = Arc::new(key);
        let config = |alpn: &[&[u8]]| {
            let config = config(&key, tickets, alpn).map_err(CertificateError::Key)?;
            Ok(Arc::new(config))
        };
        Ok(Self {
            http: config(&[b"h2", b"http/1.1"])?,
            opaque: config(&[])?,
            key,
            not_after,
        })
    }

    /// Whether its names cover a host.
    fn covers(&self, host: &str) -> bool {
        let leaf = self.key.cert.first();
        let leaf = leaf.and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok());
        let name = ServerName::try_from(host).ok();
        leaf.zip(name)
            .is_some_and(|(leaf, name)| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    }

    fn config(&self, inside: Inside) -> Arc<ServerConfig> {
        match inside {
            Inside::Http => self.http.clone(),
            Inside::Opaque => self.opaque.clone(),
        }
    }
}

/// Whether there is a private key in some PEM.
pub fn holds_key(pem: &[u8]) -> bool {
    PrivateKeyDer::from_pem_slice(pem).is_ok()
}

fn config(
    key: &Arc<CertifiedKey>,
    tickets: &Arc<dyn ProducesTickets>,
    alpn: &[&[u8]],
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.ticketer = tickets.clone();
    Ok(config)
}

fn not_after(leaf: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    let seconds = leaf.validity().not_after.timestamp();
    let since_epoch = std::time::Duration::from_secs(u64::try_from(seconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since_epoch)
}

/// Keys for session tickets, to be shared by all certificates of a process: a renewed certificate ends no sessions.
///
/// # Errors
/// The system has no randomness.
pub fn tickets() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    Ticketer::new()
}

/// All certificates of this process, by the names that listeners call them. Swapped as a whole.
#[derive(Debug, Default)]
pub struct Certificates {
    read: ArcSwap<HashMap<CertificateName, Arc<Certificate>>>,
    shown: ArcSwap<Shown>,
}

impl Certificates {
    /// From now on these.
    pub fn replace(&self, certificates: HashMap<CertificateName, Arc<Certificate>>) {
        self.read.store(Arc::new(certificates));
    }

    /// What listeners show now.
    pub fn stay(&self, shown: Shown) {
        if **self.shown.load() != shown {
            self.shown.store(Arc::new(shown));
        }
    }

    /// As [`Self::stay`] was told.
    pub fn shown(&self) -> Arc<Shown> {
        self.shown.load_full()
    }

    /// Those that there are.
    pub fn load(&self) -> Arc<HashMap<CertificateName, Arc<Certificate>>> {
        self.read.load_full()
    }

    /// What to show for a listener that names these: the first that covers the host and that the caller can verify; else
    /// the first that it can verify, so that it learns what is wrong. If it names none that there is, what it goes on with
    /// ([`stays`]: decided here, too, so that it holds from the first handshake after a change). `None`: there is none.
    fn choose(
        &self,
        (place, names): (&Place, &[CertificateName]),
        hello: &Hello,
    ) -> Option<Arc<Certificate>> {
        let all = self.read.load();
        let stayed;
        let names = if names.iter().any(|name| all.contains_key(name)) {
            names
        } else {
            let shown = self.shown.load();
            stayed = stays(names, shown.get(place)?, all.keys());
            &stayed
        };
        let usable = |certificate: &&Arc<Certificate>| {
            certificate.key.key.choose_scheme(&hello.schemes).is_some()
        };
        let known = || names.iter().filter_map(|name| all.get(name)).filter(usable);
        let host = hello.sni.as_deref();
        let fits =
            |certificate: &&Arc<Certificate>| host.is_none_or(|host| certificate.covers(host));
        known().find(fits).or_else(|| known().next()).cloned()
    }
}

impl Hello {
    /// Finishes the handshake with the certificate that fits, of those that the listener names.
    ///
    /// # Errors
    /// [`TlsError::Handshake`], [`TlsError::NoCertificate`].
    pub async fn answer(
        self,
        certificates: &Certificates,
        wanted: (&Place, &[CertificateName]),
        inside: Inside,
    ) -> Result<TlsStream<TcpStream>, TlsError> {
        let Some(certificate) = certificates.choose(wanted, &self) else {
            self.refuse().await;
            return Err(TlsError::NoCertificate);
        };
        let config = certificate.config(inside);
        StartHandshake::from_parts(self.accepted, self.stream)
            .into_stream(config)
            .await
            .map_err(TlsError::Handshake)
    }
}
