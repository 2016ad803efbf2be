//! Access-, Authentication- and BackendTLSPolicies that never were valid, and what stays closed because of them.
//!
//! Whoever writes a policy wants to protect something: until a version of it is valid, what it was meant for is
//! denied to all. That must outlast every further mistake and a restart, and hold where even the policy's name is
//! wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use usher_config::{
    kind::{Choice, Kind, Object, ObjectKey, TargetKind, TargetRef},
    parse::{Parsed, Rejected, UNNAMED},
    value::{InvalidValue, Name},
};

use super::{World, complaints::relative, doubt::Doubt};

/// A policy that never was valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Shape", try_from = "Shape")]
pub struct Denied {
    /// What it was meant to protect.
    pub targets: Vec<TargetRef>,
    /// Where it stands, relative to the configuration directory.
    pub file: String,
}

/// Whether whoever writes one wants to keep somebody out, or from reading what is sent.
pub(super) fn protects(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::AccessPolicy | Kind::AuthenticationPolicy | Kind::BackendTlsPolicy
    )
}

/// What is closed once a text has been read.
#[derive(Debug, Default)]
pub(super) struct Denials {
    /// By policy.
    pub(super) denied: BTreeMap<ObjectKey, Denied>,
    /// Policies with a mistake in their own name whose last good version, under its right name, is in force.
    pub(super) excused: BTreeSet<ObjectKey>,
}

impl Denials {
    /// Of `next`, whose objects are complete; what is doubtful stays as it is in `before`.
    pub(super) fn new(
        before: &World,
        next: &World,
        parsed: &Parsed,
        (doubt, base): (&Doubt, &Path),
    ) -> Self {
        let mut denials = Self::default();
        let mut lost = lost(next, parsed);
        let meant = |rejected: &&Rejected| {
            protects(rejected.key.kind)
                && !rejected.targets.is_empty()
                && !next.objects.contains_key(&rejected.key)
        };
        let twice = first_of_two(parsed);
        for rejected in parsed.rejected.iter().chain(&twice).filter(meant) {
            let Rejected { key, targets, .. } = rejected;
            let of_last_good = lost.iter().position(|(policy, protected)| {
                !rejected.named
                    && policy.kind == key.kind
                    && policy.namespace == key.namespace
                    && *protected == targets.iter().collect()
            });
            if let Some(at) = of_last_good {
                lost.swap_remove(at);
                denials.excused.insert(key.clone());
                continue;
            }
            // Several documents may claim one name: all that any of them was meant for is closed.
            let denied = denials.denied.entry(key.clone()).or_insert_with(|| Denied {
                targets: Vec::new(),
                file: relative(&rejected.file, base),
            });
            for target in targets {
                if !denied.targets.contains(target) {
                    denied.targets.push(target.clone());
                }
            }
        }
        let said: BTreeSet<&ObjectKey> = parsed.rejected.iter().map(|one| &one.key).collect();
        for (key, denied) in &before.denied {
            // A worse mistake in the file must not open the door.
            let may_have_moved = doubt.some_unreadable() && !is_stand_in(key, denied);
            let is_doubtful = doubt.is_unreadable(&denied.file) || may_have_moved;
            let stays = is_doubtful && !said.contains(key);
            if stays && !next.objects.contains_key(key) {
                denials.denied.insert(key.clone(), denied.clone());
            }
        }
        denials.close_what_is_new((before, next), doubt);
        denials
    }

    /// A document that cannot be read may be the policy of what has come with it, so what is new waits for it, closed. So may
    /// one that an emptied file is to have. What was there before goes on: an edit that fails opens and closes nothing.
    fn close_what_is_new(&mut self, (before, next): (&World, &World), doubt: &Doubt) {
        let new = next.objects.iter();
        let new = new.filter(|(key, _)| !before.objects.contains_key(*key));
        let new = new.flat_map(|(key, accepted)| {
            let called = called(key).into_iter();
            called.chain(sent_to(key, &accepted.object))
        });
        for (key, (policy, target)) in new {
            for file in doubt.unreadable() {
                let Some(key) = unread_policy(policy, &key.namespace, file) else {
                    continue;
                };
                let denied = self.denied.entry(key).or_insert_with(|| Denied {
                    targets: Vec::new(),
                    file: file.clone(),
                });
                if !denied.targets.contains(&target) {
                    denied.targets.push(target.clone());
                }
            }
        }
    }
}

/// What can be called, as a policy names it, and the kind of policy that closes it.
fn called(key: &ObjectKey) -> Option<(&ObjectKey, (Kind, TargetRef))> {
    let (policy, kind) = match key.kind {
        Kind::Service => (Kind::AccessPolicy, TargetKind::Service),
        // At a gateway the rules of routes are what can be called.
        Kind::Gateway => (Kind::AuthenticationPolicy, TargetKind::Gateway),
        Kind::HttpRoute => (Kind::AuthenticationPolicy, TargetKind::HttpRoute),
        Kind::GrpcRoute => (Kind::AuthenticationPolicy, TargetKind::GrpcRoute),
        _ => return None,
    };
    let target = TargetRef {
        kind,
        name: key.name.clone(),
        section_name: None,
    };
    Some((key, (policy, target)))
}

/// What could be sent in plaintext to a Service without instances of the mesh, and the kind of policy that keeps it.
fn sent_to<'k>(key: &'k ObjectKey, object: &Object) -> Option<(&'k ObjectKey, (Kind, TargetRef))> {
    let Object::Service(service) = object else {
        return None;
    };
    let target = TargetRef {
        kind: TargetKind::Service,
        name: key.name.clone(),
        section_name: None,
    };
    let is_elsewhere = service.spec.selector.is_empty();
    is_elsewhere.then_some((key, (Kind::BackendTlsPolicy, target)))
}

/// How policies that nobody could read are called.
const UNREAD: &str = "unread-";

/// The policy that a file may hold; the same file's has the same name each time.
fn unread_policy(kind: Kind, namespace: &Name, file: &str) -> Option<ObjectKey> {
    let hash: String = Sha256::digest(file)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Some(ObjectKey {
        kind,
        namespace: namespace.clone(),
        name: format!("{UNREAD}{hash}").parse().ok()?,
    })
}

/// Whether the policy stands for what a file may hold that cannot be read.
pub fn is_unread(key: &ObjectKey, denied: &Denied) -> bool {
    unread_policy(key.kind, &key.namespace, &denied.file).as_ref() == Some(key)
}

/// Whether nobody has written a policy of that name: once its file can be read, it is known what is in there.
fn is_stand_in(key: &ObjectKey, denied: &Denied) -> bool {
    is_unread(key, denied) || key.name.as_str().starts_with(UNNAMED)
}

/// Policies without a mistake of their own whose name another document has too.
fn first_of_two(parsed: &Parsed) -> Vec<Rejected> {
    let said: BTreeSet<&ObjectKey> = parsed.rejected.iter().map(|one| &one.key).collect();
    let firsts = parsed.objects.iter().filter_map(|located| {
        let key = located.object.key();
        said.contains(&key).then(|| Rejected {
            key,
            named: true,
            file: located.file.to_path_buf(),
            line: located.line,
            targets: located.object.targets().to_vec(),
        })
    });
    firsts.collect()
}

/// Such policies that are in force only because they may be in a document that does not say its name.
fn lost<'a>(next: &'a World, parsed: &Parsed) -> Vec<(&'a ObjectKey, BTreeSet<&'a TargetRef>)> {
    let rejected = parsed.rejected.iter().map(|rejected| rejected.key.clone());
    let accepted = parsed.objects.iter().map(|located| located.object.key());
    let said: BTreeSet<ObjectKey> = rejected.chain(accepted).collect();
    let policies = next.objects.iter().filter_map(|(key, accepted)| {
        let targets = accepted.object.targets().iter().collect();
        (protects(key.kind) && !said.contains(key)).then_some((key, targets))
    });
    policies.collect()
}

/// How it is stored.
#[derive(Serialize, Deserialize)]
struct Shape {
    file: String,
    targets: Vec<TargetShape>,
}

#[derive(Serialize, Deserialize)]
struct TargetShape {
    kind: String,
    name: String,
    section: Option<String>,
}

impl From<Denied> for Shape {
    fn from(denied: Denied) -> Self {
        let targets = denied.targets.into_iter().map(|target| TargetShape {
            kind: target.kind.word().to_owned(),
            name: target.name.to_string(),
            section: target.section_name.map(|name| name.to_string()),
        });
        Self {
            file: denied.file,
            targets: targets.collect(),
        }
    }
}

impl TryFrom<Shape> for Denied {
    type Error = InvalidValue;

    fn try_from(shape: Shape) -> Result<Self, InvalidValue> {
        let target = |target: TargetShape| {
            let known = TargetKind::ALL
                .iter()
                .find(|(word, _)| *word == target.kind);
            let (_, kind) =
                known.ok_or_else(|| InvalidValue::new(&target.kind, "a target of this version"))?;
            Ok(TargetRef {
                kind: *kind,
                name: target.name.parse()?,
                section_name: target.section.map(|name| name.parse()).transpose()?,
            })
        };
        let targets = shape.targets.into_iter().map(target);
        Ok(Self {
            targets: targets.collect::<Result<_, InvalidValue>>()?,
            file: shape.file,
        })
    }
}
