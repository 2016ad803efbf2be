//! Annotations: all that may be said can be, and nothing else.

use super::*;
use crate::inject::yaml::{map, text, word};

fn template(key: &str, value: Node) -> Node {
    map([("metadata", map([("annotations", map([(key, value)]))]))])
}

fn read(name: &str, value: &str) -> Result<Wishes, String> {
    let read = wishes(&template(&format!("{PREFIX}{name}"), text(value)));
    read.map_err(|faults| faults[0].to_string())
}

#[test]
fn each_annotation_has_values_that_are_good_and_values_that_are_not() {
    let table = [
        ("inject", "true false", "yes on enabled"),
        ("service", "web a-b", "Web a.b -a"),
        ("application-port", "1 65535 none", "0 65536 http"),
        ("mode", "transparent explicit", "tproxy redirect"),
        ("native-sidecar", "true false", "1"),
        ("rewrite-probes", "true false", "no"),
        (
            "include-outbound-ports",
            "all none 80 80,443,8000-8999",
            "a 0 9-8 80,",
        ),
        ("exclude-outbound-ports", "all", "1-"),
        (
            "include-outbound-cidrs",
            "all none 10.0.0.0/8 10.0.0.1,fd00::/8 0.0.0.0/0 ::/0",
            "10.0.0.1/8 10.0.0.0/33 fd00::1/8 x 10.0.0.0/",
        ),
        ("exclude-outbound-cidrs", "10.96.0.1/32", "10.96.0.1/-1"),
        ("include-inbound-ports", "80", "80;81"),
        ("exclude-inbound-ports", "80", "*"),
        ("include-inbound-cidrs", "::1/128", "::1/129"),
        ("exclude-inbound-cidrs", "127.0.0.0/8", "any"),
        (
            "tcp",
            "127.0.0.1:1=a:2 127.0.0.1:1=a.b:2,[::1]:3=c:4",
            "0.0.0.0:1=a:2 127.0.0.1:0=a:2 a:2 127.0.0.1:1=a.b.c:2",
        ),
        ("cpu-request", "100m 1 1.5 0.1", "0 1Mi -1 1e3 0m m .5 5."),
        ("cpu-limit", "2", "two"),
        (
            "memory-request",
            "64Mi 1Gi 1.5Gi 100M 104857600",
            "64 64MB 64mi 0 1m",
        ),
        ("memory-limit", "1Gi", "1gi"),
        (
            "log-level",
            "debug info,usher_proxy::xds=debug off",
            "verbose a=b usher[span]=info info,",
        ),
        ("access-log", "on off", "true -"),
        ("drain-grace", "20s 1m30s", "20 0s -1s"),
    ];
    for (name, good, bad) in table {
        assert!(ANNOTATIONS.iter().any(|known| known.0 == name), "{name}");
        for value in good.split(' ') {
            assert!(read(name, value).is_ok(), "{name}: {value}");
        }
        for value in bad.split(' ') {
            let said = read(name, value).unwrap_err();
            assert!(said.contains(value) && said.contains("allowed"), "{said}");
        }
    }
    assert_eq!(table.len(), ANNOTATIONS.len());
}

#[test]
fn an_unknown_annotation_is_an_error_with_the_one_that_was_meant() {
    let said = read("exclude-outbound-port", "25").unwrap_err();
    assert!(
        said.contains("did you mean usher.dev/exclude-outbound-ports?"),
        "{said}"
    );
    let others = template("example.com/inject", text("maybe"));
    assert_eq!(wishes(&others), Ok(Wishes::default()));
    let ours = template(INJECTED, text("{}"));
    assert_eq!(wishes(&ours), Ok(Wishes::default()));
}

#[test]
fn what_is_no_text_in_yaml_needs_quotes() {
    let faults = wishes(&template("usher.dev/inject", word(false))).unwrap_err();
    assert!(faults[0].to_string().contains("quotes"), "{}", faults[0]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let annotations = map([
        ("usher.dev/inject", text("maybe")),
        ("usher.dev/mode", text("none")),
    ]);
    let template = map([("metadata", map([("annotations", annotations)]))]);
    assert_eq!(wishes(&template).unwrap_err().len(), 2);
}
