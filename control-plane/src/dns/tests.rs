//! Which name means what, and what is said about it.

mod behind_tls;
mod forwarding;
mod messages;
mod reverse;
mod server;

use std::net::IpAddr;

use hickory_proto::rr::{Name as DnsName, RData, Record, RecordType};
use proptest::prelude::*;
use usher_config::{
    model::{Endpoint, Protocol, ServicePort},
    value::Weight,
};

use super::*;
use crate::state::Found;

/// From labels as they are: what is no host name can be asked for all the same.
fn name(text: &str) -> DnsName {
    let labels = text.split('.').filter(|label| !label.is_empty());
    DnsName::from_labels(labels.map(str::as_bytes)).expect("valid")
}

fn what(text: &str) -> Option<What> {
    match Asked::of(&name(text)) {
        Asked::Elsewhere | Asked::Address(_) | Asked::Addresses { .. } => None,
        Asked::Here { what, .. } => Some(what),
    }
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: name.parse().expect("valid"),
        port: number.to_string().parse().expect("valid"),
        protocol: Protocol::Http1,
        tls: None,
    }
}

fn instance(name: &str, address: &str, weight: u32) -> Endpoint {
    Endpoint {
        name: format!("bank/account/{name}").parse().expect("valid"),
        address: address.parse().expect("valid"),
        address_is_own: true,
        meshed: true,
        weight: Weight::try_from(weight).expect("valid"),
        zone: String::new(),
        healthy: true,
        ports: Vec::new(),
    }
}

fn account() -> View {
    View {
        revision: 7,
        has_namespace: true,
        service: Some(Found {
            virtual_addresses: vec!["240.240.0.9".parse().expect("valid")],
            ports: vec![port("http", 80), port("grpc", 50051)],
            instances: vec![
                instance("a", "10.0.0.1:15006", 1),
                instance("b", "127.0.0.1:40001", 3),
            ],
        }),
        ..View::default()
    }
}

fn nothing() -> View {
    View {
        revision: 7,
        ..View::default()
    }
}

fn ask(text: &str, record_type: RecordType, view: &View) -> Answer {
    let name = name(text);
    answer(&name, record_type, &Asked::of(&name), view)
}

fn addresses(records: &[Record]) -> Vec<IpAddr> {
    let addresses = records.iter().filter_map(|record| match &record.data {
        RData::A(at) => Some(at.0.into()),
        RData::AAAA(at) => Some(at.0.into()),
        _ => None,
    });
    addresses.collect()
}

#[test]
fn names_mean_what_a_sidecar_takes_them_for() {
    let service = What::Service("bank/account".parse().expect("valid"));
    for text in [
        "account.bank.mesh.",
        "Account.BANK.mEsh.",
        "account.bank.svc.",
        "account.bank.svc.cluster.local.",
    ] {
        assert_eq!(what(text), Some(service.clone()), "{text}");
    }
    for text in [
        "example.com.",
        ".",
        "cluster.local.",
        "account.bank.",
        "mesh.example.com.",
        "notmesh.",
    ] {
        assert_eq!(what(text), None, "{text}");
    }
    assert_eq!(what("mesh."), Some(What::Apex));
    let instance = What::Instance("bank/account/a-1".parse().expect("valid"));
    assert_eq!(what("a-1.account.bank.mesh."), Some(instance));
    assert!(matches!(
        what("_http._tcp.account.bank.mesh."),
        Some(What::Port { port, .. }) if port == "http"
    ));
    for text in [
        "a.b.c.d.mesh.",
        "_http._udp.account.bank.mesh.",
        "http._tcp.account.bank.mesh.",
        "-.bank.mesh.",
        "_udp.account.bank.mesh.",
        "a_b.bank.mesh.",
        "*.bank.mesh.",
    ] {
        assert_eq!(what(text), Some(What::Nothing), "{text}");
    }
}

#[test]
fn a_service_is_its_virtual_address_and_owned_by_the_name_as_it_was_spelled() {
    let said = ask("aCCount.bank.mesh.", RecordType::A, &account());
    assert!(said.exists && said.authorities.is_empty());
    assert_eq!(
        addresses(&said.answers),
        ["240.240.0.9".parse::<IpAddr>().expect("valid")]
    );
    assert!(said.answers[0].name.eq_case(&name("aCCount.bank.mesh.")));
    assert!((1..=60).contains(&said.answers[0].ttl));
}

#[test]
fn a_name_without_such_a_record_is_told_from_no_name() {
    let no_data = [
        ("account.bank.mesh.", RecordType::AAAA, account()),
        ("account.bank.mesh.", RecordType::TXT, account()),
        ("mesh.", RecordType::A, nothing()),
        ("bank.mesh.", RecordType::A, account()),
        ("_tcp.account.bank.mesh.", RecordType::SRV, account()),
        ("_http._tcp.account.bank.mesh.", RecordType::A, account()),
        ("a.account.bank.mesh.", RecordType::AAAA, account()),
    ];
    for (text, record_type, view) in no_data {
        let said = ask(text, record_type, &view);
        assert!(said.exists && said.answers.is_empty(), "{text}");
        is_negative(&said, text);
    }
    let no_name = [
        ("acount.bank.mesh.", nothing()),
        ("bank.mesh.", nothing()),
        ("c.account.bank.mesh.", account()),
        ("_smtp._tcp.account.bank.mesh.", account()),
        ("a.b.c.d.e.mesh.", nothing()),
    ];
    for (text, view) in no_name {
        let said = ask(text, RecordType::A, &view);
        assert!(!said.exists && said.answers.is_empty(), "{text}");
        is_negative(&said, text);
    }
}

fn is_negative(said: &Answer, text: &str) {
    is_denied_by("mesh.", said, text);
}

/// RFC 2308: a SOA of the zone, and the smaller of its TTL and `minimum` is how long it holds.
fn is_denied_by(zone: &str, said: &Answer, text: &str) {
    let [record] = said.authorities.as_slice() else {
        panic!("{text}: {:?}", said.authorities);
    };
    assert_eq!(record.name, name(zone), "{text}");
    let RData::SOA(soa) = &record.data else {
        panic!("{text}: {record}");
    };
    assert_eq!((soa.serial, soa.minimum, record.ttl), (7, 5, 5));
}

#[test]
fn srv_leads_to_healthy_instances_with_weight_port_and_address() {
    let mut view = account();
    let service = view.service.as_mut().expect("there");
    service.instances.push(Endpoint {
        healthy: false,
        ..instance("ill", "10.0.0.3:15006", 1)
    });
    service.instances.push(Endpoint {
        address_is_own: false,
        ..instance("c", "10.0.0.4:30004", 1)
    });
    for port in ["_http", "_80"] {
        let said = ask(
            &format!("{port}._tcp.account.bank.svc."),
            RecordType::SRV,
            &view,
        );
        let found: Vec<(String, u16, u16)> = said
            .answers
            .iter()
            .map(|record| match &record.data {
                RData::SRV(srv) => (srv.target.to_ascii(), srv.port, srv.weight),
                other => panic!("{other}"),
            })
            .collect();
        let target = |instance: &str| format!("{instance}.account.bank.svc.");
        assert_eq!(
            found,
            [
                (target("a"), 80, 1),
                (target("b"), 40001, 3),
                (target("c"), 30004, 1)
            ],
            "an own address is called at the service's port, others at their sidecar's"
        );
        let at: Vec<String> = said
            .additionals
            .iter()
            .map(|one| one.name.to_ascii())
            .collect();
        assert_eq!(at, ["a", "b", "c"].map(target));
        assert_eq!(addresses(&said.additionals).len(), 3);
    }
    let ill = ask("c.account.bank.mesh.", RecordType::A, &view);
    assert_eq!(
        addresses(&ill.answers),
        ["10.0.0.4".parse::<IpAddr>().expect("valid")]
    );
}

#[test]
fn weights_beyond_what_srv_can_say_keep_their_proportion() {
    let mut view = account();
    let service = view.service.as_mut().expect("there");
    service.instances = vec![
        instance("a", "10.0.0.1:15006", 1_000_000),
        instance("b", "10.0.0.2:15006", 250_000),
    ];
    let said = ask("_80._tcp.account.bank.mesh.", RecordType::SRV, &view);
    let weights: Vec<u16> = said
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv.weight),
            _ => None,
        })
        .collect();
    assert_eq!(weights, [65_535, 16_383]);
}

fn labels() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        Just("account".to_owned()),
        Just("bank".to_owned()),
        Just("a".to_owned()),
        Just("_tcp".to_owned()),
        Just("_http".to_owned()),
        "[a-zA-Z0-9_-]{1,63}",
    ];
    let domain = prop_oneof![
        Just(vec!["mesh"]),
        Just(vec!["svc"]),
        Just(vec!["svc", "cluster", "local"]),
        Just(vec!["example", "com"]),
    ];
    (proptest::collection::vec(word, 0..5), domain).prop_filter_map(
        "too long",
        |(words, domain)| {
            let all: Vec<String> = words
                .into_iter()
                .chain(domain.into_iter().map(str::to_owned))
                .collect();
            (all.iter().map(|label| label.len() + 1).sum::<usize>() < 255).then_some(all)
        },
    )
}

proptest! {
    /// Records are about what was asked; without any, a SOA says for how long; the case of letters changes nothing.
    #[test]
    fn an_answer_is_about_its_question(
        labels in labels(),
        record_type in prop_oneof![Just(RecordType::A), Just(RecordType::AAAA), Just(RecordType::SRV), Just(RecordType::SOA), any::<u16>().prop_map(RecordType::from)],
        known in any::<bool>(),
    ) {
        let view = if known { account() } else { nothing() };
        let name = DnsName::from_labels(labels.iter().map(String::as_bytes)).expect("short enough");
        let asked = Asked::of(&name);
        let said = answer(&name, record_type, &asked, &view);
        prop_assert!(said.answers.iter().all(|record| record.record_type() == record_type && record.name == name));
        prop_assert!(said.exists || said.answers.is_empty());
        let negative = usize::from(said.answers.is_empty() && asked != Asked::Elsewhere);
        prop_assert_eq!(said.authorities.len(), negative);
        let upper = labels.iter().map(|label| label.to_ascii_uppercase().into_bytes());
        let upper: Vec<Vec<u8>> = upper.collect();
        let upper = DnsName::from_labels(upper.iter().map(Vec::as_slice)).expect("as long");
        let other = answer(&upper, record_type, &Asked::of(&upper), &view);
        prop_assert_eq!(other.exists, said.exists);
        prop_assert_eq!(other.answers.len(), said.answers.len());
    }
}
