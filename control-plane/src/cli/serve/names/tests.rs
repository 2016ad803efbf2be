//! Addresses as they are written.

use super::{Place, dns, forward};
use crate::dns::Source;

#[test]
fn an_address_for_dns_is_off_or_whole() {
    assert_eq!(dns("off"), Ok(Place::Off));
    let place = Place::At("10.0.0.1:53".parse().expect("valid"));
    assert_eq!(dns("10.0.0.1:53"), Ok(place));
    for wrong in ["", "on", "10.0.0.1", "localhost:53"] {
        let said = dns(wrong).expect_err(wrong);
        assert!(said.contains("`off`") && said.contains(":15053"), "{said}");
    }
}

#[test]
fn resolvers_are_named_with_or_without_a_port() {
    let named = |texts: &[&str]| {
        let parsed = texts.iter().map(|text| text.parse().expect("valid"));
        Ok(Source::Named(parsed.collect()))
    };
    assert_eq!(forward("off"), Ok(Source::Nobody));
    assert_eq!(
        forward("10.0.0.2, [fd00::1]:5353,fd00::2"),
        named(&["10.0.0.2:53", "[fd00::1]:5353", "[fd00::2]:53"])
    );
    for wrong in [
        "",
        "off,10.0.0.2",
        "10.0.0.2:0",
        "0.0.0.0",
        "one.one.one.one",
    ] {
        assert!(
            forward(wrong).expect_err(wrong).contains("`off`"),
            "{wrong}"
        );
    }
}
