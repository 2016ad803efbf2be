//! Snapshots: every spelling of a service's name leads to it; endpoints come and go.

use std::sync::Arc;

use usher_config::model::{
    Breaker, BreakerScope, Endpoint, Protocol, Route, Service, ServicePort, StreamRoute,
    TrafficPolicy,
};

use super::*;

fn service(name: &str) -> Service {
    Service {
        name: name.parse().unwrap(),
        virtual_addresses: vec!["240.240.0.1".parse().unwrap()],
        ports: vec![ServicePort {
            name: "http".parse().unwrap(),
            port: "8080".parse().unwrap(),
            protocol: Protocol::Http1,
            tls: None,
        }],
        identities: vec!["spiffe://usher.local/ns/bank/sa/account".parse().unwrap()],
        policy: Arc::default(),
        routes: Vec::new(),
        streams: Vec::new(),
    }
}

fn endpoint(name: &str, port: u16) -> (InstanceName, Option<Endpoint>) {
    let name: InstanceName = name.parse().unwrap();
    let endpoint = Endpoint {
        name: name.clone(),
        address: ([127, 0, 0, 1], port).into(),
        address_is_own: true,
        meshed: true,
        weight: usher_config::value::Weight::ONE,
        zone: String::new(),
        healthy: true,
        ports: Vec::new(),
    };
    (name, Some(endpoint))
}

fn store() -> Store {
    let store = Store::new("bank/transaction".parse().unwrap(), 1, Metrics::new(1));
    store.apply(Change {
        services: vec![(
            "bank/account".parse().unwrap(),
            Some(service("bank/account")),
        )],
        endpoints: vec![endpoint("bank/account/a", 1), endpoint("bank/account/b", 2)],
        ..Change::default()
    });
    store
}

#[test]
fn every_spelling_of_a_name_leads_to_the_service() {
    let store = store();
    let snapshot = store.load();
    for host in [
        "account",
        "account.bank",
        "account.bank.svc",
        "account.bank.svc.cluster.local",
        "account.bank.mesh",
        "240.240.0.1",
    ] {
        assert!(snapshot.service_by_host(host).is_some(), "{host}");
    }
    assert!(snapshot.service_by_host("account.shop").is_none());
}

#[test]
fn an_address_leads_to_every_service_there() {
    let store = store();
    let mut other = service("bank/aaa");
    other.virtual_addresses.clear();
    store.apply(Change {
        services: vec![("bank/aaa".parse().unwrap(), Some(other))],
        endpoints: vec![endpoint("bank/aaa/a", 3)],
        ..Change::default()
    });
    let snapshot = store.load();
    let at = |address: &str| -> Vec<String> {
        let services = snapshot.services_at(address.parse().unwrap()).iter();
        services.map(|service| service.label.to_string()).collect()
    };
    assert_eq!(at("127.0.0.1"), ["bank/aaa", "bank/account"]);
    assert_eq!(at("240.240.0.1"), ["bank/account"]);
    assert!(at("240.240.0.2").is_empty());
    let (name, mut claimed) = endpoint("bank/account/claims", 1);
    let claim = claimed.as_mut().unwrap();
    claim.address = "203.0.113.7:443".parse().unwrap();
    claim.address_is_own = false;
    store.apply(Change {
        endpoints: vec![(name, claimed)],
        ..Change::default()
    });
    let snapshot = store.load();
    let there = snapshot.services_at("203.0.113.7".parse().unwrap());
    assert!(there.is_empty(), "claimed by an instance, and not proven");
}

#[test]
fn removing_a_service_removes_its_names() {
    let store = store();
    store.apply(Change {
        services: vec![("bank/account".parse().unwrap(), None)],
        ..Change::default()
    });
    assert!(store.load().service_by_host("account.bank").is_none());
}

#[test]
fn an_endpoint_can_leave_alone() {
    let store = store();
    store.apply(Change {
        endpoints: vec![("bank/account/a".parse().unwrap(), None)],
        ..Change::default()
    });
    let snapshot = store.load();
    let entry = snapshot.service_by_host("account").unwrap();
    assert_eq!(entry.endpoints.len(), 1);
    assert_eq!(entry.endpoints[0].model.address.port(), 2);
}

#[test]
fn a_service_that_returns_has_only_the_endpoints_it_brings() {
    let store = store();
    store.apply(Change {
        services: vec![("bank/account".parse().unwrap(), None)],
        ..Change::default()
    });
    store.apply(Change {
        services: vec![(
            "bank/account".parse().unwrap(),
            Some(service("bank/account")),
        )],
        endpoints: vec![endpoint("bank/account/b", 2)],
        ..Change::default()
    });
    let snapshot = store.load();
    let entry = snapshot.service_by_host("account").unwrap();
    let ports: Vec<u16> = entry
        .endpoints
        .iter()
        .map(|entry| entry.model.address.port())
        .collect();
    assert_eq!(ports, [2]);
}

#[test]
fn the_matches_of_one_rule_share_its_breaker() {
    let policy = Arc::new(TrafficPolicy {
        breaker: Some(Breaker {
            scope: BreakerScope::Route,
            ..Breaker::default()
        }),
        ..TrafficPolicy::default()
    });
    let route = |name: &str| Route {
        name: name.into(),
        ports: Vec::new(),
        hostnames: Vec::new(),
        matches: Arc::default(),
        backends: Arc::default(),
        policy: policy.clone(),
        filters: None,
        callers: None,
    };
    let mut routed = service("bank/account");
    routed.routes = vec![route("one"), route("two"), route("one")];
    let store = Store::new("bank/transaction".parse().unwrap(), 1, Metrics::new(1));
    store.apply(Change {
        services: vec![("bank/account".parse().unwrap(), Some(routed))],
        ..Change::default()
    });
    let snapshot = store.load();
    let entry = snapshot.service_by_host("account").unwrap();
    let breaker = |position: usize| {
        let breaker = entry.route_treatments[position].breaker.as_ref().unwrap();
        Arc::as_ptr(&breaker.breaker)
    };
    assert_eq!(breaker(0), breaker(2));
    assert_ne!(breaker(0), breaker(1));
}

#[test]
fn connections_follow_the_routes_of_their_callers_namespace_if_there_are_any() {
    let port: usher_config::value::Port = "8080".parse().unwrap();
    let stream = |name: &str, callers: Option<&str>| StreamRoute {
        name: name.into(),
        callers: callers.map(|namespace| namespace.parse().unwrap()),
        ports: vec![port],
        hostname: None,
        backends: Vec::new(),
    };
    let mut routed = service("bank/account");
    routed.streams = vec![stream("producer", None), stream("consumer", Some("shop"))];
    for (own, expected) in [("bank/transaction", "producer"), ("shop/web", "consumer")] {
        let store = Store::new(own.parse().unwrap(), 1, Metrics::new(1));
        store.apply(Change {
            services: vec![("bank/account".parse().unwrap(), Some(routed.clone()))],
            ..Change::default()
        });
        let snapshot = store.load();
        let entry = snapshot.service_by_host("account.bank").unwrap();
        let found = entry.streams.select(port, None).unwrap();
        assert_eq!(&*found.name, expected, "{own}");
    }
}
