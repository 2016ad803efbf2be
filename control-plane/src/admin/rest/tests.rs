//! Who may read over REST.

mod openapi;

use std::net::SocketAddr;

use axum::{body::Body, extract::ConnectInfo};
use tower::ServiceExt as _;

use super::*;
use crate::registry::MemoryStore;

#[test]
fn only_addresses_and_localhost_are_own_names() {
    for host in [
        "127.0.0.1:15010",
        "localhost",
        "LOCALHOST:1",
        "[::1]:15010",
        "10.0.0.1",
    ] {
        assert!(is_own_name(host), "{host}");
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example:15010",
        "",
        "localhost.evil.example",
    ] {
        assert!(!is_own_name(host), "{host}");
    }
}

/// With what stops it, which must live as long.
fn rest_of(mesh: &Mesh) -> (Rest, tokio::sync::watch::Sender<bool>) {
    let directory = tempfile::tempdir().expect("writable");
    let domain = "usher.local".parse().expect("valid");
    let authority = Authority::open(&directory.path().join("ca"), &domain).expect("opens");
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let rest = Rest {
        mesh: mesh.clone(),
        metrics: Arc::new(Metrics::new().expect("unique names")),
        authority: Arc::new(authority),
        watchers: Watchers::new(mesh.clone(), stopping),
    };
    (rest, stop)
}

async fn get_text(router: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::builder().uri(path);
    let mut request = request.body(Body::empty()).expect("valid");
    let from: SocketAddr = "10.0.0.1:1".parse().expect("valid");
    request.extensions_mut().insert(ConnectInfo(from));
    let answer = router.clone().oneshot(request).await.expect("infallible");
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
    let text = String::from_utf8(body.expect("whole").to_vec()).expect("text");
    (status, text)
}

#[tokio::test]
async fn a_parameter_that_there_is_not_is_refused_and_told_what_there_is() {
    let mesh = Mesh::new(Box::new(MemoryStore::default())).expect("empty");
    let address: SocketAddr = "10.0.0.9:15010".parse().expect("valid");
    let (rest, _stop) = rest_of(&mesh);
    let router = router(rest, address);
    for (path, allowed) in [
        ("/v1/services", "none"),
        ("/v1/status", "none"),
        ("/v1/revisions", "none"),
        ("/v1/services/bank/account", "none"),
        ("/v1/instances", "namespace, service, zone"),
        ("/v1/watch", "namespace, service, zone"),
        ("/v1/objects", "kind, namespace, name"),
    ] {
        let (status, text) = get_text(&router, &format!("{path}?namespce=bank")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {text}");
        assert!(text.contains("namespce"), "{path}: {text}");
        assert!(
            text.contains(&format!("allowed: {allowed}")),
            "{path}: {text}"
        );
    }
    let (status, _) = get_text(&router, "/v1/services").await;
    assert_eq!(status, StatusCode::OK);
    let (status, text) = get_text(&router, "/v1/objects?kind=HTPRoute").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("HTTPRoute"), "{text}");
}

#[tokio::test]
async fn one_address_watches_so_often_and_others_all_the_same() {
    let mesh = Mesh::new(Box::new(MemoryStore::default())).expect("empty");
    let (rest, _stop) = rest_of(&mesh);
    let own: SocketAddr = "10.0.0.9:15010".parse().expect("valid");
    let router = router(rest, own);
    let watch = async |from: &str| {
        let from: SocketAddr = from.parse().expect("valid");
        let request = Request::builder().uri("/v1/watch");
        let mut request = request.body(Body::empty()).expect("valid");
        request.extensions_mut().insert(ConnectInfo(from));
        router.clone().oneshot(request).await.expect("infallible")
    };
    let mut open = Vec::new();
    for port in 1..=4 {
        open.push(watch(&format!("10.0.0.1:{port}")).await);
    }
    assert!(open.iter().all(|answer| answer.status() == StatusCode::OK));
    let fifth = watch("10.0.0.1:5").await;
    assert_eq!(fifth.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(watch("10.0.0.2:1").await.status(), StatusCode::OK);
    for port in 1..=5 {
        open.push(watch(&format!("127.0.0.1:{port}")).await);
    }
    let here = &open[4..];
    assert!(here.iter().all(|answer| answer.status() == StatusCode::OK));
}
