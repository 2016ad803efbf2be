//! Addresses are stable and never shared.

use super::*;

fn services(count: usize) -> BTreeSet<ServiceName> {
    (0..count)
        .map(|number| format!("bank/s{number}").parse().expect("valid"))
        .collect()
}

/// With everybody that was given an address still there.
fn allocate(
    range: VirtualCidr,
    addresses: &BTreeMap<ServiceName, IpAddr>,
    services: &BTreeSet<ServiceName>,
) -> BTreeMap<ServiceName, IpAddr> {
    let before = addresses.keys().cloned().collect();
    let known = Known {
        addresses,
        services: &before,
    };
    super::allocate(range, known, services)
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
fn of_many_deleted_services_a_thousand_are_remembered_the_last_one_among_them() {
    let mut given = BTreeMap::new();
    let mut before = BTreeSet::new();
    for number in 0..1_300 {
        let services: BTreeSet<ServiceName> = [
            "bank/stays".parse().expect("valid"),
            format!("bank/s{number}").parse().expect("valid"),
        ]
        .into();
        let known = Known {
            addresses: &given,
            services: &before,
        };
        let next = super::allocate(range("10.0.0.0/8"), known, &services);
        assert!(before.iter().all(|service| next.contains_key(service)));
        assert!(next.len() <= DELETED_MAX + services.len());
        (given, before) = (next, services);
    }
    assert_eq!(given.len(), DELETED_MAX + 2);
}
