//! The intermediate with which this control plane signs, and from where it comes: signed by a root whose key is here or with
//! another control plane, or given as files.

use std::path::PathBuf;

use rcgen::{CertificateParams, Issuer as Signer, KeyPair};
use time::OffsetDateTime;

use super::{
    authority::AuthorityError,
    certificate::{self, Facts, Signed, is_for, is_signed_by},
    directory::{read_chain, read_key},
    roots::{RootSet, short},
    trust::{IssuerFacts, Wanted},
};

/// An intermediate somebody else keeps fresh: cert-manager, Vault, or a person with an offline root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenFiles {
    /// PEM: the intermediate, whatever leads from it to the root, and the root.
    pub certificate: PathBuf,
    /// PEM, mode 0600.
    pub key: PathBuf,
}

/// What the files hold.
pub(super) struct Given {
    pub(super) root: Signed,
    pub(super) root_pin: String,
    pub(super) issuer: Issuer,
}

/// An intermediate and its key.
pub(super) struct Issuer {
    /// The pin of the root that it leads to.
    pub(super) root: String,
    /// Itself first, without the root.
    pub(super) chain: Vec<Signed>,
    pub(super) not_before: OffsetDateTime,
    /// The end of the first of the chain to end.
    pub(super) not_after: OffsetDateTime,
    pub(super) given: bool,
    pub(super) signer: Signer<'static, KeyPair>,
}

impl Issuer {
    /// # Errors
    /// The first of the chain cannot sign.
    pub(super) fn new(
        root: String,
        (chain, key): (Vec<Signed>, KeyPair),
        given: bool,
    ) -> Result<Self, AuthorityError> {
        let facts = chain.iter().map(|der| certificate::facts(der));
        let facts: Vec<Facts> = facts
            .collect::<Result<_, _>>()
            .map_err(AuthorityError::Sign)?;
        let none = || AuthorityError::Sign(rcgen::Error::CouldNotParseCertificate);
        let first = chain.first().ok_or_else(none)?;
        let signer = Signer::from_ca_cert_der(first, key).map_err(AuthorityError::Sign)?;
        let not_before = facts.iter().map(|facts| facts.not_before).max();
        let not_after = facts.iter().map(|facts| facts.not_after).min();
        Ok(Self {
            root,
            not_before: not_before.ok_or_else(none)?,
            not_after: not_after.ok_or_else(none)?,
            chain,
            given,
            signer,
        })
    }

    /// The one that was kept, if it leads to a root of the mesh and holds.
    pub(super) fn kept(
        (key, chain): (KeyPair, Vec<Signed>),
        roots: &RootSet,
        now: OffsetDateTime,
    ) -> Result<Option<Self>, AuthorityError> {
        let last = chain.last().map(|last| last.to_vec()).unwrap_or_default();
        let mut all = roots.roots.iter();
        let Some(root) = all.find(|root| is_signed_by(&last, &root.certificate)) else {
            return Ok(None);
        };
        let issuer = Self::new(root.pin.clone(), (chain, key), false)?;
        Ok((now < issuer.not_after).then_some(issuer))
    }

    pub(super) fn facts(&self) -> IssuerFacts {
        IssuerFacts {
            root: self.root.clone(),
            not_after: self.not_after,
            given: self.given,
        }
    }

    /// Whether it is time for another one: at half of its life.
    pub(super) fn is_half_over(&self, now: OffsetDateTime) -> bool {
        now >= self.not_before + (self.not_after - self.not_before) / 2
    }
}

/// What has to be done for an intermediate. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: ours is good.
    Stay,
    /// Sign one with the root's key, which is here.
    Make,
    /// Ask whoever has the root's key.
    Ask,
}

/// What to do about an intermediate under the active root, given the current one and whether the active root's key is here.
pub(super) fn next_step(
    issuer: Option<&IssuerFacts>,
    is_half_over: bool,
    (active, has_key): (&str, bool),
) -> Step {
    let is_good = issuer.is_some_and(|issuer| issuer.root == active && !is_half_over);
    match (is_good, has_key) {
        (true, _) => Step::Stay,
        (false, true) => Step::Make,
        (false, false) => Step::Ask,
    }
}

/// A key, and the request that goes with it, for an intermediate under the root `pin`.
pub(super) struct Asked {
    pub(super) key: KeyPair,
    pub(super) wanted: Wanted,
}

impl Asked {
    pub(super) fn of(root: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let request = CertificateParams::default().serialize_request(&key)?;
        let wanted = Wanted {
            root: root.to_owned(),
            csr: request.der().to_vec(),
        };
        Ok(Self { key, wanted })
    }

    /// Whether this certificate answers it.
    pub(super) fn is_answered_by(&self, certificate: &[u8], roots: &RootSet) -> bool {
        let root = roots.get(&self.wanted.root);
        is_for(certificate, &self.key)
            && root.is_some_and(|root| is_signed_by(certificate, &root.certificate))
    }
}

impl GivenFiles {
    /// Reads both.
    ///
    /// # Errors
    /// A file cannot be read, or they do not fit together: says which and why.
    pub(super) fn read(&self, now: OffsetDateTime) -> Result<Given, AuthorityError> {
        let unusable = |why: String| AuthorityError::Given {
            path: self.certificate.clone(),
            why,
        };
        let mut chain = read_chain(&self.certificate)?;
        let key = read_key(&self.key)?;
        let root = chain
            .pop()
            .ok_or_else(|| unusable("there is no such file".to_owned()))?;
        let root_facts = certificate::facts(&root).map_err(AuthorityError::Sign)?;
        if !root_facts.is_self_issued || chain.is_empty() {
            return Err(unusable(
                "it has to hold the intermediate first and end with the self-signed root"
                    .to_owned(),
            ));
        }
        for (number, pair) in chain
            .iter()
            .chain([&root])
            .collect::<Vec<_>>()
            .windows(2)
            .enumerate()
        {
            if let [lower, upper] = pair
                && !is_signed_by(lower, upper)
            {
                let (lower, upper) = (number + 1, number + 2);
                return Err(unusable(format!(
                    "its certificate {lower} is not signed by its certificate {upper}"
                )));
            }
        }
        for (number, der) in chain.iter().chain([&root]).enumerate() {
            let facts = certificate::facts(der).map_err(AuthorityError::Sign)?;
            if !facts.is_authority {
                let number = number + 1;
                return Err(unusable(format!(
                    "its certificate {number} may not sign certificates (it needs CA=true and keyCertSign)"
                )));
            }
            if now >= facts.not_after || now < facts.not_before {
                let (number, from, to) = (number + 1, facts.not_before, facts.not_after);
                return Err(unusable(format!(
                    "its certificate {number} holds from {from} to {to}, which is not now"
                )));
            }
        }
        if !chain.first().is_some_and(|first| is_for(first, &key)) {
            return Err(unusable(format!(
                "its first certificate is not for the key in {}",
                self.key.display()
            )));
        }
        let root_pin = root_facts.pin;
        let issuer = Issuer::new(root_pin.clone(), (chain, key), true)?;
        Ok(Given {
            root,
            root_pin,
            issuer,
        })
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("root", &short(&self.root))
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
