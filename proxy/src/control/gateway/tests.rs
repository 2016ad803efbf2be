//! Which certificates a gateway lacks.

use usher_config::model::{Listener, ListenerProtocol};

use super::*;

#[test]
fn a_certificate_without_files_is_told_by_listener() {
    let name = |text: &str| text.parse::<Name>().unwrap();
    let certificate = |text: &str| text.parse::<CertificateName>().unwrap();
    let listener = |own: &str, protocol, certificates: &[&str]| Listener {
        name: name(own),
        port: "443".parse().unwrap(),
        hostname: None,
        protocol,
        certificates: certificates.iter().map(|text| certificate(text)).collect(),
        routes: Vec::new(),
        streams: Vec::new(),
    };
    let gateway = Gateway {
        name: "shop/edge".parse().unwrap(),
        listeners: vec![
            listener("web", ListenerProtocol::Https, &["one"]),
            listener("both", ListenerProtocol::Https, &["one", "two"]),
            listener("typo", ListenerProtocol::TlsTerminate, &["oen"]),
            listener("passed", ListenerProtocol::TlsPassthrough, &["three"]),
        ],
    };
    let found = lacking(&gateway, &[&certificate("one")]);
    let found: Vec<_> = found
        .iter()
        .map(|lack| (lack.listener.as_str(), lack.certificate.as_str(), lack.only))
        .collect();
    assert_eq!(found, [("both", "two", false), ("typo", "oen", true)]);
    assert!(
        lacking(
            &gateway,
            &[
                &certificate("one"),
                &certificate("two"),
                &certificate("oen")
            ]
        )
        .is_empty()
    );
}
