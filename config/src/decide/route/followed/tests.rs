//! At each port: our namespace's routes if it has any there, of either kind; else those for everybody.

use std::sync::Arc;

use crate::model::{Protocol, ServicePort};
use proptest::prelude::*;

use super::*;

fn port(number: u16) -> Port {
    number.to_string().parse().unwrap()
}

/// One route: for whom, and at which of three ports (none: all).
type Written = (Option<&'static str>, Vec<u16>);

fn written() -> impl Strategy<Value = Vec<Written>> {
    let callers = prop_oneof![Just(None), Just(Some("ours")), Just(Some("theirs"))];
    let ports = proptest::collection::btree_set(1_u16..4, 0..3);
    let one = (callers, ports).prop_map(|(callers, ports)| (callers, ports.into_iter().collect()));
    proptest::collection::vec(one, 0..6)
}

fn service(requests: &[Written], connections: &[Written]) -> Service {
    let name = |prefix: &str, place: usize| Arc::from(format!("{prefix}{place}"));
    let routes = requests.iter().enumerate().map(|(place, one)| Route {
        name: name("requests", place),
        callers: one.0.map(|callers| callers.parse().unwrap()),
        ports: one.1.iter().copied().map(port).collect(),
        hostnames: Vec::new(),
        matches: Arc::default(),
        filters: None,
        backends: Arc::default(),
        policy: Arc::default(),
    });
    let streams = connections.iter().enumerate();
    let streams = streams.map(|(place, one)| StreamRoute {
        name: name("connections", place),
        callers: one.0.map(|callers| callers.parse().unwrap()),
        ports: one.1.iter().copied().map(port).collect(),
        hostname: None,
        backends: Vec::new(),
    });
    Service {
        name: "bank/account".parse().unwrap(),
        virtual_addresses: Vec::new(),
        ports: (1..4)
            .map(|number| ServicePort {
                name: format!("p{number}").parse().unwrap(),
                port: port(number),
                protocol: Protocol::Detect,
                tls: None,
            })
            .collect(),
        identities: Vec::new(),
        policy: Arc::default(),
        routes: routes.collect(),
        streams: streams.collect(),
    }
}

/// Names of those at a port, in order.
fn at(port: Port, (routes, streams): &(Vec<Route>, Vec<StreamRoute>)) -> Vec<String> {
    let has = |ports: &[Port]| ports.is_empty() || ports.contains(&port);
    let routes = routes.iter().filter(|route| has(&route.ports));
    let streams = streams.iter().filter(|route| has(&route.ports));
    let names = routes.map(|route| route.name.to_string());
    names
        .chain(streams.map(|route| route.name.to_string()))
        .collect()
}

proptest! {
    #[test]
    fn each_port_is_ours_or_everybodys(requests in written(), connections in written()) {
        let service = service(&requests, &connections);
        let found = followed(&service, &"ours".parse().unwrap());
        for number in 1..4 {
            let of = |prefix: &str, all: &[Written], wanted: Option<&str>| -> Vec<String> {
                let all = all.iter().enumerate();
                let here = all.filter(|(_, (callers, ports))| {
                    *callers == wanted && (ports.is_empty() || ports.contains(&number))
                });
                here.map(|(place, _)| format!("{prefix}{place}")).collect()
            };
            let both = |wanted| {
                let mut both = of("requests", &requests, wanted);
                both.extend(of("connections", &connections, wanted));
                both
            };
            let ours = both(Some("ours"));
            let expected = if ours.is_empty() { both(None) } else { ours };
            prop_assert_eq!(at(port(number), &found), expected, "port {}", number);
        }
    }
}

#[test]
fn a_route_of_ours_for_one_port_leaves_the_others_to_the_owner() {
    let producer = (None, vec![1]);
    let consumer = (Some("ours"), vec![2]);
    let service = service(&[], &[producer, consumer]);
    let found = followed(&service, &"ours".parse().unwrap());
    assert_eq!(at(port(1), &found), ["connections0"]);
    assert_eq!(at(port(2), &found), ["connections1"]);
}
