//! Key, certificate chain and the roots it came with: one value, one file.
//!
//! One file, because a key and a certificate that do not belong together are worse than none.

use std::{io, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize};

use usher_config::{model::TrustBundle, value::TrustDomain, wire::v1};

use crate::{
    state_dir::StateDir,
    tls::{Leaf, Material, MaterialError, PeerRefused, spki_sha256},
};

const FILE: &str = "identity.json";

/// Roots live for years.
const FORMER_ROOTS_MAX: usize = 16;

/// A key with a certificate for it. `Debug` shows who it is, not the key.
#[derive(Clone)]
pub struct Svid {
    key_pkcs8: Vec<u8>,
    chain: Vec<Vec<u8>>,
    /// What the certificate says.
    pub leaf: Leaf,
    /// The roots that the control plane handed out with it.
    pub bundle: TrustBundle,
    /// Roots that the mesh had while we were in it, SHA-256 of their SubjectPublicKeyInfo: a join token may be as old.
    pub(super) former_roots: Vec<[u8; 32]>,
}

/// Why an answer of the control plane, or a file, is not an SVID.
#[derive(Debug, thiserror::Error)]
pub enum SvidError {
    /// The key generator or the encoder failed.
    #[error("no key or signing request could be made")]
    Make(#[source] rcgen::Error),
    /// The certificate is not an SVID.
    #[error("the certificate received is not an SVID")]
    Leaf(#[source] PeerRefused),
    /// Name or trust domain in the answer do not fit its certificate.
    #[error("the answer's {field} does not fit its certificate")]
    Mismatch {
        /// Which field.
        field: &'static str,
    },
    /// The certificate is for another key, or a root is unreadable.
    #[error("key, certificate and roots do not fit together")]
    Material(#[source] MaterialError),
    /// The file could not be read or written.
    #[error("identity file")]
    File(#[source] io::Error),
    /// The file holds something else.
    #[error("identity file is not one of ours")]
    Format(#[source] serde_json::Error),
}

/// A fresh key and the request for its certificate.
pub(super) struct Request {
    key_pkcs8: Vec<u8>,
    pub(super) csr_der: Vec<u8>,
}

impl Request {
    /// ECDSA P-256. The request names nothing: the control plane takes only its public key.
    pub(super) fn new() -> Result<Self, SvidError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(SvidError::Make)?;
        let request = CertificateParams::default()
            .serialize_request(&key)
            .map_err(SvidError::Make)?;
        Ok(Self {
            key_pkcs8: key.serialize_der(),
            csr_der: request.der().to_vec(),
        })
    }

    /// Joins the key with the certificate that came for it.
    pub(super) fn complete(self, response: v1::SvidResponse) -> Result<Svid, SvidError> {
        let trust_domain: TrustDomain =
            response
                .trust_domain
                .parse()
                .map_err(|_| SvidError::Mismatch {
                    field: "trust_domain",
                })?;
        let bundle = TrustBundle {
            trust_domain,
            version: response.bundle_version,
            roots: response.roots_der,
        };
        let svid = Svid::new(self.key_pkcs8, response.chain_der, bundle)?;
        if svid.leaf.spiffe_id.as_str() != response.spiffe_id {
            return Err(SvidError::Mismatch { field: "spiffe_id" });
        }
        Ok(svid)
    }
}

impl Svid {
    fn new(
        key_pkcs8: Vec<u8>,
        chain: Vec<Vec<u8>>,
        bundle: TrustBundle,
    ) -> Result<Self, SvidError> {
        let first = chain
            .first()
            .ok_or(SvidError::Leaf(PeerRefused::NoCertificate))?;
        let leaf = Leaf::read(first).map_err(SvidError::Leaf)?;
        if leaf.spiffe_id.trust_domain != bundle.trust_domain {
            return Err(SvidError::Mismatch {
                field: "trust_domain",
            });
        }
        let svid = Self {
            key_pkcs8,
            chain,
            leaf,
            bundle,
            former_roots: Vec::new(),
        };
        svid.material().map_err(SvidError::Material)?;
        Ok(svid)
    }

    /// What handshakes need, with the SVID's own bundle.
    ///
    /// # Errors
    /// When the parts do not fit; an [`Svid`] that was read or received has been checked for that.
    pub fn material(&self) -> Result<Material, MaterialError> {
        Material::new(&self.chain, &self.key_pkcs8, &self.bundle)
    }

    /// Whether it is of the mesh whose root has the key with this digest, as join tokens pin it.
    pub fn is_under(&self, root_spki_sha256: &[u8; 32]) -> bool {
        let mut roots = digests(&self.bundle.roots);
        roots.any(|digest| digest == *root_spki_sha256)
            || self.former_roots.contains(root_spki_sha256)
    }

    /// Takes another bundle, and remembers the roots of the one before it that are not in it.
    pub(super) fn follow(&mut self, bundle: TrustBundle) {
        let before = std::mem::replace(&mut self.bundle, bundle);
        let now: Vec<_> = digests(&self.bundle.roots).collect();
        for root in digests(&before.roots) {
            if !now.contains(&root) && !self.former_roots.contains(&root) {
                self.former_roots.push(root);
            }
        }
        let surplus = self.former_roots.len().saturating_sub(FORMER_ROOTS_MAX);
        self.former_roots.drain(..surplus);
    }

    /// The SVID kept from an earlier run, if it still holds at `now`.
    ///
    /// # Errors
    /// When there is a file that cannot be used.
    pub fn load(directory: &StateDir, now: SystemTime) -> Result<Option<Self>, SvidError> {
        let Some(bytes) = directory.read(FILE).map_err(SvidError::File)? else {
            return Ok(None);
        };
        let kept: Kept = serde_json::from_slice(&bytes).map_err(SvidError::Format)?;
        let svid = kept.into_svid()?;
        Ok(svid.leaf.holds_at(now).then_some(svid))
    }

    /// Keeps it for the next run.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn save(&self, directory: &StateDir) -> Result<(), SvidError> {
        let text = serde_json::to_vec(&Kept::from(self)).map_err(SvidError::Format)?;
        directory.write(FILE, &text).map_err(SvidError::File)
    }
}

impl std::fmt::Debug for Svid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Svid")
            .field("leaf", &self.leaf)
            .finish_non_exhaustive()
    }
}

/// The file: DER in base64.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    key: String,
    chain: Vec<String>,
    trust_domain: String,
    bundle_version: u64,
    roots: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_roots: Vec<String>,
}

fn digests(roots: &[Vec<u8>]) -> impl Iterator<Item = [u8; 32]> {
    roots.iter().filter_map(|der| spki_sha256(der).ok())
}

impl From<&Svid> for Kept {
    fn from(svid: &Svid) -> Self {
        let text = |der: &Vec<u8>| STANDARD.encode(der);
        Self {
            key: text(&svid.key_pkcs8),
            chain: svid.chain.iter().map(text).collect(),
            trust_domain: svid.bundle.trust_domain.to_string(),
            bundle_version: svid.bundle.version,
            roots: svid.bundle.roots.iter().map(text).collect(),
            former_roots: svid
                .former_roots
                .iter()
                .map(|digest| STANDARD.encode(digest))
                .collect(),
        }
    }
}

impl Kept {
    fn into_svid(self) -> Result<Svid, SvidError> {
        let invalid = |field: &'static str| move |_| SvidError::Mismatch { field };
        let bytes = |texts: &[String]| -> Result<Vec<Vec<u8>>, base64::DecodeError> {
            texts.iter().map(|text| STANDARD.decode(text)).collect()
        };
        let bundle = TrustBundle {
            trust_domain: self.trust_domain.parse().map_err(|_| SvidError::Mismatch {
                field: "trustDomain",
            })?,
            version: self.bundle_version,
            roots: bytes(&self.roots).map_err(invalid("roots"))?,
        };
        let key = STANDARD.decode(&self.key).map_err(invalid("key"))?;
        let former = bytes(&self.former_roots).map_err(invalid("formerRoots"))?;
        let mut svid = Svid::new(key, bytes(&self.chain).map_err(invalid("chain"))?, bundle)?;
        let digests = former.into_iter().map(|digest| digest.try_into());
        svid.former_roots = digests
            .collect::<Result<_, _>>()
            .map_err(|_| SvidError::Mismatch {
                field: "formerRoots",
            })?;
        Ok(svid)
    }
}
