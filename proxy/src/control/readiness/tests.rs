//! Which reason is said first.

use usher_config::model::{Gateway, InboundPolicy, Revision};

use super::*;
use crate::{snapshot::Change, telemetry::metrics::Metrics};

fn rig(gateway: bool) -> (Readiness, Standing, Arc<Store>) {
    let own = "shop/edge".parse().unwrap();
    let store = Arc::new(Store::new(own, 1, Metrics::new(1)));
    let standing = Standing::default();
    let readiness = Readiness::new(store.clone(), standing.clone(), gateway);
    (readiness, standing, store)
}

fn said(readiness: &Readiness) -> String {
    readiness
        .unready()
        .map(|why| why.to_string())
        .unwrap_or_default()
}

fn configure(store: &Store) {
    let policy = InboundPolicy {
        service: "shop/edge".parse().unwrap(),
        mtls: Default::default(),
        ports: Vec::new(),
        access: Vec::new(),
        rate_limits: Vec::new(),
        authentication: None,
        claim_headers: Vec::new(),
        gateways: Vec::new(),
        health_check: None,
        telemetry: Default::default(),
        idle: None,
        outbound: Default::default(),
        path_reading: Default::default(),
        zone: String::new(),
    };
    store.apply(Change {
        revision: Some(Revision {
            number: 1,
            digest: "d".repeat(64),
        }),
        inbound: Some(policy),
        ..Change::default()
    });
}

#[test]
fn a_sidecar_says_how_far_its_start_has_come() {
    let (readiness, standing, store) = rig(false);
    assert_eq!(said(&readiness), "no identity yet");
    standing.tell(|facts| facts.waiting_for = Some("c:1 does not answer".into()));
    assert_eq!(said(&readiness), "no identity yet: c:1 does not answer");
    standing.tell(|facts| facts.identity = Some("spiffe://m/ns/shop/sa/edge".into()));
    assert_eq!(
        said(&readiness),
        "no configuration yet: c:1 does not answer"
    );
    standing.tell(|facts| facts.waiting_for = None);
    assert_eq!(
        said(&readiness),
        "no configuration yet: the control plane has sent none"
    );
    standing.tell(|facts| facts.admission = Admission::Refused("not you".into()));
    assert_eq!(
        readiness.unready(),
        Some(Unready::Refused("not you".into()))
    );
    configure(&store);
    // What was known before still holds.
    assert_eq!(readiness.unready(), Some(Unready::Starting));
    readiness.serve();
    assert_eq!(readiness.unready(), None);
    readiness.leave();
    assert_eq!(readiness.unready(), Some(Unready::Leaving));
}

#[test]
fn a_gateway_says_which_of_its_listeners_waits_for_what() {
    let (readiness, _, store) = rig(true);
    readiness.serve();
    configure(&store);
    assert!(said(&readiness).starts_with("there is no Gateway shop/edge"));
    let gateway = Gateway {
        rate_limits: Vec::new(),
        route_limits: Vec::new(),
        path_reading: Default::default(),
        authentication: None,
        route_authentication: Vec::new(),
        claim_headers: Vec::new(),
        name: "shop/edge".parse().unwrap(),
        listeners: Vec::new(),
    };
    let set = |gateway: Option<Gateway>| {
        store.apply(Change {
            gateway: Some(gateway),
            ..Change::default()
        });
    };
    set(Some(gateway.clone()));
    assert_eq!(said(&readiness), "its listeners are being bound");
    readiness.lacks(vec!["port 80".into(), "listener web".into()]);
    assert_eq!(said(&readiness), "port 80\n  listener web");
    readiness.lacks(Vec::new());
    assert_eq!(readiness.unready(), None);
    // Later lacks end nothing for the others; without a Gateway there are no others.
    readiness.lacks(vec!["port 81".into()]);
    assert_eq!(readiness.unready(), None);
    set(None);
    assert!(matches!(readiness.unready(), Some(Unready::NoGateway(_))));
    // Its ports were closed: one that comes back is served again as a whole first.
    readiness.unserved();
    assert!(!readiness.is_whole());
    set(Some(gateway));
    assert_eq!(said(&readiness), "its listeners are being bound");
    readiness.lacks(vec!["port 80".into()]);
    assert_eq!(said(&readiness), "port 80");
    readiness.lacks(Vec::new());
    assert_eq!(readiness.unready(), None);
}
