//! The authority of a mesh, as operators see it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::heard::{Heard, behind, used};
use crate::ca::{
    certificate,
    roots::{Phase, Root, RootSet, short},
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

pub(super) fn report(
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
