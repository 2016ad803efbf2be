//! Every spelling of a service is understood, nothing else is.

use crate::model::{Protocol, Service, ServicePort};
use proptest::prelude::*;

use super::*;

fn meaning(text: &str) -> Option<Meaning> {
    parse(text).unwrap().meaning(&"shop".parse().unwrap())
}

fn service(name: &str) -> Option<Meaning> {
    Some(Meaning::Service(name.parse().unwrap()))
}

#[test]
fn every_spelling_leads_to_the_service() {
    for text in [
        "account.bank",
        "account.bank.svc",
        "account.bank.svc.cluster.local",
        "account.bank.mesh",
        "ACCOUNT.Bank.Mesh",
        "account.bank.mesh.",
        "account.bank:8080",
    ] {
        assert_eq!(meaning(text), service("bank/account"), "{text}");
    }
    assert_eq!(meaning("account"), service("shop/account"));
    assert_eq!(meaning("account:80"), service("shop/account"));
}

#[test]
fn other_hosts_mean_nothing() {
    for text in [
        "www.example.com",
        "account_x.bank",
        "account.svc.cluster.local.bank",
        "account.mesh.bank.x",
    ] {
        assert_eq!(meaning(text), None, "{text}");
    }
    assert_eq!(meaning("a.mesh"), None, "a suffix is no namespace");
}

#[test]
fn addresses_are_addresses() {
    for text in ["240.240.0.1", "240.240.0.1:80", "[::1]", "[::1]:80"] {
        assert!(matches!(meaning(text), Some(Meaning::Address(_))), "{text}");
    }
}

#[test]
fn malformed_authorities_are_refused() {
    for (text, error) in [
        ("", AuthorityError::NoHost),
        (":80", AuthorityError::NoHost),
        (".", AuthorityError::NoHost),
        ("user@account.bank", AuthorityError::UserInformation),
        ("account.bank:", AuthorityError::InvalidPort),
        ("account.bank:0", AuthorityError::InvalidPort),
        ("account.bank:65536", AuthorityError::InvalidPort),
        ("account.bank:+80", AuthorityError::InvalidPort),
        ("account.bank:80:90", AuthorityError::InvalidPort),
        ("::1", AuthorityError::NoHost),
        ("[::1]80", AuthorityError::InvalidHost),
        ("[account]", AuthorityError::InvalidHost),
        ("[::1", AuthorityError::InvalidPort),
        ("a b", AuthorityError::InvalidHost),
        ("a/b", AuthorityError::InvalidHost),
        ("a..b", AuthorityError::InvalidHost),
        ("a..", AuthorityError::InvalidHost),
        (".a", AuthorityError::InvalidHost),
        ("ä.bank", AuthorityError::InvalidHost),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
}

fn with_ports(ports: &[u16]) -> Service {
    let port = |number: &u16| ServicePort {
        name: "p".parse().unwrap(),
        port: number.to_string().parse().unwrap(),
        protocol: Protocol::Http1,
        tls: None,
    };
    Service {
        name: "bank/account".parse().unwrap(),
        virtual_addresses: Vec::new(),
        ports: ports.iter().map(port).collect(),
        identities: Vec::new(),
        policy: Default::default(),
        routes: Vec::new(),
        streams: Vec::new(),
    }
}

#[test]
fn the_default_port_is_80_or_the_only_one() {
    let default = |ports: &[u16]| default_port(&with_ports(ports)).map(|port| port.port.get());
    assert_eq!(default(&[8080]), Some(8080));
    assert_eq!(default(&[8080, 80]), Some(80));
    assert_eq!(default(&[8080, 8081]), None);
    let service = with_ports(&[8080]);
    assert!(service_port(&service, Some("81".parse().unwrap())).is_none());
}

proptest! {
    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        if let Ok(authority) = parse(&text) {
            prop_assert!(!authority.host.is_empty());
            prop_assert!(!authority.host.contains('@'));
        }
    }

    #[test]
    fn what_was_taken_apart_can_be_put_together(name in "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", port in 1..=65535u16) {
        let text = format!("{name}:{port}");
        let authority = parse(&text).unwrap();
        prop_assert_eq!(&*authority.host, name.as_str());
        prop_assert_eq!(authority.port.map(Port::get), Some(port));
    }
}
