//! A set is fetched over TLS from whom we believe, and from nobody else.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::telemetry::metrics::Metrics;

const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

fn fetcher(more: Option<&Path>) -> Result<Fetcher, RootsError> {
    let metrics = Metrics::new().expect("no two of one name");
    Fetcher::new(more, metrics.keys.clone())
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nLocation: /elsewhere\r\n\r\n{body}")
}

/// An issuer on loopback that answers each connection's request so; over TLS if there is a configuration.
async fn issuer(answer: String, tls: Option<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                match acceptor {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            say(stream, &answer).await;
                        }
                    }
                    None => say(stream, &answer).await,
                }
            });
        }
    });
    port
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &str) {
    let mut request = [0; 1024];
    if stream.read(&mut request).await.is_ok() {
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

fn uri(scheme: &str, port: u16) -> JwksUri {
    format!("{scheme}://127.0.0.1:{port}/keys")
        .parse()
        .expect("valid")
}

#[tokio::test]
async fn a_set_comes_over_tls_only_from_whom_we_believe() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("key"));
    let authority = authority.expect("signed");
    let key = KeyPair::generate().expect("key");
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &authority).expect("signed");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a pair");
    let port = issuer(answer("200 OK", JWKS), Some(tls)).await;
    let folder = tempfile::tempdir().expect("writable");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).expect("writable");
    let believing = fetcher(Some(&file)).expect("roots");
    let fetched = believing.fetch(&uri("https", port)).await.expect("a set");
    assert_eq!(fetched.as_str(), JWKS);
    let others = fetcher(None).expect("roots");
    let refused = others.fetch(&uri("https", port)).await;
    assert!(
        matches!(refused, Err(FetchError::Connect(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_is_no_set_is_refused_without_a_word_of_it() {
    let fetcher = fetcher(None).expect("roots");
    for (answer, expected) in [
        (answer("200 OK", JWKS), "ok"),
        (
            answer("200 OK", "secret"),
            "the answer is no JSON Web Key Set with a usable public key",
        ),
        (
            answer("302 Found", JWKS),
            "answered 302 Found; redirects are not followed",
        ),
        (
            answer("200 OK", &" ".repeat(70_000)),
            "the answer breaks off, or is longer than 64 KiB",
        ),
        ("nonsense\r\n\r\n".to_owned(), "no HTTP answer"),
    ] {
        let port = issuer(answer, None).await;
        let fetched = fetcher.fetch(&uri("http", port)).await;
        let said = fetched.map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(said, expected);
    }
}

#[test]
fn roots_that_are_none_are_said_so() {
    let folder = tempfile::tempdir().expect("writable");
    let file = folder.path().join("ca.pem");
    assert!(fetcher(Some(&file)).is_err());
    std::fs::write(&file, "").expect("writable");
    let error = fetcher(Some(&file)).err().expect("none in it").to_string();
    assert!(error.contains("ca.pem: it has none"), "{error}");
}
