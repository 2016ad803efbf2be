//! A stable address per service off Kubernetes, from `Mesh.spec.virtualCidr`. Pure.
//!
//! An address, once given, stays with its service, also while the service is deleted: a client that has
//! resolved the name must not find another service behind the number. Only when the range is used up are
//! addresses of deleted services taken back. New ones begin at a hash of the name, so that two control
//! planes that start empty mostly agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use sha2::{Digest, Sha256};
use usher_config::{kind::VirtualCidr, value::ServiceName};

/// Addresses for `services`, keeping what `known` has given. A service is missing from the answer only when the
/// range has fewer addresses than there are services.
pub(super) fn allocate(
    range: VirtualCidr,
    known: &BTreeMap<ServiceName, IpAddr>,
    services: &BTreeSet<ServiceName>,
) -> BTreeMap<ServiceName, IpAddr> {
    let mut given: BTreeMap<ServiceName, IpAddr> = known
        .iter()
        .filter(|(_, address)| matches!(address, IpAddr::V4(address) if range.contains(*address)))
        .map(|(service, address)| (service.clone(), *address))
        .collect();
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
