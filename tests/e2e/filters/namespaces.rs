//! Routes cross namespaces only where they may, and consumer routes are for their own callers.

use anyhow::Result;
use usher_tests::{Application, eventually};

use super::route;
use crate::pair;

/// A service of another namespace, with nobody behind it.
const ELSEWHERE: &str = "apiVersion: v1
kind: Service
metadata: { name: shop, namespace: other }
spec:
  selector: { app: shop }
  ports: [{ port: 8080, appProtocol: http }]
";

#[tokio::test]
async fn a_backend_in_another_namespace_gets_500_until_it_is_granted() -> Result<()> {
    let application = Application::echo().await?;
    let rules = "  - backendRefs: [{ name: shop, namespace: other, port: 8080 }]\n";
    let (mesh, _api, web) = pair(&application, &[route(rules), ELSEWHERE.to_owned()]).await?;
    let answer = web.get("http://api/").await?;
    assert_eq!(
        (answer.status, answer.header("x-usher-reason")),
        (500, "NC backend-unresolvable".to_owned())
    );
    let status = mesh.ask(&["status"])?.to_string();
    assert!(
        status.contains("RefNotPermitted") && status.contains("ReferenceGrant"),
        "{status}"
    );
    mesh.write(
        "grant.yaml",
        "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: web, namespace: other }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default }]
  to: [{ group: \"\", kind: Service, name: shop }]
",
    )?;
    eventually(
        "the grant holds: nobody is there, but one may ask",
        async || {
            let answer = web.get("http://api/").await.ok()?;
            answer
                .header("x-usher-reason")
                .starts_with("UH")
                .then_some(())
        },
    )
    .await;
    Ok(())
}

#[tokio::test]
async fn a_consumer_route_is_followed_by_callers_in_its_namespace() -> Result<()> {
    let application = Application::echo().await?;
    let consumer = |namespace: &str, path: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {namespace}, namespace: {namespace} }}
spec:
  parentRefs: [{{ group: \"\", kind: Service, name: shop, namespace: other }}]
  rules:
  - matches: [{{ path: {{ value: {path} }} }}]
    filters: [{{ type: RequestRedirect, requestRedirect: {{ hostname: {namespace}.example }} }}]
"
        )
    };
    // Ours, somebody else's, and the owner's.
    let documents = [
        ELSEWHERE.to_owned(),
        consumer("default", "/ours"),
        consumer("third", "/theirs"),
        consumer("other", "/owners"),
    ];
    let (_mesh, _api, web) = pair(&application, &documents).await?;
    let answer = web.get("http://shop.other/ours").await?;
    assert_eq!(answer.header("location"), "http://default.example/ours");
    // Who has consumer routes follows no others.
    for path in ["/theirs", "/owners"] {
        let answer = web.get(&format!("http://shop.other{path}")).await?;
        assert_eq!(
            (answer.status, answer.header("x-usher-reason")),
            (404, "NR no-route".to_owned()),
            "{path}"
        );
    }
    Ok(())
}
