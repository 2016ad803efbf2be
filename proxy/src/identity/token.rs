//! What proves who we are before there is an SVID: a join token, or a Kubernetes service account's.
//!
//! Either is sent to nobody but a control plane that holds a key under a root known beforehand: the one that the join token
//! pins, or those of the mesh that are mounted beside a service account's token (from the ConfigMap `usher-trust`). No trust on
//! first use.

use std::{fmt, fs, path::Path};

use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{AttestError, JoinToken};
use crate::{bootstrap::TokenFiles, tls::spki_sha256};

/// A token and whom it may be shown to. Its text is secret: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// Of `usher token create`; pins a root.
    Join(JoinToken),
    /// Of a pod's service account, a JWT.
    ServiceAccount {
        /// As Kubernetes wrote it.
        text: String,
        /// Digests of the keys of the mesh's roots, SHA-256 of their SubjectPublicKeyInfo.
        roots: Vec<[u8; 32]>,
    },
}

impl Token {
    /// Reads what is in the files now: both are replaced while we run.
    ///
    /// # Errors
    /// [`AttestError`]: there is none, or it says nothing of use.
    pub fn read(files: &TokenFiles) -> Result<Self, AttestError> {
        let path = files.token.as_deref().ok_or(AttestError::NoToken)?;
        let text = fs::read_to_string(path).map_err(|source| AttestError::TokenFile {
            path: path.to_owned(),
            source,
        })?;
        if is_jwt(text.trim()) {
            let roots = files.roots.as_deref();
            let roots = roots.ok_or_else(|| AttestError::NoRoots {
                path: path.to_owned(),
            })?;
            return Ok(Self::ServiceAccount {
                text: text.trim().to_owned(),
                roots: read_roots(roots)?,
            });
        }
        text.parse().map(Self::Join).map_err(|source| {
            let path = path.to_owned();
            // A shell creates the file before the command has printed anything. A token that lacks only its line's end
            // is whole: its last part has a known length.
            if text.trim().is_empty() || !text.ends_with('\n') {
                AttestError::TokenUnfinished { path }
            } else {
                AttestError::Token { path, source }
            }
        })
    }

    /// The roots of which the control plane has to show one.
    pub fn roots(&self) -> &[[u8; 32]] {
        match self {
            Self::Join(token) => std::slice::from_ref(&token.root_spki_sha256),
            Self::ServiceAccount { roots, .. } => roots,
        }
    }

    /// What says whom the token may be shown to, for people.
    pub fn pinned_by(&self) -> &'static str {
        match self {
            Self::Join(_) => "the join token: make one there with `usher token create`",
            Self::ServiceAccount { .. } => {
                "the roots in --root-file, which are its ConfigMap usher-trust: mount that of this mesh"
            }
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join(_) => "Join(..)",
            Self::ServiceAccount { .. } => "ServiceAccount(..)",
        })
    }
}

/// Whether it looks like a JSON web token in compact form (RFC 7519 §3, RFC 7515 §7.1): three parts, of which the first is the
/// base64url of a JSON object. Who it is for, only its issuer can tell.
fn is_jwt(text: &str) -> bool {
    let of_base64url = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty()
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3 && text.starts_with("eyJ") && parts.iter().all(|part| of_base64url(part))
}

/// Digests of all roots in a PEM file; there is at least one.
fn read_roots(path: &Path) -> Result<Vec<[u8; 32]>, AttestError> {
    let text = fs::read(path).map_err(|source| AttestError::RootFile {
        path: path.to_owned(),
        source,
    })?;
    let unusable = || AttestError::Roots {
        path: path.to_owned(),
    };
    let mut roots = Vec::new();
    for root in CertificateDer::pem_slice_iter(&text) {
        let root = root.map_err(|_| unusable())?;
        roots.push(spki_sha256(&root).map_err(|_| unusable())?);
    }
    match roots.is_empty() {
        true => Err(unusable()),
        false => Ok(roots),
    }
}
