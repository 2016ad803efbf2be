//! A stable address per service off Kubernetes, from `Mesh.spec.virtualCidr`. Pure.
//!
//! An address, once given, stays with its service, also while the service is deleted: a client that has
//! resolved the name must not find another service behind the number. Only when the range is used up, or when
//! [`DELETED_MAX`] others of its namespace were deleted after it, is the address of a deleted service taken back. New ones
//! begin at a hash of the name, so that two control planes that start empty mostly agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::SystemTime,
};

use sha2::{Digest, Sha256};
use usher_config::{
    kind::VirtualCidr,
    value::{Name, ServiceName},
};

/// Deleted services of a namespace whose addresses are kept for them. All are in memory and written with every revision, and
/// a range may have 2^24 addresses: who makes and deletes services all day must not fill both. By namespace, so that nobody
/// can have another one's forgotten, and be given what its callers still know.
const DELETED_MAX: usize = 1_000;

/// What is known of addresses before a configuration is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// As they were given.
    pub addresses: &'a BTreeMap<ServiceName, IpAddr>,
    /// Since when services are gone; of an earlier version's it is not known.
    pub deleted: &'a BTreeMap<ServiceName, SystemTime>,
}

/// Addresses for `services`, keeping what was given. A service is missing from the answer only when the range has fewer
/// addresses than there are services.
pub(super) fn allocate(
    range: VirtualCidr,
    known: Known<'_>,
    services: &BTreeSet<ServiceName>,
) -> BTreeMap<ServiceName, IpAddr> {
    let mut given: BTreeMap<ServiceName, IpAddr> = known
        .addresses
        .iter()
        .filter(|(_, address)| matches!(address, IpAddr::V4(address) if range.contains(*address)))
        .map(|(service, address)| (service.clone(), *address))
        .collect();
    forget_deleted(&mut given, known.deleted, services);
    let missing = services
        .iter()
        .filter(|service| !given.contains_key(*service))
        .count();
    let usable = usable(range);
    let room = usize::try_from(usable).unwrap_or(usize::MAX);
    if given.len() + missing > room {
        given.retain(|service, _| services.contains(service));
    }
    let mut taken: BTreeSet<IpAddr> = given.values().copied().collect();
    for service in services {
        if given.contains_key(service) || taken.len() >= room {
            continue;
        }
        let start = hash(service) % usable;
        let free = (0..usable)
            .map(|step| nth(range, (start + step) % usable))
            .find(|address| !taken.contains(address));
        if let Some(address) = free {
            taken.insert(address);
            given.insert(service.clone(), address);
        }
    }
    given
}

/// Those deleted first are forgotten first.
fn forget_deleted(
    given: &mut BTreeMap<ServiceName, IpAddr>,
    deleted: &BTreeMap<ServiceName, SystemTime>,
    services: &BTreeSet<ServiceName>,
) {
    let mut gone: BTreeMap<Name, Vec<(Option<SystemTime>, ServiceName)>> = BTreeMap::new();
    for service in given.keys().filter(|service| !services.contains(*service)) {
        let of_namespace = gone.entry(service.namespace.clone()).or_default();
        of_namespace.push((deleted.get(service).copied(), service.clone()));
    }
    for mut of_namespace in gone.into_values() {
        let excess = of_namespace.len().saturating_sub(DELETED_MAX);
        of_namespace.sort();
        for (_, service) in of_namespace.into_iter().take(excess) {
            given.remove(&service);
        }
    }
}

/// The first and the last address of a block are left alone: software takes them for the network and for everybody.
fn usable(range: VirtualCidr) -> u32 {
    range.size() - 2
}

fn nth(range: VirtualCidr, offset: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(range.base().to_bits() + 1 + offset))
}

fn hash(service: &ServiceName) -> u32 {
    let hash = Sha256::digest(service.to_string());
    // Three bytes: the largest block has 2^24 addresses, and sums stay far from overflow.
    hash.iter()
        .take(3)
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests;
