//! A sidecar whose application cannot be reached: nobody has seen the request, which may go elsewhere, whatever it is.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::net::TcpSocket;
use usher_config::model::{Algorithm, Breaker, MtlsMode, TrafficPolicy};

use crate::{
    error::Flag,
    snapshot::Change,
    tcp::{BrokeOff, Copied},
    upstream::connect::refused_or_broke_off,
};

use super::{
    application::Answer,
    client::talk,
    harness::{self, Mesh, text},
    sidecar::{Sidecar, inbound_policy},
};

/// Requests enough for either of two endpoints to have its turn.
const MANY: usize = 6;

/// A sidecar whose application has crashed.
struct Bereft {
    sidecar: Sidecar,
    /// Holds the application's port, on which nobody listens.
    _port: TcpSocket,
}

impl Bereft {
    fn beside(mesh: &Mesh, policy: TrafficPolicy) -> Self {
        let port = TcpSocket::new_v4().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        port.bind(any).unwrap();
        let application = Some(port.local_addr().unwrap());
        let sidecar = Sidecar::start(&mesh.authority, 1, "account", application);
        mesh.beside(sidecar.inbound, policy);
        Self {
            sidecar,
            _port: port,
        }
    }
}

fn in_turn() -> TrafficPolicy {
    let mut policy = TrafficPolicy::default();
    policy.load_balancer.algorithm = Algorithm::RoundRobin;
    policy.ejection = None;
    policy
}

fn reason(response: &Response<Bytes>) -> &str {
    let reason = response.headers().get("x-usher-reason");
    reason.map_or("", |reason| reason.to_str().unwrap())
}

fn bodies(mesh: &Mesh) -> Vec<String> {
    mesh.seen().into_iter().map(|(_, body)| body).collect()
}

#[test]
fn a_post_that_no_application_has_seen_is_done_once_elsewhere() {
    let mesh = Mesh::start(in_turn());
    let bereft = Bereft::beside(&mesh, in_turn());
    let sent: Vec<_> = (0..MANY).map(|number| format!("{number} EUR")).collect();
    for body in &sent {
        let response = mesh.http1("http://account.bank/pay", body);
        assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
    }
    assert_eq!(bodies(&mesh), sent);
    let line = bereft.sidecar.logged("connect-failed");
    assert!(line.contains(r#""status":503"#), "{line}");
    assert!(line.contains(r#""flags":"UF""#), "{line}");
}

#[test]
fn a_grpc_call_that_no_application_has_seen_is_made_once_elsewhere() {
    let mesh = Mesh::start(in_turn());
    let bereft = Bereft::beside(&mesh, in_turn());
    mesh.answer(Answer::Grpc { code: 0 });
    for _ in 0..MANY {
        let (_, _, trailers) = mesh.grpc("account.bank", Bytes::from_static(b"pay"));
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
    }
    assert_eq!(mesh.seen().len(), MANY);
    let line = bereft.sidecar.logged("connect-failed");
    assert!(line.contains(r#""grpc_status":14"#), "{line}");
}

#[test]
fn when_everybody_refuses_the_answer_says_who_and_why() {
    let mesh = Mesh::start(in_turn());
    let bereft = Bereft::beside(&mesh, in_turn());
    mesh.remove_endpoint();
    let response = mesh.http1("http://account.bank/pay", "10 EUR");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reason(&response), "UF refused-unseen");
    let who = format!("the sidecar of endpoint {}", bereft.sidecar.inbound);
    assert!(text(&response).contains(&who), "{}", text(&response));
    let (head, _, _) = mesh.grpc("account.bank", Bytes::new());
    assert_eq!(head.headers["grpc-status"], "14");
    let line = mesh.logged_by_caller("refused-unseen");
    assert!(line.contains(r#""attempts":3"#), "{line}");
}

#[test]
fn a_connection_that_no_application_takes_is_no_answer() {
    let mesh = Mesh::start(in_turn());
    let bereft = Bereft::beside(&mesh, in_turn());
    mesh.remove_endpoint();
    assert!(mesh.is_reset(b"\x16 opaque"));
    let line = mesh.logged_by_caller("connection-not-taken");
    assert!(line.contains(r#""flags":"UF""#), "{line}");
    assert!(line.contains(r#""status":0"#), "{line}");
    let why = bereft.sidecar.logged("connect-failed");
    assert!(why.contains(r#""flags":"UF""#), "{why}");
}

#[test]
fn what_has_carried_a_byte_or_lasted_was_taken() {
    let endpoint = "127.0.0.1:1".parse().unwrap();
    let reset = BrokeOff::Upstream(std::io::ErrorKind::ConnectionReset.into());
    let flag = |end: &BrokeOff, from_upstream, seconds| {
        let carried = Copied {
            from_downstream: 7,
            from_upstream,
        };
        let lasted = Duration::from_secs(seconds);
        refused_or_broke_off(end, endpoint, None, (&carried, lasted)).flag()
    };
    assert_eq!(flag(&reset, 0, 1), Flag::Uf);
    assert_eq!(flag(&reset, 1, 1), Flag::Uc);
    assert_eq!(flag(&reset, 0, 60), Flag::Uc);
    assert_eq!(flag(&BrokeOff::Idle, 0, 1), Flag::Si);
}

#[test]
fn a_refusal_counts_as_the_failure_that_it_is() {
    let mut policy = in_turn();
    policy.breaker = Some(Breaker {
        min_requests: 5,
        ..Breaker::default()
    });
    let mesh = Mesh::start(policy.clone());
    let _bereft = Bereft::beside(&mesh, policy);
    mesh.remove_endpoint();
    harness::eventually(|| reason(&mesh.http1("http://account.bank/", "")).starts_with("BO"));
}

#[test]
fn who_comes_without_a_sidecar_is_answered() {
    let mesh = Mesh::start(in_turn());
    let bereft = Bereft::beside(&mesh, in_turn());
    let mut policy = inbound_policy("account");
    policy.mtls = MtlsMode::Permissive;
    bereft.sidecar.store.apply(Change {
        inbound: Some(policy),
        ..Change::default()
    });
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answer = talk(bereft.sidecar.inbound, request);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("UF connect-failed"), "{answer}");
}

#[test]
fn an_application_cannot_speak_for_a_sidecar() {
    let mesh = Mesh::start(in_turn());
    for said in [
        "UF connect-failed",
        "UF refused-unseen",
        "DE deadline-passed",
    ] {
        mesh.answer(Answer::Forged(said));
        let before = mesh.seen().len();
        let response = mesh.http1("http://account.bank/pay", "10 EUR");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{said}");
        assert_eq!(reason(&response), "");
        assert_eq!(mesh.seen().len(), before + 1, "{said}");
    }
    mesh.without_sidecar(in_turn());
    for said in ["UF connect-failed", "DE deadline-passed", "SI stream-idle"] {
        mesh.answer(Answer::Forged(said));
        let before = mesh.seen().len();
        let response = mesh.http1("http://account.bank/pay", "10 EUR");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{said}");
        assert_eq!(reason(&response), "");
        assert_eq!(mesh.seen().len(), before + 1, "{said}");
    }
}
