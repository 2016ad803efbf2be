//! What a leaf certificate says: one SPIFFE ID, and how long it holds.

use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use x509_parser::{extensions::GeneralName, prelude::*};

use usher_config::value::{SpiffeId, TrustDomain};

/// Why a peer's certificate is not accepted. Goes into logs and the `outcome` of handshake metrics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    /// It sent none.
    #[error("peer sent no certificate")]
    NoCertificate,
    /// Not X.509, or with a broken extension.
    #[error("peer's certificate is not readable: {0}")]
    Unreadable(String),
    /// SPIFFE X509-SVID §2: exactly one URI.
    #[error("peer's certificate has {0} URI names, allowed: exactly one")]
    UriCount(usize),
    /// The URI is not one of this mesh's form.
    #[error("peer's name {0:?} is not spiffe://<trust-domain>/ns/<namespace>/sa/<account>")]
    NotSpiffe(String),
    /// Signed here, but for another mesh.
    #[error("peer {found} is not of trust domain {expected}")]
    TrustDomain {
        /// The peer's whole name.
        found: SpiffeId,
        /// Ours.
        expected: TrustDomain,
    },
    /// No path from the leaf to one of the bundle's roots.
    #[error("peer's certificate does not lead to a root of the trust bundle: {0}")]
    Chain(String),
    /// Too late, or too early.
    #[error("peer's certificate is not valid now")]
    Expired,
    /// A good certificate of somebody else.
    #[error("peer is {found}, which may not answer here")]
    NotExpected {
        /// Who it is.
        found: SpiffeId,
    },
}

/// The parts of a leaf that decisions need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The only URI name in it.
    pub spiffe_id: SpiffeId,
    /// Holds from here, inclusive.
    pub not_before: SystemTime,
    /// Holds until here, inclusive.
    pub not_after: SystemTime,
}

impl Leaf {
    /// Reads a DER certificate. Says nothing about who signed it.
    ///
    /// # Errors
    /// [`PeerRefused::Unreadable`], [`PeerRefused::UriCount`] and [`PeerRefused::NotSpiffe`].
    pub fn read(der: &[u8]) -> Result<Self, PeerRefused> {
        let unreadable = |error: &dyn std::fmt::Display| PeerRefused::Unreadable(error.to_string());
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|e| unreadable(&e))?;
        if !rest.is_empty() {
            return Err(PeerRefused::Unreadable(
                "bytes after the certificate".into(),
            ));
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|e| unreadable(&e))?;
        let names = names
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        // A name that cannot be read might be a second URI.
        if names
            .iter()
            .any(|name| matches!(name, GeneralName::Invalid(..)))
        {
            return Err(PeerRefused::Unreadable("an alternative name".into()));
        }
        let uris: Vec<&str> = names
            .iter()
            .filter_map(|name| {
                if let GeneralName::URI(uri) = name {
                    Some(*uri)
                } else {
                    None
                }
            })
            .collect();
        let [uri] = uris.as_slice() else {
            return Err(PeerRefused::UriCount(uris.len()));
        };
        Ok(Self {
            spiffe_id: uri
                .parse()
                .map_err(|_| PeerRefused::NotSpiffe(uri.chars().take(256).collect()))?,
            not_before: instant(certificate.validity().not_before),
            not_after: instant(certificate.validity().not_after),
        })
    }

    /// Whether the leaf holds at `now`.
    pub fn holds_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// From when until when a DER certificate holds, both inclusive.
///
/// # Errors
/// [`PeerRefused::Unreadable`].
pub(super) fn validity(der: &[u8]) -> Result<(SystemTime, SystemTime), PeerRefused> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| PeerRefused::Unreadable(error.to_string()))?;
    let validity = certificate.validity();
    Ok((instant(validity.not_before), instant(validity.not_after)))
}

/// Times before 1970 are 1970: such a certificate has expired either way.
fn instant(time: ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// sha256 of a certificate's SubjectPublicKeyInfo: what join tokens pin.
///
/// # Errors
/// [`PeerRefused::Unreadable`].
pub fn spki_sha256(der: &[u8]) -> Result<[u8; 32], PeerRefused> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| PeerRefused::Unreadable(error.to_string()))?;
    Ok(Sha256::digest(certificate.public_key().raw).into())
}
