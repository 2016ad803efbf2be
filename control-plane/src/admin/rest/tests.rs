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

#[tokio::test]
async fn one_address_watches_so_often_and_others_all_the_same() {
    let directory = tempfile::tempdir().expect("writable");
    let domain = "usher.local".parse().expect("valid");
    let authority = Authority::open(&directory.path().join("ca"), &domain).expect("opens");
    let mesh = Mesh::new(Box::new(MemoryStore::default())).expect("empty");
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let rest = Rest {
        mesh: mesh.clone(),
        metrics: Arc::new(Metrics::new().expect("unique names")),
        authority: Arc::new(authority),
        watchers: Watchers::new(mesh, stopping),
    };
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
