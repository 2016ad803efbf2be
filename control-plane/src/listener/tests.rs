//! A handshake proves an identity, or nothing comes through.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;
use usher_config::value::SpiffeId;

use super::{Listener, MeshStream, Rules, tls};
use crate::{
    ca::{
        Authority, Peer,
        svid::{Claims, ProvenKey},
    },
    shares::Asker,
    telemetry::metrics::Metrics,
};

/// What a client believes about its server is the sidecar's concern: here it takes anybody, and looks.
#[derive(Debug)]
struct TrustAnybody;

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

struct Port {
    authority: Arc<Authority>,
    metrics: Metrics,
    address: std::net::SocketAddr,
    connections: tokio_stream::wrappers::ReceiverStream<io::Result<MeshStream>>,
    _directory: tempfile::TempDir,
}

async fn port() -> Port {
    port_for(super::CONNECTIONS_MAX).await
}

async fn port_for(connections: usize) -> Port {
    port_with(connections, Asker::at).await
}

async fn port_with(connections: usize, asker: fn(IpAddr) -> Asker) -> Port {
    let directory = tempfile::tempdir().expect("writable");
    let trust_domain = "usher.local".parse().expect("valid");
    let authority = Authority::open(&directory.path().join("ca"), &trust_domain).expect("opens");
    let authority = Arc::new(authority);
    let tls = Arc::new(tls::MeshTls::new(Arc::clone(&authority)).expect("issued"));
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("free");
    let address = tcp.local_addr().expect("bound");
    let metrics = Metrics::new().expect("unique");
    // Nobody loses his turn while a test looks at who has one.
    let turns = super::turns::Bounds {
        held_max: Duration::from_secs(60),
        ..super::TURNS
    };
    let listener = Listener::with(
        Rules { turns, asker },
        (tcp, connections),
        tls,
        trust_domain,
        Arc::clone(&metrics.listener),
    );
    let connections = listener.connections();
    Port {
        authority,
        metrics,
        address,
        connections,
        _directory: directory,
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity_of(authority: &Authority, id: &str, issued: OffsetDateTime) -> Identity {
    let key = KeyPair::generate().expect("random");
    let id: SpiffeId = id.parse().expect("valid");
    let proven = ProvenKey::of(&key).expect("P-256");
    let svid = authority
        .issue(&id, &proven, issued, crate::ca::Grounds::ControlPlane)
        .expect("issued");
    (
        svid.chain,
        PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    )
}

fn client(
    identity: Option<Identity>,
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsConnector {
    let builder =
        ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[version])
            .expect("supported")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAnybody));
    let config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a pair"),
        None => builder.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

type Connected = io::Result<tokio_rustls::client::TlsStream<TcpStream>>;

async fn connect(port: &Port, connector: TlsConnector) -> Connected {
    let tcp = TcpStream::connect(port.address).await?;
    let mut tls = connector
        .connect(ServerName::try_from("usher").expect("valid"), tcp)
        .await?;
    // In TLS 1.3 the server's verdict on a client's certificate arrives with the first read.
    tls.write_all(b"x").await?;
    Ok(tls)
}

async fn next(port: &mut Port) -> MeshStream {
    let next = timeout(Duration::from_secs(5), port.connections.next())
        .await
        .expect("in time");
    next.expect("listening").expect("accepted")
}

#[tokio::test]
async fn an_svid_of_ours_is_the_peers_identity() {
    let mut port = port().await;
    let id = "spiffe://usher.local/ns/bank/sa/account";
    let identity = identity_of(&port.authority, id, OffsetDateTime::now_utc());
    let stream = connect(&port, client(Some(identity), &TLS13))
        .await
        .expect("accepted");
    let accepted = next(&mut port).await;
    assert_eq!(
        accepted.peer(),
        &Peer {
            identity: Some(id.parse().expect("valid")),
            address: Some([127, 0, 0, 1].into()),
            root: Some(port.authority.pin().into()),
        }
    );
    assert!(
        port.metrics
            .render()
            .contains("usher_control_connections 1")
    );
    let chain = stream.get_ref().1.peer_certificates().expect("shown");
    assert_eq!(
        chain.last(),
        Some(&CertificateDer::from(
            port.authority.trust_bundle().roots[0].clone()
        )),
        "a joining sidecar looks for the root"
    );
    let server = Claims::of_verified(&chain[0]).expect("one name").id;
    assert_eq!(
        server.as_str(),
        "spiffe://usher.local/ns/usher-system/sa/usher"
    );
    let group = stream
        .get_ref()
        .1
        .negotiated_key_exchange_group()
        .expect("negotiated")
        .name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_nobody() {
    let mut port = port().await;
    let _stream = connect(&port, client(None, &TLS13))
        .await
        .expect("accepted");
    assert_eq!(next(&mut port).await.peer().identity, None);
}

#[tokio::test]
async fn certificates_of_others_and_expired_ones_are_refused() {
    let port = port().await;
    let foreign = self::port().await;
    let id = "spiffe://usher.local/ns/bank/sa/account";
    let now = OffsetDateTime::now_utc();
    let key = KeyPair::generate().expect("random");
    let own = CertificateParams::default()
        .self_signed(&key)
        .expect("signed")
        .der()
        .clone();
    let selfmade = (
        vec![own],
        PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    );
    for identity in [
        identity_of(&foreign.authority, id, now),
        identity_of(&port.authority, id, now - time::Duration::hours(25)),
        selfmade,
    ] {
        let refused = match connect(&port, client(Some(identity), &TLS13)).await {
            Ok(mut stream) => stream.read_u8().await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
}

#[tokio::test]
async fn older_tls_is_refused() {
    let port = port().await;
    assert!(connect(&port, client(None, &TLS12)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_dropped() {
    let port = port().await;
    let mut silent = TcpStream::connect(port.address)
        .await
        .expect("accepted by the kernel");
    let read = timeout(Duration::from_secs(60), silent.read(&mut [0]))
        .await
        .expect("dropped");
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_that_opened_it() {
    let mut port = port().await;
    let id = "spiffe://usher.local/ns/bank/sa/account";
    let almost = OffsetDateTime::now_utc() - time::Duration::hours(24) + time::Duration::seconds(3);
    let identity = identity_of(&port.authority, id, almost);
    let _stream = connect(&port, client(Some(identity), &TLS13))
        .await
        .expect("accepted");
    let mut accepted = next(&mut port).await;
    let mut bytes = Vec::new();
    let ended = timeout(Duration::from_secs(10), accepted.read_to_end(&mut bytes)).await;
    assert_eq!(ended.expect("ended").expect("orderly"), 1);
}

#[tokio::test]
async fn silent_peers_keep_nobody_out() {
    let mut port = port().await;
    let mut silent = Vec::new();
    for _ in 0..super::TURNS.all + 10 {
        silent.push(TcpStream::connect(port.address).await.expect("accepted"));
    }
    let connecting = connect(&port, client(None, &TLS13));
    let _stream = timeout(Duration::from_secs(3), connecting)
        .await
        .expect("sooner than the silent ones are dropped")
        .expect("accepted");
    assert_eq!(next(&mut port).await.peer().identity, None);
}

#[tokio::test]
async fn who_hangs_up_in_line_costs_no_handshake() {
    let port = port().await;
    let says = async |line: &str| {
        let said = async {
            while !port.metrics.render().lines().any(|one| one == line) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let said = timeout(Duration::from_secs(10), said).await;
        assert!(said.is_ok(), "{line} is not in {}", port.metrics.render());
    };
    let knock = async || {
        let mut stream = TcpStream::connect(port.address).await.expect("accepted");
        stream.write_all(&[22]).await.expect("open");
        stream
    };
    let mut slow = Vec::new();
    for _ in 0..=super::TURNS.each.here {
        slow.push(knock().await);
    }
    says("usher_control_waiting_handshakes 1").await;
    let impatient = knock().await;
    says("usher_control_waiting_handshakes 2").await;
    drop(impatient);
    drop(slow);
    says("usher_control_handshakes_total{result=\"left\"} 2").await;
    says("usher_control_waiting_handshakes 0").await;
}

#[tokio::test]
async fn one_beyond_as_many_as_may_be_waits_until_another_leaves() {
    let mut port = port_for(1).await;
    let first = connect(&port, client(None, &TLS13)).await.expect("room");
    let accepted = next(&mut port).await;
    let second = connect(&port, client(None, &TLS13));
    tokio::pin!(second);
    let early = timeout(Duration::from_millis(100), &mut second).await;
    assert!(early.is_err(), "there is no room");
    drop((first, accepted));
    let second = timeout(Duration::from_secs(10), second).await;
    second.expect("in time").expect("room");
}

mod crowds;
