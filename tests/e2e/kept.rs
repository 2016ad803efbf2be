//! What an earlier run has left: of use while the control plane is away, and never in the way.

use std::time::Duration;

use anyhow::{Context as _, Result};
use usher_tests::{Application, Mesh, Sidecar, eventually, reply, yaml};

/// `web`, with this state directory.
async fn web(mesh: &Mesh, state: &str, more: &[&str]) -> Result<Sidecar> {
    // Its output goes there before it has made it.
    std::fs::create_dir_all(state)?;
    let mut builder = mesh.sidecar("web").argument("--state-dir").argument(state);
    for argument in more {
        builder = builder.argument(*argument);
    }
    builder.start().await
}

async fn named(name: &'static str) -> Result<Application> {
    Application::answering(move |_, _| reply(200, name)).await
}

fn api() -> Vec<String> {
    vec![yaml::service("api", 8080, "http")]
}

#[tokio::test]
async fn a_token_of_another_mesh_moves_a_sidecar_there_and_nothing_of_the_old_one_is_used()
-> Result<()> {
    // Both have the same trust domain, as meshes that nobody named do.
    let (old, new) = (Mesh::start(&api()).await?, Mesh::start(&api()).await?);
    let (here, there) = (named("old").await?, named("new").await?);
    let _here = old.sidecar("api").application(&here).start().await?;
    let _there = new.sidecar("api").application(&there).start().await?;
    let state = old.path("web-state");
    let state = state.to_str().context("path")?;

    let mut sidecar = web(&old, state, &[]).await?;
    assert_eq!(sidecar.get("http://api/").await?.text(), "old");
    sidecar.process.stop().await;

    let token = new.token("web")?;
    let token = ["--token-file", token.to_str().context("path")?];
    let mut sidecar = web(&new, state, &token).await?;
    assert_eq!(sidecar.get("http://api/").await?.text(), "new");
    eventually("its user hears of it", async || {
        let printed = sidecar.process.printed();
        printed
            .contains("is of another mesh than the token in")
            .then_some(())
    })
    .await;
    sidecar.process.stop().await;

    let sidecar = web(&new, state, &token).await?;
    assert_eq!(sidecar.get("http://api/").await?.text(), "new");
    let printed = sidecar.process.printed();
    assert!(
        !printed.contains("another mesh"),
        "the new one is kept: {printed}"
    );
    Ok(())
}

#[tokio::test]
async fn a_token_that_nobody_gave_does_not_move_a_sidecar_from_the_mesh_it_was_told() -> Result<()>
{
    let (told, here) = (Mesh::start(&api()).await?, Mesh::start(&api()).await?);
    let (one, other) = (named("told").await?, named("here").await?);
    let _one = told.sidecar("api").application(&one).start().await?;
    let _other = here.sidecar("api").application(&other).start().await?;
    let state = told.path("web-state");
    let state = state.to_str().context("path")?;
    let mut sidecar = web(&told, state, &[]).await?;
    assert_eq!(sidecar.get("http://api/").await?.text(), "told");
    sidecar.process.stop().await;

    // On the machine of the other one, which makes tokens of its own mesh.
    let elsewhere = ["--control-plane", told.grpc()];
    let mut sidecar = web(&here, state, &elsewhere).await?;
    assert_eq!(sidecar.get("http://api/").await?.text(), "told");
    let printed = sidecar.process.printed();
    assert!(
        printed.contains("the control plane on this machine is of another mesh"),
        "{printed}"
    );
    sidecar.process.stop().await;

    // Nobody else was named: that machine's it is.
    let sidecar = web(&here, state, &[]).await?;
    assert_eq!(sidecar.get("http://api/").await?.text(), "here");
    Ok(())
}

#[tokio::test]
async fn a_wrong_control_plane_is_told_though_what_was_kept_still_serves() -> Result<()> {
    let mesh = Mesh::start(&api()).await?;
    let application = named("api").await?;
    let _api = mesh
        .sidecar("api")
        .application(&application)
        .start()
        .await?;
    let state = mesh.path("web-state");
    let state = state.to_str().context("path")?;
    let mut sidecar = web(&mesh, state, &[]).await?;
    assert_eq!(sidecar.get("http://api/").await?.text(), "api");
    sidecar.process.stop().await;

    let wrong = mesh.http().to_owned();
    let sidecar = web(&mesh, state, &["--control-plane", &wrong]).await?;
    assert_eq!(sidecar.get("http://api/").await?.text(), "api");
    let told = format!("{wrong} does not speak TLS");
    eventually("its user hears of it", async || {
        let printed = sidecar.process.printed();
        (printed.contains(&told) && printed.contains("goes on with the configuration kept at 20"))
            .then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn what_was_kept_of_another_mesh_lets_no_command_start() -> Result<()> {
    const KEPT: &str = "last-known-good.pb";
    let (mut mesh, other) = (Mesh::start(&api()).await?, Mesh::start(&api()).await?);
    let states = [mesh.path("web-state"), other.path("web-state")];
    for (mesh, state) in [(&mesh, &states[0]), (&other, &states[1])] {
        let mut sidecar = web(mesh, state.to_str().context("path")?, &[]).await?;
        sidecar.process.stop().await;
        anyhow::ensure!(state.join(KEPT).exists(), "it keeps what it knew");
    }
    std::fs::copy(states[1].join(KEPT), states[0].join(KEPT))?;
    mesh.kill_server();
    let mut sidecar = mesh
        .sidecar("web")
        .argument("--state-dir")
        .argument(states[0].to_str().context("path")?)
        .argument("--ready-timeout")
        .argument("2s")
        .spawn()?;
    let status = sidecar.process.end(Duration::from_secs(30)).await;
    let printed = sidecar.process.printed();
    assert_eq!(status.code(), Some(69), "{printed}");
    assert!(
        printed.contains("the command was not started") && !printed.contains("kept at"),
        "{printed}"
    );
    Ok(())
}
