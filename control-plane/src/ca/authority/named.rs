//! Whom a certificate names: somebody in the mesh, or a server for who is no part of it.

use rcgen::{CertificateParams, Error, SerialNumber};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use usher_config::value::SpiffeId;

use super::{Authority, IssueError, certificate};
use crate::ca::{directory::pem, issued::Grounds, svid::ProvenKey};

/// Whom.
pub(super) enum Named<'a> {
    Identity(&'a SpiffeId),
    Server(&'a [String]),
}

impl Named<'_> {
    pub(super) fn spiffe_id(&self) -> &str {
        match self {
            Self::Identity(id) => id.as_str(),
            Self::Server(_) => "",
        }
    }

    pub(super) fn dns_names(&self) -> &[String] {
        match self {
            Self::Identity(_) => &[],
            Self::Server(names) => names,
        }
    }

    pub(super) fn params(
        &self,
        life: (OffsetDateTime, OffsetDateTime),
        serial: SerialNumber,
    ) -> Result<CertificateParams, Error> {
        match self {
            Self::Identity(id) => certificate::svid_params(id, life, serial),
            Self::Server(names) => certificate::server_params(names, life, serial),
        }
    }
}

impl Authority {
    /// Signs `key` for this control plane under the DNS names `names`: 24 hours from `now`, for TLS servers only, and recorded
    /// like an SVID. The chain is without the roots.
    ///
    /// # Errors
    /// As [`Self::issue`], and a name that is none of DNS.
    pub fn issue_webhook(
        &self,
        names: &[String],
        key: &ProvenKey,
        now: OffsetDateTime,
    ) -> Result<Vec<CertificateDer<'static>>, IssueError> {
        let signed = self.sign(&Named::Server(names), key, now, Grounds::Webhook);
        Ok(signed?.0)
    }

    /// The mesh's roots in PEM, the active one first, and the version of their set.
    pub fn roots_pem(&self) -> (u64, String) {
        let bundle = self.trust_bundle();
        let roots = bundle.roots.into_iter().map(CertificateDer::from);
        (bundle.version, pem(&roots.collect::<Vec<_>>()))
    }
}
