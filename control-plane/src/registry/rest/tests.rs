//! Over JSON the same proof is asked for as over gRPC, and the same life is led.

use std::path::Path;

use axum::body::Body;
use http::{Method, Request as HttpRequest, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use usher_config::{parse::parse_files, value::SpiffeId};

use super::*;
use crate::{registry::MemoryStore, state::State as Mesh, watch::Watchers};

const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: { name: account, namespace: bank }
spec: { selector: { app: account }, ports: [{ port: 80 }] }
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: account, namespace: bank, labels: { app: account } }
spec: { serviceAccount: account }
";

async fn registry() -> (Router, Mesh) {
    let mesh = Mesh::new(Box::new(MemoryStore::default())).expect("empty");
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    mesh.apply(parsed, Path::new("")).await.expect("good");
    let watchers = Watchers::new(mesh.clone(), tokio::sync::watch::channel(false).1);
    let metrics = crate::telemetry::metrics::Metrics::new().expect("unique names");
    let service = RegistryService::new(mesh.clone(), watchers, metrics.registry_impostors);
    (routes(service), mesh)
}

fn peer(account: &str) -> Option<Peer> {
    let identity: SpiffeId = format!("spiffe://usher.local/ns/bank/sa/{account}")
        .parse()
        .expect("valid");
    Some(Peer::from(identity))
}

async fn ask(
    router: &Router,
    peer: Option<Peer>,
    (method, path, lease): (Method, &str, &str),
    body: &Value,
) -> (StatusCode, String) {
    let request = HttpRequest::builder().method(method).uri(path);
    let request = request
        .header(header::CONTENT_TYPE, "application/json")
        .header(LEASE_HEADER, lease);
    let mut request = request.body(Body::from(body.to_string())).expect("valid");
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    let answer = router.clone().oneshot(request).await.expect("infallible");
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("whole")
        .to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn instance() -> Value {
    json!({
        "namespace": "bank", "service": "account", "instance": "a-1",
        "address": "10.0.0.1:15006", "healthy": true
    })
}

const PLACE: &str = "/v1/instances/bank/account/a-1";

#[tokio::test]
async fn an_instance_registers_renews_and_goes() {
    let (router, mesh) = registry().await;
    let register = (Method::POST, "/v1/instances", "");
    let (status, body) = ask(&router, peer("account"), register, &instance()).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let granted: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(granted["ttlMs"], 15_000);
    let lease = granted["lease"].as_str().expect("a lease").to_owned();
    let ill = json!({ "healthy": false, "healthReason": "503" });
    let (status, body) = ask(&router, peer("account"), (Method::PUT, PLACE, &lease), &ill).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let endpoint = mesh.services()[0].endpoints[0].clone();
    assert!(!endpoint.healthy && endpoint.health_reason == "503");
    let wrong = (Method::PUT, PLACE, "other");
    let (status, body) = ask(&router, peer("account"), wrong, &ill).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    let path = format!("{PLACE}?waitMs=1000");
    let delete = (Method::DELETE, path.as_str(), lease.as_str());
    let (status, body) = ask(&router, peer("account"), delete, &Value::Null).await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::OK, "{\"confirmed\":true}")
    );
    assert!(mesh.services()[0].endpoints.is_empty());
}

#[tokio::test]
async fn nobody_registers_without_the_proof_that_a_sidecar_has() {
    let (router, mesh) = registry().await;
    let mistaken = json!({ "namespace": "bank", "servcie": "account" });
    for (peer, body, status) in [
        (None, instance(), StatusCode::UNAUTHORIZED),
        (Some(Peer::default()), instance(), StatusCode::UNAUTHORIZED),
        (peer("teller"), instance(), StatusCode::FORBIDDEN),
        (peer("account"), mistaken, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let register = (Method::POST, "/v1/instances", "");
        let (found, words) = ask(&router, peer, register, &body).await;
        assert_eq!(found, status, "{words}");
        assert!(!words.trim().is_empty());
    }
    assert!(mesh.services()[0].endpoints.is_empty());
}
