//! What a caller reads who got it almost right.

use usher_config::model::Limits;

use crate::error::{Limit, ProxyError, Refusal};

#[test]
fn who_calls_the_sidecar_itself_hears_how_to_name_a_service() {
    for host in ["127.0.0.1", "localhost", "::1"] {
        let host = host.into();
        let said = ProxyError::NoSuchHost { host }.to_string();
        assert!(said.contains("curl -H 'Host: NAME'"), "{said}");
    }
    let host = "example.com".into();
    let said = ProxyError::NoSuchHost { host }.to_string();
    assert!(!said.contains("Host:"), "{said}");
    let refusal = Refusal::HostMissing;
    let said = ProxyError::Refused { refusal }.to_string();
    assert!(said.contains("`Host: NAME`"), "{said}");
}

#[test]
fn a_limit_is_said_with_its_value_and_its_field() {
    let limit = Limit::ConnectionsPerEndpoint;
    let mut limits = Limits::default();
    limits.per_endpoint.max_connections = Some(3);
    let error = ProxyError::Overflow {
        service: "shop/api".parse().unwrap(),
        limit,
        most: limit.of(&limits),
    };
    assert_eq!(
        error.to_string(),
        "service shop/api is at its limit of 3: spec.limits.perEndpoint.maxConnections of a TrafficPolicy"
    );
}
