//! A certificate of another namespace is shown once that has allowed it, and no sooner; a mistyped one takes away nothing,
//! a replaced one is shown no more.

use anyhow::Result;
use usher_tests::{Client, Gateway, eventually};

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

fn web(certificate: &str) -> String {
    let tls = format!("{{ certificateRefs: [{{ name: {certificate} }}] }}");
    let listener = tls_listener("web", (443, "HTTPS"), "web.example.com", &tls);
    gateway(&listener)
}

#[tokio::test]
async fn a_mistyped_certificate_takes_away_nothing_and_a_replaced_one_is_shown_no_more()
-> Result<()> {
    let documents = [
        web("web"),
        route("shop", "{ name: edge }", &[], &[("/", "shop")]),
    ];
    let (mesh, _shop, _sidecar) = mesh(&documents).await?;
    let root = Root::new()?;
    let more = certificate(&mesh, "web", &root.leaf(&["web.example.com"])?)?;
    let edge = Gateway::start(&mesh, "edge", &[443], &more).await?;
    let client = root.client(&[b"http/1.1"], false)?;
    let address = edge.address(443).expect("bound");
    let served = async || -> Result<()> {
        let mut stream = connect(&client, &address, "web.example.com").await?;
        let answer = get(&mut stream, "web.example.com", "/").await?;
        anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    };
    served().await?;
    // `mesh` writes two documents of its own first.
    mesh.write("02.yaml", &web("wbe"))?;
    let words = "listener web of the Gateway: no files for certificate wbe (--certificate wbe=CERT,KEY); there are some for \
                 web, if that is meant: it goes on with what it showed before (web)";
    let ready = async || Client::direct(&edge.metrics).get("/ready").await;
    eventually("it is said where people look", async || {
        let ready = ready().await.ok()?;
        let said = ready.status == 200 && ready.text().contains(words);
        (said && edge.process.printed().contains(words)).then_some(())
    })
    .await;
    eventually("operators see it too", async || {
        let status = mesh.ask(&["status"]).ok()?;
        let mut proxies = status["proxies"].as_array()?.iter();
        proxies
            .any(|proxy| proxy["remarks"][0] == words)
            .then_some(())
    })
    .await;
    served().await?;
    // Nobody mistypes like that: the old one may have been stolen.
    mesh.write("02.yaml", &web("renewed"))?;
    eventually("it is shown no more", async || {
        served().await.is_err().then_some(())
    })
    .await;
    let words = "no files for certificate renewed (--certificate renewed=CERT,KEY): TLS callers of it are refused";
    eventually("and that is said", async || {
        let said = edge.process.printed().contains(words);
        (said && ready().await.ok()?.text().contains("renewed")).then_some(())
    })
    .await;
    mesh.write("02.yaml", &web("web"))?;
    eventually("nothing is left to say", async || {
        (ready().await.ok()?.text() == "ready\n").then_some(())
    })
    .await;
    served().await
}
