//! What an operator asks of the authority: what there is, another root in the place of the active one, one root less.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::info;

use super::{Own, Steward, StewardError};
use crate::ca::{
    certificate,
    roots::{Force, Phase, Root, RootError, RootSet, Use, short},
    trust::{Shared, Signer},
};

/// A root that ends sooner is warned of.
const ENDS_SOON: time::Duration = time::Duration::days(90);

/// The authority of a mesh, as operators see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaReport {
    /// Whose identities are signed.
    pub trust_domain: String,
    /// Grows with every change of the roots.
    pub version: u64,
    /// In the order in which they came.
    pub roots: Vec<RootReport>,
    /// Those that were heard of in the last week.
    pub control_planes: Vec<ControlPlaneReport>,
    /// Connected ones, over all control planes that live.
    pub sidecars: usize,
    /// How many of them do not know the newest roots yet; and control planes that do not.
    pub behind: usize,
    /// What will be trouble.
    pub warnings: Vec<String>,
}

/// A root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootReport {
    /// SHA-256 of its public key, hexadecimal.
    pub sha256: String,
    /// How far it is.
    pub phase: Phase,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// How many connected sidecars have an SVID under it.
    pub sidecars: usize,
    /// The same, as a share of all connected ones, in percent.
    pub percent: f64,
    /// Names of control planes that have its key.
    pub key_at: Vec<String>,
    /// Of one that signs no longer: when nothing under it can hold any more. RFC 3339.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub over_at: Option<OffsetDateTime>,
}

/// A control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlaneReport {
    /// By which the others know it.
    pub id: String,
    /// Its host's name.
    pub name: String,
    /// The one that answers.
    pub this: bool,
    /// It was heard of within 15 s.
    pub lives: bool,
    /// SHA-256 of the root that its intermediate leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// When its intermediate ends. RFC 3339.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub not_after: Option<OffsetDateTime>,
    /// Its intermediate comes from files.
    pub given: bool,
    /// It waits for an intermediate.
    pub waits: bool,
    /// Connected to it.
    pub sidecars: usize,
}

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
        let roots = (*self.authority.roots()).clone();
        let signers = signers(shared, &own, (self.authority.id(), signer));
        let trust_domain = self.authority.trust_domain().to_string();
        let mut report = report((trust_domain, self.authority.id()), (&roots, &signers), now);
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
        // Before a key is made for nothing.
        let root = match roots.add(probe(now)) {
            Ok(_) => self.authority.make_root(now)?,
            Err(error) => return Err(error.into()),
        };
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
        let roots = self.authority.roots();
        let trust_domain = self.authority.trust_domain().to_string();
        Ok(report(
            (trust_domain, self.authority.id()),
            (&roots, &signers),
            now,
        ))
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

/// In the place of a root that is not made yet.
fn probe(now: OffsetDateTime) -> Root {
    Root {
        pin: String::new(),
        certificate: Vec::new(),
        phase: Phase::Adding,
        since: now,
        crosses: Vec::new(),
    }
}

/// What a control plane said.
pub(super) struct Heard {
    pub(super) id: String,
    pub(super) signer: Signer,
    /// It has said something lately.
    pub(super) lives: bool,
}

/// Everybody's word, and our own as it is now.
fn signers(shared: Shared, own: &Own, (id, signer): (&str, Signer)) -> Vec<Heard> {
    let mut signers = shared.signers;
    signers.insert(id.to_owned(), signer);
    let heard = |(id, signer): (String, Signer)| Heard {
        lives: own.lives(&id)
            || own
                .said
                .as_ref()
                .is_some_and(|said| said.said_at == signer.said_at),
        id,
        signer,
    };
    signers.into_iter().map(heard).collect()
}

/// Connected sidecars that do not know these roots, and control planes that do not.
fn behind(signers: &[Heard], roots: &RootSet) -> usize {
    let living = signers.iter().filter(|one| one.lives);
    living
        .map(|one| one.signer.census.behind + usize::from(one.signer.version < roots.version))
        .sum()
}

/// Whether somebody could sign under it.
fn has_key(signers: &[Heard], root: &Root) -> Result<(), RootError> {
    let mut living = signers.iter().filter(|one| one.lives);
    let can =
        |one: &Heard| one.signer.keys.contains(&root.pin) || one.signer.given.contains(&root.pin);
    if living.any(can) {
        return Ok(());
    }
    Err(RootError::InUse(format!(
        "no control plane that lives can sign under the root {0}: start the one that has its key, or take it out again with \
         `usher ca retire {0}`",
        short(&root.pin)
    )))
}

/// What still leads to the root `pin`.
fn used(signers: &[Heard], pin: &str, now: OffsetDateTime) -> Use {
    let living = signers.iter().filter(|one| one.lives);
    let sidecars = living.map(|one| one.signer.census.by_root.get(pin).copied().unwrap_or(0));
    let holds = |one: &&Heard| {
        let mut issuer = one.signer.issuer.iter();
        issuer.any(|issuer| issuer.root == pin && issuer.not_after > now)
    };
    let left = signers.iter().filter_map(|one| one.signer.left.get(pin));
    Use {
        sidecars: sidecars.sum(),
        control_planes: signers.iter().filter(holds).count(),
        left: left.max().map(|left| left.0),
    }
}

fn report(
    (trust_domain, own_id): (String, &str),
    (roots, signers): (&RootSet, &[Heard]),
    now: OffsetDateTime,
) -> CaReport {
    let living = || signers.iter().filter(|one| one.lives);
    let sidecars = living()
        .map(|one| one.signer.census.by_root.values().sum::<usize>())
        .sum();
    let key_at = |pin: &String| {
        let holders = living().filter(|one| one.signer.keys.contains(pin));
        holders.map(|one| one.signer.name.clone()).collect()
    };
    let root = |root: &Root| {
        let own = used(signers, &root.pin, now);
        let facts = certificate::facts(&root.certificate);
        RootReport {
            sha256: root.pin.clone(),
            phase: root.phase,
            since: root.since,
            not_after: facts.map_or(root.since, |facts| facts.not_after),
            sidecars: own.sidecars,
            percent: percent(own.sidecars, sidecars),
            key_at: key_at(&root.pin),
            over_at: (root.phase == Phase::Retiring).then(|| RootSet::over_at(root, own.left)),
        }
    };
    let control_plane = |one: &Heard| {
        let Heard { id, signer, lives } = one;
        ControlPlaneReport {
            id: id.clone(),
            name: signer.name.clone(),
            this: id == own_id,
            lives: *lives,
            root: signer.issuer.as_ref().map(|issuer| issuer.root.clone()),
            not_after: signer.issuer.as_ref().map(|issuer| issuer.not_after),
            given: signer.issuer.as_ref().is_some_and(|issuer| issuer.given),
            waits: signer.wants.is_some(),
            sidecars: signer.census.by_root.values().sum(),
        }
    };
    let mut report = CaReport {
        trust_domain,
        version: roots.version,
        roots: roots.roots.iter().map(root).collect(),
        control_planes: signers.iter().map(control_plane).collect(),
        sidecars,
        behind: behind(signers, roots),
        warnings: Vec::new(),
    };
    report.warnings = warnings(&report, now);
    report
}

fn percent(part: usize, whole: usize) -> f64 {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let share = if whole == 0 {
        0.0
    } else {
        number(part) / number(whole)
    };
    (share * 1000.0).round() / 10.0
}

fn warnings(report: &CaReport, now: OffsetDateTime) -> Vec<String> {
    let mut warnings = Vec::new();
    for root in &report.roots {
        if root.phase != Phase::Active {
            continue;
        }
        let name = short(&root.sha256);
        if root.not_after - now < ENDS_SOON {
            warnings.push(format!(
                "the active root {name} ends on {}: put another one in its place with `usher ca rotate`",
                root.not_after.date()
            ));
        }
        let is_given = report
            .control_planes
            .iter()
            .all(|one| one.given || !one.lives);
        if root.key_at.is_empty() && !is_given {
            warnings.push(format!(
                "no control plane that lives has the key of the active root {name}: intermediates are not renewed; bring its \
                 key back, or make a new root with `usher ca rotate`"
            ));
        }
    }
    for one in report.control_planes.iter().filter(|one| one.lives) {
        match one.not_after {
            None => warnings.push(format!(
                "control plane {} ({}) cannot sign: it waits for an intermediate",
                one.name,
                short(&one.id)
            )),
            Some(not_after) if not_after - now < time::Duration::days(2) && !one.given => {
                warnings.push(format!(
                    "the intermediate of control plane {} ({}) ends on {not_after}, and is not renewed",
                    one.name,
                    short(&one.id)
                ));
            }
            Some(_) => {}
        }
    }
    warnings
}
