//! The largest route that Gateway API lets anybody write reaches the gateway, and all that is sent after it.

use std::fmt::Write as _;

use anyhow::Result;
use usher_tests::Gateway;

use super::{gateway, http_listener, town};

/// 16 host names, 16 rules with 8 matches and 16 backends each: 2,048 routes of 16 backends.
fn largest_route() -> String {
    let hosts: Vec<String> = (0..16).map(|host| format!("h{host}.example.com")).collect();
    let mut route = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: large }}\nspec:\n  \
         parentRefs: [{{ name: edge }}]\n  hostnames: {hosts:?}\n  rules:\n"
    );
    for rule in 0..16 {
        let _ = writeln!(
            route,
            "  - timeouts: {{ request: {}s }}\n    matches:",
            rule + 10
        );
        for matches in 0..8 {
            let _ = writeln!(
                route,
                "    - {{ path: {{ value: /r{rule}/m{matches} }}, headers: [{{ name: x-long, value: {} }}] }}",
                "v".repeat(100)
            );
        }
        let backends = vec!["{ name: shop, port: 8080 }"; 16].join(", ");
        let _ = writeln!(route, "    backendRefs: [{backends}]");
    }
    route
}

#[tokio::test]
async fn the_largest_route_with_the_largest_fallback_reaches_its_gateway() -> Result<()> {
    let fallback = format!(
        "apiVersion: usher.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{ name: large }}\nspec:\n  targetRefs:\n  \
         - {{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: large }}\n  breaker: {{}}\n  \
         fallback:\n    when: [Open]\n    response: {{ status: 200, body: {} }}\n",
        "b".repeat(60_000)
    );
    let documents = [
        gateway(&http_listener("web", 80, None)),
        largest_route(),
        fallback,
    ];
    let town = town(&documents).await?;
    let edge = Gateway::start(&town.mesh, "edge", &[80], &[]).await?;
    let mut headers = http::HeaderMap::new();
    headers.insert("x-long", "v".repeat(100).parse()?);
    let url = "http://h15.example.com/r15/m7/x";
    let web = edge.client(80);
    let answer = web
        .send(http::Method::GET, url, headers, Default::default())
        .await?;
    assert_eq!(
        (answer.status, answer.text()),
        (200, "shop /r15/m7/x".to_owned())
    );
    Ok(())
}
