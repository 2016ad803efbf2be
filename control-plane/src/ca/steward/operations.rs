//! What an operator asks of the authority: what there is, another root in the place of the active one, one root less.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::info;

use super::{
    Steward, StewardError,
    heard::{Heard, behind, has_key, signers, used},
    report::{CaReport, report},
};
use crate::ca::roots::{Force, Phase, RootError, RootSet, short};

/// What a rotation has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotated {
    /// SHA-256 of the new root.
    pub sha256: String,
    /// `Adding`: known, not signing yet. `Active`: it signs now.
    pub phase: Phase,
    /// Whoever knows only the older root finds a path to it.
    pub crossed: bool,
    /// It was made just now, and its key is here.
    pub made: bool,
}

impl Steward {
    /// What there is.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn report(&self, now: OffsetDateTime) -> Result<CaReport, StewardError> {
        let mut own = self.own.lock().await;
        let shared = self.turn_with(&mut own, now).await?;
        let signer = self.signer(&own, now)?;
        let signers = signers(shared, &own, (self.authority.id(), signer));
        let mut report = self.as_told(&signers, now);
        let trouble = own.trouble.as_ref().map(ToString::to_string);
        report.warnings.extend(trouble);
        Ok(report)
    }

    /// The next step on the way to another root: makes one (or takes the one in the given files) and adds it; then, once
    /// everybody knows it, lets it sign. `force`: control planes that are not heard of are not waited for, nor is their key.
    ///
    /// # Errors
    /// Somebody does not know the new root yet, nobody has its key, the store does not answer, or a file cannot be written.
    pub async fn rotate(&self, force: bool, now: OffsetDateTime) -> Result<Rotated, StewardError> {
        let mut own = self.own.lock().await;
        let shared = self.turn_with(&mut own, now).await?;
        if let Some(trouble) = own.trouble.take() {
            return Err(trouble);
        }
        let signer = self.signer(&own, now)?;
        let roots = self.authority.roots();
        let signers = signers(shared, &own, (self.authority.id(), signer));
        let adding = roots.roots.iter().find(|root| root.phase == Phase::Adding);
        let Some(adding) = adding.cloned() else {
            if self.authority.is_given() {
                let message = "this control plane signs with given files, and their root is the active one: put files of \
                               the new root in their place first, and it is added by itself";
                return Err(RootError::InUse(message.to_owned()).into());
            }
            if !force {
                self.has_best_place(&signers)?;
            }
            return self.add_root(&roots, now).await;
        };
        has_key(&signers, &adding)?;
        let behind = behind(&signers, &roots);
        // Whose sidecars would find no path from the new root to the one that they know.
        if !force && adding.crosses.is_empty() {
            let may_serve = |one: &&Heard| {
                let issuer = one.signer.issuer.as_ref();
                !one.lives && issuer.is_some_and(|issuer| issuer.not_after > now)
            };
            let silent = signers.iter().filter(may_serve).count();
            if silent > 0 {
                return Err(RootError::InUse(format!(
                    "{silent} control planes are not heard of, and their sidecars, if they have any, do not know the root {}: \
                     wait for them (usher ca status), or, if they are gone, --force",
                    short(&adding.pin)
                ))
                .into());
            }
        }
        let next = roots.activate(&adding.pin, behind, now)?;
        self.publish(next).await?;
        info!(root = short(&adding.pin), "root activated");
        let _ = self.turn_with(&mut own, now).await?;
        Ok(Rotated {
            crossed: !adding.crosses.is_empty(),
            sha256: adding.pin,
            phase: Phase::Active,
            made: false,
        })
    }

    async fn add_root(
        &self,
        roots: &RootSet,
        now: OffsetDateTime,
    ) -> Result<Rotated, StewardError> {
        roots.has_room()?;
        let root = self.authority.make_root(now)?;
        let rotated = Rotated {
            sha256: root.pin.clone(),
            phase: Phase::Adding,
            crossed: !root.crosses.is_empty(),
            made: true,
        };
        self.publish(roots.add(root)?).await?;
        info!(root = short(&rotated.sha256), "root made and added");
        Ok(rotated)
    }

    /// Takes a root out.
    ///
    /// # Errors
    /// It is in use, there is none such, or the store does not answer.
    pub async fn retire(
        &self,
        asked: &str,
        force: Force,
        now: OffsetDateTime,
    ) -> Result<CaReport, StewardError> {
        let mut own = self.own.lock().await;
        let shared = self.turn_with(&mut own, now).await?;
        let signer = self.signer(&own, now)?;
        let roots = self.authority.roots();
        let pin = roots.find(asked)?.pin.clone();
        let signers = signers(shared, &own, (self.authority.id(), signer));
        let used = used(&signers, &pin, now);
        self.publish(roots.retire(&pin, used, (now, force))?)
            .await?;
        info!(root = short(&pin), ?force, "root retired");
        Ok(self.as_told(&signers, now))
    }

    fn as_told(&self, signers: &[Heard], now: OffsetDateTime) -> CaReport {
        let trust_domain = self.authority.trust_domain().to_string();
        let roots = self.authority.roots();
        report((trust_domain, self.authority.id()), (&roots, signers), now)
    }

    /// A root that is made where the key of the one before it is can be certified by that one.
    fn has_best_place(&self, signers: &[Heard]) -> Result<(), StewardError> {
        let active = self.authority.pin();
        let has = |one: &&Heard| one.lives && one.signer.keys.contains(&active);
        if signers
            .iter()
            .any(|one| has(&one) && one.id == self.authority.id())
        {
            return Ok(());
        }
        match signers.iter().find(has) {
            None => Ok(()),
            Some(one) => Err(RootError::InUse(format!(
                "the key of the root that signs is at {} ({}): run it there, so that join tokens and sidecars which know only \
                 that root find a path to the new one; or --force",
                one.signer.name,
                short(&one.id)
            ))
            .into()),
        }
    }

    async fn publish(&self, next: RootSet) -> Result<(), StewardError> {
        if !self.store.write_roots(next.clone()).await? {
            return Err(StewardError::Overtaken);
        }
        self.authority.adopt(next);
        Ok(())
    }
}
