//! Which certificates a gateway lacks, and which of its settings are about another one.

use usher_config::model::{Listener, ListenerProtocol};

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

#[test]
fn a_certificate_without_files_is_told_by_listener() {
    let certificate = |text: &str| text.parse::<CertificateName>().unwrap();
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
