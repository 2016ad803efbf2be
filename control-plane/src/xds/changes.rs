//! What is not the same in one snapshot as in the one before it: whom that concerns is woken, and nobody else. No I/O, no
//! clock.
//!
//! It is told in the names that proxies ask by, so that a change costs a look-up for each of them and not a comparison for
//! each stream. Invariant, held by a property test: a stream of which no name is here would be told nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::snapshot::{Configured, Resource, Snapshot};

use super::Topic;

/// From one snapshot to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The next one's.
    pub generation: u64,
    /// The number of its configuration.
    pub revision: u64,
    /// It is another configuration: what was refused under the last one is tried again.
    pub is_new_revision: bool,
    /// What names mean to whom may concern everybody.
    pub concerns_all: bool,
    /// By the names under which they are subscribed.
    pub names: BTreeSet<(Topic, String)>,
}

impl Changes {
    /// Costs a look at each service of the mesh (a comparison of pointers, where nothing was configured) and no memory but
    /// that of the changes.
    pub fn between(previous: &Snapshot, next: &Snapshot) -> Self {
        let mut changes = Self {
            generation: next.generation,
            revision: next.revision().number,
            is_new_revision: previous.revision().number != next.revision().number,
            // What proxies brought along and we do not know is taken back when settling ends.
            concerns_all: previous.settling != next.settling,
            names: BTreeSet::new(),
        };
        if previous.trust_bundle != next.trust_bundle {
            changes.note(Topic::TrustBundle, "*");
            let domains = [previous, next].map(|snapshot| snapshot.trust_bundle.as_ref());
            for (domain, _) in domains.into_iter().flatten() {
                changes.note(Topic::TrustBundle, domain);
            }
        }
        for service in different(&previous.endpoints, &next.endpoints, Arc::ptr_eq) {
            changes.note(Topic::Endpoint, &format!("{service}/*"));
        }
        // Of an instance that left before we knew it: who brought it along from an earlier stream is to drop it.
        for name in next.withdrawn.difference(&previous.withdrawn) {
            if let Some((service, _)) = name.rsplit_once('/') {
                changes.note(Topic::Endpoint, &format!("{service}/*"));
            }
        }
        for service in different(&previous.addresses, &next.addresses, Arc::ptr_eq) {
            let at = [previous, next].map(|snapshot| snapshot.addresses.get(service));
            let [before, after] = at.map(|at| at.map(|at| &**at).cloned().unwrap_or_default());
            for address in before.symmetric_difference(&after) {
                changes.note_address(*address);
            }
        }
        if !Arc::ptr_eq(&previous.configured, &next.configured) {
            changes.configured(previous, next);
        }
        changes
    }

    fn note(&mut self, topic: Topic, name: &str) {
        self.names.insert((topic, name.to_owned()));
    }

    fn note_address(&mut self, address: IpAddr) {
        self.note(Topic::Service, &format!("addr/{address}"));
    }

    fn configured(&mut self, previous: &Snapshot, next: &Snapshot) {
        let (old, new) = (&*previous.configured, &*next.configured);
        let services = resources(&old.services, &new.services);
        for name in &services {
            self.note(Topic::Service, name);
            let instances = [previous, next].map(|snapshot| snapshot.addresses.get(*name));
            for address in instances.into_iter().flatten().flat_map(|at| at.iter()) {
                self.note_address(*address);
            }
        }
        for (topic, of) in [
            (Topic::InboundPolicy, inbound as Tables),
            (Topic::InboundPolicy, closed),
            (Topic::InboundPolicy, without_claims),
            (Topic::Gateway, gateways),
            (Topic::Gateway, closed_gateways),
        ] {
            for name in resources(of(old), of(new)) {
                self.note(topic, name);
            }
        }
        // Who may be a service may see what it enforces.
        for name in different(&old.identities, &new.identities, |old, new| old == new) {
            self.note(Topic::InboundPolicy, name);
            self.note(Topic::Gateway, name);
        }
        let virtual_addresses = (&old.virtual_addresses, &new.virtual_addresses);
        for address in different(virtual_addresses.0, virtual_addresses.1, |old, new| {
            old == new && !old.iter().any(|service| services.contains(&service))
        }) {
            self.note_address(*address);
        }
    }
}

type Table = BTreeMap<Arc<str>, Resource>;
type Tables = fn(&Configured) -> &Table;

fn inbound(configured: &Configured) -> &Table {
    &configured.inbound
}

fn closed(configured: &Configured) -> &Table {
    &configured.for_old.closed
}

fn without_claims(configured: &Configured) -> &Table {
    &configured.for_old.without_claims
}

fn closed_gateways(configured: &Configured) -> &Table {
    &configured.for_old.closed_gateways
}

fn gateways(configured: &Configured) -> &Table {
    &configured.gateways
}

fn resources<'a>(old: &'a Table, new: &'a Table) -> BTreeSet<&'a Arc<str>> {
    different(old, new, |old, new| old.version == new.version).collect()
}

/// The keys that only one of two tables has, or that do not have the `same` there.
fn different<'a, K: Ord, V>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool + 'a,
) -> impl Iterator<Item = &'a K> {
    let mut old = old.iter().peekable();
    let mut new = new.iter().peekable();
    std::iter::from_fn(move || {
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return None,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            match order {
                std::cmp::Ordering::Less => return old.next().map(|(key, _)| key),
                std::cmp::Ordering::Greater => return new.next().map(|(key, _)| key),
                std::cmp::Ordering::Equal => {
                    let (before, after) = (old.next()?, new.next()?);
                    if !same(before.1, after.1) {
                        return Some(before.0);
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests;
