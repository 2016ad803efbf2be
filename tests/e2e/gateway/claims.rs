//! Nothing that a caller outside claims is believed, nothing of the mesh's own goes out to it.

use anyhow::Result;
use http::{HeaderMap, Method};
use usher_tests::{Gateway, eventually, yaml};

use super::{gateway, http_listener, route, town};

#[tokio::test]
async fn nothing_that_an_outsider_claims_is_believed_and_nothing_of_ours_goes_out() -> Result<()> {
    let documents = [
        gateway(&http_listener("web", 80, None)),
        route(
            "shop",
            "{name: edge}",
            &[],
            &[("/", "shop"), ("/nowhere", "missing")],
        ),
        yaml::access_policy(
            "shop",
            "  rules:\n  - from: { serviceAccounts: [edge] }\n    to: { paths: [/open/*] }",
        ),
    ];
    let town = town(&documents).await?;
    let edge = Gateway::start(&town.mesh, "edge", &[80], &[]).await?;
    let web = edge.client(80);
    let mut claims = HeaderMap::new();
    for (name, value) in [
        ("x-usher-attempt", "7"),
        ("x-usher-deadline-ms", "1"),
        ("x-usher-anything", "yes"),
        (
            "x-forwarded-client-cert",
            "URI=spiffe://test.mesh/ns/default/sa/root",
        ),
        ("x-forwarded-for", "10.9.9.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "bank.example.com"),
        ("x-forwarded-prefix", "/evil"),
        ("x-real-ip", "10.9.9.9"),
        ("forwarded", "for=10.9.9.9;proto=https"),
        ("x-envoy-expected-rq-timeout-ms", "1"),
        ("x-request-id", "chosen-by-the-caller"),
        // Read as the same by servers that follow CGI.
        ("x_forwarded_for", "10.9.9.9"),
        ("x-forwarded_proto", "https"),
        (
            "x_forwarded_client_cert",
            "URI=spiffe://test.mesh/ns/default/sa/root",
        ),
        ("x_real_ip", "10.9.9.9"),
        ("x_usher_anything", "yes"),
        ("x-own", "kept"),
    ] {
        claims.insert(name, value.parse()?);
    }
    let url = "http://www.example.com/open/door";
    let answer = web
        .send(Method::GET, url, claims.clone(), Default::default())
        .await?;
    assert_eq!(
        answer.status,
        200,
        "the gateway's own identity opens: {}",
        answer.text()
    );
    let received = town.shop.received();
    let seen = |name: &str| {
        let value = received[0].headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(seen("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen("x-forwarded-host").as_deref(), Some("www.example.com"));
    assert_eq!(seen("host").as_deref(), Some("www.example.com"));
    assert_eq!(seen("x-own").as_deref(), Some("kept"));
    let certificate = seen("x-forwarded-client-cert").expect("written by the callee's sidecar");
    assert!(certificate.contains("sa/edge") && !certificate.contains("sa/root"));
    assert_ne!(
        seen("x-request-id").as_deref(),
        Some("chosen-by-the-caller")
    );
    for name in [
        "x-forwarded-prefix",
        "x-real-ip",
        "forwarded",
        "x-usher-anything",
        "x_forwarded_for",
        "x-forwarded_proto",
        "x_forwarded_client_cert",
        "x_real_ip",
        "x_usher_anything",
    ] {
        assert_eq!(seen(name), None, "{name}");
    }
    // What the gateway writes cannot be taken away as if it belonged to the connection.
    let hop_by_hop = "close, x-forwarded-for, X-Forwarded-Proto, X-Forwarded-Host";
    claims.insert("connection", hop_by_hop.parse()?);
    let url = "http://www.example.com/open/window";
    web.send(Method::GET, url, claims, Default::default())
        .await?;
    let received = town.shop.received();
    let last = &received.last().expect("two").headers;
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "www.example.com"),
    ] {
        assert_eq!(last.get(name).expect(name), value);
    }
    for (path, status) in [("/closed", 403), ("/nowhere", 500), ("/a/../../b", 400)] {
        let answer = web.get(&format!("http://www.example.com{path}")).await?;
        assert_eq!(answer.status, status, "{path}");
        for header in answer.headers.keys() {
            assert!(!header.as_str().starts_with("x-usher"), "{path}: {header}");
        }
        let text = answer.text();
        for ours in ["default", "shop", "127.0.0.1", "policy", "missing"] {
            assert!(!text.contains(ours), "{path} says {ours}: {text}");
        }
    }
    let logged = eventually("the refusal is in the gateway's log", async || {
        let lines = edge.access_log();
        lines.into_iter().find(|line| line["path"] == "/nowhere")
    })
    .await;
    assert_eq!(logged["reason"], "backend-unresolvable", "{logged}");
    assert_eq!(logged["route"], "HTTPRoute/default/shop/1", "{logged}");
    Ok(())
}

#[tokio::test]
async fn routes_are_chosen_by_what_is_true_and_not_by_what_is_claimed() -> Result<()> {
    let by_header = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: door }\nspec:\n  \
        parentRefs: [{ name: edge }]\n  rules:\n  \
        - matches:\n    - headers: [{ name: x-forwarded-proto, value: https }]\n    \
        - headers: [{ name: x-real-ip, value: 10.9.9.9 }]\n    backendRefs: [{ name: admin, port: 8080 }]\n  \
        - matches: [{ headers: [{ name: x-forwarded-for, value: 127.0.0.1 }] }]\n    \
        backendRefs: [{ name: shop, port: 8080 }]\n";
    let documents = [
        gateway(&http_listener("web", 80, None)),
        by_header.to_owned(),
    ];
    let town = town(&documents).await?;
    let edge = Gateway::start(&town.mesh, "edge", &[80], &[]).await?;
    let mut claims = HeaderMap::new();
    claims.insert("x-forwarded-proto", "https".parse()?);
    claims.insert("x-real-ip", "10.9.9.9".parse()?);
    claims.insert("x-forwarded-for", "10.9.9.9".parse()?);
    let (web, url) = (edge.client(80), "http://www.example.com/");
    let answer = web
        .send(Method::GET, url, claims, Default::default())
        .await?;
    assert_eq!((answer.status, answer.text()), (200, "shop /".to_owned()));
    Ok(())
}

#[tokio::test]
async fn the_proxies_before_a_gateway_say_who_called_and_the_log_has_it() -> Result<()> {
    let documents = [
        gateway(&http_listener("web", 80, None)),
        route("shop", "{name: edge}", &[], &[("/", "shop")]),
    ];
    let town = town(&documents).await?;
    let one = ["--trusted-hops".to_owned(), "1".to_owned()];
    for (more, path, client, way) in [
        (&one[..], "/told", "203.0.113.9", "203.0.113.9, 127.0.0.1"),
        (&[][..], "/untold", "127.0.0.1", "127.0.0.1"),
    ] {
        let edge = Gateway::start(&town.mesh, "edge", &[80], more).await?;
        let mut claims = HeaderMap::new();
        claims.insert("x-forwarded-for", "10.9.9.9, 203.0.113.9".parse()?);
        let (web, url) = (edge.client(80), format!("http://www.example.com{path}"));
        let answer = web
            .send(Method::GET, &url, claims, Default::default())
            .await?;
        assert_eq!(answer.status, 200);
        let received = town.shop.received();
        let last = received.last().expect("one");
        assert_eq!(last.headers["x-forwarded-for"], way);
        let logged = eventually("the request is in the gateway's log", async || {
            let lines = edge.access_log();
            lines.into_iter().find(|line| line["path"] == path)
        })
        .await;
        assert_eq!(logged["client"], client, "{logged}");
        // Refused before it was known whom it was for: the log has what it asked for, and no query.
        let refused = web.get(&format!("{url};x?secret=1")).await?;
        assert_eq!(refused.status, 400);
        let logged = eventually("the refusal is in the gateway's log", async || {
            let mut lines = edge.access_log().into_iter();
            lines.find(|line| line["reason"] == "path-parameters")
        })
        .await;
        let asked = (&logged["authority"], &logged["path"], &logged["method"]);
        let sent = format!("{path};x");
        let sent = (&"www.example.com".into(), &sent.into(), &"GET".into());
        assert_eq!(asked, sent, "{logged}");
    }
    Ok(())
}

/// What the outside starts is one trace; how much of it is recorded is the mesh's to say.
#[tokio::test]
async fn an_outsider_names_its_trace_and_does_not_make_us_record_it() -> Result<()> {
    let documents = [
        gateway(&http_listener("web", 80, None)),
        route("shop", "{name: edge}", &[], &[("/", "shop")]),
    ];
    let town = town(&documents).await?;
    let edge = Gateway::start(&town.mesh, "edge", &[80], &[]).await?;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut claims = HeaderMap::new();
    claims.insert(
        "traceparent",
        format!("00-{trace}-b7ad6b7169203331-01").parse()?,
    );
    claims.insert("b3", "1".parse()?);
    let (web, url) = (edge.client(80), "http://www.example.com/");
    web.send(Method::GET, url, claims, Default::default())
        .await?;
    let received = town.shop.received();
    let headers = &received[0].headers;
    let parent = headers["traceparent"].to_str()?;
    assert!(parent.contains(trace), "{parent}");
    assert!(headers.get("b3").is_none());
    Ok(())
}
