//! Filters of routes: headers, redirects, rewrites, CORS and mirrors do what Gateway API says, and nothing more.

mod mirror;
mod namespaces;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use usher_tests::{Answer, Application, Mesh, Received, Sidecar, eventually, reply, yaml};

use crate::pair;

/// A route on `api`; `rules` is YAML at two spaces of indentation.
fn route(rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: filtered }}
spec:
  parentRefs: [{{ group: \"\", kind: Service, name: api }}]
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
    web: &Sidecar,
    method: Method,
    url: &str,
    pairs: &[(&'static str, &'static str)],
) -> Result<Answer> {
    web.client()
        .send(method, url, headers(pairs), Bytes::new())
        .await
}

fn header<'a>(received: &'a Received, name: &str) -> Option<&'a str> {
    received
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
}

#[tokio::test]
async fn headers_are_changed_by_the_rule_and_then_by_its_backend() -> Result<()> {
    let application = Application::answering(|_, _| {
        let mut reply = reply(200, "ok");
        reply
            .headers_mut()
            .insert("server", HeaderValue::from_static("secret/1.0"));
        reply
    })
    .await?;
    let rules = "  - filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        remove: [x-gone]
        set: [{ name: X-Set, value: rule }, { name: x-both, value: rule }]
        add: [{ name: x-added, value: two }]
    - type: ResponseHeaderModifier
      responseHeaderModifier:
        remove: [server]
        set: [{ name: x-answer, value: rule }]
    backendRefs:
    - name: api
      port: 8080
      filters:
      - type: RequestHeaderModifier
        requestHeaderModifier: { set: [{ name: x-both, value: backend }] }
      - type: ResponseHeaderModifier
        responseHeaderModifier: { add: [{ name: x-answer, value: backend }] }
";
    let (_mesh, _api, web) = pair(&application, &[route(rules)]).await?;
    let sent = [
        ("x-gone", "here"),
        ("x-set", "caller"),
        ("x-added", "one"),
        ("x-kept", "kept"),
    ];
    let answer = send(&web, Method::GET, "http://api/", &sent).await?;
    let received = &application.received()[0];
    let names = ["x-gone", "x-set", "x-both", "x-kept"];
    let found = names.map(|name| header(received, name));
    assert_eq!(found, [None, Some("rule"), Some("backend"), Some("kept")]);
    let added: Vec<_> = received.headers.get_all("x-added").iter().collect();
    assert_eq!(added, ["one", "two"]);
    assert_eq!(answer.headers.get("server"), None);
    let answers: Vec<_> = answer.headers.get_all("x-answer").iter().collect();
    assert_eq!(answers, ["rule", "backend"]);
    Ok(())
}

#[tokio::test]
async fn a_redirect_is_answered_without_asking_anybody() -> Result<()> {
    let application = Application::echo().await?;
    let rules = "  - matches: [{ path: { value: /old } }]
    filters:
    - type: RequestRedirect
      requestRedirect:
        scheme: https
        hostname: shop.example
        path: { type: ReplacePrefixMatch, replacePrefixMatch: /new }
        statusCode: 308
  - matches: [{ path: { value: /here } }]
    filters: [{ type: RequestRedirect, requestRedirect: { path: { type: ReplaceFullPath, replaceFullPath: /there } } }]
  - backendRefs: [{ name: api, port: 8080 }]
";
    let (_mesh, _api, web) = pair(&application, &[route(rules)]).await?;
    let table = [
        (
            "http://api/old/x?q=1",
            308,
            "https://shop.example/new/x?q=1",
        ),
        ("http://api:8080/here/x", 302, "http://api:8080/there"),
    ];
    for (url, status, location) in table {
        let answer = web.get(url).await?;
        assert_eq!(
            (answer.status, answer.header("location")),
            (status, location.to_owned())
        );
    }
    assert!(application.received().is_empty());
    assert_eq!(web.get("http://api/else").await?.status, 200);
    let labels = ["code=\"308\"", "route=\"HTTPRoute/default/filtered/0\""];
    assert!(web.metric("usher_requests_total", &labels).await? >= 1.0);
    Ok(())
}

#[tokio::test]
async fn a_rewrite_changes_what_the_service_sees_and_nothing_else() -> Result<()> {
    let application = Application::answering(|_, count| match count {
        0 => reply(503, "not yet"),
        _ => reply(200, "ok"),
    })
    .await?;
    let rules = "  - matches: [{ path: { value: /v1 } }]
    filters:
    - type: URLRewrite
      urlRewrite:
        hostname: inner.example
        path: { type: ReplacePrefixMatch, replacePrefixMatch: /api }
    backendRefs: [{ name: api, port: 8080 }]
  - backendRefs: [{ name: api, port: 8080 }]
";
    let access = yaml::access_policy("api", "  rules: [{ to: { paths: [/api/*] } }]\n");
    let (_mesh, _api, web) = pair(&application, &[route(rules), access]).await?;
    // The first attempt fails: what is repeated is rewritten once, not twice.
    let answer = web.get("http://api:8080/v1/v1/./x?y=/v1").await?;
    assert_eq!(answer.status, 200);
    for received in application.received() {
        assert_eq!(received.path, "/api/v1/x?y=/v1");
        assert_eq!(header(&received, "host"), Some("inner.example"));
    }
    assert_eq!(application.received().len(), 2);
    let ids: Vec<_> = application
        .received()
        .iter()
        .map(|r| r.headers["x-request-id"].clone())
        .collect();
    assert_eq!(ids[0], ids[1]);
    // Access is decided on what the service sees; the log shows what was asked for.
    assert_eq!(web.get("http://api/v2").await?.status, 403);
    let logged = eventually("the request is in the log", async || {
        web.access_log()
            .into_iter()
            .find(|line| line["path"] == "/v1/v1/x")
    })
    .await;
    assert_eq!(logged["authority"], "api:8080");
    Ok(())
}

#[tokio::test]
async fn a_filter_makes_no_request_repeatable() -> Result<()> {
    let application = Application::answering(|_, _| reply(503, "no")).await?;
    let rules = "  - filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: idempotency-key, value: same }] } }]
    backendRefs: [{ name: api, port: 8080 }]
";
    let policy = yaml::traffic_policy("api", "  retry: { idempotencyHeader: Idempotency-Key }\n");
    let (_mesh, _api, web) = pair(&application, &[route(rules), policy]).await?;
    assert_eq!(web.client().post("http://api/", "pay").await?.status, 503);
    assert_eq!(application.received().len(), 1);
    Ok(())
}

#[tokio::test]
async fn preflights_are_answered_and_pages_are_told_what_they_may_read() -> Result<()> {
    let application = Application::answering(|_, _| {
        let mut reply = reply(200, "ok");
        let any = HeaderValue::from_static("*");
        reply
            .headers_mut()
            .insert("access-control-allow-origin", any);
        reply
    })
    .await?;
    let rules = "  - filters:
    - type: CORS
      cors:
        allowOrigins: [https://*.shop.example]
        allowMethods: [PUT]
        allowHeaders: [x-a]
        exposeHeaders: [x-total]
        allowCredentials: true
        maxAge: 60
    backendRefs: [{ name: api, port: 8080 }]
";
    let (_mesh, _api, web) = pair(&application, &[route(rules)]).await?;
    let origin = ("origin", "https://www.shop.example");
    let asked = [
        origin,
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "x-a"),
    ];
    let answer = send(&web, Method::OPTIONS, "http://api/", &asked).await?;
    assert_eq!(answer.status, 204);
    assert!(application.received().is_empty());
    let expected = [
        ("access-control-allow-origin", "https://www.shop.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "x-a"),
        ("access-control-max-age", "60"),
    ];
    for (name, value) in expected {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let answer = send(&web, Method::GET, "http://api/", &[origin]).await?;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://www.shop.example"
    );
    assert_eq!(answer.header("access-control-expose-headers"), "x-total");
    let answer = send(
        &web,
        Method::GET,
        "http://api/",
        &[("origin", "https://evil.example")],
    )
    .await?;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, String::new())
    );
    // An OPTIONS that is no preflight is the application's.
    assert_eq!(
        send(&web, Method::OPTIONS, "http://api/", &[])
            .await?
            .status,
        200
    );
    Ok(())
}

#[tokio::test]
async fn a_grpc_route_changes_metadata() -> Result<()> {
    let application = Application::answering(|_, _| {
        let mut reply = reply(200, "");
        let kind = HeaderValue::from_static("application/grpc");
        reply.headers_mut().insert("content-type", kind);
        reply
            .headers_mut()
            .insert("grpc-status", HeaderValue::from_static("0"));
        reply
    })
    .await?;
    let route = "apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: filtered }
spec:
  parentRefs: [{ group: \"\", kind: Service, name: rpc }]
  rules:
  - filters:
    - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-tenant, value: a }] } }
    - { type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-answer, value: b }] } }
    backendRefs: [{ name: rpc, port: 50051 }]
";
    let documents = [yaml::service("rpc", 50051, "grpc"), route.to_owned()];
    let mesh = Mesh::start(&documents).await?;
    let _rpc = mesh
        .sidecar("rpc")
        .application(&application)
        .start()
        .await?;
    let web = mesh.sidecar("web").start().await?;
    let call = headers(&[("content-type", "application/grpc"), ("te", "trailers")]);
    let client = web.client().http2();
    let message = Bytes::from_static(b"\0\0\0\0\0");
    let answer = client
        .send(Method::POST, "http://rpc/a.B/C", call, message)
        .await?;
    assert_eq!(
        (answer.status, answer.header("x-answer")),
        (200, "b".to_owned())
    );
    assert_eq!(header(&application.received()[0], "x-tenant"), Some("a"));
    Ok(())
}
