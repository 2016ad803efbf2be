//! What signs this mesh's SVIDs: the roots that everybody trusts, and this control plane's own intermediate.
//!
//! SVIDs are signed by an intermediate of 7 days, so that a root's key is needed twice a week and not for every sidecar, and
//! may lie with one control plane, or nowhere near one. Keys never leave `<data>/ca/` (mode 0600; a key that others can read
//! is refused). The trust domain is written into the root, so a data directory belongs to one trust domain for good: every
//! identity in the mesh would change with it.

mod error;
mod keeping;
mod named;
pub mod reserved;

use std::{io, path::Path, sync::Arc};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::sync::watch;
use usher_config::{
    model::TrustBundle,
    value::{SpiffeId, TrustDomain},
};

use super::{
    certificate,
    directory::Directory,
    issued::{Grounds, Issued, IssuedLog},
    issuer::{GivenFiles, Issuer},
    roots::{Root, RootSet, short},
    svid::ProvenKey,
    trust::{FileTrust, IssuerFacts},
};

pub use super::certificate::{CLOCK_SKEW, ISSUER_LIFETIME, SVID_LIFETIME, hex};
pub use error::{AuthorityError, IssueError};
pub use keeping::roots_in;

use keeping::{first_roots, is_of_this_mesh};
use named::Named;

/// A signed identity.
#[derive(Debug, Clone)]
pub struct Svid {
    /// Whose it is.
    pub id: SpiffeId,
    /// Its certificate first, then what leads from it to the mesh's roots, without those.
    pub chain: Vec<CertificateDer<'static>>,
    /// Last moment in which it holds.
    pub not_after: OffsetDateTime,
}

/// Signs identities of one trust domain.
pub struct Authority {
    trust_domain: TrustDomain,
    directory: Directory,
    id: String,
    given: Option<GivenFiles>,
    roots: ArcSwap<RootSet>,
    issuer: ArcSwapOption<Issuer>,
    issued: IssuedLog,
    changes: watch::Sender<u64>,
}

impl Authority {
    /// Of a control plane that is alone: with the first start, a root is made (or `given`).
    ///
    /// # Errors
    /// The files cannot be used, are damaged, readable for others, or of another trust domain.
    pub fn alone(
        directory: &Path,
        trust_domain: &TrustDomain,
        given: Option<GivenFiles>,
    ) -> Result<(Self, FileTrust), AuthorityError> {
        let now = OffsetDateTime::now_utc();
        let file = |source| AuthorityError::File {
            path: directory.join("trust.json"),
            source,
        };
        let opened = Directory::open(directory)?;
        let trust = FileTrust::open(directory).map_err(file)?;
        let roots = match trust.shared().roots {
            Some(roots) => roots,
            None => {
                let first = first_roots(&opened, trust_domain, (given.as_ref(), now))?;
                trust.replace_roots(first.clone()).map_err(file)?;
                first
            }
        };
        let authority = Self::of(opened, trust_domain, (given, roots))?;
        authority.tend_issuer(now)?;
        if authority.issuer().is_none() {
            return Err(AuthorityError::NoKey {
                root: short(&authority.pin()),
                path: directory.to_owned(),
            });
        }
        Ok((authority, trust))
    }

    /// Like [`Self::alone`], where nobody changes roots.
    ///
    /// # Errors
    /// As [`Self::alone`].
    pub fn open(directory: &Path, trust_domain: &TrustDomain) -> Result<Self, AuthorityError> {
        Ok(Self::alone(directory, trust_domain, None)?.0)
    }

    /// With the roots that the mesh has. There may be no intermediate yet: see [`Self::tend_issuer`].
    ///
    /// # Errors
    /// As [`Self::alone`], and the directory is of another mesh.
    pub fn with_roots(
        directory: &Path,
        trust_domain: &TrustDomain,
        (given, roots): (Option<GivenFiles>, RootSet),
    ) -> Result<Self, AuthorityError> {
        Self::of(Directory::open(directory)?, trust_domain, (given, roots))
    }

    fn of(
        directory: Directory,
        trust_domain: &TrustDomain,
        (given, roots): (Option<GivenFiles>, RootSet),
    ) -> Result<Self, AuthorityError> {
        for root in &roots.roots {
            let facts = certificate::facts(&root.certificate).map_err(AuthorityError::Sign)?;
            if let Some(found) = facts.trust_domain
                && found != trust_domain.as_str()
            {
                let asked = trust_domain.clone();
                return Err(AuthorityError::OtherTrustDomain { found, asked });
            }
        }
        let kept = directory.issuer()?;
        let now = OffsetDateTime::now_utc();
        let issuer = kept
            .map(|kept| Issuer::kept(kept, &roots, now))
            .transpose()?;
        let issuer = issuer.flatten();
        if issuer.is_none() && given.is_none() {
            is_of_this_mesh(&directory, &roots)?;
        }
        Ok(Self {
            trust_domain: trust_domain.clone(),
            id: directory.id()?,
            issued: IssuedLog::of(directory.path()),
            directory,
            given,
            roots: ArcSwap::from_pointee(roots),
            issuer: ArcSwapOption::from(issuer.map(Arc::new)),
            changes: watch::Sender::new(0),
        })
    }

    /// The roots of a mesh that has none yet: in files that were given, or made, with its key in `directory`.
    ///
    /// # Errors
    /// As [`Self::alone`].
    pub fn first_roots(
        directory: &Path,
        trust_domain: &TrustDomain,
        given: Option<&GivenFiles>,
    ) -> Result<RootSet, AuthorityError> {
        let directory = Directory::open(directory)?;
        first_roots(&directory, trust_domain, (given, OffsetDateTime::now_utc()))
    }

    /// Signs `key` for `id`: 24 hours from `now`, never past our intermediate's own end; and records it with the `grounds`
    /// (`<directory>/issued.jsonl`).
    ///
    /// # Errors
    /// The identity is of another trust domain, there is no intermediate that holds, or the record cannot be written.
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
        let (chain, not_after) = self.sign(&Named::Identity(id), key, now, grounds)?;
        Ok(Svid {
            id: id.clone(),
            chain,
            not_after,
        })
    }

    /// The chain without the roots, and its end.
    fn sign(
        &self,
        named: &Named<'_>,
        key: &ProvenKey,
        now: OffsetDateTime,
        grounds: Grounds<'_>,
    ) -> Result<(Vec<CertificateDer<'static>>, OffsetDateTime), IssueError> {
        let issuer = self.issuer.load_full().ok_or(IssueError::NoIssuer)?;
        if now >= issuer.not_after {
            let not_after = issuer.not_after;
            return Err(IssueError::IssuerEnded { not_after });
        }
        let (not_before, not_after) = (
            now - CLOCK_SKEW,
            (now + SVID_LIFETIME).min(issuer.not_after),
        );
        let serial = certificate::random_serial().map_err(IssueError::Sign)?;
        let issued = Issued {
            time: now,
            serial: hex(serial.as_ref()),
            spiffe_id: named.spiffe_id(),
            dns_names: named.dns_names(),
            not_before,
            not_after,
            key_sha256: key.sha256(),
            root: &issuer.root,
            grounds,
        };
        let params = named.params((not_before, not_after), serial);
        let signed = params.and_then(|params| params.signed_by(key.key(), &issuer.signer));
        let signed = signed.map_err(IssueError::Sign)?;
        self.issued
            .record(&issued)
            .map_err(|source| self.not_recorded(source))?;
        let mut chain = vec![signed.der().clone()];
        chain.extend(issuer.chain.iter().cloned());
        // A peer that was cut off while the roots changed knows only the older one.
        let crosses = self.roots.load().crosses_of(&issuer.root);
        chain.extend(crosses.into_iter().map(CertificateDer::from));
        Ok((chain, not_after))
    }

    /// Whether what is signed could be recorded now, as far as that can be known without writing.
    ///
    /// # Errors
    /// [`IssueError::NotRecorded`].
    pub fn can_record(&self) -> Result<(), IssueError> {
        let open = self.issued.open().map(drop);
        open.map_err(|source| self.not_recorded(source))
    }

    /// Whether something could be signed now, as far as that can be known before.
    ///
    /// # Errors
    /// [`IssueError::NoIssuer`], [`IssueError::IssuerEnded`], [`IssueError::NotRecorded`].
    pub fn can_issue(&self, now: OffsetDateTime) -> Result<(), IssueError> {
        let not_after = self.issuer.load().as_ref().map(|issuer| issuer.not_after);
        let not_after = not_after.ok_or(IssueError::NoIssuer)?;
        if now >= not_after {
            return Err(IssueError::IssuerEnded { not_after });
        }
        self.can_record()
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

    /// By what other control planes know this one.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The roots of the mesh.
    pub fn roots(&self) -> Arc<RootSet> {
        self.roots.load_full()
    }

    /// When the active root ends; nothing under it holds longer.
    pub fn root_not_after(&self) -> Option<OffsetDateTime> {
        let roots = self.roots.load();
        let active = roots.active()?;
        Some(certificate::facts(&active.certificate).ok()?.not_after)
    }

    /// The intermediate with which we sign now.
    pub fn issuer(&self) -> Option<IssuerFacts> {
        Some(self.issuer.load().as_ref()?.facts())
    }

    /// SHA-256 of the active root's public key (SPKI, DER), in hex: what a join token pins.
    pub fn pin(&self) -> String {
        let roots = self.roots.load();
        roots
            .active()
            .map(|root| root.pin.clone())
            .unwrap_or_default()
    }

    /// What sidecars verify each other with.
    pub fn trust_bundle(&self) -> TrustBundle {
        self.roots.load().bundle(&self.trust_domain)
    }

    /// The pin of the root to which a peer's verified chain leads.
    pub fn root_of(&self, chain: &[CertificateDer<'_>]) -> Option<String> {
        let roots = self.roots.load();
        if let [only] = roots.roots.as_slice() {
            return Some(only.pin.clone());
        }
        let signed = |root: &&Root| {
            let mut chain = chain.iter();
            chain.any(|der| certificate::is_signed_by(der, &root.certificate))
        };
        // A cross certificate leads to an older root as well; the key that signed the intermediate is the newer one's.
        let newest_first = roots.roots.iter().rev();
        newest_first
            .filter(signed)
            .map(|root| root.pin.clone())
            .next()
    }

    /// Counts up whenever roots or intermediate change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes
            .send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

/// What a join token pins of a root, DER; `None`: it is no certificate.
pub fn pin_of(root: &[u8]) -> Option<String> {
    Some(certificate::facts(root).ok()?.pin)
}
