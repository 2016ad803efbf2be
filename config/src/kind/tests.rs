//! Facts about kinds.

use std::net::Ipv4Addr;

use super::*;
use crate::value::{Percent, Timespan};

#[test]
fn a_narrow_policy_says_what_it_says_and_the_rest_shows_through() {
    let wide = TrafficPolicySpec {
        timeouts: Timeouts {
            request: Some(Timespan::seconds(9)),
            ..Timeouts::default()
        },
        breaker: Some(Breaker {
            min_requests: Some(7),
            ..Breaker::default()
        }),
        ..TrafficPolicySpec::default()
    };
    let narrow = TrafficPolicySpec {
        timeouts: Timeouts {
            idle: Some(Timespan::seconds(3)),
            ..Timeouts::default()
        },
        breaker: Some(Breaker {
            failure_rate: Some(Percent::clamped(30)),
            ..Breaker::default()
        }),
        ..TrafficPolicySpec::default()
    };
    let both = narrow.over(&wide).over(&TrafficPolicySpec::defaults());
    assert_eq!(both.timeouts.request, Some(Timespan::seconds(9)));
    assert_eq!(both.timeouts.idle, Some(Timespan::seconds(3)));
    assert_eq!(both.timeouts.connect, Some(Timespan::seconds(1)));
    let breaker = both.breaker.expect("on in both");
    assert_eq!(
        (breaker.min_requests, breaker.failure_rate),
        (Some(7), Some(Percent::clamped(30)))
    );
    assert_eq!(both.ejection, None);
}

#[test]
fn an_empty_selector_selects_nobody() {
    let service = ServiceSpec {
        selector: [].into(),
        ports: Vec::new(),
        cluster_ip: None,
    };
    assert!(!service.selects(&[("app".into(), "a".into())].into()));
}

#[test]
fn a_selector_asks_for_all_its_labels() {
    let selector = [("app".into(), "a".into()), ("tier".into(), "x".into())].into();
    let service = ServiceSpec {
        selector,
        ports: Vec::new(),
        cluster_ip: None,
    };
    assert!(!service.selects(&[("app".into(), "a".into())].into()));
    assert!(
        service.selects(
            &[
                ("app".into(), "a".into()),
                ("tier".into(), "x".into()),
                ("z".into(), "".into())
            ]
            .into()
        )
    );
}

#[test]
fn a_virtual_block_begins_at_its_first_address() {
    let block: VirtualCidr = "10.96.0.0/12".parse().expect("valid");
    assert!(
        block.contains(Ipv4Addr::new(10, 111, 255, 255))
            && !block.contains(Ipv4Addr::new(10, 112, 0, 0))
    );
    assert_eq!(block.size(), 1 << 20);
    for text in [
        "10.0.0.1/16",
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.0/25",
        "::/8",
        "/8",
        "10.0.0/16",
    ] {
        assert!(text.parse::<VirtualCidr>().is_err(), "{text}");
    }
    assert_eq!(
        VirtualCidr::DEFAULT.to_string().parse(),
        Ok(VirtualCidr::DEFAULT)
    );
}

#[test]
fn an_access_path_that_no_request_can_have_is_refused() {
    for text in ["/v1/*", "/", "/*", "/v1/accounts", "/a.b/~c"] {
        assert_eq!(
            text.parse::<PathRule>().map(|rule| rule.to_string()),
            Ok(text.to_owned())
        );
    }
    for text in [
        "", "*", "v1", "/a/*/b", "/a/**", "/a//b", "/a/../b", "/a?b", "/a%2fb", "/a;b", "/a\\b",
        "/a b",
    ] {
        assert!(text.parse::<PathRule>().is_err(), "{text}");
    }
    let error = "/admin*"
        .parse::<PathRule>()
        .expect_err("also /administrator");
    assert!(error.allowed.contains("write `/admin/*`"), "{error}");
}

#[test]
fn grpc_statuses_have_the_numbers_of_the_protocol() {
    assert_eq!(
        (
            GrpcStatus::Cancelled.code(),
            GrpcStatus::Unavailable.code(),
            GrpcStatus::Unauthenticated.code()
        ),
        (1, 14, 16)
    );
}

#[test]
fn a_word_with_an_alias_is_written_as_the_first() {
    assert_eq!(AppProtocol::Http2.word(), "kubernetes.io/h2c");
    assert!(AppProtocol::ALL.contains(&("http2", AppProtocol::Http2)));
}
