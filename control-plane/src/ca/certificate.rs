//! Certificates as this authority makes and reads them: roots, intermediates, cross certificates, SVIDs. Pure: keys and
//! `now` in, DER out.
//!
//! ```text
//! root           self-signed P-256, 10 years, one intermediate below; named by the trust domain's URI
//! intermediate   signs SVIDs; 7 days, nothing but leaves below
//! cross          a root's key under an older root (RFC 4210 §4.4, "new with old"): who knows only the older one still
//!                finds a path
//! SVID           24 hours; its only name is the SPIFFE ID
//! server         24 hours; DNS names, for who is no part of the mesh (the API server)
//! ```

use aws_lc_rs::{
    digest,
    rand::{SecureRandom as _, SystemRandom},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use usher_config::value::{SpiffeId, TrustDomain};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::svid::ProvenKey;

/// How long an SVID holds. Renewed at half of it, so the control plane may be away for 12 hours.
pub const SVID_LIFETIME: Duration = Duration::hours(24);

/// How far `notBefore` lies back: clocks of two machines may differ by this much.
pub const CLOCK_SKEW: Duration = Duration::minutes(5);

/// How long an intermediate holds. Replaced at half of it, so whoever has the root's key may be away for 3.5 days.
pub const ISSUER_LIFETIME: Duration = Duration::days(7);

/// How long a root holds. Long, because replacing it is an operator's decision, not a timer's.
const ROOT_LIFETIME: Duration = Duration::days(3650);

/// A certificate, with the key that it is for.
pub(super) type Signed = CertificateDer<'static>;

/// A new root for a trust domain, for `key`.
pub(super) fn root(
    key: &KeyPair,
    trust_domain: &TrustDomain,
    now: OffsetDateTime,
) -> Result<Signed, Error> {
    let params = root_params(trust_domain, (now, now + ROOT_LIFETIME))?;
    Ok(params.self_signed(key)?.der().clone())
}

/// All roots of a mesh have one name: who builds a path looks at their keys.
fn root_params(
    trust_domain: &TrustDomain,
    (now, not_after): (OffsetDateTime, OffsetDateTime),
) -> Result<CertificateParams, Error> {
    let common_name = format!("root of {trust_domain}");
    let mut params = authority_params(trust_domain, &common_name, (now, not_after))?;
    // One intermediate below: control planes sign with short-lived ones of their own.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    Ok(params)
}

/// The key of the root `of`, signed by an older root: as long as both hold.
pub(super) fn cross(
    of: &[u8],
    older: (&[u8], &Issuer<'_, KeyPair>),
    (trust_domain, now): (&TrustDomain, OffsetDateTime),
) -> Result<Signed, Error> {
    let (of, (older, signer)) = (facts(of)?, older);
    let not_after = of.not_after.min(facts(older)?.not_after);
    let mut params = root_params(trust_domain, (now, not_after))?;
    params.use_authority_key_identifier_extension = true;
    let key = SubjectPublicKeyInfo::from_der(&of.public_key)?;
    Ok(params.signed_by(&key, signer)?.der().clone())
}

/// An intermediate for `key`: 7 days, never past the root's own end.
pub(super) fn intermediate(
    key: &ProvenKey,
    (root, signer): (&Facts, &Issuer<'_, KeyPair>),
    (trust_domain, now): (&TrustDomain, OffsetDateTime),
) -> Result<Signed, Error> {
    let not_after = (now + ISSUER_LIFETIME).min(root.not_after);
    let common_name = format!("control plane of {trust_domain}");
    let mut params = authority_params(trust_domain, &common_name, (now, not_after))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.use_authority_key_identifier_extension = true;
    Ok(params.signed_by(key.key(), signer)?.der().clone())
}

fn authority_params(
    trust_domain: &TrustDomain,
    common_name: &str,
    (now, not_after): (OffsetDateTime, OffsetDateTime),
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = not_after;
    params.serial_number = Some(random_serial()?);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Usher");
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.subject_alt_names = vec![uri_name(&format!("spiffe://{trust_domain}"))?];
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// What an SVID for `id` says.
pub(super) fn svid_params(
    id: &SpiffeId,
    (not_before, not_after): (OffsetDateTime, OffsetDateTime),
    serial: SerialNumber,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.not_before = not_before;
    params.not_after = not_after;
    params.serial_number = Some(serial);
    // No subject: the URI is the only name, and RFC 5280 then makes it critical.
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri_name(id.as_str())?];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn uri_name(uri: &str) -> Result<SanType, Error> {
    Ok(SanType::URI(uri.try_into()?))
}

/// What a certificate says of a server that nobody knows by a SPIFFE ID. No sidecar takes it for somebody's: it names nobody.
pub(super) fn server_params(
    names: &[String],
    (not_before, not_after): (OffsetDateTime, OffsetDateTime),
    serial: SerialNumber,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(names)?;
    params.not_before = not_before;
    params.not_after = not_after;
    params.serial_number = Some(serial);
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// 127 random bits: positive, and never twice, also for a key that is renewed.
pub(super) fn random_serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::RingUnspecified)?;
    if let Some(first) = bytes.first_mut() {
        *first &= 0x7f;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

/// What a certificate of an authority says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// SHA-256 of its public key (SPKI, DER), hexadecimal.
    pub(super) pin: String,
    /// SPKI, DER.
    pub(super) public_key: Vec<u8>,
    /// Of a SPIFFE trust domain, if that is its only name.
    pub(super) trust_domain: Option<String>,
    /// It may sign certificates.
    pub(super) is_authority: bool,
    /// It names itself as its issuer.
    pub(super) is_self_issued: bool,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    /// Hexadecimal.
    pub(super) serial: String,
}

/// # Errors
/// It is no certificate.
pub(super) fn facts(der: &[u8]) -> Result<Facts, Error> {
    let unreadable = |_| Error::CouldNotParseCertificate;
    let (rest, certificate) = X509Certificate::from_der(der).map_err(unreadable)?;
    if !rest.is_empty() {
        return Err(Error::CouldNotParseCertificate);
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let trust_domain = match names.map(|names| names.value.general_names.as_slice()) {
        Some([GeneralName::URI(uri)]) => uri.strip_prefix("spiffe://").map(str::to_owned),
        _ => None,
    };
    let usage = certificate.key_usage().ok().flatten();
    Ok(Facts {
        pin: sha256(certificate.public_key().raw),
        public_key: certificate.public_key().raw.to_vec(),
        trust_domain,
        is_authority: certificate.is_ca() && usage.is_none_or(|usage| usage.value.key_cert_sign()),
        is_self_issued: certificate.subject() == certificate.issuer(),
        not_before: certificate.validity().not_before.to_datetime(),
        not_after: certificate.validity().not_after.to_datetime(),
        serial: hex(certificate.tbs_certificate.raw_serial()),
    })
}

/// Whether the key of `issuer` has signed `certificate`.
pub(super) fn is_signed_by(certificate: &[u8], issuer: &[u8]) -> bool {
    let (Ok((_, certificate)), Ok((_, issuer))) = (
        X509Certificate::from_der(certificate),
        X509Certificate::from_der(issuer),
    ) else {
        return false;
    };
    certificate.issuer() == issuer.subject()
        && certificate
            .verify_signature(Some(issuer.public_key()))
            .is_ok()
}

/// Whether it is a certificate for this key.
pub(super) fn is_for(certificate: &[u8], key: &KeyPair) -> bool {
    facts(certificate).is_ok_and(|facts| facts.public_key == key.subject_public_key_info())
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
