//! Strict means mutual TLS; a stranger learns nothing and is counted.

use anyhow::Result;
use usher_tests::{Application, Client, eventually, yaml};

use crate::pair;

#[tokio::test]
async fn plaintext_is_refused_by_default_and_counted() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, api, _web) = pair(&application, &[]).await?;
    let answer = Client::direct(&api.inbound).get("/").await;
    assert!(
        answer.as_ref().map_or(true, |answer| answer.status >= 400),
        "{answer:?}"
    );
    assert!(application.received().is_empty());
    eventually("the attempt is counted", async || {
        let text = Client::direct(&api.metrics)
            .get("/metrics")
            .await
            .ok()?
            .text();
        text.lines()
            .any(|line| {
                !line.starts_with('#') && line.contains("plaintext") && !line.ends_with(" 0")
            })
            .then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn permissive_lets_plaintext_in_until_it_is_taken_away() -> Result<()> {
    let application = Application::echo().await?;
    let permissive = yaml::access_policy(
        "api",
        "  mtls: { mode: Permissive }\n  defaultAction: Allow\n",
    );
    let loosening = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: { name: mesh }\nspec: { trustDomain: test.mesh, allowLoosening: true }\n";
    let (mesh, api, web) = pair(&application, &[]).await?;
    mesh.write("mesh.yaml", loosening)?;
    mesh.write("access.yaml", &permissive)?;
    eventually("plaintext is served", async || {
        let answer = Client::direct(&api.inbound).get("/plain").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(web.get("http://api/mtls").await?.status, 200);
    std::fs::remove_file(mesh.config().join("access.yaml"))?;
    // That we call is known, and in its way.
    mesh.dismiss_callers("default/api")?;
    eventually("plaintext is refused again", async || {
        let answer = Client::direct(&api.inbound).get("/plain").await;
        answer
            .map_or(true, |answer| answer.status >= 400)
            .then_some(())
    })
    .await;
    Ok(())
}
