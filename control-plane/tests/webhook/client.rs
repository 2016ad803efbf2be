//! A client as API servers are: it believes a `caBundle` and no one else, and knows the webhook by its Service's name.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, client::conn::http1::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// By which the webhook is known.
pub(super) const NAME: &str = "usher.usher-system.svc";

/// Certificates of a `caBundle`.
pub(super) fn certificates(bundle: &str) -> Vec<CertificateDer<'static>> {
    let pem = STANDARD.decode(bundle).expect("base64");
    let all = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    all.expect("PEM")
}

/// A handshake that believes these roots.
pub(super) async fn handshake(
    address: SocketAddr,
    name: &str,
    roots: &[CertificateDer<'static>],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect(address, name, (roots, &[])).await
}

async fn connect(
    address: SocketAddr,
    name: &str,
    (roots, protocols): (&[CertificateDer<'static>], &[&str]),
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).expect("a root");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let tcp = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

/// One connection.
pub(super) struct Client(SendRequest<Full<Bytes>>);

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Client {
    pub(super) async fn connect(
        address: SocketAddr,
        roots: &[CertificateDer<'static>],
    ) -> std::io::Result<Self> {
        let stream = handshake(address, NAME, roots).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        self.0.ready().await?;
        let answer = self.0.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, text })
    }

    /// The response to a question about an object.
    pub(super) async fn ask(&mut self, path: &str, review: &Value) -> Value {
        let answer = self
            .send(post(path, review.to_string()))
            .await
            .expect("an answer");
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let answer: Value = serde_json::from_str(&answer.text).expect("JSON");
        assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
        answer["response"].clone()
    }
}

/// One request as most API servers send it, by HTTP/2.
pub(super) async fn over_http_2(
    (address, roots): (SocketAddr, &[CertificateDer<'static>]),
    request: Request<Full<Bytes>>,
) -> Answer {
    let stream = connect(address, NAME, (roots, &["h2"]))
        .await
        .expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    parts.uri = format!("https://{NAME}{}", parts.uri)
        .parse()
        .expect("a URI");
    parts.headers.remove("host");
    let answer = sender
        .send_request(Request::from_parts(parts, body))
        .await
        .expect("an answer");
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("whole")
        .to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    Answer { status, text }
}

/// As API servers ask: with their timeout in the query.
pub(super) fn post(path: &str, body: String) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("{path}?timeout=5s"))
        .header("host", NAME)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("a request")
}

/// A question about an object that is to be made, or changed.
pub(super) fn review(operation: &str, object: &Value) -> Value {
    let written = object["metadata"]["namespace"].as_str();
    let namespace = match object["kind"].as_str() {
        // The cluster's.
        Some("Mesh") => Value::Null,
        _ => json!(written.unwrap_or("default")),
    };
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": format!("uid-of-{}", object["metadata"]["name"]),
            "kind": {"group": "", "version": "v1", "kind": object["kind"]},
            "resource": {"group": "", "version": "v1", "resource": "any"},
            "name": object["metadata"]["name"], "namespace": namespace,
            "operation": operation, "userInfo": {"username": "kubernetes-admin"},
            "object": object, "oldObject": null, "dryRun": false, "options": {"kind": "CreateOptions"},
        },
    })
}

/// The object after a response's patch; as it is, if there is none.
pub(super) fn patched(mut object: Value, response: &Value) -> Value {
    assert_eq!(response["allowed"], true, "{response:#}");
    let Some(patch) = response.get("patch") else {
        return object;
    };
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD
        .decode(patch.as_str().expect("text"))
        .expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("RFC 6902");
    json_patch::patch(&mut object, &patch).expect("it fits");
    object
}
