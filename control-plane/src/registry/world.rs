//! All accepted objects, and the rule by which a text changes them. Pure: `now` is an argument.
//!
//! A bad edit never replaces good configuration. An object with a mistake keeps its last good version; a
//! file that cannot be read far enough to know what is in it keeps all objects that came from it; everything
//! else flows. Only what a readable file no longer has is deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::IpAddr,
    path::Path,
    sync::{Arc, Weak},
    time::SystemTime,
};

use sha2::{Digest, Sha256};
use usher_config::{
    kind::{Kind, Mesh, Object, ObjectKey, VirtualCidr},
    parse::{Located, Mistake, Parsed, Severity, is_api_file, parse_files},
    value::{Jwks, JwksUri, ServiceName, TrustDomain},
};

use crate::status::{MistakeReport, RejectedObject};

pub use super::accepted::Accepted;

use super::{
    beside::beside,
    complaints::{attaches_to_nothing, rejected_objects, relative, report, unreadable_files},
    denied::{Denials, Denied, protects},
    doubt::Doubt,
    history::Earlier,
    remarks::{Remarks, as_written, beside_what_is_kept},
    store::{Stored, Wait},
    virtual_address::{Known, allocate},
};

/// Everything that was accepted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    /// The last good version of each object.
    pub objects: BTreeMap<ObjectKey, Accepted>,
    /// Access- and AuthenticationPolicies that were never valid, and what they were meant to protect.
    pub denied: BTreeMap<ObjectKey, Denied>,
    /// Virtual addresses by service.
    pub addresses: BTreeMap<ServiceName, IpAddr>,
    /// Since when services are gone that still have one.
    pub deleted: BTreeMap<ServiceName, SystemTime>,
    /// Of token issuers, by where they were fetched. No configuration: neither stored with it nor in its digest.
    pub keys: BTreeMap<JwksUri, Jwks>,
    /// Once a certificate authority exists, identities carry this and no other.
    pub fixed_domain: Option<TrustDomain>,
    /// Services that are written `Strict` and still take plaintext: they are called in plaintext. Decided anew for each
    /// revision (`state/strict`), and stored with it.
    pub still_permissive: BTreeMap<ServiceName, Wait>,
}

/// What a text would make of a world.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The world after it.
    pub world: World,
    /// Added, changed and deleted objects. Empty, and `denied` equal: nothing happened.
    pub changed: Vec<ObjectKey>,
    /// What is not in force as written.
    pub rejected: Vec<RejectedObject>,
    /// Warnings, and mistakes between objects that are each well-formed: of what is in force after it.
    pub remarks: Remarks,
}

impl World {
    /// The world a store remembers, and the objects this version can no longer read: they are not in force.
    pub fn restored(stored: &Stored) -> (Self, Vec<ObjectKey>) {
        Self::restored_after(stored, &Self::default())
    }

    /// The same, without parsing again what is as it was `before`.
    pub fn restored_after(stored: &Stored, before: &Self) -> (Self, Vec<ObjectKey>) {
        let mut world = Self {
            denied: stored.denied.clone(),
            addresses: stored.addresses.clone(),
            deleted: stored.deleted.clone(),
            fixed_domain: stored.trust_domain.clone(),
            still_permissive: stored.still_permissive(),
            // In no store: each control plane fetches them.
            keys: before.keys.clone(),
            ..Self::default()
        };
        let mut unreadable = Vec::new();
        for (key, object) in &stored.objects {
            let known = before.objects.get(key);
            if let Some(known) = known.filter(|known| known.stored() == *object) {
                world.objects.insert(key.clone(), known.clone());
                continue;
            }
            let parsed = parse_files(&[(object.file.clone().into(), object.text.clone())]);
            match parsed
                .objects
                .into_iter()
                .find(|located| located.object.key() == *key)
            {
                Some(located) => {
                    let accepted = Accepted {
                        object: Arc::new(Arc::unwrap_or_clone(located).object),
                        text: object.text.as_str().into(),
                        file: object.file.as_str().into(),
                        accepted_at: object.accepted_at,
                        from: Weak::new(),
                    };
                    world.objects.insert(key.clone(), accepted);
                }
                None => unreadable.push(key.clone()),
            }
        }
        (world, unreadable)
    }

    /// The mesh's own object: the oldest, if somebody wrote several.
    pub fn mesh(&self) -> Option<(&ObjectKey, &Mesh)> {
        let meshes = self
            .objects
            .iter()
            .filter_map(|(key, accepted)| match &*accepted.object {
                Object::Mesh(mesh) => Some((accepted.accepted_at, key, mesh)),
                _ => None,
            });
        meshes
            .min_by_key(|(at, key, _)| (*at, *key))
            .map(|(_, key, mesh)| (key, mesh))
    }

    /// Whose identities this mesh has.
    pub fn trust_domain(&self) -> TrustDomain {
        let written = || {
            self.mesh()
                .and_then(|(_, mesh)| mesh.spec.trust_domain.clone())
        };
        self.fixed_domain
            .clone()
            .or_else(written)
            .unwrap_or_else(default_trust_domain)
    }

    /// sha256 over every object's canonical text, over what is denied, and over what waits for callers in plaintext.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (key, accepted) in &self.objects {
            hash.update(key.to_string());
            hash.update("\n");
            hash.update(&*accepted.text);
            hash.update("\n---\n");
        }
        for (key, Denied { targets, file }) in &self.denied {
            hash.update(format!("denied {key} {targets:?} {file}\n"));
        }
        for (service, wait) in &self.still_permissive {
            hash.update(format!("still permissive {service} {wait:?}\n"));
        }
        let mut text = String::with_capacity(64);
        for byte in hash.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// This world with other objects: those of an earlier revision. Addresses that were given out stay. With the objects
    /// that this version cannot read.
    pub fn going_back(&self, to: Earlier, now: SystemTime) -> (Self, Vec<ObjectKey>) {
        let stored = Stored {
            objects: to.objects,
            denied: to.denied,
            addresses: self.addresses.clone(),
            deleted: self.deleted.clone(),
            revisions: Vec::new(),
            trust_domain: self.fixed_domain.clone(),
        };
        let (mut next, unreadable) = Self::restored_after(&stored, self);
        next.address(now);
        (next, unreadable)
    }

    /// What a parsed configuration makes of this world. Files are named relative to `base`.
    pub fn read(&self, parsed: &Parsed, base: &Path, now: SystemTime) -> Reading {
        let mut next = Self {
            addresses: self.addresses.clone(),
            deleted: self.deleted.clone(),
            fixed_domain: self.fixed_domain.clone(),
            keys: self.keys.clone(),
            ..Self::default()
        };
        let mut complaints: BTreeMap<ObjectKey, Vec<MistakeReport>> = BTreeMap::new();
        // An object that is written twice is refused twice, and complained of once.
        let refused: BTreeSet<&ObjectKey> = parsed.rejected.iter().map(|one| &one.key).collect();
        for located in &parsed.objects {
            let key = located.object.key();
            if refused.contains(&key) && self.keeps_of_two(&key) {
                continue;
            }
            match self.accept(located, parsed, base, parsed.made(&key, now)) {
                Ok(accepted) => {
                    next.objects.insert(key, accepted);
                }
                Err(mistake) => complaints.entry(key).or_default().push(mistake),
            }
        }
        for refused in refused {
            let mistakes = parsed.mistakes.iter().filter(|mistake| {
                mistake.key.as_ref() == Some(refused) && mistake.severity == Severity::Error
            });
            let mistakes = mistakes.map(|mistake| report(mistake, base));
            complaints
                .entry(refused.clone())
                .or_default()
                .extend(mistakes);
        }
        for key in complaints.keys() {
            if let (false, Some(last_good)) =
                (next.objects.contains_key(key), self.objects.get(key))
            {
                next.objects.insert(key.clone(), last_good.clone());
            }
        }
        let (doubt, emptied) = Doubt::new(self, parsed, base);
        let missed = doubt.keep(self, &mut next);
        let held_back = doubt.hold_back(self, &mut next, parsed, base);
        let Denials { denied, excused } = Denials::new(self, &next, parsed, (&doubt, base));
        next.denied = denied;
        next.address(now);
        let mut rejected = rejected_objects(parsed, &next, &excused, complaints);
        rejected.extend(unreadable_files(parsed, &next, base));
        rejected.extend(emptied);
        rejected.extend(missed);
        rejected.extend(held_back);
        let remarks = match rejected.is_empty() {
            true => as_written(parsed, &next, base),
            false => beside_what_is_kept(parsed, &next, base),
        };
        Reading {
            changed: self.difference(&next),
            world: next,
            rejected,
            remarks: remarks.into(),
        }
    }

    /// Whether neither of two documents of one name comes into force: which of them is meant nobody knows, and a file
    /// whose name sorts first would decide. What runs stays. Of two that never ran the first one runs, except where that
    /// could open what the other closes.
    fn keeps_of_two(&self, key: &ObjectKey) -> bool {
        self.objects.contains_key(key) || protects(key.kind)
    }

    fn accept(
        &self,
        located: &Arc<Located>,
        parsed: &Parsed,
        base: &Path,
        now: SystemTime,
    ) -> Result<Accepted, MistakeReport> {
        let at = |path: &str, message: String| {
            let position = located.positions.of(path);
            let file = relative(&located.file, base);
            MistakeReport {
                at: match is_api_file(&located.file) {
                    true => file,
                    false => format!("{file}:{}:{}", position.line, position.column),
                },
                path: path.to_owned(),
                message,
            }
        };
        if let (Object::Mesh(mesh), Some(fixed)) = (&located.object, &self.fixed_domain) {
            let written = mesh
                .spec
                .trust_domain
                .clone()
                .unwrap_or_else(default_trust_domain);
            if written != *fixed {
                let message = format!(
                    "found {written}, allowed: {fixed}, which the certificates of this mesh carry; \
                     another trust domain is another mesh with a data directory of its own"
                );
                return Err(at("spec.trustDomain", message));
            }
        }
        let key = located.object.key();
        let known = self.objects.get(&key);
        // Of thousands of objects an edit changes one: the others are not written anew, nor are those compared that are read
        // from where they were read before.
        let unchanged =
            known.filter(|known| known.is_from(located) || *known.object == located.object);
        let text: Arc<str> = match unchanged {
            Some(known) => known.text.clone(),
            None => {
                let text = located.object.to_yaml();
                text.map_err(|error| at("", error.to_string()))?.into()
            }
        };
        // Otherwise a slip in a name would quietly take a policy away from what it protects. A version that
        // was good when it came stays, even if what it names goes away later.
        let is_edited = known.is_some_and(|known| known.text != text);
        if is_edited && let Some(mistake) = attached_to_nothing(parsed, &key) {
            return Err(report(mistake, base));
        }
        // A fault's time runs from the version that says how long; all else keeps its age, and with it its rights.
        let same = |known: &&Accepted| key.kind != Kind::FaultPolicy || known.text == text;
        let object = unchanged.map(|known| known.object.clone());
        Ok(Accepted {
            object: object.unwrap_or_else(|| Arc::new(located.object.clone())),
            accepted_at: known.filter(same).map_or(now, |known| known.accepted_at),
            text,
            file: relative(&located.file, base).into(),
            from: Arc::downgrade(located),
        })
    }

    /// Of which they are given.
    pub fn virtual_block(&self) -> VirtualCidr {
        let range = self.mesh().and_then(|(_, mesh)| mesh.spec.virtual_cidr);
        range.unwrap_or(VirtualCidr::DEFAULT)
    }

    /// Gives every service without a fixed address a virtual one.
    pub(super) fn address(&mut self, now: SystemTime) {
        let range = self.virtual_block();
        let services = self.without_fixed_address();
        let gone = self
            .addresses
            .keys()
            .filter(|name| !services.contains(*name));
        for name in gone {
            self.deleted.entry(name.clone()).or_insert(now);
        }
        let known = Known {
            addresses: &self.addresses,
            deleted: &self.deleted,
        };
        self.addresses = allocate(range, known, &services);
        let addresses = &self.addresses;
        self.deleted
            .retain(|name, _| addresses.contains_key(name) && !services.contains(name));
    }

    fn without_fixed_address(&self) -> BTreeSet<ServiceName> {
        let services = self.objects.values();
        let services = services.filter_map(|accepted| match &*accepted.object {
            Object::Service(service) if service.spec.cluster_ip.is_none() => {
                Some(service.full_name())
            }
            _ => None,
        });
        services.collect()
    }

    /// Objects that are not the same in `next`.
    pub fn difference(&self, next: &Self) -> Vec<ObjectKey> {
        let objects = beside(&self.objects, &next.objects);
        let objects = objects.filter(|(_, was, is)| match (was, is) {
            (Some(was), Some(is)) => was.text != is.text,
            (Some(_), None) | (None, Some(_)) | (None, None) => true,
        });
        let denied = beside(&self.denied, &next.denied).filter(|(_, was, is)| was != is);
        let changed = objects.map(|(key, ..)| key);
        let changed: BTreeSet<&ObjectKey> = changed.chain(denied.map(|(key, ..)| key)).collect();
        changed.into_iter().cloned().collect()
    }
}

fn default_trust_domain() -> TrustDomain {
    TrustDomain::default()
}

/// The mistake of an object whose target or parent does not exist.
fn attached_to_nothing<'a>(parsed: &'a Parsed, key: &ObjectKey) -> Option<&'a Mistake> {
    let mut mistakes = parsed.mistakes.iter();
    mistakes.find(|mistake| mistake.key.as_ref() == Some(key) && attaches_to_nothing(mistake))
}

#[cfg(test)]
mod tests;
