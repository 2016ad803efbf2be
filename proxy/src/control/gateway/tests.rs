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
        name: "shop/edge".parse().unwrap(),
        listeners: vec![
            listener("web", ListenerProtocol::Https, &["one"]),
            listener("both", ListenerProtocol::Https, &["one", "two"]),
            listener("typo", ListenerProtocol::TlsTerminate, &["oen"]),
            listener("passed", ListenerProtocol::TlsPassthrough, &["three"]),
        ],
    };
    let one = certificate("one");
    let found = lacking(&gateway, &[&one], &HashMap::new());
    let words: Vec<_> = found
        .iter()
        .map(|lack| {
            let near = lack.near.as_deref().unwrap_or_default();
            let (listener, certificate) = (lack.listener.as_str(), lack.certificate.as_str());
            (listener, certificate, near, &lack.instead)
        })
        .collect();
    assert_eq!(
        words,
        [
            ("both", "two", "", &Instead::Others),
            ("typo", "oen", "one", &Instead::Nothing)
        ]
    );
    let (two, oen) = (certificate("two"), certificate("oen"));
    let files = [&one, &two, &oen];
    assert!(lacking(&gateway, &files, &HashMap::new()).is_empty());
}

#[test]
fn a_listener_without_files_goes_on_with_what_it_showed_before_if_that_was_its_own_namespaces() {
    let gateway = |certificates: &[&str]| Gateway {
        name: "shop/edge".parse().unwrap(),
        listeners: vec![listener("web", ListenerProtocol::Https, certificates)],
    };
    let (own, other) = (certificate("one"), certificate("vault/one"));
    let files = [&own, &other];
    let follow = |steps: &[&[&str]]| {
        let mut kept = HashMap::new();
        for step in steps {
            kept = shown(&gateway(step), &files, &kept);
        }
        kept.into_values().flatten().collect::<Vec<_>>()
    };
    assert_eq!(
        follow(&[&["one"], &["oen"], &["eno"]]),
        std::slice::from_ref(&own)
    );
    assert_eq!(
        follow(&[&["one", "vault/one"], &["oen"]]),
        std::slice::from_ref(&own)
    );
    assert_eq!(follow(&[&["vault/one"], &["oen"]]), []);
    assert_eq!(follow(&[&["one"], &["vault/one"], &[]]), []);
    assert_eq!(follow(&[&["oen"]]), []);

    let kept = shown(&gateway(&["one"]), &files, &HashMap::new());
    let lacks = lacking(&gateway(&["oen"]), &files, &kept);
    let instead: Vec<_> = lacks.into_iter().map(|lack| lack.instead).collect();
    assert_eq!(instead, [Instead::Before(vec![own])]);
}
