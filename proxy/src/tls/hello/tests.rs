//! A client hello is read however it is cut, and nothing of it is lost.

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::ServerName;
use tokio::io::duplex;

use super::*;

/// What a caller says first that asks for `host`.
fn said(host: &'static str) -> Vec<u8> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(host).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut said = Vec::new();
    connection.write_tls(&mut said).unwrap();
    said
}

#[tokio::test]
async fn a_hello_may_come_one_byte_at_a_time() {
    let said = said("a.v.test");
    // As many bytes as fit are the piece that the reader sees.
    for piece in [1, 7, said.len()] {
        let (mut caller, mut stream) = duplex(piece);
        let (read, wrote) = tokio::join!(read(&mut stream), caller.write_all(&said));
        wrote.unwrap();
        let (accepted, seen) = read.unwrap();
        assert_eq!(accepted.client_hello().server_name(), Some("a.v.test"));
        assert_eq!(seen, said, "pieces of {piece}: it is passed on whole");
    }
}

#[tokio::test]
async fn a_hello_that_ends_too_early_or_never_is_none() {
    let said = said("a.v.test");
    let (mut caller, mut stream) = duplex(1);
    let cut = async {
        caller.write_all(&said[..said.len() - 1]).await.unwrap();
        drop(caller);
    };
    let (read_cut, ()) = tokio::join!(read(&mut stream), cut);
    assert!(read_cut.is_err());
    // A handshake message of 60,000 bytes: type, version, length of the record; type, length of the message.
    let (mut caller, mut stream) = duplex(1024);
    let endless = async {
        let mut record = vec![22, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60, 3, 3];
        record.resize(5 + 0x4000, 0);
        // Until nobody reads any more.
        while caller.write_all(&record).await.is_ok() {}
    };
    let reading = async {
        let read = read(&mut stream).await;
        drop(stream);
        read
    };
    let (read_endless, ()) = tokio::join!(reading, endless);
    assert!(read_endless.is_err());
}
