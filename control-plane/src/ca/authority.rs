//! The mesh's root: made on first start, kept in the data directory, signs every SVID.
//!
//! One self-signed ECDSA P-256 root. Its key never leaves `<data>/ca/root.key` (mode 0600; a key that others
//! can read is refused). The trust domain is written into the root, so a data directory belongs to one trust
//! domain for good: every identity in the mesh would change with it.

pub mod reserved;

use std::{
    io,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    digest,
    rand::{SecureRandom as _, SystemRandom},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use time::{Duration, OffsetDateTime};
use usher_config::{
    model::TrustBundle,
    value::{SpiffeId, TrustDomain},
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::{
    issued::{Grounds, Issued, IssuedLog},
    svid::ProvenKey,
};
use crate::private_files::{private_directory, read_private, write_private};

/// How long an SVID holds. Renewed at half of it, so the control plane may be away for 12 hours.
pub const SVID_LIFETIME: Duration = Duration::hours(24);

/// How far `notBefore` lies back: clocks of two machines may differ by this much.
pub const CLOCK_SKEW: Duration = Duration::minutes(5);

/// How long the root holds. Long, because replacing it is an operator's decision, not a timer's.
const ROOT_LIFETIME: Duration = Duration::days(3650);

/// Why the authority cannot open.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file of it cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of it holds something else than it should.
    #[error("{} does not hold a {what}: restore it from a backup, or move the ca directory away to start a \
             new mesh, which every sidecar has to join again", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// The data directory is of a mesh with another name.
    #[error(
        "this data directory belongs to the trust domain {found}, the configuration says {asked}: every \
             identity would change; set spec.trustDomain back, or use another --data directory for a new mesh"
    )]
    OtherTrustDomain {
        /// The name in the root certificate.
        found: String,
        /// The name in the Mesh object.
        asked: TrustDomain,
    },
    /// Signing the root itself failed.
    #[error("cannot make the root certificate")]
    Sign(#[source] rcgen::Error),
}

/// Why an identity was not signed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The identity is of another mesh.
    #[error("{id} is not in the trust domain {trust_domain}")]
    OtherTrustDomain {
        /// What was asked for.
        id: SpiffeId,
        /// What this authority signs.
        trust_domain: TrustDomain,
    },
    /// Nothing signed now could hold.
    #[error("the root certificate ended on {not_after}: the mesh needs a new root")]
    RootEnded {
        /// When it ended.
        not_after: OffsetDateTime,
    },
    /// What is signed has to be recorded first.
    #[error(
        "cannot record the certificate in {}, and what is not recorded is not given out ({source}): make room or \
             make the file writable", path.display()
    )]
    NotRecorded {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Encoding or signing failed.
    #[error("cannot sign the SVID")]
    Sign(#[source] rcgen::Error),
}

/// A signed identity.
#[derive(Debug, Clone)]
pub struct Svid {
    /// Whose it is.
    pub id: SpiffeId,
    /// The certificate; its issuer is the root, so it is the whole chain.
    pub certificate: CertificateDer<'static>,
    /// Last moment in which it holds.
    pub not_after: OffsetDateTime,
}

/// Signs identities of one trust domain.
pub struct Authority {
    trust_domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_not_after: OffsetDateTime,
    pin: String,
    issued: IssuedLog,
}

impl Authority {
    /// Opens `<directory>/root.key` and `root.crt`; makes them when there is no key yet.
    ///
    /// # Errors
    /// The files cannot be used, are damaged, readable for others, or of another trust domain.
    pub fn open(directory: &Path, trust_domain: &TrustDomain) -> Result<Self, AuthorityError> {
        let (key_path, root_path) = (directory.join("root.key"), directory.join("root.crt"));
        let file = |path: &Path| {
            let path = path.to_owned();
            |source| AuthorityError::File { path, source }
        };
        private_directory(directory).map_err(file(directory))?;
        let key = match read_private(&key_path) {
            Ok(pem) => String::from_utf8(pem)
                .ok()
                .and_then(|pem| KeyPair::from_pem(&pem).ok())
                .ok_or(AuthorityError::Damaged {
                    path: key_path,
                    what: "private key in PEM",
                })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !root_path.exists() => {
                let key = KeyPair::generate().map_err(AuthorityError::Sign)?;
                write_private(&key_path, key.serialize_pem().as_bytes())
                    .map_err(file(&key_path))?;
                key
            }
            Err(error) => return Err(file(&key_path)(error)),
        };
        // A crash between the two writes leaves a key without a certificate: it gets one now.
        let root = match std::fs::read(&root_path) {
            Ok(pem) => {
                CertificateDer::from_pem_slice(&pem).map_err(|_| AuthorityError::Damaged {
                    path: root_path,
                    what: "certificate in PEM",
                })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let root = self_sign(&key, trust_domain, OffsetDateTime::now_utc())
                    .map_err(AuthorityError::Sign)?;
                write_private(&root_path, root.pem().as_bytes()).map_err(file(&root_path))?;
                root.der().clone()
            }
            Err(error) => return Err(file(&root_path)(error)),
        };
        Self::new(key, root, trust_domain, directory)
    }

    fn new(
        key: KeyPair,
        root: CertificateDer<'static>,
        trust_domain: &TrustDomain,
        directory: &Path,
    ) -> Result<Self, AuthorityError> {
        use rcgen::PublicKeyData as _;
        let damaged = |what| AuthorityError::Damaged {
            path: directory.join("root.crt"),
            what,
        };
        let (_, parsed) =
            X509Certificate::from_der(&root).map_err(|_| damaged("certificate in PEM"))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(damaged("certificate for root.key"));
        }
        let names = parsed.subject_alternative_name().ok().flatten();
        let found = match names.map(|names| names.value.general_names.as_slice()) {
            Some([GeneralName::URI(uri)]) => uri.trim_start_matches("spiffe://").to_owned(),
            _ => return Err(damaged("certificate of a SPIFFE trust domain")),
        };
        if found != trust_domain.as_str() {
            return Err(AuthorityError::OtherTrustDomain {
                found,
                asked: trust_domain.clone(),
            });
        }
        let pin = pin(&parsed);
        let root_not_after = parsed.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&root, key).map_err(AuthorityError::Sign)?;
        Ok(Self {
            trust_domain: trust_domain.clone(),
            issuer,
            root,
            root_not_after,
            pin,
            issued: IssuedLog::of(directory),
        })
    }

    /// Signs `key` for `id`: 24 hours from `now`, never past the root's own end; and records it with the `grounds`
    /// (`<directory>/issued.jsonl`).
    ///
    /// # Errors
    /// The identity is of another trust domain, the root has ended, or the record cannot be written.
    pub fn issue(
        &self,
        id: &SpiffeId,
        key: &ProvenKey,
        now: OffsetDateTime,
        grounds: Grounds<'_>,
    ) -> Result<Svid, IssueError> {
        if id.trust_domain != self.trust_domain {
            let (id, trust_domain) = (id.clone(), self.trust_domain.clone());
            return Err(IssueError::OtherTrustDomain { id, trust_domain });
        }
        if now >= self.root_not_after {
            return Err(IssueError::RootEnded {
                not_after: self.root_not_after,
            });
        }
        let not_after = (now + SVID_LIFETIME).min(self.root_not_after);
        let mut params = CertificateParams::default();
        params.not_before = now - CLOCK_SKEW;
        params.not_after = not_after;
        let serial = random_serial().map_err(IssueError::Sign)?;
        let issued = Issued {
            time: now,
            serial: hex(serial.as_ref()),
            spiffe_id: id.as_str(),
            not_before: params.not_before,
            not_after,
            key_sha256: key.sha256(),
            grounds,
        };
        params.serial_number = Some(serial);
        // No subject: the URI is the only name, and RFC 5280 then makes it critical.
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![uri_name(id.as_str()).map_err(IssueError::Sign)?];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(key.key(), &self.issuer)
            .map_err(IssueError::Sign)?
            .der()
            .clone();
        self.issued
            .record(&issued)
            .map_err(|source| self.not_recorded(source))?;
        Ok(Svid {
            id: id.clone(),
            certificate,
            not_after,
        })
    }

    /// Whether what is signed could be recorded now, as far as that can be known without writing.
    ///
    /// # Errors
    /// [`IssueError::NotRecorded`].
    pub fn can_record(&self) -> Result<(), IssueError> {
        let open = self.issued.open().map(drop);
        open.map_err(|source| self.not_recorded(source))
    }

    fn not_recorded(&self, source: io::Error) -> IssueError {
        let path = self.issued.path().to_owned();
        IssueError::NotRecorded { path, source }
    }

    /// The identity of the control plane itself; no token can be made for it.
    pub fn own_id(&self) -> SpiffeId {
        SpiffeId::new(
            self.trust_domain.clone(),
            reserved::namespace(),
            reserved::service_account(),
        )
    }

    /// Whose identities are signed here.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The root certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// When the root ends; nothing it signed holds longer.
    pub fn root_not_after(&self) -> OffsetDateTime {
        self.root_not_after
    }

    /// SHA-256 of the root's public key (SPKI, DER), in hex: what a join token pins.
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// What sidecars verify each other with.
    pub fn trust_bundle(&self) -> TrustBundle {
        TrustBundle {
            trust_domain: self.trust_domain.clone(),
            version: 1,
            roots: vec![self.root.to_vec()],
        }
    }
}

fn self_sign(
    key: &KeyPair,
    trust_domain: &TrustDomain,
    now: OffsetDateTime,
) -> Result<rcgen::Certificate, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + ROOT_LIFETIME;
    params.serial_number = Some(random_serial()?);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Usher");
    params
        .distinguished_name
        .push(DnType::CommonName, format!("root of {trust_domain}"));
    params.subject_alt_names = vec![uri_name(&format!("spiffe://{trust_domain}"))?];
    // One intermediate below: replicas sign with short-lived ones of their own.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.self_signed(key)
}

fn uri_name(uri: &str) -> Result<SanType, rcgen::Error> {
    Ok(SanType::URI(uri.try_into()?))
}

/// 127 random bits: positive, and never twice, also for a key that is renewed.
fn random_serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| rcgen::Error::RingUnspecified)?;
    if let Some(first) = bytes.first_mut() {
        *first &= 0x7f;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

/// What a join token pins of a root, DER; `None`: it is no certificate.
pub fn pin_of(root: &[u8]) -> Option<String> {
    let (_, root) = X509Certificate::from_der(root).ok()?;
    Some(pin(&root))
}

fn pin(root: &X509Certificate<'_>) -> String {
    sha256(root.public_key().raw)
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
