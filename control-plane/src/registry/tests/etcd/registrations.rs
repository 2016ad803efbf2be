//! Registrations: seen by all control planes, ended by any, or by their lease.

use std::sync::Arc;

use tokio::sync::mpsc;
use usher_config::value::{InstanceName, SpiffeId};

use super::*;
use crate::registry::shared::{Acknowledgement, Batch, Event, WriteError};

/// The next event that is none of all.
async fn next(events: &mut mpsc::Receiver<Batch>) -> Event {
    let next = async {
        loop {
            let batch = events.recv().await.expect("alive");
            if let Some(event) = batch.events.into_iter().next() {
                return event;
            }
        }
    };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, next).await.expect("in time")
}

#[test]
fn a_registration_is_renewed_changed_and_ended_through_any_control_plane() {
    let Some(mut etcd) = Etcd::start() else {
        return;
    };
    let name: InstanceName = "bank/account/a".parse().expect("valid");
    let (one, other, mut events) = etcd.runtime.block_on(async {
        let one = etcd.server.connect("/instances").await;
        let other = etcd.server.connect("/instances").await;
        let (sender, events) = mpsc::channel(8);
        tokio::spawn(other.follow(sender));
        (Arc::new(one), other, events)
    });
    let everybody = |_: &SpiffeId| true;
    let lease = etcd.runtime.block_on(async {
        assert_eq!(next(&mut events).await, Event::All(vec![]));
        let registered = one.register(&name, instance("account"), &everybody).await;
        let (lease, _) = registered.expect("registered");
        let Event::Put(seen) = next(&mut events).await else {
            panic!("not there")
        };
        assert_eq!(
            (&seen.instance, &seen.lease),
            (&instance("account"), &lease)
        );

        let taken = other.register(&name, instance("canary"), &everybody).await;
        assert!(matches!(taken, Err(WriteError::Held(_))), "{taken:?}");
        assert_eq!(other.renew(&lease).await, Ok(()));
        let mut sick = *seen;
        sick.instance.healthy = false;
        other.update(&sick).await.expect("written");
        assert_eq!(next(&mut events).await, Event::Put(sick.into()));
        lease
    });
    // Leases outlive etcd itself: nobody has to register again.
    etcd.server.kill();
    etcd.server.run();
    etcd.runtime.block_on(async {
        let Event::All(all) = next(&mut events).await else {
            panic!("not all")
        };
        assert_eq!(all.len(), 1);
        assert_eq!(other.renew(&lease).await, Ok(()));
        let gone = other.deregister(&name, "1.made-up").await;
        assert_eq!(gone, Err(WriteError::LeaseGone));
        let at = other.deregister(&name, &lease).await.expect("there");
        assert_eq!(next(&mut events).await, Event::Gone(name.clone(), at));
        assert_eq!(one.renew(&lease).await, Err(WriteError::LeaseGone));
    });
}

#[test]
fn who_comes_where_nobody_is_takes_nobodys_place() {
    let Some(etcd) = Etcd::start() else { return };
    let name: InstanceName = "bank/account/a".parse().expect("valid");
    etcd.runtime.block_on(async {
        let store = etcd.server.connect("/absent").await;
        let registered = store.register_absent(&name, instance("account")).await;
        let (lease, _) = registered.expect("nobody is there");
        let refused = store.register_absent(&name, instance("account")).await;
        assert_eq!(refused, Err(WriteError::LeaseGone));
        assert_eq!(store.renew(&lease).await, Ok(()));
        store.deregister(&name, &lease).await.expect("there");
        let again = store.register_absent(&name, instance("account")).await;
        again.expect("nobody is there");
    });
}

#[test]
fn an_instance_that_does_not_renew_goes() {
    let Some(etcd) = Etcd::start() else { return };
    let name: InstanceName = "bank/account/a".parse().expect("valid");
    etcd.runtime.block_on(async {
        let store = etcd.server.connect("/leases").await;
        let (sender, mut events) = mpsc::channel(8);
        tokio::spawn(store.follow(sender));
        let everybody = |_: &SpiffeId| true;
        let registered = store.register(&name, instance("account"), &everybody);
        registered.await.expect("registered");
        loop {
            if let Event::Lapsed(gone, _) = next(&mut events).await {
                assert_eq!(gone, name);
                return;
            }
        }
    });
}

/// As when no control plane can reach it for longer than a lease, while it goes on.
#[test]
fn an_etcd_that_was_out_of_reach_for_a_lease_says_who_is_missing_and_no_more() {
    let Some(etcd) = Etcd::start() else { return };
    let (way, cut_off, other) = etcd.behind("/unreached");
    let name: InstanceName = "bank/account/a".parse().expect("valid");
    etcd.runtime.block_on(async {
        let (sender, mut events) = mpsc::channel(8);
        tokio::spawn(cut_off.follow(sender));
        assert_eq!(next(&mut events).await, Event::All(vec![]));
        let everybody = |_: &SpiffeId| true;
        let registered = cut_off.register(&name, instance("account"), &everybody);
        let (lease, _) = registered.await.expect("registered");
        assert!(matches!(next(&mut events).await, Event::Put(_)));

        way.closes(true);
        let mut health = cut_off.health();
        let lost = health.wait_for(|health| *health != Health::Reachable);
        drop(lost.await.expect("alive"));
        let began = Instant::now();
        while other.position_of(&name).await.expect("reached") > 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not end");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        way.closes(false);
        assert_eq!(next(&mut events).await, Event::Missed(vec![]));
        assert_eq!(cut_off.renew(&lease).await, Err(WriteError::LeaseGone));
        let registered = cut_off.register(&name, instance("account"), &everybody);
        let (lease, _) = registered.await.expect("registered");
        assert!(matches!(next(&mut events).await, Event::Put(_)));
        let at = other.deregister(&name, &lease).await.expect("there");
        assert_eq!(next(&mut events).await, Event::Gone(name, at));
    });
}

#[test]
fn goodbyes_wait_for_every_control_plane_that_lives() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.runtime.block_on(async {
        let one = etcd.server.connect("/replicas").await;
        let other = etcd.server.connect("/replicas").await;
        assert_eq!(one.acknowledged(7).await, Ok(true), "there is nobody else");
        other.acknowledge(said(6, &[])).await.expect("written");
        assert_eq!(one.acknowledged(7).await, Ok(false));
        other.acknowledge(said(9, &[7])).await.expect("written");
        assert_eq!(one.acknowledged(7).await, Ok(false));
        other.acknowledge(said(9, &[])).await.expect("written");
        assert_eq!(one.acknowledged(7).await, Ok(true));
        assert_eq!(
            other.acknowledged(99).await,
            Ok(true),
            "it says nothing itself"
        );
    });
}

#[test]
fn a_control_plane_whose_word_was_not_taken_says_it_again() {
    let Some(mut etcd) = Etcd::start() else {
        return;
    };
    let connected = async {
        let server = &etcd.server;
        (
            server.connect("/again").await,
            server.connect("/again").await,
        )
    };
    let (one, other) = etcd.runtime.block_on(connected);
    etcd.server.kill();
    let refused = etcd.runtime.block_on(other.acknowledge(said(6, &[])));
    assert!(refused.is_err(), "{refused:?}");
    etcd.server.run();
    etcd.runtime.block_on(async {
        let began = Instant::now();
        while one.acknowledged(7).await != Ok(false) {
            assert!(began.elapsed() < Duration::from_secs(30), "never said");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        other.depart().await;
        assert_eq!(one.acknowledged(7).await, Ok(true));
        let late = other.acknowledge(said(6, &[])).await;
        assert_eq!(late, Ok(()), "nobody waits for it any more");
        assert_eq!(one.acknowledged(7).await, Ok(true));
    });
}

fn said(up_to: u64, behind: &[u64]) -> Acknowledgement {
    Acknowledgement {
        up_to,
        behind: behind.iter().copied().collect(),
    }
}
