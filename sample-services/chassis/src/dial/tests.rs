//! Facts about proxies.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::client::HttpClient;
use crate::grpc;
use crate::proto::health::HealthCheckRequest;
use crate::proto::health::health_client::HealthClient;

fn dialer(pairs: &[(&str, &str)]) -> Dialer {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Dialer::from_environment(&mut Environment::from_pairs(pairs)).expect("a valid environment")
}

#[test]
fn hosts_of_no_proxy_are_called_directly() {
    let dialer = dialer(&[
        ("http_proxy", "http://127.0.0.1:15001"),
        ("no_proxy", "localhost, 127.0.0.1,.bank"),
    ]);
    for (host, proxied) in [
        ("localhost", false),
        ("127.0.0.1", false),
        ("account.bank", false),
        ("Account.BANK", false),
        ("notbank", true),
        ("account.other", true),
    ] {
        assert_eq!(dialer.proxy_for(host).is_some(), proxied, "{host}");
    }
}

#[test]
fn an_unset_proxy_means_direct_calls() {
    assert!(
        dialer(&[("http_proxy", "")])
            .proxy_for("account.bank")
            .is_none()
    );
}

#[tokio::test]
async fn a_proxied_call_has_the_absolute_form_and_the_peers_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let proxy = format!("http://{}", listener.local_addr().expect("address"));
    let client = HttpClient::new(dialer(&[("http_proxy", proxy.as_str())]));
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).await.expect("read");
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer).await.expect("written");
        String::from_utf8_lossy(&head[..length]).into_owned()
    };
    let call = client.get(
        "http://reporting.bank:8080/v1/totals".into(),
        Duration::from_secs(5),
    );
    let (head, answer) = tokio::join!(serve, call);
    assert_eq!(answer.expect("answered").body, "ok");
    assert!(
        head.starts_with("GET http://reporting.bank:8080/v1/totals HTTP/1.1\r\n"),
        "{head}"
    );
    let lower = head.to_ascii_lowercase();
    assert!(lower.contains("host: reporting.bank:8080\r\n"), "{head}");
    assert!(lower.contains("traceparent: 00-"), "{head}");
}

#[tokio::test]
async fn a_proxied_grpc_call_names_its_peer_and_carries_deadline_trace_and_key() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let proxy = format!("http://{}", listener.local_addr().expect("address"));
    let seen_there = Arc::clone(&seen);
    let answer = async move |request: axum::extract::Request| {
        let authority = request
            .uri()
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        let header = |name: &str| {
            let value = request
                .headers()
                .get(name)
                .map(|value| value.to_str().expect("text"));
            value.unwrap_or("missing").to_owned()
        };
        let names = [
            "idempotency-key",
            "grpc-timeout",
            "traceparent",
            "x-request-id",
        ];
        let mut seen = seen_there.lock().expect("seen");
        seen.push(authority);
        seen.extend(names.map(header));
        [("content-type", "application/grpc"), ("grpc-status", "5")]
    };
    let server = axum::serve(listener, axum::Router::new().fallback(answer));
    tokio::spawn(server.into_future());
    let url = BaseUrl::parse("http://account.bank:50051").expect("url");
    let dialer = dialer(&[("http_proxy", proxy.as_str())]);
    let mut client = HealthClient::new(grpc::channel(&url, &dialer).expect("channel"));
    let request = grpc::request(
        HealthCheckRequest {
            service: String::new(),
        },
        "p1/debit",
        Duration::from_secs(3),
    );
    let status = client
        .check(request)
        .await
        .expect_err("refused by the proxy");
    assert_eq!(status.code(), tonic::Code::NotFound, "{status}");
    let seen = seen.lock().expect("seen").clone();
    assert_eq!(seen[..3], ["account.bank:50051", "p1/debit", "3000000u"]);
    assert!(
        seen[3].starts_with("00-") && seen[4] != "missing",
        "{seen:?}"
    );
}
