//! Opaque streams through both sidecars, and HTTP that hides in one.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    time::Duration,
};

use usher_config::model::{AccessRule, InboundPolicy, MtlsMode, PathRule, Protocol, TrafficPolicy};

use crate::{telemetry::metrics::Direction, tls::tests::foreign_hello};

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
    assert!(mesh.is_reset(b"\x16 opaque"), "no rule allows opaque bytes");
    assert_eq!(mesh.seen().len(), 2);
}

#[test]
fn a_stream_that_is_open_stays_when_policies_change_and_a_request_is_asked_anew() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(opaque);
    let mut stream = mesh.silent_tcp();
    harness::eventually(|| mesh.active() == (1, 1));
    let nobody = |policy: &mut InboundPolicy| policy.access = vec![access("bank/nobody", vec![])];
    mesh.inbound(nobody);
    assert!(mesh.is_reset(b"\x16 opaque"), "a new one is refused");
    let asked = b"GET /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(asked).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("GET /late a"), "{answer}");

    // The sidecars keep their connection, whatever is refused on it.
    let mesh = Mesh::start(TrafficPolicy::default());
    assert_eq!(mesh.get("http://account.bank/").status(), 200);
    let connections = mesh.callee_connections();
    mesh.inbound(nobody);
    assert_eq!(mesh.get("http://account.bank/").status(), 403);
    assert_eq!(mesh.callee_connections(), connections);
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
    assert!(mesh.is_reset(claim), "an end would be an empty answer");
    assert!(mesh.seen().is_empty());
}

#[test]
fn a_stream_that_leads_nowhere_is_reset() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.remove_endpoint();
    assert!(mesh.is_reset(b"anything"));
}

#[test]
fn an_applications_own_tls_is_plaintext_to_us() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let hello = foreign_hello("account.bank");
    assert_eq!(mesh.plaintext(&hello), (String::new(), true), "strict");
    for protocol in [Protocol::Tcp, Protocol::Detect] {
        mesh.inbound(|policy| {
            policy.mtls = MtlsMode::Permissive;
            for (_, declared) in &mut policy.ports {
                *declared = protocol;
            }
        });
        // The application speaks HTTP, and says so: the bytes have reached it.
        let (answer, _) = mesh.plaintext(&hello);
        assert!(answer.starts_with("HTTP/1.1 400"), "{protocol:?}: {answer}");
    }
    mesh.inbound(|policy| {
        policy.mtls = MtlsMode::Permissive;
        for (_, declared) in &mut policy.ports {
            *declared = Protocol::Http1;
        }
    });
    assert_eq!(
        mesh.plaintext(&hello),
        (String::new(), true),
        "plain HTTP is declared"
    );
}

#[test]
fn a_caller_may_connect_ahead_of_its_request() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(|policy| {
        policy.mtls = MtlsMode::Permissive;
        for (_, declared) in &mut policy.ports {
            *declared = Protocol::Http1;
        }
    });
    let mut early = mesh.connect(Direction::Inbound);
    early
        .set_read_timeout(Some(Duration::from_millis(1_500)))
        .unwrap();
    let silence = early.read(&mut [0]).unwrap_err();
    assert!(
        matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silence}"
    );
    early
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    early.set_read_timeout(None).unwrap();
    early.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// Ports that carry any bytes.
fn opaque(policy: &mut InboundPolicy) {
    for (_, protocol) in &mut policy.ports {
        *protocol = Protocol::Tcp;
    }
}
