//! Without a control plane traffic goes on; with a new one changes arrive.

use std::time::Duration;

use anyhow::Result;
use usher_tests::{Application, Mesh, eventually, yaml};

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

#[tokio::test]
async fn a_command_of_a_moment_knows_its_services_when_it_runs_again_during_an_outage() -> Result<()>
{
    let application = Application::echo().await?;
    let mut mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let _api = mesh
        .sidecar("api")
        .application(&application)
        .start()
        .await?;
    let state = mesh.path("job");
    std::fs::create_dir(&state)?;
    assert_eq!(job(&mesh, &state).await?, "200");
    mesh.kill_server();
    assert_eq!(job(&mesh, &state).await?, "200");
    Ok(())
}

/// One call, by a command that ends at once; the status that it got.
async fn job(mesh: &Mesh, state: &std::path::Path) -> Result<String> {
    let mut job = mesh
        .sidecar("web")
        .argument("--state-dir")
        .argument(state.to_str().expect("path"))
        .argument("--quiet")
        .command(&[
            "curl",
            "-so",
            "/dev/null",
            "-w",
            "status=%{http_code}",
            "http://api/",
        ])
        .spawn()?;
    let ended = job.process.end(Duration::from_secs(30)).await;
    let printed = job.process.printed();
    anyhow::ensure!(ended.success(), "{printed}");
    let status = printed.split("status=").nth(1).unwrap_or_default();
    Ok(status.chars().take(3).collect())
}
