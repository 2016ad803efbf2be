//! Names of addresses: what is told, what is denied, and what is left to others.

use hickory_proto::rr::{RData, RecordType};

use super::{
    super::{Asked, View, reverse::is_ours},
    ask, is_denied_by, name, nothing,
};
use crate::state::Named;

#[test]
fn a_name_under_arpa_is_an_address_if_it_is_spelled_as_one() {
    let of = |text: &str| Asked::of(&name(text));
    let address = |text: &str| Asked::Address(text.parse().expect("valid"));
    assert_eq!(of("9.0.240.240.in-addr.arpa."), address("240.240.0.9"));
    assert_eq!(of("1.0.0.10.IN-ADDR.Arpa."), address("10.0.0.1"));
    let zeros = "0.".repeat(23);
    let v6 = format!("1.{zeros}8.b.d.0.1.0.0.2.ip6.arpa.");
    assert_eq!(of(&v6), address("2001:db8::1"));
    for (text, known, leads_on) in [
        ("240.240.in-addr.arpa.", 2, true),
        ("0.240.240.in-addr.arpa.", 3, true),
        ("09.0.240.240.in-addr.arpa.", 3, false),
        ("256.0.240.240.in-addr.arpa.", 3, false),
        ("5.9.0.240.240.in-addr.arpa.", 4, false),
    ] {
        let Asked::Addresses {
            known: found,
            leads_on: does,
            ..
        } = of(text)
        else {
            panic!("{text}: {:?}", of(text));
        };
        assert_eq!((found, does), (known, leads_on), "{text}");
    }
    for text in [
        "in-addr.arpa.".to_owned(),
        "x.in-addr.arpa.".to_owned(),
        "9.0.240.240.arpa.".to_owned(),
        v6.replacen("1.", "11.", 1),
        v6.replacen("1.", "g.", 1),
        v6.replacen("1.", "", 1),
    ] {
        assert_eq!(of(&text), Asked::Elsewhere, "{text}");
    }
}

#[test]
fn an_address_is_told_the_names_that_it_has() {
    let service = Named::Service("bank/account".parse().expect("valid"));
    let instance = Named::Instance("bank/account/a".parse().expect("valid"));
    let view = View {
        named: vec![service, instance],
        ..nothing()
    };
    let answer = ask("9.0.240.240.in-addr.arpa.", RecordType::PTR, &view);
    assert!(answer.exists && answer.authorities.is_empty());
    let targets = answer.answers.iter().map(|record| match &record.data {
        RData::PTR(target) => (target.0.to_string(), record.ttl),
        other => panic!("{other:?}"),
    });
    let targets: Vec<_> = targets.collect();
    assert_eq!(
        targets,
        [
            ("account.bank.mesh.".to_owned(), 30),
            ("a.account.bank.mesh.".to_owned(), 5)
        ]
    );
}

fn within(block: &str) -> View {
    View {
        virtual_block: Some(block.parse().expect("valid")),
        ..nothing()
    }
}

#[test]
fn of_addresses_that_only_the_mesh_gives_it_says_also_that_there_is_no_name() {
    let mapped = format!("5.0.0.0.0.f.0.f.f.f.f.f.{}ip6.arpa.", "0.".repeat(20));
    let mapped_zone = format!("0.f.0.f.f.f.f.f.{}ip6.arpa.", "0.".repeat(20));
    let (block, zone) = ("240.240.0.0/16", "240.240.in-addr.arpa.");
    let (ten, ten_zone) = ("10.0.0.0/8", "10.in-addr.arpa.");
    let (twelve, twelve_zone) = ("10.16.0.0/12", "31.10.in-addr.arpa.");
    let (small, small_zone) = ("10.0.7.0/24", "7.0.10.in-addr.arpa.");
    for (block, text, zone, exists) in [
        (block, "5.0.240.240.in-addr.arpa.", zone, false),
        (block, "x.5.0.240.240.in-addr.arpa.", zone, false),
        (block, "0.240.240.in-addr.arpa.", zone, true),
        (block, zone, zone, true),
        (block, &mapped, &mapped_zone, false),
        (ten, "5.0.0.10.in-addr.arpa.", ten_zone, false),
        (twelve, "5.0.31.10.in-addr.arpa.", twelve_zone, false),
        (small, "5.7.0.10.in-addr.arpa.", small_zone, false),
    ] {
        let view = within(block);
        let asked = Asked::of(&name(text));
        for record_type in [RecordType::PTR, RecordType::A, RecordType::TXT] {
            assert!(is_ours(&name(text), record_type, &asked, &view), "{text}");
            let said = ask(text, record_type, &view);
            assert_eq!(said.exists, exists, "{text}");
            is_denied_by(zone, &said, text);
        }
    }
    let apex = ask(zone, RecordType::SOA, &within(block));
    assert!(apex.exists && apex.answers.len() == 1 && apex.authorities.is_empty());
}

#[test]
fn of_what_is_not_all_the_meshs_others_are_asked() {
    for (block, text) in [
        ("240.240.0.0/16", "5.0.241.240.in-addr.arpa."),
        ("240.240.0.0/16", "240.in-addr.arpa."),
        ("240.240.0.0/16", "x.240.in-addr.arpa."),
        ("10.16.0.0/12", "5.0.32.10.in-addr.arpa."),
        ("10.16.0.0/12", "10.in-addr.arpa."),
    ] {
        let (asked, view) = (Asked::of(&name(text)), within(block));
        assert!(
            !is_ours(&name(text), RecordType::PTR, &asked, &view),
            "{text}"
        );
    }
}
