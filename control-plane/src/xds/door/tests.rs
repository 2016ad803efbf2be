//! Places are given back, whoever waits gets them in turn, and who is sent away is told for how long.

use futures_util::FutureExt as _;

use super::*;
use crate::telemetry::metrics::Metrics;

fn door() -> (Door, Metrics) {
    door_of(1, 9)
}

fn door_of(places: usize, of_one_identity: usize) -> (Door, Metrics) {
    let metrics = Metrics::new().expect("unique");
    let bounds = Bounds {
        places,
        wait_max: Duration::from_millis(4),
        away_max: Duration::from_secs(60),
    };
    (
        Door::with(bounds, of_one_identity, metrics.streams.clone()),
        metrics,
    )
}

fn who(account: &str) -> SpiffeId {
    let id = format!("spiffe://usher.local/ns/bank/sa/{account}");
    id.parse().expect("valid")
}

fn says(metrics: &Metrics, line: &str) {
    let all = metrics.render();
    assert!(all.lines().any(|one| one == line), "{line} is not in {all}");
}

#[tokio::test]
async fn a_place_goes_to_who_has_waited_longest_and_who_gave_up_is_not_waited_for() {
    let (door, metrics) = door();
    let one = who("a");
    let first = door.enter(&one).await.expect("free");
    let mut gave_up = Box::pin(door.enter(&one));
    let mut waits = Box::pin(door.enter(&one));
    assert!((&mut gave_up).now_or_never().is_none());
    assert!((&mut waits).now_or_never().is_none());
    says(&metrics, "usher_control_waiting_streams 2");

    let refused = door.enter(&one).await.expect_err("the line is full");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    let after = refused.metadata().get(RETRY_PUSHBACK).expect("told");
    let after: u64 = after.to_str().expect("text").parse().expect("a number");
    assert!((1..=60_000).contains(&after), "{after}");
    says(&metrics, "usher_control_refused_streams_total 1");

    drop(gave_up);
    drop(first);
    let second = waits.await.expect("it is its turn");
    says(&metrics, "usher_control_waiting_streams 0");
    drop(second);
    assert!(
        door.enter(&one)
            .now_or_never()
            .is_some_and(|place| place.is_ok())
    );
}

#[tokio::test(start_paused = true)]
async fn one_identity_waits_for_its_own_and_leaves_places_to_others() {
    let (door, metrics) = door_of(4, 2);
    let (thief, others) = (who("thief"), ["b", "c"].map(who));
    let first = door.enter(&thief).await.expect("its share");
    let second = door.enter(&thief).await.expect("its share");
    let mut third = Box::pin(door.enter(&thief));
    assert!((&mut third).now_or_never().is_none(), "no more at once");
    // It is in nobody's line but its own's.
    says(&metrics, "usher_control_waiting_streams 0");
    for other in &others {
        let place = door.enter(other).now_or_never();
        assert!(place.is_some_and(|place| place.is_ok()));
    }
    drop(first);
    let third = third.await.expect("its turn");
    let refused = door.enter(&thief).await.expect_err("has waited enough");
    let after = refused.metadata().get(RETRY_PUSHBACK).expect("told");
    let after: u64 = after.to_str().expect("text").parse().expect("a number");
    assert!((1_000..=2_000).contains(&after), "{after}");
    drop((second, third));
    assert!(door.enter(&thief).await.is_ok(), "given back");
}
