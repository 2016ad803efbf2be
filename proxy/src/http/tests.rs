//! Bodies that are sent again, header edits, and the answers this proxy makes.

use std::{future::poll_fn, pin::Pin};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;

use super::{error_response::Dialect, *};
use crate::{
    error::{Flag, Processing, ProxyError},
    route::path::PathReading,
};

fn frames(texts: &[&'static str]) -> Body {
    let frame = |text: &&'static str| Frame::data(Bytes::from_static(text.as_bytes()));
    Body::from_frames(texts.iter().map(frame).collect::<Vec<_>>())
}

async fn read(body: ReplayBody) -> String {
    let bytes = Body::Replay(body).collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_small_body_can_be_sent_again_from_its_beginning() {
    let replay = Replay::new(frames(&["one ", "two"]), 64);
    let mut first = Body::Replay(replay.attempt().unwrap());
    let frame = poll_fn(|cx| Pin::new(&mut first).poll_frame(cx))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(frame.into_data().unwrap(), "one ");
    assert_eq!(read(replay.attempt().unwrap()).await, "one two");
    assert_eq!(read(replay.attempt().unwrap()).await, "one two");
    assert_eq!(replay.bytes_passed(), 7);
}

#[tokio::test]
async fn a_body_in_many_small_pieces_is_kept_in_few() {
    let (first, rest) = (["1"; 700], ["2"; 3000]);
    let replay = Replay::new(frames(&[&first[..], &rest[..]].concat()), 4096);
    let mut begun = Body::Replay(replay.attempt().unwrap());
    for _ in 0..first.len() {
        poll_fn(|cx| Pin::new(&mut begun).poll_frame(cx)).await;
    }
    let whole = first.concat() + &rest.concat();
    assert_eq!(read(replay.attempt().unwrap()).await, whole);
    let mut pieces = 0;
    let mut again = Body::Replay(replay.attempt().unwrap());
    while poll_fn(|cx| Pin::new(&mut again).poll_frame(cx))
        .await
        .is_some()
    {
        pieces += 1;
    }
    assert_eq!(pieces, 4);
}

#[tokio::test]
async fn a_body_beyond_the_limit_passes_once() {
    let replay = Replay::new(frames(&["12345", "67890"]), 8);
    assert_eq!(read(replay.attempt().unwrap()).await, "1234567890");
    assert!(!replay.is_possible());
    assert!(replay.attempt().is_none());
}

#[tokio::test]
async fn an_abandoned_attempt_cannot_steal_frames() {
    let replay = Replay::new(frames(&["one", "two"]), 64);
    let old = replay.attempt().unwrap();
    assert_eq!(read(replay.attempt().unwrap()).await, "onetwo");
    assert!(Body::Replay(old).collect().await.is_err());
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    fields.iter().map(field).collect()
}

#[test]
fn hop_by_hop_fields_go_and_te_trailers_stays() {
    let mut headers = map(&[
        ("connection", "x-private, keep-alive, host"),
        ("x-private", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip, trailers"),
        ("upgrade", "h2c"),
        ("host", "a.b"),
        ("accept", "*/*"),
    ]);
    headers::remove_hop_by_hop(&mut headers);
    assert_eq!(
        headers,
        map(&[("te", "trailers"), ("host", "a.b"), ("accept", "*/*")])
    );
}

#[test]
fn our_own_fields_are_taken_from_who_may_not_say_them() {
    let mut headers = map(&[
        ("x-usher-reason", "AZ"),
        ("x-usher-deadline-ms", "5"),
        ("x-user", "1"),
    ]);
    headers::remove_ours(&mut headers, &[crate::policy::timeout::DEADLINE]);
    assert_eq!(
        headers,
        map(&[("x-usher-deadline-ms", "5"), ("x-user", "1")])
    );
}

#[test]
fn whoever_called_is_nobody_s_to_say_in_any_spelling() {
    let mut headers = map(&[
        ("x-forwarded-client-cert", "URI=spiffe://a/ns/b/sa/c"),
        ("x_forwarded-client_cert", "URI=spiffe://a/ns/b/sa/c"),
        ("x_usher_attempt", "1"),
        ("x_user", "1"),
    ]);
    headers::remove_ours(&mut headers, &[crate::policy::retry::ATTEMPT]);
    assert_eq!(headers, map(&[("x_user", "1")]));
}

#[test]
fn an_outsider_can_neither_say_nor_unsay_what_the_gateway_knows() {
    let mut headers = map(&[
        ("connection", "x-forwarded-for, X-Forwarded-Proto, x-own"),
        ("x_forwarded-for", "10.9.9.9"),
        ("x_real_ip", "10.9.9.9"),
        ("x_request_id", "chosen"),
        ("x_envoy_internal", "true"),
        ("x-own", "1"),
        ("x-other", "1"),
    ]);
    let outsider = outside::Outsider {
        ip: [203, 0, 113, 9].into(),
        tls: true,
        host: Some("www.example.com"),
        trusted_hops: 0,
    };
    outside::come_in(&mut headers, outsider);
    headers::remove_hop_by_hop(&mut headers);
    let truth = map(&[
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.example.com"),
        ("x-other", "1"),
    ]);
    assert_eq!(headers, truth);
}

#[test]
fn proxies_before_a_gateway_are_believed_as_far_as_they_are_known() {
    let come_in = |hops: u8, fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let outsider = outside::Outsider {
            ip: [10, 0, 0, 9].into(),
            tls: false,
            host: None,
            trusted_hops: hops,
        };
        let client = outside::come_in(&mut headers, outsider).to_string();
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        [client, text("x-forwarded-for"), text("x-forwarded-proto")]
    };
    let two = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(come_in(0, &two), ["10.0.0.9", "10.0.0.9", "http"]);
    assert_eq!(
        come_in(1, &two),
        ["10.0.0.1", "10.0.0.1, 10.0.0.9", "https"]
    );
    assert_eq!(
        come_in(2, &two),
        ["203.0.113.9", "203.0.113.9, 10.0.0.1, 10.0.0.9", "https"]
    );
    // Who came past the proxies has not written as many.
    assert_eq!(come_in(4, &two), ["10.0.0.9", "10.0.0.9", "http"]);
    for (entry, client) in [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("unknown", "10.0.0.9"),
        ("", "10.0.0.9"),
    ] {
        let fields = [("x-forwarded-for", entry), ("x-forwarded-proto", "gopher")];
        let [found, _, scheme] = come_in(1, &fields);
        assert_eq!(
            (found.as_str(), scheme.as_str()),
            (client, "http"),
            "{entry}"
        );
    }
    let taken_away = [("connection", "x-forwarded-for"), two[1]];
    assert_eq!(come_in(1, &taken_away)[0], "10.0.0.9");
}

#[tokio::test]
async fn what_is_answered_to_head_has_a_length_and_no_body() {
    let mut response = http::Response::new(frames(&["usher: no\n"]));
    response.headers_mut().remove("content-length");
    finish::announce_length(&mut response);
    assert!(
        response.headers().get("content-length").is_none(),
        "unknown"
    );
    let mut response = http::Response::new(Body::Full("usher: no\n".into()));
    finish::announce_length(&mut response);
    assert_eq!(response.headers()["content-length"], "10");
}

#[test]
fn keep_alive_timeouts_are_read() {
    let five = headers::KeepAlive::For(std::time::Duration::from_secs(5));
    assert_eq!(
        headers::keep_alive(&map(&[("keep-alive", "max=3, timeout=5")])),
        five
    );
    assert_eq!(headers::keep_alive(&map(&[])), headers::KeepAlive::Unsaid);
}

fn normalized(request: http::request::Builder) -> Result<String, ProxyError> {
    let mut request = request.body(Body::Empty).unwrap();
    head::normalize(&mut request, PathReading::default()).map(|()| request.uri().to_string())
}

#[test]
fn one_form_of_target_whatever_the_caller_wrote() {
    let account = |uri: &str| Request::get(uri).header("host", "account.bank");
    assert_eq!(
        normalized(account("/a/../b?c=d")).unwrap(),
        "http://account.bank/b?c=d"
    );
    assert_eq!(
        normalized(account("http://account.bank:80/%7Eu")).unwrap(),
        "http://account.bank:80/~u"
    );
    assert_eq!(
        normalized(Request::get("http://ACCOUNT.bank/")).unwrap(),
        "http://ACCOUNT.bank/"
    );
    assert_eq!(
        normalized(account("//orders//?next=//x")).unwrap(),
        "http://account.bank/orders/?next=//x"
    );
    assert!(normalized(account("http://fraud.bank/")).is_err());
    assert!(normalized(account("/a;b/c")).is_err());
    assert!(normalized(Request::get("/")).is_err());
    assert!(normalized(Request::get("/").header("host", "me@account.bank")).is_err());
}

#[test]
fn cookies_are_one_field_however_many_come() {
    let crumbs = (0..150).map(|number| format!("c{number}=v"));
    let mut request = Request::builder().uri("http://api/");
    for crumb in crumbs.clone() {
        request = request.header("cookie", crumb);
    }
    let mut request = request.body(Body::Empty).unwrap();
    head::normalize(&mut request, PathReading::default()).unwrap();
    let fields: Vec<_> = request.headers().get_all("cookie").iter().collect();
    assert_eq!(fields, [&crumbs.collect::<Vec<_>>().join("; ")]);
}

#[test]
fn what_was_provably_not_done_may_be_tried_again_elsewhere() {
    let endpoint = "127.0.0.1:1".parse().unwrap();
    for (processing, status) in [(Processing::Unprocessed, 503), (Processing::Unknown, 502)] {
        let error = ProxyError::UpstreamReset {
            endpoint,
            processing,
        };
        assert_eq!(error_response::status(&error), status);
    }
}

#[test]
fn grpc_callers_get_trailers_only() {
    let error = ProxyError::NoEndpoint {
        service: "bank/account".parse().unwrap(),
    };
    let response = error_response::respond(&error, Dialect::Grpc);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers().get("grpc-status").unwrap(), "14");
    assert!(response.body().is_end_stream());
    assert_eq!(
        response.headers().get("x-usher-reason").unwrap(),
        "UH no-healthy-endpoint"
    );
}

#[test]
fn only_overload_time_and_who_asks_have_grpc_codes_of_their_own() {
    let others = Flag::ALL
        .into_iter()
        .filter(|flag| error_response::grpc_status(*flag) != 14);
    assert_eq!(
        others.collect::<Vec<_>>(),
        [Flag::Uo, Flag::Ut, Flag::De, Flag::Az, Flag::Rl, Flag::Jw]
    );
}

#[tokio::test]
async fn what_was_kept_for_a_repeat_is_let_go_when_there_will_be_none() {
    let chunk = |byte: u8| Bytes::from(vec![byte; 1000]);
    let (first, second) = (chunk(1), chunk(2));
    let frames = [first.clone(), second.clone()].map(Frame::data);
    let replay = Replay::new(Body::from_frames(frames), 64 * 1024);
    // The first attempt has read all, the second one of two: one chunk is still to be sent.
    let read_all = Body::Replay(replay.attempt().unwrap()).collect().await;
    assert_eq!(read_all.unwrap().to_bytes().len(), 2000);
    let mut body = Body::Replay(replay.attempt().unwrap());
    drop(body.frame().await);
    assert!(!first.is_unique());
    replay.release();
    assert!(first.is_unique(), "sent, and never again");
    assert!(!replay.is_possible() && replay.attempt().is_none());
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(rest, second);
    drop(rest);
    assert!(second.is_unique());
    assert_eq!(replay.bytes_passed(), 2000);
}

#[tokio::test]
async fn a_paused_body_takes_nothing_more_until_the_next_attempt() {
    let replay = Replay::new(frames(&["one", "two"]), 64);
    let mut first = Body::Replay(replay.attempt().unwrap());
    first.frame().await.unwrap().unwrap();
    replay.pause();
    assert!(first.frame().now_or_never().is_none());
    assert_eq!(replay.bytes_passed(), 3);
    replay.end_attempt();
    assert!(first.frame().await.unwrap().is_err());
    assert_eq!(read(replay.attempt().unwrap()).await, "onetwo");
}

#[tokio::test]
async fn a_small_answer_is_taken_whole_with_its_trailers() {
    let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("1"))]);
    let answer = || {
        let text = ["no ", "room"].map(|text| Frame::data(Bytes::from_static(text.as_bytes())));
        Body::from_frames(text.into_iter().chain([Frame::trailers(trailers.clone())]))
    };
    let whole = peek::take_whole(answer(), 7).await.unwrap();
    let whole = whole.collect().await.unwrap();
    assert_eq!(whole.trailers(), Some(&trailers));
    assert_eq!(whole.to_bytes(), "no room");
    assert!(peek::take_whole(answer(), 6).await.is_none());
    assert!(
        peek::take_whole(Body::Empty, 0)
            .await
            .unwrap()
            .is_end_stream()
    );
}
