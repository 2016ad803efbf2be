//! Facts about proxies.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::client::HttpClient;

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
