//! Who may answer in the name of a service without sidecars, and who may not.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::SanType;
use rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use super::{
    super::tests::{Signed, TestAuthority, today},
    *,
};

const HOST: &str = "api.partners.example";

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

fn tls(authority: &TestAuthority, names: Vec<AlternativeName>) -> BackendTls {
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(&authority.root)
    );
    BackendTls::Verified(Origination {
        hostname: HOST.parse().unwrap(),
        names,
        roots: Roots::Given(pem.parse().unwrap()),
    })
}

/// What a server heard: the name asked for, and how the session came about.
type Heard = (Option<String>, Option<HandshakeKind>);

/// Shows this certificate, agrees to these protocols, and says "hello" to each caller.
async fn serve(signed: Signed, alpn: &[&str]) -> (SocketAddr, mpsc::UnboundedReceiver<Heard>) {
    serve_in(&[&TLS13, &TLS12], signed, alpn).await
}

/// The same in these versions.
async fn serve_in(
    versions: &[&'static SupportedProtocolVersion],
    signed: Signed,
    alpn: &[&str],
) -> (SocketAddr, mpsc::UnboundedReceiver<Heard>) {
    let chain = signed.chain.into_iter().map(CertificateDer::from).collect();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivatePkcs8KeyDer::from(signed.key).into())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, hears) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, heard) = (acceptor.clone(), heard.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let session = stream.get_ref().1;
                let name = session.server_name().map(str::to_owned);
                let _ = heard.send((name, session.handshake_kind()));
                let _ = stream.write_all(b"hello").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, hears)
}

async fn open(
    tls: &BackendTls,
    address: SocketAddr,
    inside: Inside,
) -> Result<TlsStream<TcpStream>, String> {
    let origin = Origin::new(tls).map_err(String::from)?;
    opened(&origin, address, inside).await
}

async fn opened(
    origin: &Origin,
    address: SocketAddr,
    inside: Inside,
) -> Result<TlsStream<TcpStream>, String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let opened = origin.open(stream, inside).await;
    opened.map_err(|error| match error {
        TlsError::Handshake(error) => error.to_string(),
        other => other.to_string(),
    })
}

#[tokio::test]
async fn a_certificate_for_the_host_under_the_given_root_is_spoken_to() {
    let authority = TestAuthority::new();
    let certified = [HOST, "*.partners.example"];
    for name in certified {
        let signed = authority.sign_for(vec![dns(name)], today());
        let (address, mut hears) = serve(signed, &["http/1.1"]).await;
        let stream = open(&tls(&authority, Vec::new()), address, Inside::Http1).await;
        let mut said = Vec::new();
        stream.unwrap().read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"hello");
        let (asked, _) = hears.recv().await.unwrap();
        assert_eq!(asked.as_deref(), Some(HOST));
    }
}

#[tokio::test]
async fn what_does_not_verify_is_told_nothing() {
    let (authority, stranger) = (TestAuthority::new(), TestAuthority::new());
    let now = SystemTime::now();
    let over = (
        now - Duration::from_secs(7200),
        now - Duration::from_secs(3600),
    );
    let cases = [
        (
            "another root's",
            stranger.sign_for(vec![dns(HOST)], today()),
            "invalid peer certificate",
        ),
        (
            "another host's",
            authority.sign_for(vec![dns("partners.example")], today()),
            "not valid for",
        ),
        (
            "nobody's",
            authority.sign_for(vec![], today()),
            "not valid for",
        ),
        (
            "a URI's",
            authority.sign_for(vec![uri("spiffe://partners.example/api")], today()),
            "not valid for",
        ),
        (
            "one that ended",
            authority.sign_for(vec![dns(HOST)], over),
            "expired",
        ),
    ];
    for (which, signed, why) in cases {
        let (address, mut hears) = serve(signed, &[]).await;
        for inside in [Inside::Http1, Inside::Bytes] {
            let refused = open(&tls(&authority, Vec::new()), address, inside).await;
            let refused = refused
                .err()
                .unwrap_or_else(|| panic!("{which} was spoken to"));
            assert!(refused.contains(why), "{which}: {refused}");
        }
        assert!(hears.try_recv().is_err(), "{which}: a session came about");
    }
    // Which the web's roots know as little.
    let (address, _hears) = serve(authority.sign_for(vec![dns(HOST)], today()), &[]).await;
    let web = BackendTls::Verified(Origination {
        hostname: HOST.parse().unwrap(),
        names: Vec::new(),
        roots: Roots::Web,
    });
    let refused = open(&web, address, Inside::Http1).await.err();
    let refused = refused.unwrap_or_default();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
}

#[tokio::test]
async fn where_names_are_given_one_of_them_is_needed_and_the_host_only_asked_for() {
    let authority = TestAuthority::new();
    let names = vec![
        AlternativeName::Dns("internal.partners.example".parse().unwrap()),
        AlternativeName::Uri("spiffe://partners.example/api".to_owned()),
    ];
    let wanted = tls(&authority, names);
    for (names, is_taken) in [
        (vec![dns("internal.partners.example")], true),
        (
            vec![uri("spiffe://partners.example/api"), dns("x.example")],
            true,
        ),
        (vec![uri("spiffe://partners.example/api2")], false),
        (vec![dns(HOST)], false),
    ] {
        let signed = authority.sign_for(names.clone(), today());
        let (address, mut hears) = serve(signed, &[]).await;
        let stream = open(&wanted, address, Inside::Http1).await;
        assert_eq!(stream.is_ok(), is_taken, "{names:?}: {:?}", stream.err());
        if is_taken {
            assert_eq!(hears.recv().await.unwrap().0.as_deref(), Some(HOST));
        }
    }
}

#[tokio::test]
async fn http2_is_spoken_only_where_the_server_agrees() {
    let authority = TestAuthority::new();
    let wanted = tls(&authority, Vec::new());
    for (alpn, is_taken) in [
        (&["h2", "http/1.1"][..], true),
        (&["http/1.1"], false),
        (&[], false),
    ] {
        let signed = authority.sign_for(vec![dns(HOST)], today());
        let (address, _hears) = serve(signed, alpn).await;
        let stream = open(&wanted, address, Inside::Http2).await;
        assert_eq!(stream.is_ok(), is_taken, "{alpn:?}");
        // Of old servers that know no ALPN HTTP/1.1 is what they speak.
        let older = open(&wanted, address, Inside::Http1).await;
        assert!(older.is_ok(), "{alpn:?}: {:?}", older.err());
    }
}

#[tokio::test]
async fn a_second_connection_resumes_and_another_policys_does_not() {
    let authority = TestAuthority::new();
    let signed = authority.sign_for(vec![dns(HOST)], today());
    let (address, mut hears) = serve(signed, &[]).await;
    let first = Origin::new(&tls(&authority, Vec::new())).unwrap();
    let second = Origin::new(&tls(&authority, Vec::new())).unwrap();
    let mut kinds = Vec::new();
    for origin in [&first, &first, &second] {
        let mut stream = opened(origin, address, Inside::Bytes).await.unwrap();
        // Tickets come with the first bytes.
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        kinds.push(hears.recv().await.unwrap().1.unwrap());
    }
    let resumed = kinds.iter().map(|kind| *kind == HandshakeKind::Resumed);
    assert_eq!(
        resumed.collect::<Vec<_>>(),
        [false, true, false],
        "{kinds:?}"
    );
}

#[tokio::test]
async fn servers_of_ten_years_ago_are_spoken_to_and_verified_all_the_same() {
    let authority = TestAuthority::new();
    let origin = Origin::new(&tls(&authority, Vec::new())).unwrap();
    let signed = authority.sign_for(vec![dns(HOST)], today());
    let (address, mut hears) = serve_in(&[&TLS12], signed, &["h2"]).await;
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut stream = opened(&origin, address, Inside::Http2).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(hears.recv().await.unwrap().1, Some(expected));
    }
    let stranger = TestAuthority::new().sign_for(vec![dns(HOST)], today());
    let (address, _hears) = serve_in(&[&TLS12], stranger, &["h2"]).await;
    assert!(opened(&origin, address, Inside::Http2).await.is_err());
}

#[test]
fn what_cannot_be_verified_says_why() {
    let why = Origin::new(&BackendTls::Refused("there is no ConfigMap".to_owned()));
    assert_eq!(&*why.unwrap_err(), "there is no ConfigMap");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nMAIFAA==\n-----END CERTIFICATE-----";
    let broken = BackendTls::Verified(Origination {
        hostname: HOST.parse().unwrap(),
        names: Vec::new(),
        roots: Roots::Given(no_certificate.parse().unwrap()),
    });
    let why = Origin::new(&broken).unwrap_err();
    assert!(why.starts_with("CA certificate 1 cannot be used"), "{why}");
}
