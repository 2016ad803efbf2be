//! Who is blamed for what: callers that leave, hurry or dawdle say nothing about those that they call.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use usher_config::model::{
    Breaker, Fallback, FallbackTarget, Protocol, StaticResponse, TrafficPolicy,
};

use crate::telemetry::metrics::Direction;

use super::{
    application::Answer,
    harness::{self, Mesh, text},
};

/// More than it takes to open the breaker.
const MANY: usize = 8;

/// A breaker that five failures open.
fn touchy() -> TrafficPolicy {
    let mut policy = TrafficPolicy::default();
    policy.retry.attempts = 0;
    policy.breaker = Some(Breaker {
        min_requests: 5,
        half_open_permits: 1,
        ..Breaker::default()
    });
    policy
}

fn reason(response: &Response<Bytes>) -> &str {
    let reason = response.headers().get("x-usher-reason");
    reason.map_or("", |reason| reason.to_str().unwrap())
}

fn assert_closed(mesh: &Mesh) {
    mesh.answer(Answer::Echo);
    let response = mesh.http1("http://account.bank/", "");
    assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
}

fn open_breaker(mesh: &Mesh) {
    mesh.answer(Answer::Status(StatusCode::INTERNAL_SERVER_ERROR));
    harness::eventually(|| reason(&mesh.http1("http://account.bank/", "")).starts_with("BO"));
}

/// Asks, and leaves when the application has heard of it.
fn ask_and_leave(mesh: &Mesh) {
    let before = mesh.seen().len();
    mesh.raw_while("POST / HTTP/1.1\r\nHost: account.bank\r\n\r\n", || {
        harness::eventually(|| mesh.seen().len() > before);
    });
    harness::eventually(|| mesh.active() == (0, 0));
}

#[test]
fn callers_that_leave_before_the_answer_are_no_failures() {
    let mesh = Mesh::start(touchy());
    mesh.answer(Answer::Never);
    for _ in 0..MANY {
        ask_and_leave(&mesh);
    }
    assert_closed(&mesh);
}

#[test]
fn a_trial_whose_caller_leaves_gives_its_permit_back() {
    let mut policy = touchy();
    let breaker = policy.breaker.as_mut().unwrap();
    breaker.open_for = Duration::from_millis(50);
    let mesh = Mesh::start(policy);
    open_breaker(&mesh);
    mesh.answer(Answer::Never);
    let before = mesh.seen().len();
    let mut trial = None;
    harness::eventually(|| {
        let mut stream = mesh.connect(Direction::Outbound);
        let request = b"POST / HTTP/1.1\r\nHost: account.bank\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let patience = Some(Duration::from_millis(20));
        stream.set_read_timeout(patience).unwrap();
        // Refused at once, or the trial.
        let refused = stream.read(&mut [0; 1]).is_ok();
        trial = (!refused).then_some(stream);
        !refused
    });
    harness::eventually(|| mesh.seen().len() > before);
    drop(trial);
    harness::eventually(|| mesh.active() == (0, 0));
    assert_closed(&mesh);
}

#[test]
fn callers_that_hurry_are_no_failures() {
    let mesh = Mesh::start(touchy());
    mesh.answer(Answer::Never);
    for _ in 0..MANY {
        let response = mesh.http1_with("http://account.bank/", "", |request| {
            let hurry = "20".parse().unwrap();
            request.headers_mut().insert("x-usher-deadline-ms", hurry);
        });
        assert_eq!(reason(&response), "DE deadline-passed");
    }
    assert_closed(&mesh);
}

#[test]
fn callers_that_dawdle_are_no_failures() {
    let mut policy = touchy();
    policy.timeouts.request = Some(Duration::from_millis(50));
    let mesh = Mesh::start(policy);
    for _ in 0..MANY {
        let mut stream = mesh.connect(Direction::Outbound);
        let request = b"POST / HTTP/1.1\r\nHost: account.bank\r\nContent-Length: 10\r\n\r\nslow";
        stream.write_all(request).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"HTTP/1.1 504");
    }
    mesh.outbound(|service| service.policy = touchy().into());
    assert_closed(&mesh);
}

#[test]
fn a_dependency_that_hangs_is_a_failure() {
    let mut policy = touchy();
    policy.timeouts.request = Some(Duration::from_millis(50));
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Never);
    let answers = (0..MANY).map(|_| mesh.http1("http://account.bank/", "whole"));
    let last = answers.last().unwrap();
    assert_eq!(reason(&last), "BO breaker-open");
}

#[test]
fn who_calls_itself_grpc_and_is_none_is_no_failure() {
    let mesh = Mesh::start(touchy());
    for _ in 0..MANY {
        let (head, body, _) = mesh.grpc("account.bank", Bytes::new());
        assert_eq!(head.status, StatusCode::OK);
        assert!(body.starts_with(b"POST /bank.Account/Debit"), "{body:?}");
    }
    assert_closed(&mesh);
}

#[test]
fn a_silent_call_without_a_deadline_ends() {
    let mut policy = touchy();
    policy.timeouts.idle = Some(Duration::from_millis(100));
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Never);
    let (head, ..) = mesh.grpc("account.bank", Bytes::new());
    assert_eq!(head.headers["x-usher-reason"], "SI stream-idle");
    mesh.outbound(|_| {});
    mesh.inbound(|policy| policy.idle = Some(Duration::from_millis(100)));
    let (head, ..) = mesh.grpc("account.bank", Bytes::new());
    assert_eq!(head.headers["x-usher-reason"], "SI stream-idle");
}

#[test]
fn on_a_port_of_http1_nobody_is_grpc_by_saying_so() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.answer(Answer::Never);
    mesh.outbound(|service| {
        service.ports[0].protocol = Protocol::Http1;
        let mut policy = touchy();
        policy.timeouts.request = Some(Duration::from_millis(100));
        service.policy = policy.into();
    });
    let (head, ..) = mesh.grpc("account.bank", Bytes::new());
    assert_eq!(head.headers["x-usher-reason"], "UT request-timeout");
}

#[test]
fn a_key_vouches_for_the_service_that_knows_it_and_for_no_stand_in() {
    let mut policy = TrafficPolicy::default();
    policy.retry.attempts = 0;
    policy.retry.idempotency_header = Some("idempotency-key".parse().unwrap());
    policy.fallback = Some(Fallback {
        on_open: true,
        on_no_endpoint: true,
        on_exhausted: true,
        repeatable: false,
        target: FallbackTarget::Response(StaticResponse {
            status: StatusCode::ACCEPTED,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }),
    });
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Status(StatusCode::SERVICE_UNAVAILABLE));
    let paid = mesh.http1_with("http://account.bank/", "100", |request| {
        let key = "17".parse().unwrap();
        request.headers_mut().insert("idempotency-key", key);
    });
    assert_eq!(paid.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        mesh.get("http://account.bank/").status(),
        StatusCode::ACCEPTED
    );
}

#[test]
fn a_key_that_its_receiver_never_sees_vouches_for_nothing() {
    let mut policy = TrafficPolicy::default();
    policy.retry.idempotency_header = Some("idempotency-key".parse().unwrap());
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Status(StatusCode::SERVICE_UNAVAILABLE));
    mesh.http1_with("http://account.bank/", "100", |request| {
        let headers = request.headers_mut();
        headers.insert("idempotency-key", "17".parse().unwrap());
        headers.insert("connection", "idempotency-key".parse().unwrap());
    });
    assert_eq!(mesh.seen().len(), 1);
}

#[test]
fn streams_that_end_as_configured_are_no_failures() {
    let mut policy = touchy();
    policy.timeouts.stream_max = Some(Duration::from_millis(50));
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Watch);
    mesh.calls_while(MANY, || {
        harness::eventually(|| mesh.seen().len() == MANY && mesh.active().0 == 0);
    });
    assert_closed(&mesh);
}

#[test]
fn a_stream_that_has_begun_well_closes_the_breaker() {
    let mut policy = touchy();
    let breaker = policy.breaker.as_mut().unwrap();
    breaker.open_for = Duration::from_millis(50);
    let mesh = Mesh::start(policy);
    open_breaker(&mesh);
    mesh.answer(Answer::Watch);
    let mut stream = None;
    harness::eventually(|| {
        let response = mesh.grpc_begun("account.bank");
        let through = !response.headers().contains_key("x-usher-reason");
        stream = through.then_some(response);
        through
    });
    assert_closed(&mesh);
    assert_eq!(mesh.active().0, 1, "the stream goes on");
    drop(stream);
}

#[test]
fn an_open_breaker_is_heard_however_full_its_service_is() {
    let mut policy = touchy();
    let breaker = policy.breaker.as_mut().unwrap();
    breaker.open_for = Duration::from_secs(60);
    let mesh = Mesh::start(policy.clone());
    mesh.answer(Answer::Never);
    mesh.raw_while("POST / HTTP/1.1\r\nHost: account.bank\r\n\r\n", || {
        harness::eventually(|| mesh.seen().len() == 1);
        open_breaker(&mesh);
        policy.limits.max_concurrent_requests = 1;
        mesh.outbound(|service| service.policy = policy.into());
        let response = mesh.http1("http://account.bank/", "");
        assert_eq!(reason(&response), "BO breaker-open");
    });
}

#[test]
fn a_head_is_held_for_trailers_only_for_a_while() {
    let mut policy = TrafficPolicy::default();
    policy.retry.grpc_statuses = vec![14];
    policy.retry.idempotent_methods = vec!["bank.Account/Debit".into()];
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Silence);
    let began = std::time::Instant::now();
    drop(mesh.grpc_begun("account.bank"));
    let held = began.elapsed();
    assert!(held >= Duration::from_secs(1), "{held:?}");
    assert!(held < Duration::from_secs(10), "{held:?}");
}
