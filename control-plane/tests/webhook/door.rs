//! What is no question gets no answer, in words; nobody can hold the webhook up; what is under way ends before it does.

use std::{io::ErrorKind, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    client::{NAME, certificates, handshake, over_http_2, post, review},
    plane::{Plane, believing, bundle, eventually, installed},
};

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "bank"},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    })
}

#[tokio::test]
async fn what_is_no_question_is_refused_with_the_reason() {
    let plane = Plane::start_with("", &[]).await;
    let mut client = plane.client().await;
    let with = |method: Method, path: &str, kind: &str, body: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", NAME)
            .header("content-type", kind)
            .body(Full::new(Bytes::from(body.to_owned())))
            .expect("a request")
    };
    let json = "application/json";
    let mut old = review("CREATE", &pod());
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    for (request, status, words) in [
        (with(Method::POST, "/", json, ""), 404, "/inject, /validate"),
        (
            with(Method::POST, "/inject/x", json, ""),
            404,
            "/inject, /validate",
        ),
        (with(Method::GET, "/inject", json, ""), 405, "allowed: POST"),
        (
            with(Method::PUT, "/validate", json, ""),
            405,
            "allowed: POST",
        ),
        (
            with(Method::POST, "/inject", "text/yaml", "a: 1"),
            415,
            "found Content-Type `text/yaml`",
        ),
        (with(Method::POST, "/inject", json, "{"), 400, "no JSON"),
        (
            with(Method::POST, "/validate", json, "{}"),
            400,
            "apiVersion: found none",
        ),
        (
            with(Method::POST, "/inject", json, &old.to_string()),
            400,
            "allowed: admission.k8s.io/v1",
        ),
    ] {
        let told = format!("{} {}", request.method(), request.uri());
        let answer = client.send(request).await.expect("an answer");
        assert_eq!(answer.status.as_u16(), status, "{told}: {}", answer.text);
        assert!(answer.text.contains(words), "{told}: {}", answer.text);
    }
    let metrics = scrape(&plane).await;
    for line in [
        "usher_admission_requests_total{outcome=\"malformed\",webhook=\"inject\"} 3",
        "usher_admission_requests_total{outcome=\"malformed\",webhook=\"validate\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

async fn scrape(plane: &Plane) -> String {
    let mut stream = TcpStream::connect(plane.http()).await.expect("open");
    let request = format!(
        "GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        plane.http()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("UTF-8");
    text
}

#[tokio::test]
async fn what_is_larger_than_two_objects_is_refused_before_it_comes() {
    let plane = Plane::start_with("", &[]).await;
    let mut stream = handshake(plane.webhook(), NAME, &[plane.root()])
        .await
        .expect("a handshake");
    let head = "POST /inject HTTP/1.1\r\nhost: usher\r\ncontent-type: application/json\r\ncontent-length: 8000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut text = vec![0; 512];
    let read = timeout(Duration::from_secs(4), stream.read(&mut text)).await;
    let read = read.expect("at once").expect("an answer");
    let said = String::from_utf8_lossy(&text[..read]);
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
}

#[tokio::test]
async fn a_dry_run_and_a_change_and_an_end_are_answered_alike_and_everything_is_counted() {
    let plane = Plane::start_with("", &[]).await;
    let mut client = plane.client().await;
    let mut dry = review("CREATE", &pod());
    dry["request"]["dryRun"] = json!(true);
    let wet = client.ask("/inject", &review("CREATE", &pod())).await;
    assert_eq!(client.ask("/inject", &dry).await, wet);
    let changed = client.ask("/inject", &review("UPDATE", &pod())).await;
    assert!(changed["allowed"] == true && changed.get("patch").is_none());
    let mut gone = review("DELETE", &pod());
    gone["request"]["object"] = Value::Null;
    assert_eq!(client.ask("/validate", &gone).await["allowed"], true);
    let metrics = scrape(&plane).await;
    for line in [
        "usher_admission_requests_total{outcome=\"patched\",webhook=\"inject\"} 2",
        "usher_admission_requests_total{outcome=\"allowed\",webhook=\"validate\"} 1",
        "usher_admission_duration_seconds_count{webhook=\"inject\"} 3",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn nobody_is_believed_but_by_the_bundle_and_by_the_services_name() {
    let api = installed().await;
    let plane = Plane::start(&api, "", &[]).await;
    let _ = believing(&api, &plane).await;
    let roots = certificates(&bundle(&api).expect("written"));
    let refused = handshake(plane.webhook(), "usher.elsewhere.svc", &roots).await;
    assert_eq!(
        refused.expect_err("another name").kind(),
        ErrorKind::InvalidData
    );
    let key = rcgen::KeyPair::generate().expect("random");
    let other = rcgen::CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    let other = other.self_signed(&key).expect("signed");
    let refused = handshake(plane.webhook(), NAME, &[other.der().clone()]).await;
    assert_eq!(
        refused.expect_err("another root").kind(),
        ErrorKind::InvalidData
    );
}

#[tokio::test]
async fn who_is_slow_is_told_so_and_holds_nobody_up() {
    let plane = Plane::start_with("", &[]).await;
    let root = plane.root();
    let mut slow = Vec::new();
    for _ in 0..60 {
        let mut stream = handshake(plane.webhook(), NAME, std::slice::from_ref(&root))
            .await
            .expect("a handshake");
        let head = "POST /inject HTTP/1.1\r\nhost: usher\r\ncontent-type: application/json\r\ncontent-length: 3000000\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.expect("sent");
        slow.push(stream);
    }
    // Some say nothing at all.
    let mut silent = TcpStream::connect(plane.webhook()).await.expect("open");
    let mut client = plane.client().await;
    let question = review("CREATE", &pod());
    let asked = client.ask("/inject", &question);
    let answer = timeout(Duration::from_secs(2), asked)
        .await
        .expect("at once");
    assert_eq!(answer["allowed"], true);
    let mut text = vec![0; 64];
    let read = timeout(Duration::from_secs(20), slow[0].read(&mut text)).await;
    let read = read.expect("in time").expect("an answer");
    let said = String::from_utf8_lossy(&text[..read]);
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    let closed = timeout(Duration::from_secs(20), silent.read(&mut text)).await;
    assert!(matches!(closed.expect("in time"), Ok(0) | Err(_)));
}

#[tokio::test]
async fn one_address_has_only_its_share_of_connections() {
    let plane = Plane::start_with("", &[]).await;
    let mut open = Vec::new();
    // Everybody here comes over loopback, whose share is all but a quarter.
    for _ in 0..400 {
        open.push(
            TcpStream::connect(plane.webhook())
                .await
                .expect("the kernel takes it"),
        );
    }
    let mut last = open.pop().expect("many");
    let mut byte = [0];
    let read = timeout(Duration::from_secs(2), last.read(&mut byte)).await;
    assert!(
        matches!(read.expect("at once"), Ok(0) | Err(_)),
        "it is closed"
    );
}

#[tokio::test]
async fn what_is_under_way_is_answered_before_it_stops() {
    let mut plane = Plane::start_with("", &[]).await;
    // Withdrawn as soon as it stops.
    let address = plane.webhook();
    let mut client = plane.client().await;
    assert_eq!(
        client.ask("/inject", &review("CREATE", &pod())).await["allowed"],
        true
    );
    let mut stream = handshake(address, NAME, &[plane.root()])
        .await
        .expect("a handshake");
    let body = review("CREATE", &pod()).to_string();
    let (first, rest) = body.split_at(10);
    let length = body.len();
    let head = format!(
        "POST /inject HTTP/1.1\r\nhost: usher\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    // It is asked for as soon as somebody reads it.
    let mut text = vec![0; 512];
    let read = stream.read(&mut text).await.expect("an answer");
    let said = String::from_utf8_lossy(&text[..read]).into_owned();
    assert!(said.starts_with("HTTP/1.1 100 "), "{said}");
    stream.write_all(first.as_bytes()).await.expect("sent");
    plane.terminate();
    // A new connection is not taken any more.
    eventually("the door closes", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    stream.write_all(rest.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"allowed\":true"),
        "{answer}"
    );
    assert!(plane.ended().await);
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let plane = Plane::start_with("", &[]).await;
    let answer = over_http_2(
        (plane.webhook(), &[plane.root()]),
        post("/inject", review("CREATE", &pod()).to_string()),
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.text.contains("JSONPatch"), "{}", answer.text);
}
