//! A lease lives while it is renewed, and belongs to who registered it.

use super::*;

fn name() -> InstanceName {
    "bank/account/a".parse().expect("valid")
}

fn identity(account: &str) -> SpiffeId {
    format!("spiffe://usher.local/ns/bank/sa/{account}")
        .parse()
        .expect("valid")
}

fn instance() -> Instance {
    Instance {
        address: "127.0.0.1:15006".parse().expect("valid"),
        address_is_own: true,
        healthy: true,
        health_reason: String::new(),
        zone: String::new(),
        identity: identity("account"),
        revision: 0,
        callers: Default::default(),
    }
}

fn renewal<'a>(lease: &'a str, identity: &'a SpiffeId, healthy: bool) -> Renewal<'a> {
    Renewal {
        lease,
        identity,
        healthy,
        health_reason: if healthy { "" } else { "GET / → 404" },
        revision: 3,
        callers: None,
    }
}

#[test]
fn an_instance_that_renews_stays_and_one_that_does_not_goes() {
    let (mut instances, start) = (Instances::default(), Instant::now());
    instances
        .register(&name(), instance(), "l1".into(), start)
        .expect("room");
    let account = identity("account");
    let later = start + LEASE / 3;
    assert_eq!(
        instances.renew(&name(), &renewal("l1", &account, true), later),
        Ok(Effect::Unchanged)
    );
    assert!(instances.expire(start + LEASE).is_empty(), "renewed");
    assert_eq!(instances.expire(later + LEASE), vec![name()]);
    assert_eq!(
        instances.renew(&name(), &renewal("l1", &account, true), later + LEASE),
        Err(LeaseGone)
    );
}

#[test]
fn callers_are_told_when_health_changes() {
    let (mut instances, start) = (Instances::default(), Instant::now());
    instances
        .register(&name(), instance(), "l1".into(), start)
        .expect("room");
    let account = identity("account");
    let sick = instances.renew(&name(), &renewal("l1", &account, false), start);
    assert_eq!(sick, Ok(Effect::Changed));
    let (_, seen) = instances.of(&name().service).next().expect("registered");
    assert!(!seen.healthy && seen.revision == 3);
    assert_eq!(seen.health_reason, "GET / → 404");
}

#[test]
fn a_restarted_sidecar_replaces_itself_and_its_old_lease_is_worth_nothing() {
    let (mut instances, start) = (Instances::default(), Instant::now());
    instances
        .register(&name(), instance(), "old".into(), start)
        .expect("room");
    instances
        .register(&name(), instance(), "new".into(), start)
        .expect("room");
    assert_eq!(
        instances.deregister(&name(), "old", &identity("account")),
        Err(LeaseGone)
    );
    assert_eq!(
        instances.deregister(&name(), "new", &identity("account")),
        Ok(())
    );
    assert_eq!(instances.of(&name().service).count(), 0);
}

#[test]
fn another_identity_cannot_use_a_lease() {
    let (mut instances, start) = (Instances::default(), Instant::now());
    instances
        .register(&name(), instance(), "l1".into(), start)
        .expect("room");
    let thief = identity("reporting");
    assert_eq!(
        instances.renew(&name(), &renewal("l1", &thief, true), start),
        Err(LeaseGone)
    );
}

#[test]
fn one_service_cannot_fill_the_memory() {
    let (mut instances, start) = (Instances::default(), Instant::now());
    for number in 0..INSTANCES_MAX {
        let name = format!("bank/account/i{number}").parse().expect("valid");
        instances
            .register(&name, instance(), "l".into(), start)
            .expect("room");
    }
    let more = instances.register(&name(), instance(), "l".into(), start);
    assert_eq!(more, Err(NotRegistered::TooMany));
}

#[test]
fn a_name_is_its_registrars_until_the_lease_has_ended() {
    let (mut instances, start) = (Instances::default(), Instant::now());
    instances
        .register(&name(), instance(), "l1".into(), start)
        .expect("room");
    let other = Instance {
        identity: identity("account-next"),
        ..instance()
    };
    assert_eq!(
        instances.register(&name(), other.clone(), "l2".into(), start),
        Err(NotRegistered::Taken {
            holder: identity("account")
        })
    );
    assert_eq!(
        instances.deregister(&name(), "l1", &other.identity),
        Err(LeaseGone),
        "knowing the lease is not enough"
    );
    let ended = instances.register(&name(), other, "l2".into(), start + LEASE);
    assert_eq!(ended, Ok(()));
}

#[test]
fn ten_thousand_instances_that_end_without_a_word_leave_nothing() {
    let (mut instances, mut now) = (Instances::default(), Instant::now());
    for number in 0..10_000 {
        let name = format!("bank/s{number}/i{number}").parse().expect("valid");
        instances
            .register(&name, instance(), "l".into(), now)
            .expect("room");
        now += LEASE / 100;
        instances.expire(now);
        assert!(instances.len() <= 100, "as many as have a lease");
    }
    instances.expire(now + LEASE);
    assert_eq!(instances.len(), 0);
}
