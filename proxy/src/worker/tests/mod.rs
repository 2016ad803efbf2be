//! A pair of sidecars on real sockets: what a caller sees through them.

mod application;
mod blame;
mod client;
mod bounds;
mod callers;
mod claims;
mod goaway;
mod harness;
mod heads;
mod opaque;
mod refusals;
mod retries;
mod sidecar;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use usher_config::model::{
    AccessPolicy, AccessRule, Fallback, FallbackTarget, MtlsMode, Protocol, StaticResponse,
    TrafficPolicy,
};

use application::Answer;
use harness::{Mesh, text};

#[test]
fn a_request_goes_through_both_sidecars_and_back() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let response = mesh.http1("http://account.bank/v1/accounts?x=1", "hello");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(&response), "POST /v1/accounts?x=1 account.bank hello");
    let seen = mesh.seen();
    let headers = &seen.last().unwrap().0;
    let certificate = headers
        .get("x-forwarded-client-cert")
        .unwrap()
        .to_str()
        .unwrap();
    assert!(
        certificate.contains("URI=spiffe://usher.local/ns/bank/sa/transaction"),
        "{certificate}"
    );
    assert!(headers.contains_key("x-request-id"));
    assert!(headers.contains_key("traceparent"));
    assert!(!headers.contains_key("x-usher-secret"));
    assert!(!headers.contains_key("connection"));
}

#[test]
fn grpc_trailers_pass_both_ways() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.answer(Answer::Grpc { code: 0 });
    let (head, body, trailers) = mesh.grpc("account.bank", Bytes::from_static(b"ping"));
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(body, "ping");
    assert_eq!(trailers.unwrap().get("grpc-status").unwrap(), "0");
}

#[test]
fn an_unknown_service_is_explained() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let response = mesh.http1("http://nobody.bank/", "");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        response.headers().get("x-usher-reason").unwrap(),
        "NC service-unknown"
    );
    let (head, _, _) = mesh.grpc("nobody.bank", Bytes::new());
    assert_eq!(head.headers.get("grpc-status").unwrap(), "14");
}

#[test]
fn a_post_that_may_have_been_done_is_never_repeated() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.answer(Answer::Status(StatusCode::SERVICE_UNAVAILABLE));
    let response = mesh.http1("http://account.bank/pay", "100");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(mesh.seen().len(), 1);
}

#[test]
fn a_get_is_repeated_with_its_attempt_number() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.answer(Answer::Status(StatusCode::SERVICE_UNAVAILABLE));
    let response = mesh.get("http://account.bank/");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let numbers: Vec<_> = mesh
        .seen()
        .iter()
        .map(|(headers, _)| headers.get("x-usher-attempt").cloned().unwrap())
        .collect();
    assert_eq!(numbers, ["1", "2", "3"]);
}

#[test]
fn a_body_is_repeated_whole_where_the_policy_vouches() {
    let mut policy = TrafficPolicy::default();
    policy.retry.idempotency_header = Some("idempotency-key".parse().unwrap());
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Status(StatusCode::BAD_GATEWAY));
    let response = mesh.http1_with("http://account.bank/", "some body", |request| {
        request
            .headers_mut()
            .insert("idempotency-key", "1".parse().unwrap());
    });
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let bodies: Vec<_> = mesh.seen().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["some body"; 3]);
}

#[test]
fn a_slow_answer_is_cut_off_by_the_route_and_by_the_caller() {
    let mut policy = TrafficPolicy::default();
    policy.timeouts.request = Some(Duration::from_millis(50));
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Never);
    let response = mesh.http1("http://account.bank/", "");
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(
        response.headers().get("x-usher-reason").unwrap(),
        "UT request-timeout"
    );
    let response = mesh.http1_with("http://account.bank/", "", |request| {
        request
            .headers_mut()
            .insert("x-usher-deadline-ms", "20".parse().unwrap());
    });
    assert_eq!(
        response.headers().get("x-usher-reason").unwrap(),
        "DE deadline-passed"
    );
    let response = mesh.http1_with("http://account.bank/", "", |request| {
        request
            .headers_mut()
            .insert("x-usher-deadline-ms", "1".parse().unwrap());
    });
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[test]
fn the_application_hears_how_much_time_is_left() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.http1_with("http://account.bank/", "", |request| {
        request
            .headers_mut()
            .insert("x-usher-deadline-ms", "10000".parse().unwrap());
    });
    let seen = mesh.seen();
    let left = seen.last().unwrap().0["x-usher-deadline-ms"]
        .to_str()
        .unwrap();
    // Both sidecars keep 5 ms to answer for themselves.
    assert!((1..=9_990).contains(&left.parse().unwrap()), "{left}");
}

#[test]
fn an_access_policy_denies_by_name() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(|policy| {
        policy.access = vec![access("bank/nobody", Vec::new())];
    });
    let response = mesh.http1("http://account.bank/", "");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(text(&response).contains("bank/nobody"));
    assert!(mesh.seen().is_empty());
}

#[test]
fn plaintext_is_refused_unless_permitted() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let response = mesh.direct("x");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        response.headers().get("x-usher-reason").unwrap(),
        "AZ mutual-tls-required"
    );
    mesh.inbound(|policy| policy.mtls = MtlsMode::Permissive);
    assert_eq!(mesh.direct("x").status(), StatusCode::OK);
    assert!(
        !mesh
            .seen()
            .last()
            .unwrap()
            .0
            .contains_key("x-forwarded-client-cert")
    );
}

#[test]
fn ambiguous_requests_are_refused() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let response = mesh.http1("http://account.bank/a%2Fb", "");
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(mesh.seen().is_empty());
    for raw in [
        "GET / HTTP/1.1\r\nHost: account.bank\r\nHost: fraud.bank\r\n\r\n",
        "GET http://account.bank/ HTTP/1.1\r\nHost: fraud.bank\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: account.bank\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: account.bank\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "GET / HTTP/1.1\r\nHost: account.bank\r\nA: b\r\n c: d\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        let answer = mesh.raw(raw);
        let status = if raw.contains("gzip") { 501 } else { 400 };
        let line = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&line), "{raw:?}: {answer}");
    }
    assert!(mesh.seen().is_empty());
}

#[test]
fn connect_is_refused_and_an_offer_of_h2c_is_ignored() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let connect = "CONNECT account.bank:80 HTTP/1.1\r\nHost: account.bank:80\r\n\r\n";
    assert!(mesh.raw(connect).starts_with("HTTP/1.1 405"));
    assert!(mesh.seen().is_empty());
    let offer = "GET / HTTP/1.1\r\nHost: account.bank\r\nConnection: upgrade, http2-settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    assert!(mesh.raw(offer).starts_with("HTTP/1.1 200"));
}

#[test]
fn both_framings_become_one_and_the_connection_closes() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let both = "POST / HTTP/1.1\r\nHost: account.bank\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
                2\r\nok\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: account.bank\r\n\r\n";
    let answer = mesh.raw(both);
    assert!(!answer.contains("smuggled"), "{answer}");
    assert!(mesh.seen().len() <= 1);
}

#[test]
fn an_endpoint_that_is_gone_is_answered_for_by_the_fallback() {
    let policy = TrafficPolicy {
        name: "bank/fraud".into(),
        fallback: Some(Fallback {
            on_open: true,
            on_no_endpoint: true,
            on_exhausted: true,
            repeatable: false,
            target: FallbackTarget::Response(StaticResponse {
                status: StatusCode::ACCEPTED,
                headers: HeaderMap::new(),
                body: Bytes::from_static(b"later"),
            }),
        }),
        ..TrafficPolicy::default()
    };
    let mesh = Mesh::start(policy);
    mesh.remove_endpoint();
    let response = mesh.http1("http://account.bank/", "x");
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(
        response.headers().get("x-usher-fallback").unwrap(),
        "bank/fraud"
    );
    assert_eq!(text(&response), "later");
}

#[test]
fn a_dead_endpoint_opens_the_breaker_and_later_closes_it() {
    let mut policy = TrafficPolicy::default();
    policy.retry.attempts = 0;
    policy.breaker = Some(usher_config::model::Breaker {
        min_requests: 5,
        open_for: Duration::from_millis(100),
        ..usher_config::model::Breaker::default()
    });
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::Status(StatusCode::INTERNAL_SERVER_ERROR));
    let reasons: Vec<_> = (0..20)
        .map(|_| {
            mesh.http1("http://account.bank/", "")
                .headers()
                .get("x-usher-reason")
                .cloned()
        })
        .collect();
    assert_eq!(reasons.last().unwrap().as_ref().unwrap(), "BO breaker-open");
    mesh.answer(Answer::Echo);
    harness::eventually(|| mesh.http1("http://account.bank/", "").status() == StatusCode::OK);
}

#[test]
fn a_caller_that_leaves_ends_the_work() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.answer(Answer::Never);
    mesh.raw_and_leave("GET / HTTP/1.1\r\nHost: account.bank\r\n\r\n");
    harness::eventually(|| mesh.active() == (0, 0));
}

#[test]
fn bodies_stream_both_ways_at_once() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.answer(Answer::Stream);
    let (said, heard) = mesh.conversation(&["one", "two", "three"]);
    assert_eq!(said, heard);
}

#[test]
fn large_bodies_pass() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.answer(Answer::Stream);
    let large = Bytes::from(vec![b'x'; 3 << 20]);
    let (_, body, _) = mesh.grpc("account.bank", large.clone());
    assert_eq!(body.len(), large.len());
}

#[test]
fn what_leads_nowhere_is_explained_in_the_callers_words() {
    let mesh = Mesh::start(TrafficPolicy::default());
    for (target, words) in [
        ("http://example.com/", &["example.com", "no_proxy"][..]),
        ("http://api.example.com/", &["api.example.com", "no_proxy"]),
        ("http://192.0.2.1/", &["192.0.2.1", "no_proxy"]),
        (
            "http://account.bank:99/",
            &["no port 99", "only port is 80"],
        ),
    ] {
        let answer = mesh.get(target);
        for word in words {
            assert!(text(&answer).contains(word), "{target}: {}", text(&answer));
        }
    }
    mesh.outbound(|service| service.ports[0].protocol = Protocol::Tcp);
    let answer = mesh.get("http://account.bank/");
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
    assert!(text(&answer).contains("declared tcp"), "{}", text(&answer));
}

fn access(name: &str, rules: Vec<AccessRule>) -> AccessPolicy {
    AccessPolicy {
        name: name.into(),
        deny_by_default: true,
        dry_run: false,
        rules,
        invalid: false,
    }
}

/// Bodies of the kinds that tests send.
fn streamed(
    frames: tokio::sync::mpsc::Receiver<Bytes>,
) -> impl http_body::Body<Data = Bytes, Error = std::convert::Infallible> {
    let stream = futures_util::stream::unfold(frames, async |mut frames| {
        frames
            .recv()
            .await
            .map(|bytes| (Ok(http_body::Frame::data(bytes)), frames))
    });
    StreamBody::new(Box::pin(stream))
}

fn whole(bytes: Bytes) -> http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible> {
    Full::new(bytes).boxed()
}

fn post(
    target: &str,
    body: &str,
) -> Request<http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>> {
    let mut request = Request::new(whole(Bytes::copy_from_slice(body.as_bytes())));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = target.parse().unwrap();
    request
}
