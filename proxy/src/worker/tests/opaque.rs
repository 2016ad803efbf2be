//! Opaque streams through both sidecars, and HTTP that hides in one.

use std::time::Duration;

use usher_config::model::{AccessRule, InboundPolicy, PathRule, Protocol, TrafficPolicy};

use super::{
    access,
    harness::{self, Mesh},
};

#[test]
fn a_stream_idles_for_as_long_as_its_own_service_says() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(|policy| {
        opaque(policy);
        policy.idle = Some(Duration::from_millis(200));
    });
    let _silent = mesh.silent_tcp();
    harness::eventually(|| mesh.active() == (1, 1));
    harness::eventually(|| mesh.active() == (0, 0));
}

#[test]
fn a_stream_of_which_nobody_knows_what_it_is_idles_no_longer() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(|policy| policy.idle = Some(Duration::from_millis(200)));
    let _silent = mesh.silent_tcp();
    harness::eventually(|| mesh.active() == (1, 1));
    harness::eventually(|| mesh.active() == (0, 0));
}

#[test]
fn no_claim_passes_behind_an_empty_line_or_in_lower_case() {
    let mesh = Mesh::start(TrafficPolicy::default());
    for line in ["\r\nGET / HTTP/1.1", "get / HTTP/1.1"] {
        mesh.tcp(
            format!(
                "{line}\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=me\r\nConnection: close\r\n\r\n"
            )
            .as_bytes(),
        );
    }
    for (headers, _) in mesh.seen() {
        let certificate = headers["x-forwarded-client-cert"].to_str().unwrap();
        assert!(certificate.ends_with("/sa/transaction"), "{certificate}");
    }
}

#[test]
fn opaque_streams_reach_the_application() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(opaque);
    let asked = b"GET /opaque HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = mesh.tcp(asked);
    assert!(answer.contains("GET /opaque a"), "{answer}");
    let (out, into) = mesh.logged("\"tcp\"");
    for line in [&out, &into] {
        let bytes = format!("\"request_bytes\":{}", asked.len());
        assert!(line.contains(&bytes), "{line}");
    }
    // In this harness service and service account have one name.
    assert!(
        out.contains("\"source_service\":\"bank/transaction\""),
        "{out}"
    );
    assert!(
        into.contains("\"source_service\":\"bank/transaction\""),
        "{into}"
    );
}

#[test]
fn http_in_an_opaque_stream_is_treated_as_http() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let claim = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=me\r\nX-Usher-Secret: 1\r\nConnection: close\r\n\r\n"
        )
    };
    assert!(mesh.tcp(claim("/a").as_bytes()).contains("GET /a a"));
    let seen = mesh.seen();
    let headers = &seen.last().unwrap().0;
    let certificate = headers["x-forwarded-client-cert"].to_str().unwrap();
    assert!(certificate.ends_with("/sa/transaction"), "{certificate}");
    assert!(!headers.contains_key("x-usher-secret"));
    mesh.inbound(|policy| {
        let rule = AccessRule {
            paths: vec![PathRule::Prefix("/v1/".into())],
            ..AccessRule::default()
        };
        policy.access = vec![access("bank/v1", vec![rule])];
    });
    assert!(
        mesh.tcp(claim("/v1/x").as_bytes())
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        mesh.tcp(claim("/admin").as_bytes())
            .starts_with("HTTP/1.1 403")
    );
    assert_eq!(mesh.tcp(b"\x16 opaque"), "", "no rule allows opaque bytes");
    assert_eq!(mesh.seen().len(), 2);
}

#[test]
fn no_opaque_stream_reaches_a_port_that_speaks_http() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(|policy| {
        for (_, protocol) in &mut policy.ports {
            *protocol = Protocol::Http1;
        }
    });
    let claim = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=me\r\n\r\n";
    assert_eq!(mesh.tcp(claim), "");
    assert!(mesh.seen().is_empty());
}

/// Ports that carry any bytes.
fn opaque(policy: &mut InboundPolicy) {
    for (_, protocol) in &mut policy.ports {
        *protocol = Protocol::Tcp;
    }
}
