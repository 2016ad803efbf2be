//! A change is told in the names that it concerns, and in no others. (That it is told in all of them: the property test of
//! `subscription`.)

use bytes::Bytes;

use super::*;

fn resource(version: &str) -> Resource {
    Resource {
        version: version.into(),
        body: Bytes::new(),
    }
}

/// Services a and b, each with an instance.
fn snapshot() -> Snapshot {
    let (mut snapshot, mut configured) = (Snapshot::default(), Configured::default());
    for (number, name) in [(1, "bank/a"), (2, "bank/b")] {
        let name: Arc<str> = name.into();
        configured.services.insert(name.clone(), resource("1"));
        configured.inbound.insert(name.clone(), resource("1"));
        let address = IpAddr::from([240, 240, 0, number]);
        configured
            .virtual_addresses
            .insert(address, vec![name.clone()]);
        snapshot.endpoints.insert(name.clone(), Arc::default());
        let at = BTreeSet::from([IpAddr::from([10, 0, 0, number])]);
        snapshot.addresses.insert(name, Arc::new(at));
    }
    snapshot.configured = Arc::new(configured);
    snapshot
}

fn names(changes: &Changes) -> Vec<(Topic, &str)> {
    let names = changes.names.iter();
    names.map(|(topic, name)| (*topic, name.as_str())).collect()
}

#[test]
fn an_instance_concerns_who_asks_for_its_service_or_its_address() {
    let (before, mut after) = (snapshot(), snapshot());
    after.clone_from(&before);
    assert_eq!(Changes::between(&before, &after), Changes::default());
    after.endpoints.insert("bank/a".into(), Arc::default());
    assert_eq!(
        names(&Changes::between(&before, &after)),
        [(Topic::Endpoint, "bank/a/*")]
    );
    let moved = BTreeSet::from([IpAddr::from([10, 0, 0, 9])]);
    after.addresses.insert("bank/a".into(), Arc::new(moved));
    let changes = Changes::between(&before, &after);
    let moved = [
        (Topic::Service, "addr/10.0.0.1"),
        (Topic::Service, "addr/10.0.0.9"),
        (Topic::Endpoint, "bank/a/*"),
    ];
    assert_eq!(names(&changes), moved);
    assert!(!changes.is_new_revision && !changes.concerns_all);
}

#[test]
fn a_service_concerns_who_asks_for_it_by_whatever_name() {
    let (before, mut after) = (snapshot(), snapshot());
    after.clone_from(&before);
    let mut configured = (*before.configured).clone();
    configured.services.insert("bank/a".into(), resource("2"));
    configured.revision.number = 1;
    after.configured = Arc::new(configured);
    let changes = Changes::between(&before, &after);
    let concerned = [
        (Topic::Service, "addr/10.0.0.1"),
        (Topic::Service, "addr/240.240.0.1"),
        (Topic::Service, "bank/a"),
    ];
    assert_eq!(names(&changes), concerned);
    assert!(changes.is_new_revision);
}

#[test]
fn who_may_be_a_service_may_see_what_it_enforces() {
    let (before, mut after) = (snapshot(), snapshot());
    after.clone_from(&before);
    let mut configured = (*before.configured).clone();
    let identity = "spiffe://usher.local/ns/bank/sa/b".parse().unwrap();
    configured
        .identities
        .insert("bank/b".into(), vec![identity]);
    after.configured = Arc::new(configured);
    let changes = Changes::between(&before, &after);
    let concerned = [(Topic::InboundPolicy, "bank/b"), (Topic::Gateway, "bank/b")];
    assert_eq!(names(&changes), concerned);
}

#[test]
fn the_end_of_settling_concerns_everybody() {
    let before = Snapshot {
        settling: true,
        ..Snapshot::default()
    };
    assert!(Changes::between(&before, &Snapshot::default()).concerns_all);
}
