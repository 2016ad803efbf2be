//! Any control plane of several will do, and one that does is kept.

use std::sync::atomic::Ordering;

use tokio::{net::TcpListener, time::timeout};

use usher_config::wire::v1::{ListServicesRequest, registry_client::RegistryClient};

use super::*;

/// An address that nobody listens on.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn whichever_comes_first_the_one_that_is_there_is_found_and_kept() {
    let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = (there.local_addr().unwrap().to_string(), there);
    let list = [nobody().await, there.0.clone(), nobody().await].join(",");
    for first in 0..3 {
        let control_plane = ControlPlane::new(&list);
        control_plane.members.turn.store(first, Ordering::Relaxed);
        control_plane.local_address().await.unwrap();
        assert_eq!(control_plane.members.turn.load(Ordering::Relaxed) % 3, 1);
        let kept = control_plane.members.turn.load(Ordering::Relaxed);
        control_plane.clone().local_address().await.unwrap();
        assert_eq!(control_plane.members.turn.load(Ordering::Relaxed), kept);
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_has_still_gone_one_on() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let list = format!("{},{}", silent.local_addr().unwrap(), nobody().await);
    let control_plane = ControlPlane::new(&list);
    control_plane.members.turn.store(0, Ordering::Relaxed);
    let waits = control_plane.pinned(&[[0; 32]]);
    // It takes the connection and says nothing.
    let given_up = timeout(Duration::from_millis(50), waits).await;
    assert!(given_up.is_err());
    assert_eq!(control_plane.members.turn.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn where_nobody_is_each_was_tried_once() {
    let list = [nobody().await, nobody().await].join(",");
    let control_plane = ControlPlane::new(&list);
    control_plane.members.turn.store(0, Ordering::Relaxed);
    let error = control_plane.local_address().await.unwrap_err();
    assert_eq!(control_plane.members.turn.load(Ordering::Relaxed), 2);
    let explained = control_plane.explain(&error);
    assert!(explained.contains("connection refused"), "{explained}");
}

#[tokio::test]
async fn who_comes_late_with_a_complaint_does_not_take_the_others_from_the_one_that_does() {
    let fake = fake::Fake::start().await;
    let there = fake.control_plane.members.address.to_string();
    let list = [nobody().await, there, nobody().await].join(",");
    let control_plane = ControlPlane::new(&list);
    control_plane.members.turn.store(0, Ordering::Relaxed);
    let turn = || control_plane.members.turn.load(Ordering::Relaxed);
    let material = Arc::new(ArcSwap::from_pointee(
        fake.authority.material(fake::WORKLOAD),
    ));
    let (calls, stream) = (
        control_plane.line(material.clone()),
        control_plane.line(material.clone()),
    );
    // What calls have found, the stream finds a moment later; in between both had a new line.
    control_plane.elsewhere(&calls);
    assert_eq!(turn(), 1);
    let next = control_plane.line(material.clone());
    control_plane.elsewhere(&stream);
    assert_eq!(turn(), 1);
    // Of the new one a complaint is heard, wherever it has come to by then.
    let mut client = RegistryClient::new(next.channel());
    client
        .list_services(ListServicesRequest {})
        .await
        .unwrap_err();
    assert_eq!((next.connections(), turn()), (1, 1));
    assert!(!control_plane.has_moved_on(&next, 0) && control_plane.has_moved_on(&stream, 0));
    control_plane.elsewhere(&next);
    control_plane.elsewhere(&next);
    assert_eq!(turn(), 2);
}

#[tokio::test]
async fn a_line_that_still_connects_to_the_only_control_plane_is_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = fake::Fake::start().await;
    let material = Arc::new(ArcSwap::from_pointee(
        fake.authority.material(fake::WORKLOAD),
    ));
    let one = silent.local_addr().unwrap().to_string();
    let two = format!("{one},{}", nobody().await);
    for (list, is_waited_for) in [(one, true), (two, false)] {
        let control_plane = ControlPlane::new(&list);
        let line = control_plane.line(material.clone());
        control_plane.elsewhere(&line);
        drop(control_plane.line(material.clone()));
        assert_eq!(
            !control_plane.has_moved_on(&line, 0),
            is_waited_for,
            "{list}"
        );
    }
}
