//! The client reads whole answers and gives up in time.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

async fn served_by(answer: &'static str) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    Address::Tcp(address)
}

#[tokio::test]
async fn an_answer_has_its_status_headers_and_body() {
    let address = served_by("HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 4\r\n\r\ntrue").await;
    let answer = fetch(&address, "/").await.unwrap();
    assert_eq!(answer.header("x-a"), Some("b"));
    assert!(answer.json::<bool>().unwrap());
}

#[tokio::test]
async fn a_refusal_is_not_decoded() {
    let address =
        served_by("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\ntrue").await;
    let error = fetch(&address, "/")
        .await
        .unwrap()
        .json::<bool>()
        .unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
}

#[tokio::test]
async fn silence_is_an_error_after_the_limit() {
    let address = served_by("").await;
    let request = Request::get("/").body(Full::default()).unwrap();
    let error = exchange(&address, request, Duration::from_millis(20))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no answer within"), "{error}");
}
