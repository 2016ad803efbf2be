//! Which certificates a gateway lacks, and which of its settings are about another one.

use usher_config::{
    model::{Listener, ListenerProtocol},
    value::CertificateName,
};

use super::*;

fn listener(name: &str, protocol: ListenerProtocol, certificates: &[&str]) -> Listener {
    Listener {
        name: name.parse().unwrap(),
        port: "443".parse().unwrap(),
        hostname: None,
        protocol,
        certificates: certificates
            .iter()
            .map(|text| text.parse().unwrap())
            .collect(),
        routes: Vec::new(),
        streams: Vec::new(),
    }
}

#[test]
fn an_address_for_a_port_that_the_gateway_lacks_is_a_mistake_where_another_port_has_none() {
    let mut plain = listener("plain", ListenerProtocol::Http, &[]);
    plain.port = "80".parse().unwrap();
    let gateway = Gateway {
        rate_limits: Vec::new(),
        route_limits: Vec::new(),
        path_reading: Default::default(),
        authentication: None,
        route_authentication: Vec::new(),
        claim_headers: Vec::new(),
        name: "shop/edge".parse().unwrap(),
        listeners: vec![listener("web", ListenerProtocol::Https, &[]), plain],
    };
    let at = |port: &str| (port.parse().unwrap(), "127.0.0.1:8443".parse().unwrap());
    let to_come = |listen: &[_]| to_come(listen, &gateway);
    assert_eq!(to_come(&[]).unwrap(), []);
    assert_eq!(to_come(&[at("443")]).unwrap(), []);
    let said = to_come(&[at("80"), at("444")]).unwrap_err().to_string();
    assert_eq!(
        said,
        "--listen 444=…: the Gateway shop/edge has no port 444, allowed: 80, 443; or, if that port is still to come, a \
         --listen for 443 too"
    );
    let announced = to_come(&[at("80"), at("443"), at("444")]).unwrap();
    assert_eq!(announced, ["444".parse().unwrap()]);
}

fn certificate(text: &str) -> CertificateName {
    text.parse().unwrap()
}

#[test]
fn a_certificate_without_files_is_told_by_listener() {
    let gateway = Gateway {
        rate_limits: Vec::new(),
        route_limits: Vec::new(),
        path_reading: Default::default(),
        authentication: None,
        route_authentication: Vec::new(),
        claim_headers: Vec::new(),
        name: "shop/edge".parse().unwrap(),
        listeners: vec![
            listener("web", ListenerProtocol::Https, &["one"]),
            listener("both", ListenerProtocol::Https, &["one", "two"]),
            listener("typo", ListenerProtocol::TlsTerminate, &["oen"]),
            listener("untrusted", ListenerProtocol::Https, &[]),
            listener("passed", ListenerProtocol::TlsPassthrough, &["three"]),
        ],
    };
    let one = certificate("one");
    let found = lacking(&gateway, &[&one], &HashMap::new());
    let words: Vec<_> = found
        .iter()
        .map(|lack| {
            let near = lack.near.as_deref().unwrap_or_default();
            let certificate = lack.certificate.as_ref().map_or("none", |one| one.as_str());
            (lack.listener.as_str(), certificate, near, &lack.instead)
        })
        .collect();
    assert_eq!(
        words,
        [
            ("both", "two", "", &Instead::Others),
            ("typo", "oen", "one", &Instead::Nothing),
            ("untrusted", "none", "", &Instead::Nothing),
        ]
    );
    let (two, oen) = (certificate("two"), certificate("oen"));
    let files = [&one, &two, &oen];
    let left = lacking(&gateway, &files, &HashMap::new());
    let is_of_start: Vec<bool> = left.iter().map(Lack::is_of_start).collect();
    assert_eq!(is_of_start, [false], "no start would allow it to be shown");
}

/// What a listener of these certificates shows after the last of some steps, each its port, host name and certificates.
fn follow(steps: &[(&str, &str, &[&str])], files: &[&CertificateName]) -> Vec<String> {
    let mut kept = HashMap::new();
    for (port, hostname, certificates) in steps {
        let mut listener = listener("web", ListenerProtocol::Https, certificates);
        listener.port = port.parse().unwrap();
        listener.hostname = Some(hostname.parse().unwrap());
        let gateway = Gateway {
            rate_limits: Vec::new(),
            route_limits: Vec::new(),
            path_reading: Default::default(),
            authentication: None,
            route_authentication: Vec::new(),
            claim_headers: Vec::new(),
            name: "shop/edge".parse().unwrap(),
            listeners: vec![listener],
        };
        kept = shown(&gateway, files, &kept);
    }
    let names = kept.into_values().flatten();
    names.map(|name| name.to_string()).collect()
}

#[test]
fn a_mistyped_certificate_goes_on_being_shown_and_one_that_was_replaced_does_not() {
    let all = ["shop", "tenants", "vault/shop"].map(certificate);
    let files: Vec<&CertificateName> = all.iter().collect();
    let after = |steps: &[&[&str]]| {
        let steps: Vec<_> = steps.iter().map(|one| ("443", "a.test", *one)).collect();
        follow(&steps, &files)
    };
    assert_eq!(after(&[&["shop"], &["shpo"]]), ["shop"]);
    assert_eq!(after(&[&["shop"], &["shpo"], &["hsop"]]), ["shop"]);
    assert_eq!(after(&[&["shop", "vault/shop"], &["sohp"]]), ["shop"]);
    assert_eq!(
        after(&[&["shop", "tenants"], &["tenant"]]),
        ["tenants"],
        "the other one was taken off"
    );
    let nothing = [
        after(&[&["shpo"]]),
        after(&[&["shop"], &["revoked-then-renewed"]]),
        after(&[&["shop"], &["elsewhere"], &["shpo"]]),
        after(&[&["shop"], &["vault/shpo"]]),
        after(&[&["vault/shop"], &["shpo"]]),
        after(&[&["shop"], &[]]),
        after(&[&["shop"], &["vault/shop"], &["shpo"]]),
        // Nearer to one that this listener has not shown.
        after(&[&["shop"], &["tenantz"]]),
    ];
    assert!(nothing.iter().all(Vec::is_empty), "{nothing:?}");
}

#[test]
fn another_host_or_port_has_shown_nothing_yet() {
    let shop = certificate("shop");
    let begin = ("443", "a.test", ["shop"].as_slice());
    let after = |port, hostname| follow(&[begin, (port, hostname, &["shpo"])], &[&shop]);
    assert_eq!(after("443", "a.test"), ["shop"]);
    assert!(after("443", "b.test").is_empty());
    assert!(after("8443", "a.test").is_empty());
}

#[test]
fn what_is_shown_instead_is_said() {
    let gateway = |certificates: &[&str]| Gateway {
        rate_limits: Vec::new(),
        route_limits: Vec::new(),
        path_reading: Default::default(),
        authentication: None,
        route_authentication: Vec::new(),
        claim_headers: Vec::new(),
        name: "shop/edge".parse().unwrap(),
        listeners: vec![listener("web", ListenerProtocol::Https, certificates)],
    };
    let shop = certificate("shop");
    let before = shown(&gateway(&["shop"]), &[&shop], &HashMap::new());
    for (names, expected) in [
        (["shpo"].as_slice(), Instead::Before(vec![shop.clone()])),
        (&["another"], Instead::Nothing),
        (&[], Instead::Nothing),
    ] {
        let next = gateway(names);
        let lacks = lacking(&next, &[&shop], &shown(&next, &[&shop], &before));
        let instead: Vec<_> = lacks.into_iter().map(|lack| lack.instead).collect();
        assert_eq!(instead, [expected], "{names:?}");
    }
}
