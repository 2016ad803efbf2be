//! What the two doors answer.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;

use super::*;
use crate::{
    control::Readiness,
    snapshot::Change,
    telemetry::metrics::{Direction, Metrics, Side},
};

fn admin() -> (Admin, mpsc::Receiver<Command>) {
    let metrics = Metrics::new(1);
    metrics
        .connections(Direction::Inbound, Side::Downstream)
        .set(3);
    let registry = prometheus::Registry::new();
    metrics.register(&registry).unwrap();
    let store = Arc::new(Store::new("bank/account".parse().unwrap(), 1, metrics));
    let (sender, commands) = mpsc::channel(1);
    let standing = Standing::default();
    let readiness = Readiness::new(store.clone(), standing.clone(), false);
    (
        Admin {
            store,
            readiness,
            standing,
            metrics: registry,
            log: LogFilter::default(),
            probes: Door::default(),
            callers: Lists::new(1),
            commands: sender,
        },
        commands,
    )
}

fn request(method: Method, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

async fn body(answer: serve::Answer) -> String {
    let bytes: Bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_scrape_says_how_many_are_ejected_now() {
    let (admin, _commands) = admin();
    let name: usher_config::value::ServiceName = "bank/account".parse().unwrap();
    let service = usher_config::model::Service {
        name: name.clone(),
        virtual_addresses: Vec::new(),
        ports: Vec::new(),
        identities: Vec::new(),
        policy: Arc::default(),
        routes: Vec::new(),
        streams: Vec::new(),
    };
    admin.store.apply(Change {
        services: vec![(name.clone(), Some(service))],
        ..Change::default()
    });
    let service = admin.store.load().service(&name).cloned().unwrap();
    let scraped = async |ejected: u32| {
        let answer = metrics_port::handle(&admin, &request(Method::GET, "/metrics"));
        let line = format!("usher_ejected_endpoints{{service=\"bank/account\"}} {ejected}");
        let text = body(answer).await;
        assert!(text.contains(&line), "{text}");
    };
    let roster = &service.running.roster;
    roster.resize(2);
    assert!(roster.reserve(50, 1));
    scraped(1).await;
    // As an endpoint does that leaves while it is out.
    roster.release();
    scraped(0).await;
}

#[tokio::test]
async fn a_sidecar_is_ready_when_it_serves_a_revision_and_does_not_leave() {
    let (admin, _commands) = admin();
    let status =
        |admin: &Admin| metrics_port::handle(admin, &request(Method::GET, "/ready")).status();
    assert_eq!(status(&admin), StatusCode::SERVICE_UNAVAILABLE);
    admin.readiness.serve();
    assert_eq!(
        status(&admin),
        StatusCode::SERVICE_UNAVAILABLE,
        "no revision yet"
    );
    let revision = usher_config::model::Revision {
        number: 1,
        digest: "d".repeat(64),
    };
    admin.store.apply(Change {
        revision: Some(revision),
        ..Change::default()
    });
    assert_eq!(
        status(&admin),
        StatusCode::SERVICE_UNAVAILABLE,
        "no policy of its own yet"
    );
    let policy = usher_config::model::InboundPolicy {
        service: "bank/account".parse().unwrap(),
        mtls: Default::default(),
        ports: Vec::new(),
        access: Vec::new(),
        rate_limits: Vec::new(),
        authentication: None,
        claim_headers: Vec::new(),
        gateways: Vec::new(),
        health_check: None,
        telemetry: Default::default(),
        idle: None,
        outbound: Default::default(),
        path_reading: Default::default(),
        zone: String::new(),
    };
    admin.store.apply(Change {
        inbound: Some(policy),
        ..Change::default()
    });
    assert_eq!(status(&admin), StatusCode::OK);
    admin.readiness.leave();
    assert_eq!(status(&admin), StatusCode::SERVICE_UNAVAILABLE);
    let why = body(metrics_port::handle(
        &admin,
        &request(Method::GET, "/ready"),
    ))
    .await;
    assert_eq!(why, "not ready: it is leaving (drain)\n");
    let live = metrics_port::handle(&admin, &request(Method::GET, "/live"));
    assert_eq!(live.status(), StatusCode::OK, "leaving is not dying");
}

#[tokio::test]
async fn the_metrics_port_shows_metrics_and_changes_nothing() {
    let (admin, _commands) = admin();
    let metrics = metrics_port::handle(&admin, &request(Method::GET, "/metrics"));
    assert!(body(metrics).await.contains("usher_connections"));
    for (method, uri, status) in [
        (Method::POST, "/ready", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/config", StatusCode::NOT_FOUND),
        (Method::POST, "/quit", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(
            metrics_port::handle(&admin, &request(method, uri)).status(),
            status,
            "{uri}"
        );
    }
}

#[tokio::test]
async fn the_socket_says_how_the_sidecar_stands() {
    let (admin, _commands) = admin();
    let answer = socket::handle(&admin, &request(Method::GET, "/standing")).await;
    let standing: serde_json::Value = serde_json::from_str(&body(answer).await).unwrap();
    assert_eq!(standing["revision"], serde_json::Value::Null);
    assert_eq!(standing["admission"]["state"], "pending");
    assert_eq!(standing["waitingFor"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_drain_is_answered_when_it_is_done() {
    let (admin, mut commands) = admin();
    let drain = tokio::spawn(async move {
        socket::handle(&admin, &request(Method::POST, "/drain?grace=2s"))
            .await
            .status()
    });
    let Some(Command::Drain { grace, done }) = commands.recv().await else {
        panic!("no drain")
    };
    assert_eq!(grace, Some(Duration::from_secs(2)));
    assert!(!drain.is_finished());
    done.send(()).unwrap();
    assert_eq!(drain.await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn the_socket_explains_what_it_does_not_understand() {
    let (admin, _commands) = admin();
    for (method, uri, status, text) in [
        (
            Method::GET,
            "/nothing",
            StatusCode::NOT_FOUND,
            "allowed: GET /config",
        ),
        (
            Method::GET,
            "/drain",
            StatusCode::METHOD_NOT_ALLOWED,
            "GET is not for /drain",
        ),
        (
            Method::POST,
            "/drain?grace=soon",
            StatusCode::BAD_REQUEST,
            "grace: found \"soon\"",
        ),
        (
            Method::PUT,
            "/log",
            StatusCode::BAD_REQUEST,
            "filter is missing",
        ),
        (
            Method::PUT,
            "/log?filter=%5Bx",
            StatusCode::BAD_REQUEST,
            "not a log filter",
        ),
        (Method::GET, "/config", StatusCode::OK, "\"services\": []"),
        (Method::GET, "/breakers", StatusCode::OK, "[]"),
    ] {
        let answer = socket::handle(&admin, &request(method, uri)).await;
        assert_eq!(answer.status(), status, "{uri}");
        let body = body(answer).await;
        assert!(body.contains(text), "{uri}: {body}");
    }
}
