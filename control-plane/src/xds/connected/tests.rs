//! What is shown of a proxy.

use super::*;

fn node(features: &[&str]) -> Node {
    Node {
        id: "shop/edge/i1".to_owned(),
        client_features: features.iter().map(|&feature| feature.to_owned()).collect(),
        ..Node::default()
    }
}

fn joined(connected: &Connected, features: &[&str]) -> StreamId {
    let identity = "spiffe://usher.local/ns/shop/sa/edge".parse().unwrap();
    connected
        .joined(&node(features), &identity, String::new())
        .0
}

fn changes(generation: u64, names: &[(Topic, &str)]) -> Changes {
    let names = names.iter();
    Changes {
        generation,
        revision: generation,
        names: names
            .map(|(topic, name)| (*topic, (*name).to_owned()))
            .collect(),
        ..Changes::default()
    }
}

fn asks(connected: &Connected, id: StreamId, topic: Topic, name: &str) -> Subscriptions {
    let (mut subscriptions, names) = (Subscriptions::default(), vec![name.to_owned()]);
    subscriptions.subscribe(topic, names.clone(), []).unwrap();
    connected.subscribed(id, topic, &names);
    subscriptions
}

#[test]
fn remarks_outlive_the_stream_and_may_come_before_it() {
    let connected = Connected::default();
    let name: InstanceName = "shop/edge/i1".parse().unwrap();
    let remarks = |connected: &Connected| -> Vec<Vec<String>> {
        let reports = connected.reports(0).into_iter();
        reports.map(|report| report.remarks).collect()
    };
    connected.remarked(&name, vec!["otherwise".to_owned()]);
    assert!(remarks(&connected).is_empty(), "nobody is there");
    let first = joined(&connected, &[]);
    assert_eq!(remarks(&connected), [["otherwise"]]);
    // It reconnects: both are there for a moment.
    let second = joined(&connected, &[]);
    connected.left(first, &Subscriptions::default());
    assert_eq!(remarks(&connected), [["otherwise"]]);
    connected.remarked(&name, Vec::new());
    assert_eq!(remarks(&connected), [Vec::<String>::new()]);
    connected.left(second, &Subscriptions::default());
}

#[test]
fn a_proxy_that_does_not_say_that_it_follows_routes_for_connections_ignores_those_of_whom_it_calls()
{
    for (features, ignored) in [(["usher.stream-routes"].as_slice(), 0), (&[], 1)] {
        let connected = Connected::default();
        let id = joined(&connected, features);
        asks(&connected, id, Topic::Endpoint, "bank/a/*");
        let reports = connected.reports(0);
        assert_eq!(reports[0].ignores_streams_of.len(), ignored);
    }
}

#[test]
fn what_was_accepted_since_it_was_last_looked_at_it_may_not_have_been_told() {
    let connected = Connected::default();
    let id = joined(&connected, &[]);
    asks(&connected, id, Topic::Service, "bank/a");
    let runs = |revision| connected.reports(revision)[0].up_to_date;
    connected.published(&changes(4, &[]));
    assert!(!runs(4), "nobody has looked yet");
    connected.applied(id, 4, None);
    connected.up_to_date(id, 4, true);
    assert!(
        runs(4) && !runs(5),
        "5 is accepted, but nobody was told of it"
    );
    // One that does not concern it, and one that does.
    connected.published(&changes(5, &[(Topic::Service, "bank/b")]));
    assert!(runs(5));
    connected.published(&changes(6, &[(Topic::Service, "bank/a")]));
    assert!(!runs(6));
    connected.applied(id, 6, None);
    assert!(runs(6));
}

#[tokio::test]
async fn only_whom_a_change_concerns_is_woken() {
    let connected = Connected::default();
    let identity = "spiffe://usher.local/ns/shop/sa/edge".parse().unwrap();
    let join = || connected.joined(&node(&[]), &identity, String::new());
    let ((one, wakes_one), (other, wakes_other)) = (join(), join());
    asks(&connected, one, Topic::Endpoint, "bank/a/*");
    let asked = asks(&connected, other, Topic::Endpoint, "bank/b/*");
    let is_woken = async |wake: &Notify| {
        tokio::time::timeout(Duration::ZERO, wake.notified())
            .await
            .is_ok()
    };
    connected.published(&changes(
        2,
        &[(Topic::Endpoint, "bank/a/*"), (Topic::Service, "bank/b")],
    ));
    assert!(is_woken(&wakes_one).await && !is_woken(&wakes_other).await);
    connected.published(&Changes {
        concerns_all: true,
        ..changes(3, &[])
    });
    assert!(is_woken(&wakes_one).await && is_woken(&wakes_other).await);
    connected.left(other, &asked);
    connected.published(&changes(4, &[(Topic::Endpoint, "bank/b/*")]));
    assert!(!is_woken(&wakes_other).await);
    connected.end();
    assert!(is_woken(&wakes_one).await && connected.is_over());
}

#[tokio::test]
async fn who_leaves_waits_for_its_callers_and_for_nobody_else() {
    let connected = Connected::default();
    let ids = [joined(&connected, &[]), joined(&connected, &[])];
    asks(&connected, ids[0], Topic::Endpoint, "bank/a/*");
    asks(&connected, ids[1], Topic::Endpoint, "bank/b/*");
    let gone = async |generation| {
        connected
            .all_applied("bank/a", generation, Instant::now())
            .await
    };
    connected.published(&changes(5, &[]));
    assert!(
        !gone(5).await,
        "what it brought along may have the instance"
    );
    connected.applied(ids[0], 5, None);
    assert!(
        gone(5).await,
        "the other one has nothing of it, and may be as late as it likes"
    );
    assert!(!gone(6).await, "nobody was told yet");
    connected.published(&changes(6, &[(Topic::Endpoint, "bank/a/*")]));
    assert!(!gone(6).await && gone(5).await);
    // It does not concern the caller, and so does not let it be late.
    connected.applied(ids[0], 6, None);
    connected.published(&changes(7, &[(Topic::Endpoint, "bank/b/*")]));
    assert!(gone(7).await);
}

#[test]
fn what_a_proxy_refuses_is_known_until_it_takes_all() {
    let connected = Connected::default();
    let id = joined(&connected, &[]);
    let mut subscriptions = Subscriptions::default();
    let names = |topic, name: &str| (topic, vec![name.to_owned()]);
    for (topic, names) in [
        names(Topic::Service, "bank/a"),
        names(Topic::InboundPolicy, "shop/edge"),
    ] {
        subscriptions
            .subscribe(topic, names.clone(), Vec::new())
            .expect("few");
        subscriptions.refused(topic, names, 4);
    }
    connected.applied(id, 1, None);
    connected.refuses(id, 4, &subscriptions);
    let report = |connected: &Connected| connected.reports(4).remove(0);
    let refusing = report(&connected);
    assert_eq!(refusing.refuses.services, [("bank/a".to_owned(), 4)].into());
    assert_eq!(
        refusing.refuses.inbound,
        [("shop/edge".to_owned(), 4)].into()
    );
    assert_eq!(refusing.applied, 0);

    // The rest of it came without what it refuses; an older answer takes nothing back.
    connected.took(id, 4, &subscriptions);
    connected.took(id, 3, &subscriptions);
    assert_eq!(report(&connected).applied, 4);
    // Refused once more: since the first time. The other one is taken.
    let mut later = Subscriptions::default();
    later.refused(Topic::Service, vec!["bank/a".to_owned()], 5);
    connected.refuses(id, 5, &later);
    connected.took(id, 5, &later);
    let refuses = report(&connected).refuses;
    assert_eq!(refuses.services, [("bank/a".to_owned(), 4)].into());
    assert!(refuses.inbound.is_empty(), "{refuses:?}");
    connected.up_to_date(id, 5, true);
    let whole = report(&connected);
    assert_eq!((whole.applied, whole.refuses), (5, Refusals::default()));
}
