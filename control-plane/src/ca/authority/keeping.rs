//! The authority's own certificates: roots made or given, intermediates signed, asked for and put in place.

use std::{path::Path, sync::Arc};

use rcgen::KeyPair;
use time::OffsetDateTime;
use usher_config::value::TrustDomain;

use super::{Authority, AuthorityError, pin_of};
use crate::ca::{
    certificate::{self, Facts, Signed},
    directory::{Directory, OwnRoot, read_key},
    issued::{Grounds, Issued},
    issuer::{Asked, Given, GivenFiles, Issuer, Step, next_step},
    roots::{Phase, Root, RootSet, short},
    svid::ProvenKey,
    trust::FileTrust,
};

impl Authority {
    /// Takes newer roots; says whether they were.
    pub(in crate::ca) fn adopt(&self, roots: RootSet) -> bool {
        let is_newer = roots.version > self.roots.load().version;
        if is_newer {
            self.roots.store(Arc::new(roots));
            self.changed();
        }
        is_newer
    }

    /// Pins of the roots whose keys are here.
    pub(in crate::ca) fn keys(&self) -> Result<Vec<String>, AuthorityError> {
        let own = self.directory.own_roots()?;
        let pins = own.iter().map(|root| pin_of(&root.certificate));
        Ok(pins.flatten().collect())
    }

    /// Reads given files again, or makes a new intermediate when ours is half over or not of the active root. What is left
    /// to do: nothing, or ask for one.
    pub(in crate::ca) fn tend_issuer(&self, now: OffsetDateTime) -> Result<Step, AuthorityError> {
        let active = self.pin();
        if let Some(files) = &self.given {
            let given = files.read(now)?;
            let is_new = |current: &Arc<Issuer>| current.chain != given.issuer.chain;
            if given.root_pin == active && self.issuer.load().as_ref().is_none_or(is_new) {
                self.take(given.issuer, read_key(&files.key)?)?;
            }
            return Ok(Step::Stay);
        }
        let own = self.own_root(&active)?;
        let issuer = self.issuer.load_full();
        let half_over = issuer.as_ref().is_some_and(|one| one.is_half_over(now));
        let facts = issuer.as_ref().map(|issuer| issuer.facts());
        let step = next_step(facts.as_ref(), half_over, (&active, own.is_some()));
        if step == Step::Make {
            let asked = Asked::of(&active).map_err(AuthorityError::Sign)?;
            let key = ProvenKey::of(&asked.key)
                .map_err(|_| AuthorityError::Sign(rcgen::Error::UnsupportedSignatureAlgorithm))?;
            if let Some(certificate) = self.sign_intermediate(&active, (&key, &self.id), now)? {
                self.install(&asked, certificate)?;
            }
            return Ok(Step::Stay);
        }
        Ok(step)
    }

    fn own_root(&self, pin: &str) -> Result<Option<OwnRoot>, AuthorityError> {
        let mut own = self.directory.own_roots()?.into_iter();
        Ok(own.find(|root| pin_of(&root.certificate).as_deref() == Some(pin)))
    }

    /// An intermediate for the control plane `id`, recorded; `None`: that root's key is not here.
    pub(in crate::ca) fn sign_intermediate(
        &self,
        root: &str,
        (key, id): (&ProvenKey, &str),
        now: OffsetDateTime,
    ) -> Result<Option<Signed>, AuthorityError> {
        let Some(own) = self.own_root(root)? else {
            return Ok(None);
        };
        let facts = certificate::facts(&own.certificate).map_err(AuthorityError::Sign)?;
        let signer = own.signer()?;
        let signed = certificate::intermediate(key, (&facts, &signer), (&self.trust_domain, now));
        let signed = signed.map_err(AuthorityError::Sign)?;
        self.record_authority((&signed, root), Grounds::Intermediate { control_plane: id })?;
        Ok(Some(signed))
    }

    fn record_authority(
        &self,
        (signed, root): (&Signed, &str),
        grounds: Grounds<'_>,
    ) -> Result<(), AuthorityError> {
        let Facts {
            serial,
            pin,
            not_before,
            not_after,
            ..
        } = certificate::facts(signed).map_err(AuthorityError::Sign)?;
        let issued = Issued {
            time: OffsetDateTime::now_utc(),
            serial,
            spiffe_id: &format!("spiffe://{}", self.trust_domain),
            dns_names: &[],
            not_before,
            not_after,
            key_sha256: pin,
            root,
            grounds,
        };
        let path = self.issued.path().to_owned();
        self.issued
            .record(&issued)
            .map_err(|source| AuthorityError::File { path, source })
    }

    /// Signs with this intermediate from now on, and after the next start.
    pub(in crate::ca) fn install(
        &self,
        asked: &Asked,
        signed: Signed,
    ) -> Result<(), AuthorityError> {
        let copy = |key: &KeyPair| KeyPair::from_pem(&key.serialize_pem());
        let (ours, kept) = (copy(&asked.key), copy(&asked.key));
        let (ours, kept) = (
            ours.map_err(AuthorityError::Sign)?,
            kept.map_err(AuthorityError::Sign)?,
        );
        let issuer = Issuer::new(asked.wanted.root.clone(), (vec![signed], ours), false)?;
        self.take(issuer, kept)
    }

    fn take(&self, issuer: Issuer, key: KeyPair) -> Result<(), AuthorityError> {
        self.directory.keep_issuer(&key, &issuer.chain)?;
        tracing::info!(root = short(&issuer.root), not_after = %issuer.not_after, "signing with a new intermediate");
        self.issuer.store(Some(Arc::new(issuer)));
        self.changed();
        Ok(())
    }

    /// A new root, its key kept here, its certificate also under the roots before it whose keys are here.
    pub(in crate::ca) fn make_root(&self, now: OffsetDateTime) -> Result<Root, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Sign)?;
        let made =
            certificate::root(&key, &self.trust_domain, now).map_err(AuthorityError::Sign)?;
        let pin = pin_of(&made).unwrap_or_default();
        self.record_authority((&made, &pin), Grounds::Root)?;
        let crosses = self.crosses(&made, now)?;
        let own = OwnRoot {
            certificate: made.clone(),
            key,
        };
        self.directory.keep_root(&pin, &own)?;
        Ok(new_root((pin, made), crosses, now))
    }

    /// What the given files hold, if their root is none that the mesh has or had.
    pub(in crate::ca) fn unknown_given(
        &self,
        now: OffsetDateTime,
    ) -> Result<Option<Given>, AuthorityError> {
        let Some(files) = &self.given else {
            return Ok(None);
        };
        let given = files.read(now)?;
        let is_known = self.roots.load().knows(&given.root_pin);
        Ok((!is_known).then_some(given))
    }

    /// Their root, certified by the one that signs if its key is here, which is recorded.
    pub(in crate::ca) fn given_root(
        &self,
        given: Given,
        now: OffsetDateTime,
    ) -> Result<Root, AuthorityError> {
        let crosses = self.crosses(&given.root, now)?;
        Ok(new_root((given.root_pin, given.root), crosses, now))
    }

    /// The pin of the root in the given files, if they can be used.
    pub(in crate::ca) fn given_pin(&self, now: OffsetDateTime) -> Option<String> {
        Some(self.given.as_ref()?.read(now).ok()?.root_pin)
    }

    /// Whether our intermediate comes from files.
    pub(in crate::ca) fn is_given(&self) -> bool {
        self.given.is_some()
    }

    fn crosses(&self, of: &Signed, now: OffsetDateTime) -> Result<Vec<Vec<u8>>, AuthorityError> {
        let active = self.pin();
        let Some(older) = self.own_root(&active)? else {
            return Ok(Vec::new());
        };
        let (certificate, signer) = (older.certificate.clone(), older.signer()?);
        let older = (&*certificate, &signer);
        let cross = certificate::cross(of, older, (&self.trust_domain, now));
        let cross = cross.map_err(AuthorityError::Sign)?;
        self.record_authority((&cross, &active), Grounds::Cross)?;
        Ok(vec![cross.to_vec()])
    }

    /// A root that was made for nothing: another control plane began the mesh at the same time.
    ///
    /// # Errors
    /// Its files cannot be renamed.
    pub fn set_aside_first(directory: &Path) -> Result<(), AuthorityError> {
        Directory::open(directory)?.set_aside_first()
    }
}

fn new_root((pin, der): (String, Signed), crosses: Vec<Vec<u8>>, now: OffsetDateTime) -> Root {
    Root {
        pin,
        certificate: der.to_vec(),
        phase: Phase::Adding,
        since: now,
        crosses,
    }
}

pub(super) fn first_roots(
    directory: &Directory,
    trust_domain: &TrustDomain,
    (given, now): (Option<&GivenFiles>, OffsetDateTime),
) -> Result<RootSet, AuthorityError> {
    if let Some(files) = given {
        let given = files.read(now)?;
        return Ok(RootSet::first(given.root_pin, given.root.to_vec(), now));
    }
    let key = directory.first_key()?;
    let made = match directory.first_certificate()? {
        Some(made) => made,
        None => {
            let made = certificate::root(&key, trust_domain, now).map_err(AuthorityError::Sign)?;
            directory.keep_first(&made)?;
            made
        }
    };
    let pin = pin_of(&made).unwrap_or_default();
    Ok(RootSet::first(pin, made.to_vec(), now))
}

/// The roots of the mesh of which a directory is, as far as its files say; `None`: they do not. Changes nothing.
///
/// # Errors
/// They cannot be read.
pub fn roots_in(path: &Path) -> Result<Option<RootSet>, AuthorityError> {
    let file = |source| AuthorityError::File {
        path: path.join("trust.json"),
        source,
    };
    if let Some(roots) = FileTrust::open(path).map_err(file)?.shared().roots {
        return Ok(Some(roots));
    }
    if !path.join("root.key").exists() {
        return Ok(None);
    }
    let first = Directory::open(path)?.first_certificate()?;
    let first = first.and_then(|made| Some((pin_of(&made)?, made.to_vec())));
    Ok(first.map(|(pin, made)| RootSet::first(pin, made, OffsetDateTime::UNIX_EPOCH)))
}

/// A directory with keys, none of which the mesh ever had, was copied from elsewhere; unless nothing but a first root was
/// ever made in it.
pub(super) fn is_of_this_mesh(
    directory: &Directory,
    roots: &RootSet,
) -> Result<(), AuthorityError> {
    let own = directory.own_roots()?;
    let own: Vec<String> = own
        .iter()
        .filter_map(|root| pin_of(&root.certificate))
        .collect();
    let Some(first) = own.first() else {
        return Ok(());
    };
    if own.iter().any(|pin| roots.knows(pin)) {
        return Ok(());
    }
    let known = roots.roots.iter().map(|root| short(&root.pin)).collect();
    let (own, path) = (short(first), directory.path().to_owned());
    // Another control plane was faster to begin this mesh, and ours died before it had put its own root out of the way.
    if directory.never_signed()? {
        tracing::warn!(
            root = own,
            "the root that was made here never signed anything, and the mesh has another: set aside"
        );
        return directory.set_aside_first();
    }
    Err(AuthorityError::OtherRoot { known, own, path })
}
