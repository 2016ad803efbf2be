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
    connected.joined(&node(features), &identity, String::new())
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
    connected.left(first);
    assert_eq!(remarks(&connected), [["otherwise"]]);
    connected.remarked(&name, Vec::new());
    assert_eq!(remarks(&connected), [Vec::<String>::new()]);
    connected.left(second);
}

#[test]
fn a_proxy_that_does_not_say_that_it_follows_routes_for_connections_ignores_those_of_whom_it_calls()
{
    for (features, ignored) in [(["usher.stream-routes"].as_slice(), 0), (&[], 1)] {
        let connected = Connected::default();
        let id = joined(&connected, features);
        connected.follows(id, ["bank/a".to_owned()].into());
        let reports = connected.reports(0);
        assert_eq!(reports[0].ignores_streams_of.len(), ignored);
    }
}

#[test]
fn what_was_accepted_since_it_was_last_looked_at_it_may_not_have_been_told() {
    let connected = Connected::default();
    let id = joined(&connected, &[]);
    let runs = |revision| connected.reports(revision)[0].up_to_date;
    assert!(!runs(0), "nobody has looked yet");
    connected.up_to_date(id, 4, true);
    assert!(runs(4) && !runs(5));
    connected.up_to_date(id, 5, false);
    assert!(!runs(5));
    connected.up_to_date(id, 5, true);
    assert!(runs(5));
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
