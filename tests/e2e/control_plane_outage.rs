//! Without a control plane traffic goes on; with a new one changes arrive.

use anyhow::Result;
use usher_tests::{Application, eventually, yaml};

use crate::pair;

#[tokio::test]
async fn traffic_outlives_the_control_plane_and_changes_arrive_when_it_is_back() -> Result<()> {
    let application = Application::echo().await?;
    let (mut mesh, _api, web) = pair(&application, &[]).await?;
    assert_eq!(web.get("http://api/").await?.status, 200);
    mesh.kill_server();
    for _ in 0..20 {
        assert_eq!(web.get("http://api/").await?.status, 200);
    }
    mesh.write(
        "access.yaml",
        &yaml::access_policy("api", "  rules:\n  - from: { serviceAccounts: [nobody] }\n"),
    )?;
    mesh.start_server().await?;
    eventually("what changed meanwhile arrives", async || {
        (web.get("http://api/").await.ok()?.status == 403).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_sidecar_that_restarts_without_a_control_plane_serves_from_what_it_knew() -> Result<()> {
    let application = Application::echo().await?;
    let (mut mesh, _api, web) = pair(&application, &[]).await?;
    assert_eq!(web.get("http://api/").await?.status, 200);
    let state = web.state().to_str().expect("path").to_owned();
    eventually("the last known good is on disk", async || {
        let known = std::fs::read(format!("{state}/last-known-good.pb")).ok()?;
        let names_api = known.windows(11).any(|window| window == b"default/api");
        names_api.then_some(())
    })
    .await;
    drop(web);
    mesh.kill_server();
    let again = mesh
        .sidecar("web")
        .argument("--state-dir")
        .argument(state)
        .start()
        .await?;
    assert_eq!(again.get("http://api/").await?.status, 200);
    Ok(())
}
