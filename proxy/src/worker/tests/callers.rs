//! Who calls without the mesh's TLS is remembered, and nobody else.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, TcpStream},
};

use usher_config::model::{MtlsMode, TrafficPolicy};

use super::harness::{Mesh, eventually};
use crate::{callers::Seen, tls::tests::foreign_hello};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn seen(mesh: &Mesh) -> Vec<Seen> {
    mesh.callee.callers.seen()
}

#[test]
fn a_plaintext_caller_is_remembered_and_a_sidecar_is_not() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(|policy| policy.mtls = MtlsMode::Permissive);
    assert_eq!(mesh.http1("http://account.bank/", "").status(), 200);
    // A probe that says nothing.
    drop(TcpStream::connect(mesh.callee.inbound).unwrap());
    // Its word on who it is counts for nothing.
    let claims = "GET / HTTP/1.1\r\nHost: account.bank\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n";
    let mut stream = TcpStream::connect(mesh.callee.inbound).unwrap();
    write!(stream, "{claims}\r\n").unwrap();
    eventually(|| !seen(&mesh).is_empty());
    let found = seen(&mesh);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].who.address, found[0].connections), (HERE, 1));
    assert_eq!(found[0].refused, None);
    eventually(|| seen(&mesh)[0].is_let_in());

    // It becomes strict while that connection is open: its next request is refused, and that is known.
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
    mesh.inbound(|policy| policy.mtls = MtlsMode::Strict);
    write!(stream, "{claims}\r\n").unwrap();
    eventually(|| seen(&mesh).iter().any(|one| one.refused.is_some()));
    assert_eq!(seen(&mesh).len(), 1);
    assert!(seen(&mesh)[0].who.port.is_some());
    assert!(!seen(&mesh)[0].is_let_in());
}

#[test]
fn an_applications_own_tls_that_is_refused_is_a_plaintext_call() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.plaintext(&foreign_hello("account.bank"));
    eventually(|| seen(&mesh).iter().any(|one| one.refused.is_some()));
}
