//! What is said about forwards that lead nowhere.

use usher_config::model::ServicePort;

use super::*;

fn service() -> Service {
    Service {
        name: "bank/db".parse().unwrap(),
        virtual_addresses: Vec::new(),
        ports: vec![ServicePort {
            name: "tcp".parse().unwrap(),
            port: "5432".parse().unwrap(),
            protocol: Protocol::Tcp,
            tls: None,
        }],
        identities: Vec::new(),
        policy: Default::default(),
        routes: Vec::new(),
        streams: Vec::new(),
    }
}

#[test]
fn an_unknown_service_or_port_is_named_and_the_known_ports_are_listed() {
    let target = |port: &str| ServiceTarget {
        service: "bank/db".parse().unwrap(),
        port: port.parse().unwrap(),
    };
    let db = service();
    assert_eq!(
        problem(&target("5432"), (Resolution::Found, &[]), Some(&db)),
        None
    );
    let said = problem(&target("1"), (Resolution::Found, &[]), Some(&db)).unwrap();
    assert_eq!(
        said,
        format!("service bank/db has no port 1 (known: 5432){UNTIL_THEN}")
    );
    let said = problem(&target("1"), (Resolution::Unknown, &[]), None).unwrap();
    assert_eq!(said, format!("there is no service bank/db{UNTIL_THEN}"));
    // A long namespace does not make another name near.
    let known = ["bank/api", "banks/api"].map(|name| name.parse().unwrap());
    let said = problem(&target("1"), (Resolution::Unknown, &known), None).unwrap();
    assert_eq!(said, format!("there is no service bank/db{UNTIL_THEN}"));
    let known = ["banks/db"].map(|name| name.parse().unwrap());
    let said = problem(&target("1"), (Resolution::Unknown, &known), None).unwrap();
    assert_eq!(
        said,
        format!("there is no service bank/db (did you mean banks/db?){UNTIL_THEN}")
    );
    let known = ["bank/dbs", "shop/web"].map(|name| name.parse().unwrap());
    let said = problem(&target("1"), (Resolution::Unknown, &known), None).unwrap();
    assert_eq!(
        said,
        format!("there is no service bank/db (did you mean bank/dbs?){UNTIL_THEN}")
    );
    assert_eq!(
        problem(&target("1"), (Resolution::TimedOut, &[]), None),
        None
    );
}

#[test]
fn bytes_for_a_port_that_takes_requests_only_are_spoken_of() {
    let target = ServiceTarget {
        service: "bank/db".parse().unwrap(),
        port: "5432".parse().unwrap(),
    };
    for (protocol, warned) in [
        (Protocol::Tcp, false),
        (Protocol::Detect, false),
        (Protocol::Http1, true),
        (Protocol::Http2, true),
        (Protocol::Grpc, true),
    ] {
        let mut db = service();
        db.ports[0].protocol = protocol;
        let said = problem(&target, (Resolution::Found, &[]), Some(&db));
        let words = "port 5432 of service bank/db takes requests only";
        assert_eq!(
            said.is_some_and(|said| said.starts_with(words)),
            warned,
            "{protocol:?}"
        );
    }
}
