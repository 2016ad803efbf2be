//! Who calls past the mesh is listed, before and after that is refused.

use anyhow::Result;
use serde_json::Value;
use usher_tests::{Application, Client, Mesh, eventually, yaml};

use crate::pair;

const PERMISSIVE: &str = "  mtls: { mode: Permissive }\n  defaultAction: Allow\n";

fn callers(mesh: &Mesh) -> Option<Vec<Value>> {
    mesh.ask(&["callers", "default/api"])
        .ok()?
        .as_array()
        .cloned()
}

#[tokio::test]
async fn a_plaintext_caller_is_listed_and_a_sidecar_is_not() -> Result<()> {
    let application = Application::echo().await?;
    let permissive = yaml::access_policy("api", PERMISSIVE);
    let (mut mesh, api, web) = pair(&application, &[permissive]).await?;
    assert_eq!(web.get("http://api/mtls").await?.status, 200);
    assert_eq!(callers(&mesh), Some(Vec::new()));
    eventually("plaintext is served", async || {
        let answer = Client::direct(&api.inbound).get("/plain").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    let listed = eventually("the caller is listed", async || {
        callers(&mesh).filter(|listed| !listed.is_empty())
    })
    .await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["address"], "127.0.0.1");
    assert_eq!(listed[0]["mode"], "Permissive");
    assert_eq!(listed[0].get("lastRefused"), None);
    let status = mesh.ask(&["status"])?;
    assert_eq!(status["plaintextCallers"]["callers"], 1);
    assert_eq!(status["plaintextCallers"]["services"][0], "default/api");
    let metrics = Client::direct(mesh.http()).get("/metrics").await?.text();
    assert!(metrics.contains("usher_mesh_plaintext_callers 1"));

    // A control plane that has forgotten everything hears of it again.
    mesh.kill_server();
    mesh.start_server().await?;
    eventually("the caller is listed again", async || {
        callers(&mesh).filter(|listed| listed.len() == 1)
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn who_is_refused_by_a_strict_service_is_listed_as_refused() -> Result<()> {
    let application = Application::echo().await?;
    let (mesh, api, _web) = pair(&application, &[]).await?;
    let answer = Client::direct(&api.inbound).get("/").await;
    assert!(answer.is_ok_and(|answer| answer.status == 403));
    let listed = eventually("the caller is listed", async || {
        callers(&mesh).filter(|listed| !listed.is_empty())
    })
    .await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["mode"], "Strict");
    assert!(listed[0]["lastRefused"].is_string(), "{listed:?}");
    Ok(())
}
