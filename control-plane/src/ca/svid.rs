//! What is read out of certificates and requests for them: a key from a CSR, an identity from an SVID.
//!
//! A CSR is only a proof that its sender holds a private key. Whatever else it asks for (names, CA=true, key
//! usages) is not refused but never looked at, so that no parser of ours can be talked into copying it.

use rcgen::{PublicKeyData as _, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use usher_config::value::SpiffeId;
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

/// Longest CSR accepted, in bytes. One for P-256 with a few extensions is under 600.
const CSR_BYTES_MAX: usize = 8 * 1024;

/// An uncompressed P-256 point: 0x04, x, y.
const P256_POINT_BYTES: usize = 65;

/// Why a CSR or a certificate is not what it has to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// The CSR is longer than any honest one.
    #[error("the certificate request is longer than {CSR_BYTES_MAX} bytes")]
    TooLong,
    /// Not DER of a PKCS#10 request, or bytes follow it.
    #[error("the certificate request is not a PKCS#10 request in DER")]
    NotARequest,
    /// The sender does not hold the private key, or the request was changed on the way.
    #[error("the certificate request is not signed by the key it is for")]
    NotSelfSigned,
    /// Another kind of key.
    #[error(
        "the certificate request is not for an ECDSA P-256 key, the only kind used in the mesh"
    )]
    NotP256,
    /// A verified certificate without exactly one name, our kind of SPIFFE ID.
    #[error(
        "the certificate does not carry exactly one name, spiffe://<trust-domain>/ns/<ns>/sa/<sa>"
    )]
    NoIdentity,
}

/// A public key whose private half the sender of a CSR has proven to hold.
#[derive(Debug, Clone)]
pub struct ProvenKey(SubjectPublicKeyInfo);

impl ProvenKey {
    /// Verifies a CSR's signature by its own key, and keeps only that key.
    ///
    /// # Errors
    /// Every [`SvidError`] but the last.
    pub fn from_csr(der: &[u8]) -> Result<Self, SvidError> {
        if der.len() > CSR_BYTES_MAX {
            return Err(SvidError::TooLong);
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| SvidError::NotARequest)?;
        if !rest.is_empty() {
            return Err(SvidError::NotARequest);
        }
        // The kind of key comes from the key, not from the signature: a P-384 key may sign with SHA-256 too.
        let key =
            SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
                .map_err(|_| SvidError::NotP256)?;
        let is_p256 = key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256
            && key.der_bytes().len() == P256_POINT_BYTES
            && key.der_bytes().first() == Some(&4);
        if !is_p256 {
            return Err(SvidError::NotP256);
        }
        request
            .verify_signature()
            .map_err(|_| SvidError::NotSelfSigned)?;
        Ok(Self(key))
    }

    /// The key of a pair made in this process.
    ///
    /// # Errors
    /// [`SvidError::NotP256`] for another kind.
    pub fn of(pair: &rcgen::KeyPair) -> Result<Self, SvidError> {
        SubjectPublicKeyInfo::from_der(&pair.subject_public_key_info())
            .map(Self)
            .map_err(|_| SvidError::NotP256)
    }

    /// SHA-256 of it (SPKI, DER), hexadecimal.
    pub(super) fn sha256(&self) -> String {
        super::certificate::sha256(&self.0.subject_public_key_info())
    }

    /// Whether a certificate is for it.
    pub(super) fn is_in(&self, certificate: &[u8]) -> bool {
        let facts = super::certificate::facts(certificate);
        facts.is_ok_and(|facts| facts.public_key == self.0.subject_public_key_info())
    }

    pub(super) fn key(&self) -> &SubjectPublicKeyInfo {
        &self.0
    }
}

/// What a certificate says about its holder. Only as true as the chain that was verified before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Its only name.
    pub id: SpiffeId,
    /// Last moment in which it holds.
    pub not_after: OffsetDateTime,
}

impl Claims {
    /// Reads the only name of a certificate that a verifier has already accepted.
    ///
    /// # Errors
    /// [`SvidError::NoIdentity`] when there is none, more than one, or another kind of name beside it.
    pub fn of_verified(certificate: &CertificateDer<'_>) -> Result<Self, SvidError> {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| SvidError::NoIdentity)?;
        let names = certificate.subject_alternative_name().ok().flatten();
        match names.map(|names| names.value.general_names.as_slice()) {
            Some([GeneralName::URI(uri)]) => Ok(Self {
                id: uri.parse().map_err(|_| SvidError::NoIdentity)?,
                not_after: certificate.validity().not_after.to_datetime(),
            }),
            _ => Err(SvidError::NoIdentity),
        }
    }
}
