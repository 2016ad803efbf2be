//! Values round-trip, and nothing outside their grammar gets in.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_duration_reads_back_what_it_wrote(millis in 0u64..99_999 * 3_600_000) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,80}") {
        let _ = parse_duration(&text);
        let _ = text.parse::<Name>();
        let _ = text.parse::<Hostname>();
        let _ = text.parse::<SpiffeId>();
        let _ = text.parse::<Pattern>();
        let _ = text.parse::<InstanceName>();
    }

    #[test]
    fn a_name_is_a_dns_label(text in "[a-z]([-a-z0-9]{0,61}[a-z0-9])?") {
        prop_assert_eq!(text.parse::<Name>().expect("valid").to_string(), text);
    }
}

#[test]
fn durations_outside_the_grammar_are_refused() {
    for text in [
        "",
        "1",
        "s",
        "-1s",
        "1.5s",
        "1d",
        "100000s",
        "1s1s1s1s1s",
        "1s ",
        " 1s",
    ] {
        assert!(parse_duration(text).is_err(), "{text:?}");
    }
    assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
    assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
}

#[test]
fn a_wildcard_host_covers_subdomains_only() {
    let host: Hostname = "*.example.com".parse().expect("valid");
    assert!(host.matches("a.example.com") && host.matches("a.b.example.com"));
    assert!(!host.matches("example.com") && !host.matches("badexample.com"));
}

#[test]
fn an_address_is_no_host_name() {
    for text in ["10.0.0.1", "255.255.255.255", "::1", "[::1]"] {
        assert!(text.parse::<Hostname>().is_err(), "{text}");
    }
    for text in ["10.0.0.1.example", "10.0.0", "*.0.0.1"] {
        assert!(text.parse::<Hostname>().is_ok(), "{text}");
    }
}

#[test]
fn a_spiffe_id_has_exactly_our_shape() {
    let id: SpiffeId = "spiffe://usher.local/ns/bank/sa/account"
        .parse()
        .expect("valid");
    assert_eq!(id.namespace.as_str(), "bank");
    for text in [
        "spiffe://usher.local/ns/bank/sa/account/",
        "spiffe://usher.local/ns/bank",
        "spiffe:///ns/bank/sa/account",
        "https://usher.local/ns/bank/sa/account",
        "spiffe://usher.local/ns/Bank/sa/account",
    ] {
        assert!(text.parse::<SpiffeId>().is_err(), "{text}");
    }
}

#[test]
fn names_of_headers_are_alike_both_ways() {
    for (name, wanted, alike) in [
        ("x-user", "x_user", true),
        ("x_user", "x-user", true),
        ("x-user-id", "x_user-id", true),
        ("x-users", "x-user", false),
        ("x.user", "x-user", false),
    ] {
        assert_eq!(is_like(name, wanted), alike, "{name}");
    }
}
