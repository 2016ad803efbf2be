//! Who leaves is told that it has left, or to try again; never that it is not there while it is.

use super::*;

/// Two control planes that know one instance, and its lease.
async fn known() -> (Arc<Hub>, [(State, Arc<played::End>); 2], String) {
    let hub = Arc::<Hub>::default();
    let planes = [hub.join(0).await, hub.join(1).await];
    let (state, _) = &planes[0];
    let services = configuration(&[1]);
    state.apply(services, Path::new("")).await.expect("written");
    let lease = state.enter(&name(), instance()).await.expect("registered");
    for (state, _) in &planes {
        until("all know it", || endpoints(state) == 1).await;
    }
    (hub, planes, lease)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_whose_first_answer_was_lost_is_one() {
    let (_hub, [(state, end), _other], lease) = known().await;
    end.loses_an_answer.store(true, Ordering::SeqCst);
    let left = state.leave(&name(), &lease, &instance().identity).await;
    let left = left.expect("it is gone");
    assert_eq!(endpoints(&state), 0);
    let service = name().service;
    let soon = Instant::now() + Duration::from_secs(5);
    assert!(state.has_left(&service, left, soon).await);
    let again = state.leave(&name(), &lease, &instance().identity).await;
    assert_eq!(again, Err(LeaseGone.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_not_known_to_be_gone_it_is_to_try_again() {
    let (hub, [(state, end), _other], lease) = known().await;
    end.loses_an_answer.store(true, Ordering::SeqCst);
    hub.hold_back();
    let left = state.leave(&name(), &lease, &instance().identity).await;
    assert!(matches!(left, Err(NotWritten::Store(_))), "{left:?}");
    assert_eq!(endpoints(&state), 1);
    hub.let_go();
    until("it was heard of", || endpoints(&state) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_lease_ended_while_nobody_could_renew_it_leaves_everywhere() {
    let (hub, planes, lease) = known().await;
    let position = hub.forget_as_missed();
    for (state, _) in &planes {
        until("it was heard of", || *state.0.position.borrow() >= position).await;
        assert_eq!(endpoints(state), 1, "kept in doubt");
    }
    let (state, _) = &planes[1];
    let left = state.leave(&name(), &lease, &instance().identity).await;
    left.expect("known");
    for (state, _) in &planes {
        until("it has left", || endpoints(state) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_goodbye_of_one_in_doubt_takes_nobody_out_who_has_come_since() {
    let (hub, [(state, _), (_other, end)], lease) = known().await;
    let position = hub.forget_as_missed();
    until("it was heard of", || *state.0.position.borrow() >= position).await;
    hub.hold_back();
    let restarted = end.register(&name(), instance(), &|_| true).await;
    let (newer, _) = restarted.expect("registered");
    let left = state.leave(&name(), &lease, &instance().identity).await;
    assert_eq!(left, Err(LeaseGone.into()));
    assert_eq!(hub.lease_of(&name()), Some(newer));
    hub.let_go();
}
