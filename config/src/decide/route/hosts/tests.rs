//! The most precise name wins, and what is wider still follows.

use super::*;

fn hosts(names: &[&str]) -> Hosts<String> {
    let mut hosts = Hosts::default();
    for name in names {
        let hostname = (!name.is_empty()).then(|| name.parse().unwrap());
        hosts.entry(hostname.as_ref(), || (*name).to_owned());
    }
    hosts
}

#[test]
fn a_host_finds_its_name_then_ever_wider_wildcards_then_any() {
    let hosts = hosts(&[
        "",
        "*.example.com",
        "*.a.example.com",
        "b.a.example.com",
        "*.com",
        "example.com",
    ]);
    let found: Vec<&String> = hosts.matching("b.a.example.com").collect();
    assert_eq!(
        found,
        [
            "b.a.example.com",
            "*.a.example.com",
            "*.example.com",
            "*.com",
            ""
        ]
    );
    let found: Vec<&String> = hosts.matching("example.com").collect();
    assert_eq!(found, ["example.com", "*.com", ""]);
    assert_eq!(
        hosts.most_precise("x.b.a.example.com").unwrap(),
        "*.a.example.com"
    );
    assert_eq!(hosts.most_precise("example.org").unwrap(), "");
}

#[test]
fn a_wildcard_covers_no_name_without_a_further_label() {
    let hosts = hosts(&["*.example.com"]);
    for host in ["example.com", ".example.com", "com", "", "xexample.com"] {
        assert_eq!(hosts.most_precise(host), None, "{host}");
        assert_eq!(hosts.matching(host).next(), None, "{host}");
    }
    assert!(hosts.most_precise("a.example.com").is_some());
}
