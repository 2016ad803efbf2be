//! What routes say holds at a gateway too: filters, shares, calls, upgrades, and who may attach.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use usher_tests::{Answer, Application, Client, Gateway, Mesh, eventually, yaml};

use super::{gateway, http_listener, town};

/// A route of `kind` on the Gateway `edge`; `rules` is YAML at two spaces of indentation.
fn route(kind: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{ name: routed }}
spec:
  parentRefs: [{{ name: edge }}]
  rules:
{rules}"
    )
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    pairs.iter().map(pair).collect()
}

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    pairs: &[(&'static str, &'static str)],
) -> Result<Answer> {
    let url = format!("http://www.example.com{path}");
    client
        .send(method, &url, headers(pairs), Bytes::new())
        .await
}

const PAGE: (&str, &str) = ("origin", "https://page.example");

const FILTERED: &str = "  - matches: [{ path: { value: /moved } }]
    filters:
    - { type: CORS, cors: { allowOrigins: ['https://page.example'] } }
    - { type: RequestRedirect, requestRedirect: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /here } } }
  - matches: [{ path: { value: /secure } }]
    filters: [{ type: RequestRedirect, requestRedirect: { scheme: https, statusCode: 301 } }]
  - matches: [{ path: { value: /api } }]
    filters:
    - { type: CORS, cors: { allowOrigins: ['https://page.example'], allowMethods: [PUT] } }
    - { type: URLRewrite, urlRewrite: { hostname: inner.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: /v1 } } }
    - { type: RequestMirror, requestMirror: { backendRef: { name: admin, port: 8080 } } }
    backendRefs:
    - name: shop
      port: 8080
      filters:
      - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-tier, value: gold }] } }
      - { type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-answer, value: gold }] } }
  - matches: [{ path: { value: /gone } }]
    filters: [{ type: CORS, cors: { allowOrigins: ['https://page.example'] } }]
    backendRefs: [{ name: missing, port: 8080 }]
";

#[tokio::test]
async fn filters_do_at_a_gateway_what_they_do_in_the_mesh() -> Result<()> {
    let town = town(&[
        gateway(&http_listener("web", 8080, None)),
        route("HTTPRoute", FILTERED),
    ])
    .await?;
    let edge = Gateway::start(&town.mesh, "edge", &[8080], &[]).await?;
    let web = edge.client(8080);
    let answer = send(&web, Method::GET, "/moved/x?q=1", &[PAGE]).await?;
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, "http://www.example.com:8080/here/x?q=1".to_owned()),
        "the listener's port, whichever is bound for it"
    );
    assert_eq!(answer.header("access-control-allow-origin"), PAGE.1);
    let answer = send(&web, Method::GET, "/secure", &[]).await?;
    assert_eq!(
        (answer.status, answer.header("location")),
        (301, "https://www.example.com/secure".to_owned())
    );
    let asks = [PAGE, ("access-control-request-method", "PUT")];
    let answer = send(&web, Method::OPTIONS, "/api/x", &asks).await?;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-methods")),
        (204, "PUT".to_owned())
    );
    assert!(town.shop.received().is_empty(), "nobody was asked so far");
    let answer = send(
        &web,
        Method::GET,
        "/api/x?q=1",
        &[PAGE, ("x-tier", "stone")],
    )
    .await?;
    assert_eq!(
        (answer.status, answer.header("x-answer")),
        (200, "gold".to_owned())
    );
    let received = town.shop.received();
    assert_eq!(received[0].path, "/v1/x?q=1");
    assert_eq!(received[0].headers["host"], "inner.example");
    assert_eq!(received[0].headers["x-tier"], "gold");
    let copy = eventually("the mirror has its copy", async || {
        town.admin.received().into_iter().next()
    })
    .await;
    assert_eq!(copy.path, "/v1/x?q=1");
    // A page may read that it is an error, and nothing of ours in it.
    let answer = send(&web, Method::GET, "/gone", &[PAGE]).await?;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("access-control-allow-origin"), PAGE.1);
    assert_eq!(answer.header("x-usher-reason"), "");
    Ok(())
}

#[tokio::test]
async fn weights_share_at_a_gateway_and_a_broken_backend_costs_its_share() -> Result<()> {
    let rules = "  - backendRefs:
    - { name: shop, port: 8080, weight: 8 }
    - { name: admin, port: 8080, weight: 2 }
    - { name: missing, port: 8080, weight: 2 }
";
    let town = town(&[
        gateway(&http_listener("web", 80, None)),
        route("HTTPRoute", rules),
    ])
    .await?;
    let edge = Gateway::start(&town.mesh, "edge", &[80], &[]).await?;
    let web = edge.client(80);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..600 {
        let answer = send(&web, Method::POST, "/", &[]).await?;
        let who = match answer.status {
            200 => answer.text(),
            status => status.to_string(),
        };
        *counts.entry(who).or_default() += 1;
    }
    // Binomial with n = 600: six standard deviations are 69 around 400 and 55 around 100.
    let [shop, admin, broken] = ["shop /", "admin /", "500"].map(|who| counts[who]);
    assert!(
        (331..=469).contains(&shop)
            && (45..=155).contains(&admin)
            && (45..=155).contains(&broken)
            && shop + admin + broken == 600,
        "{counts:?}"
    );
    Ok(())
}

#[tokio::test]
async fn calls_from_outside_find_their_service_by_method() -> Result<()> {
    let rules = "  - matches: [{ method: { service: shop.v1.Shop } }]
    backendRefs: [{ name: calls, port: 50051 }]
  - matches: [{ method: { method: Buy } }]
    backendRefs: [{ name: missing, port: 50051 }]
";
    let echo = Application::answering(|request, _| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let frames = [
            Ok(Frame::data(request.body.clone())),
            Ok(Frame::trailers(trailers)),
        ];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
        Response::builder()
            .header("content-type", "application/grpc")
            .body(body)
            .expect("response")
    })
    .await?;
    let mesh = Mesh::start(&[
        yaml::service("calls", 50051, "grpc"),
        yaml::workload("edge"),
        gateway(&http_listener("web", 80, None)),
        route("GRPCRoute", rules),
    ])
    .await?;
    let _sidecar = mesh.sidecar("calls").application(&echo).start().await?;
    let edge = Gateway::start(&mesh, "edge", &[80], &[]).await?;
    let call = async |path: &str| {
        let url = format!("http://shop.example.com{path}");
        let fields = headers(&[("content-type", "application/grpc"), ("te", "trailers")]);
        let message = Bytes::from_static(b"\0\0\0\0\x03abc");
        edge.client(80)
            .http2()
            .send(Method::POST, &url, fields, message)
            .await
    };
    // The service's characters count before the method's.
    let answer = call("/shop.v1.Shop/Buy").await?;
    assert_eq!(&answer.body[..], b"\0\0\0\0\x03abc");
    assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "0");
    for path in ["/other.v1.Other/Buy", "/other.v1.Other/Sell"] {
        let answer = call(path).await?;
        let status = answer.header("grpc-status");
        assert_eq!((answer.status, status.as_str()), (200, "14"), "{path}");
        assert_eq!(answer.header("x-usher-reason"), "");
    }
    Ok(())
}

/// Answers each connection's first request with 101, and then echoes.
async fn echo_after_upgrade() -> Result<u16> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                stream
                    .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                    .await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await?;
                anyhow::Ok(())
            });
        }
    });
    Ok(port)
}

#[tokio::test]
async fn a_websocket_from_outside_passes() -> Result<()> {
    let port = echo_after_upgrade().await?;
    let mesh = Mesh::start(&[
        yaml::service("chat", 8080, "http"),
        yaml::workload("edge"),
        gateway(&http_listener("web", 80, None)),
        route(
            "HTTPRoute",
            "  - backendRefs: [{ name: chat, port: 8080 }]\n",
        ),
    ])
    .await?;
    let _sidecar = mesh.sidecar("chat").port(port).start().await?;
    let edge = Gateway::start(&mesh, "edge", &[80], &[]).await?;
    let mut stream = TcpStream::connect(edge.address(80).expect("bound")).await?;
    stream
        .write_all(
            b"GET /chat HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade, X-Forwarded-For\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("x-usher"), "{head}");
    stream.write_all(b"ping").await?;
    let mut echoed = [0; 4];
    stream.read_exact(&mut echoed).await?;
    assert_eq!(&echoed, b"ping");
    Ok(())
}

#[tokio::test]
async fn a_route_of_another_namespace_attaches_where_it_may_and_leads_where_it_may() -> Result<()> {
    let listeners = "  - name: open
    port: 80
    protocol: HTTP
    allowedRoutes: { namespaces: { from: All } }
  - { name: closed, port: 81, protocol: HTTP }
";
    let tenant = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: tenant, namespace: tenant }
spec:
  parentRefs: [{ name: edge, namespace: default }]
  rules: [{ backendRefs: [{ name: shop, namespace: default, port: 8080 }] }]
";
    let town = town(&[gateway(listeners), tenant.to_owned()]).await?;
    let edge = Gateway::start(&town.mesh, "edge", &[80, 81], &[]).await?;
    let [open, closed] = [edge.client(80), edge.client(81)];
    let answer = send(&open, Method::GET, "/", &[]).await?;
    assert_eq!(answer.status, 500, "attached, but not granted");
    assert_eq!(send(&closed, Method::GET, "/", &[]).await?.status, 404);
    let status = town.mesh.ask(&["status"])?.to_string();
    assert!(status.contains("RefNotPermitted"), "{status}");
    town.mesh.write(
        "grant.yaml",
        "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: tenant, namespace: default }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: tenant }]
  to: [{ group: \"\", kind: Service, name: shop }]
",
    )?;
    eventually("the grant holds", async || {
        let answer = send(&open, Method::GET, "/", &[]).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(send(&closed, Method::GET, "/", &[]).await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn the_answer_to_head_has_no_body_over_http2_either() -> Result<()> {
    let rules = "  - matches: [{ path: { value: /gone } }]\n    backendRefs: [{ name: missing, port: 8080 }]\n";
    let town = town(&[
        gateway(&http_listener("web", 80, None)),
        route("HTTPRoute", rules),
    ])
    .await?;
    let edge = Gateway::start(&town.mesh, "edge", &[80], &[]).await?;
    for client in [edge.client(80), edge.client(80).http2()] {
        for (path, status) in [("/unknown", 404), ("/gone", 500)] {
            let answer = send(&client, Method::HEAD, path, &[]).await?;
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{path}");
            assert_ne!(answer.header("content-length"), "0", "as GET would have it");
        }
    }
    Ok(())
}
