//! Limits and endings: what is refused, and what is finished all the same.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use usher_config::model::{Algorithm, MtlsMode, TrafficPolicy};

use crate::{policy::limits::HANDSHAKES_PER_PEER_MAX, telemetry::metrics::Direction};

use super::{
    application::Answer,
    harness::{self, Mesh, text},
};

#[test]
fn half_made_handshakes_of_one_peer_leave_room_for_others() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let hello: Vec<_> = (0..HANDSHAKES_PER_PEER_MAX)
        .map(|_| {
            let mut stream = mesh.connect(Direction::Inbound);
            stream.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
            stream
        })
        .collect();
    // Here everybody is one peer.
    let status = || mesh.http1("http://account.bank/", "").status();
    harness::eventually(|| status() == StatusCode::SERVICE_UNAVAILABLE);
    drop(hello);
    harness::eventually(|| status() == StatusCode::OK);
}

#[test]
fn every_worker_may_have_a_connection_whatever_the_limit() {
    let mut policy = TrafficPolicy::default();
    policy.limits.max_connections = 1;
    let mesh = Mesh::with_workers(2, policy);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let response = mesh.http1("http://account.bank/", "");
        assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
        // An open connection makes the other worker the idlest.
        kept.push(mesh.connect(Direction::Outbound));
        harness::eventually(|| mesh.caller_connections() == kept.len());
    }
}

#[test]
fn who_has_a_connection_is_not_pending() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let mut policy = TrafficPolicy::default();
    mesh.without_sidecar(policy.clone());
    assert_eq!(mesh.get("http://account.bank/").status(), StatusCode::OK);
    policy.limits.max_pending_requests = 0;
    mesh.without_sidecar(policy);
    let response = mesh.get("http://account.bank/");
    assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
}

#[test]
fn who_shares_a_busy_connection_is_not_pending() {
    let mut policy = TrafficPolicy::default();
    policy.limits.max_connections = 1;
    policy.limits.max_pending_requests = 512;
    let mesh = Mesh::start(policy.clone());
    mesh.answer(Answer::Never);
    // As many as a second connection would be opened for, and two that are not given one.
    mesh.calls_while(512, || {
        harness::eventually(|| mesh.active().1 == 512);
        mesh.outbound(|service| {
            policy.limits.max_pending_requests = 1;
            service.policy = std::sync::Arc::new(policy);
        });
        mesh.calls_while(2, || harness::eventually(|| mesh.active().1 == 514));
    });
}

#[test]
fn who_would_wait_for_an_endpoint_where_nobody_may_wait_is_refused() {
    let mut policy = TrafficPolicy::default();
    policy.limits.per_endpoint.max_pending_requests = Some(0);
    let mesh = Mesh::start(policy);
    let request = "GET /nowhere/ HTTP/1.1\r\nHost: account.bank\r\nConnection: close\r\n\r\n";
    let answer = mesh.raw(request);
    assert!(answer.contains("x-usher-reason: UO "), "{answer}");
    assert!(mesh.seen().is_empty());
    let line = mesh.logged_by_caller("/nowhere/");
    assert!(line.contains("\"attempts\":0,"), "{line}");
}

#[test]
fn an_endpoint_that_was_passed_over_is_no_attempt() {
    let mut policy = TrafficPolicy::default();
    policy.load_balancer.algorithm = Algorithm::RoundRobin;
    let mesh = Mesh::start(policy.clone());
    assert_eq!(mesh.get("http://account.bank/").status(), StatusCode::OK);
    policy.limits.per_endpoint.max_pending_requests = Some(0);
    mesh.beside("127.0.0.1:1".parse().unwrap(), policy);
    for number in 0..4 {
        let response = mesh.get(&format!("http://account.bank/to/{number}/"));
        assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
        let (line, _) = mesh.logged(&format!("/to/{number}/"));
        assert!(line.contains("\"attempts\":1,"), "{line}");
    }
}

#[test]
fn a_retry_that_is_refused_leaves_the_failure_it_was_for() {
    let mut policy = TrafficPolicy::default();
    policy.limits.per_endpoint.max_concurrent_requests = Some(1);
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Busy);
    let response = std::thread::scope(|scope| {
        let first = scope.spawn(|| mesh.get("http://account.bank/"));
        harness::eventually(|| mesh.seen().len() == 1 && mesh.active().1 == 0);
        mesh.answer(Answer::Never);
        let post = b"POST / HTTP/1.1\r\nHost: account.bank\r\n\r\n";
        let mut stream = mesh.connect(Direction::Outbound);
        stream.write_all(post).unwrap();
        stream.set_nonblocking(true).unwrap();
        harness::eventually(|| {
            // The caller's side may hold the place of the first attempt a moment longer: who comes then is refused.
            if stream.read(&mut [0; 4096]).is_ok() {
                stream.write_all(post).unwrap();
            }
            mesh.seen().len() == 2
        });
        first.join().unwrap()
    });
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers().get("x-usher-reason"), None);
    assert_eq!(mesh.seen().len(), 2);
}

#[test]
fn an_answer_that_is_read_slowly_is_whole_after_a_drain() {
    let mut mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(|policy| policy.mtls = MtlsMode::Permissive);
    let body = vec![b'x'; 24 << 20];
    let head = format!(
        "POST / HTTP/1.1\r\nHost: account.bank\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = mesh.connect(Direction::Inbound);
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = vec![0; 64 * 1024];
    let mut read = stream.read(&mut answer).unwrap();
    mesh.drain_callee();
    while !mesh.stop_callee_when_idle() {
        read += stream.read(&mut answer).unwrap();
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(
        read + rest.len() > body.len(),
        "{} is not all",
        read + rest.len()
    );
}

#[test]
fn a_drained_sidecar_tells_its_callers_and_finishes() {
    let mesh = Mesh::start(TrafficPolicy::default());
    assert_eq!(
        mesh.http1("http://account.bank/", "").status(),
        StatusCode::OK
    );
    mesh.drain_callee();
    harness::eventually(|| mesh.callee_connections() == 0);
    assert_eq!(
        mesh.http1("http://account.bank/", "").status(),
        StatusCode::OK
    );
}

#[test]
fn a_new_http1_caller_is_answered_while_draining() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(|policy| policy.mtls = MtlsMode::Permissive);
    mesh.drain_callee();
    let response = mesh.direct("late");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["connection"], "close");
}

#[test]
fn a_caller_that_does_not_read_loses_its_stream() {
    let mut policy = TrafficPolicy::default();
    policy.timeouts.idle = Some(Duration::from_millis(200));
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Grpc { code: 0 });
    mesh.unread(Bytes::from(vec![b'x'; 3 << 20]));
}
