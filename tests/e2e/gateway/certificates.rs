//! A certificate of another namespace is shown once that has allowed it, and no sooner.

use anyhow::Result;
use usher_tests::{Gateway, eventually};

use super::{
    gateway,
    roots::{Root, certificate, connect, get, mesh, tls_listener},
    route,
};

#[tokio::test]
async fn a_certificate_of_another_namespace_takes_its_grant() -> Result<()> {
    let listener = tls_listener(
        "vault",
        (443, "HTTPS"),
        "vault.example.com",
        "{ certificateRefs: [{ name: web, namespace: vault }] }",
    );
    let documents = [
        gateway(&listener),
        route("shop", "{ name: edge }", &[], &[("/", "shop")]),
    ];
    let (mesh, _shop, _sidecar) = mesh(&documents).await?;
    let root = Root::new()?;
    let more = certificate(&mesh, "vault/web", &root.leaf(&["vault.example.com"])?)?;
    let edge = Gateway::start(&mesh, "edge", &[443], &more).await?;
    let (client, address) = (
        root.client(&[b"http/1.1"], false)?,
        edge.address(443).expect("bound"),
    );
    let refused = connect(&client, &address, "vault.example.com").await;
    assert!(refused.is_err(), "its namespace has not allowed it");
    mesh.write(
        "grant.yaml",
        "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: edge, namespace: vault }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: Gateway, namespace: default }]
  to: [{ group: \"\", kind: Secret, name: web }]
",
    )?;
    let mut stream = eventually("the grant holds", async || {
        connect(&client, &address, "vault.example.com").await.ok()
    })
    .await;
    let answer = get(&mut stream, "vault.example.com", "/").await?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}
