//! Who speaks first, and what that says.

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use super::*;

/// Two ends of one connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap());
    let (connected, accepted) = tokio::join!(connected, listener.accept());
    (connected.unwrap(), accepted.unwrap().0)
}

#[tokio::test]
async fn http_is_found_however_late_and_in_whatever_pieces_it_comes() {
    let (mut caller, ours) = pair().await;
    let (application, mut server) = pair().await;
    let mut looked = Looked::new(Stream::Plain(ours));
    // As grpc-go does: it says SETTINGS before it has read anything.
    server
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let talk = async {
        for piece in [&b"GE"[..], b"T", b" /admin HTTP/1.1\r\n\r\n"] {
            tokio::task::yield_now().await;
            caller.write_all(piece).await.unwrap();
        }
    };
    let (words, ()) = tokio::join!(first_words(&mut looked, Some(&application), None), talk);
    assert_eq!(words.unwrap(), Words::Http1);
    assert!(looked.seen().starts_with(b"GET /"));
}

#[tokio::test]
async fn a_server_that_speaks_first_ends_the_wait() {
    let (_caller, ours) = pair().await;
    let (application, mut server) = pair().await;
    server.write_all(b"220 mail.bank ESMTP\r\n").await.unwrap();
    let mut looked = Looked::new(Stream::Plain(ours));
    let words = first_words(&mut looked, Some(&application), None).await;
    assert_eq!(words.unwrap(), Words::Opaque);
}

#[tokio::test]
async fn half_a_method_is_refused_in_the_end() {
    let (mut caller, ours) = pair().await;
    let (application, _server) = pair().await;
    caller.write_all(b"GE").await.unwrap();
    let mut looked = Looked::new(Stream::Plain(ours));
    let refused = first_words(&mut looked, Some(&application), None).await;
    assert_eq!(refused.unwrap_err().slug(), "protocol-undecided");
}

#[tokio::test]
async fn what_only_lenient_servers_take_for_http_is_http() {
    for said in ["\r\nGET / HTTP/1.1\r\n", "get / HTTP/1.1\r\n"] {
        let (mut caller, ours) = pair().await;
        let (application, _server) = pair().await;
        caller.write_all(said.as_bytes()).await.unwrap();
        let mut looked = Looked::new(Stream::Plain(ours));
        let words = first_words(&mut looked, Some(&application), None).await;
        assert_eq!(words.unwrap(), Words::Http1, "{said:?}");
    }
}

#[tokio::test]
async fn a_line_of_another_protocol_is_opaque_and_an_endless_one_is_refused() {
    let endless = "x".repeat(2 * FIRST_LINE_MAX);
    for (said, opaque) in [("get key\r\n", true), (&endless, false)] {
        let (mut caller, ours) = pair().await;
        let (application, _server) = pair().await;
        caller.write_all(said.as_bytes()).await.unwrap();
        let mut looked = Looked::new(Stream::Plain(ours));
        let words = first_words(&mut looked, Some(&application), None).await;
        assert_eq!(words.is_ok_and(|words| words == Words::Opaque), opaque);
    }
}
