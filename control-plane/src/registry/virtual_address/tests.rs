//! Addresses are stable and never shared.

use std::time::Duration;

use super::*;

fn services(count: usize) -> BTreeSet<ServiceName> {
    (0..count)
        .map(|number| format!("bank/s{number}").parse().expect("valid"))
        .collect()
}

/// Of times nothing is known.
fn allocate(
    range: VirtualCidr,
    addresses: &BTreeMap<ServiceName, IpAddr>,
    services: &BTreeSet<ServiceName>,
) -> BTreeMap<ServiceName, IpAddr> {
    let deleted = &BTreeMap::new();
    super::allocate(range, Known { addresses, deleted }, services)
}

fn range(text: &str) -> VirtualCidr {
    text.parse().expect("valid")
}

#[test]
fn an_address_once_given_stays_while_services_come_and_go() {
    let first = allocate(VirtualCidr::DEFAULT, &BTreeMap::new(), &services(5));
    let more = allocate(VirtualCidr::DEFAULT, &first, &services(500));
    assert!(
        first
            .iter()
            .all(|(service, address)| more.get(service) == Some(address))
    );
    let none = allocate(VirtualCidr::DEFAULT, &more, &BTreeSet::new());
    assert_eq!(
        none, more,
        "a deleted service's address is not reused while others are free"
    );
}

#[test]
fn no_two_services_share_an_address() {
    let given = allocate(VirtualCidr::DEFAULT, &BTreeMap::new(), &services(2_000));
    let distinct: BTreeSet<&IpAddr> = given.values().collect();
    assert_eq!((given.len(), distinct.len()), (2_000, 2_000));
}

#[test]
fn a_full_range_takes_back_what_deleted_services_had() {
    let range = range("10.9.0.0/24");
    let full = allocate(range, &BTreeMap::new(), &services(254));
    assert_eq!(full.len(), 254);
    assert!(
        !full
            .values()
            .any(|address| address.to_string() == "10.9.0.0")
    );
    let other: BTreeSet<ServiceName> = ["bank/other".parse().expect("valid")].into();
    let after = allocate(range, &full, &other);
    assert_eq!(
        after.keys().collect::<Vec<_>>(),
        other.iter().collect::<Vec<_>>()
    );
    assert_eq!(allocate(range, &BTreeMap::new(), &services(300)).len(), 254);
}

#[test]
fn a_changed_range_gives_everybody_a_new_address() {
    let first = allocate(VirtualCidr::DEFAULT, &BTreeMap::new(), &services(3));
    let moved = allocate(range("10.9.0.0/24"), &first, &services(3));
    assert!(
        moved
            .values()
            .all(|address| address.to_string().starts_with("10.9.0."))
    );
}

#[test]
fn of_a_namespace_those_deleted_last_are_remembered_and_others_lose_nothing() {
    let number = |count: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(count);
    let theirs: ServiceName = "aaa/of-another-namespace".parse().expect("valid");
    // Their names say the opposite of their age.
    let gone = (0..1_500).map(|at| (format!("bank/s{}", 9_000 - at), number(at)));
    let gone = gone.map(|(name, at)| (name.parse().expect("valid"), at));
    let mut deleted: BTreeMap<ServiceName, SystemTime> = gone.collect();
    deleted.insert(theirs.clone(), number(0));
    let all: BTreeSet<ServiceName> = deleted.keys().cloned().collect();
    let addresses = allocate(range("10.0.0.0/8"), &BTreeMap::new(), &all);
    let known = Known {
        addresses: &addresses,
        deleted: &deleted,
    };
    let left = super::allocate(range("10.0.0.0/8"), known, &services(1));
    assert_eq!(left.len(), DELETED_MAX + 2);
    assert_eq!(left.get(&theirs), addresses.get(&theirs));
    let remembered = |name: &ServiceName| left.contains_key(name);
    let mut of_bank = deleted.iter().filter(|(name, _)| **name != theirs);
    assert!(of_bank.all(|(name, at)| remembered(name) == (*at >= number(500))));
}
