//! What handshakes must refuse.

mod authority;

use std::time::{Duration, SystemTime};

use rustls::HandshakeKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use usher_config::value::SpiffeId;

use super::*;

pub(crate) use authority::{Signed, TestAuthority, today};

const ALICE: &str = "spiffe://usher.local/ns/bank/sa/alice";
const BOB: &str = "spiffe://usher.local/ns/bank/sa/bob";
const SNI: &str = "8080.bob.bank";

fn own() -> usher_config::value::ServiceName {
    "bank/bob".parse().unwrap()
}

fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

/// As a sidecar, or not.
async fn let_in(stream: TcpStream, server: &Material) -> Result<Accepted, TlsError> {
    match accept(stream, server, &own()).await? {
        Greeted::Sidecar(accepted) => Ok(*accepted),
        Greeted::Application(..) => Err(TlsError::NotMesh),
    }
}

/// Both ends' outcomes of one connection; one byte goes each way, so that tickets arrive.
async fn meet(
    server: &Material,
    client: &Material,
    expected: &[SpiffeId],
) -> (Result<Accepted, TlsError>, Result<Connected, TlsError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = async {
        let mut accepted = let_in(listener.accept().await.unwrap().0, server).await?;
        // The other end may have refused us and left.
        let _ = accepted.stream.write_all(b"x").await;
        let _ = accepted.stream.read(&mut [0]).await;
        Ok(accepted)
    };
    let connecting = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut connected = connect(stream, client, expected, SNI, Alpn::H2).await?;
        let _ = connected.stream.read(&mut [0]).await;
        let _ = connected.stream.write_all(b"x").await;
        Ok(connected)
    };
    tokio::join!(accepting, connecting)
}

fn refusal<T: std::fmt::Debug>(result: Result<T, TlsError>) -> String {
    let error = result.unwrap_err();
    let cause = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{error}: {cause}")
}

#[tokio::test]
async fn two_workloads_of_one_mesh_know_each_other() {
    let authority = TestAuthority::new();
    let (alice, bob) = (authority.material(ALICE), authority.material(BOB));
    let (accepted, connected) = meet(&bob, &alice, &[id(BOB)]).await;
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(accepted.peer.spiffe_id, id(ALICE));
    assert_eq!(accepted.peer.certificate_sha256.len(), 64);
    assert_eq!(
        (accepted.alpn, accepted.sni.as_deref()),
        (Alpn::H2, Some(SNI))
    );
    assert_eq!(connected.peer.spiffe_id, id(BOB));
    let connection = connected.stream.get_ref().1;
    assert_eq!(
        connection.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let group = connection.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn a_server_that_is_somebody_else_is_refused() {
    let authority = TestAuthority::new();
    let (alice, bob) = (authority.material(ALICE), authority.material(BOB));
    let (_, connected) = meet(&bob, &alice, &[id(ALICE)]).await;
    assert!(matches!(
        connected,
        Err(TlsError::Refused(PeerRefused::NotExpected { .. }))
    ));
    let (_, connected) = meet(&bob, &alice, &[]).await;
    assert!(connected.is_err(), "nobody expected: nobody accepted");
}

#[tokio::test]
async fn a_resumed_session_is_authorised_again() {
    let authority = TestAuthority::new();
    let (alice, bob) = (authority.material(ALICE), authority.material(BOB));
    let (_, first) = meet(&bob, &alice, &[id(BOB)]).await;
    assert_eq!(
        first.unwrap().stream.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Full)
    );
    let (_, second) = meet(&bob, &alice, &[id(BOB)]).await;
    assert_eq!(
        second.unwrap().stream.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
    // The configuration has changed meanwhile: bob may not answer here any more.
    let (accepted, third) = meet(&bob, &alice, &[id(ALICE)]).await;
    assert_eq!(
        accepted.unwrap().stream.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
    assert!(matches!(
        third,
        Err(TlsError::Refused(PeerRefused::NotExpected { .. }))
    ));
}

#[tokio::test]
async fn a_certificate_that_has_ended_meanwhile_is_refused_after_resumption_too() {
    let authority = TestAuthority::new();
    let (alice, bob) = (authority.material(ALICE), authority.material(BOB));
    meet(&bob, &alice, &[id(BOB)]).await.1.unwrap();
    let accepted = meet(&bob, &alice, &[id(BOB)]).await.0.unwrap();
    let resumed = accepted.stream.get_ref().1;
    assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));
    let late = accepted.peer.not_after + Duration::from_secs(1);
    assert!(handshake::authorise(resumed, &bob, None, accepted.peer.not_after).is_ok());
    assert_eq!(
        handshake::authorise(resumed, &bob, None, late),
        Err(PeerRefused::Expired)
    );
}

#[tokio::test]
async fn new_material_resumes_no_old_session() {
    let authority = TestAuthority::new();
    let (alice, bob) = (authority.material(ALICE), authority.material(BOB));
    meet(&bob, &alice, &[id(BOB)]).await.1.unwrap();
    let bob = authority.material(BOB);
    let (_, connected) = meet(&bob, &alice, &[id(BOB)]).await;
    assert_eq!(
        connected.unwrap().stream.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Full)
    );
}

#[tokio::test]
async fn certificates_that_are_no_svid_of_this_mesh_are_refused() {
    let authority = TestAuthority::new();
    let foreign = TestAuthority::new();
    let past = SystemTime::now() - Duration::from_secs(86_400);
    let long_ago = (past - Duration::from_secs(3600), past);
    let elsewhere = "spiffe://elsewhere/ns/bank/sa/alice";
    for (what, signed) in [
        ("foreign CA", foreign.sign(&[ALICE], today())),
        ("two URI names", authority.sign(&[ALICE, BOB], today())),
        ("no URI name", authority.sign(&[], today())),
        (
            "not our form",
            authority.sign(&["https://usher.local/alice"], today()),
        ),
        ("wrong trust domain", authority.sign(&[elsewhere], today())),
        ("expired", authority.sign(&[ALICE], long_ago)),
    ] {
        let bob = authority.material(BOB);
        let alice = forged(&authority, &signed);
        let (accepted, _) = meet(&bob, &alice, &[id(BOB)]).await;
        assert!(accepted.is_err(), "{what} was let in");
        let (_, connected) = meet(&alice, &bob, &[id(ALICE)]).await;
        assert!(
            refusal(connected).contains("handshake"),
            "{what} was believed"
        );
    }
}

/// Material that shows `signed` to its peers, although [`Material::new`] would refuse it.
fn forged(authority: &TestAuthority, signed: &Signed) -> Material {
    let (mut material, bundle) = (authority.material(ALICE), authority.bundle());
    let parts = material::Parts::new(&signed.chain, &signed.key, &bundle).unwrap();
    material.server = parts.server().unwrap();
    material.client_h2 = parts.client(Alpn::H2).unwrap();
    material
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused() {
    let authority = TestAuthority::new();
    let bob = authority.material(BOB);
    let mut alice = authority.material(ALICE);
    let pin = spki_sha256(&authority.root).unwrap();
    let mut config = (*pinned_client(&[pin]).unwrap()).clone();
    config.alpn_protocols = vec![Alpn::H2.name().into()];
    alice.client_h2 = config.into();
    assert!(meet(&bob, &alice, &[id(BOB)]).await.0.is_err());
}

#[tokio::test]
async fn other_application_protocols_are_an_applications_own() {
    let authority = TestAuthority::new();
    let (mut alice, bob) = (authority.material(ALICE), authority.material(BOB));
    for offered in [vec![], vec![b"h2".to_vec()], vec![b"usher/2+h2".to_vec()]] {
        let mut config = (*alice.client_h2).clone();
        config.alpn_protocols = offered;
        alice.client_h2 = config.into();
        assert!(matches!(
            meet(&bob, &alice, &[id(BOB)]).await.0,
            Err(TlsError::NotMesh)
        ));
    }
}

#[tokio::test]
async fn an_applications_own_tls_is_left_as_it_came() {
    let authority = TestAuthority::new();
    let bob = authority.material(BOB);
    let hello = foreign_hello("kafka.bank");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut caller = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    caller.write_all(&hello).await.unwrap();
    caller.shutdown().await.unwrap();
    match accept(stream, &bob, &own()).await.unwrap() {
        Greeted::Application(_, seen) => assert_eq!(seen, hello),
        Greeted::Sidecar(_) => panic!("a sidecar"),
    }
}

/// What a TLS client that knows nothing of the mesh says first.
pub(crate) fn foreign_hello(host: &'static str) -> Vec<u8> {
    let config = pinned_client(&[[0; 32]]).unwrap();
    let mut config = (*config).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = host.try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_costs_five_seconds_at_most() {
    let authority = TestAuthority::new();
    let bob = authority.material(BOB);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    assert!(matches!(
        accept(stream, &bob, &own()).await,
        Err(TlsError::Timeout { .. })
    ));
}

#[tokio::test]
async fn a_caller_of_another_service_is_refused_before_a_byte_of_its_request() {
    let authority = TestAuthority::new();
    let (alice, bob) = (authority.material(ALICE), authority.material(BOB));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for (sni, here) in [
        ("8080.bob.bank", true),
        ("9090.BOB.bank", true),
        ("8080.carol.bank", false),
        ("8080.bob.shop", false),
        ("8080.bob.bank.shop", false),
        ("bob.bank", false),
    ] {
        let accepting = async { accept(listener.accept().await.unwrap().0, &bob, &own()).await };
        let connecting = async {
            let stream = TcpStream::connect(address).await.unwrap();
            connect(stream, &alice, &[id(BOB)], sni, Alpn::H2).await
        };
        let (accepted, connected) = tokio::join!(accepting, connecting);
        assert_eq!((accepted.is_ok(), connected.is_ok()), (here, here), "{sni}");
        if !here {
            assert_eq!(accepted.unwrap_err().outcome(), "other_service");
            assert!(refusal(connected).contains("UnrecognisedName"), "{sni}");
        }
    }
}
