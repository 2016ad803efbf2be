//! The mesh's roots: one takes another's place while requests go on, join tokens and kept identities outlive it, and one that
//! is in use is not retired.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use usher_tests::{
    Application, Client, Mesh, Output, Sidecar, binary, eventually, eventually_for, run, yaml,
};

use crate::replicas::Traffic;

/// `usher ca ARGUMENTS`, of this mesh.
pub(crate) fn ca(mesh: &Mesh, arguments: &[&str]) -> Output {
    let data = mesh.data();
    let data = data.to_str().expect("a path");
    let all = [&["ca"], arguments, &["--data", data]].concat();
    run(&binary("usher"), all)
}

pub(crate) fn status(mesh: &Mesh) -> Result<Value> {
    let output = ca(mesh, &["status", "--json"]);
    serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))
}

pub(crate) fn root<'a>(status: &'a Value, phase: &str) -> &'a Value {
    let mut roots = status["roots"].as_array().into_iter().flatten();
    roots
        .find(|root| root["phase"] == phase)
        .unwrap_or(&Value::Null)
}

async fn web(mesh: &Mesh, state: &str, token: &str) -> Result<Sidecar> {
    std::fs::create_dir_all(state)?;
    let sidecar = mesh.sidecar("web").argument("--state-dir").argument(state);
    sidecar
        .argument("--token-file")
        .argument(token)
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_takes_anothers_place_without_a_failed_request() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let application = Application::echo().await?;
    let api = mesh
        .sidecar("api")
        .application(&application)
        .start()
        .await?;
    let (state, old_token) = (mesh.path("web-state"), mesh.token("web")?);
    let (state, old_token) = (
        state.to_str().context("path")?,
        old_token.to_str().context("path")?,
    );
    // The next token is written into another file.
    let kept_token = format!("{old_token}.old");
    std::fs::copy(old_token, &kept_token)?;
    let mut caller = web(&mesh, state, &kept_token).await?;
    let traffic = Traffic::through(&caller).await?;
    let old = root(&status(&mesh)?, "Active")["sha256"].clone();

    let rotated = ca(&mesh, &["rotate", "--timeout", "2m"]);
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    // One that connects anew just then is counted when it is back.
    let after = eventually("both are under the new root", async || {
        let after = status(&mesh).ok()?;
        let active = root(&after, "Active");
        let counted = (&active["sidecars"], &active["percent"]);
        (active["sha256"] != old && counted == (&2.into(), &100.0.into())).then_some(after)
    })
    .await;
    assert_eq!(root(&after, "Retiring")["sha256"], old);

    // Another sidecar, with a token that pins the old root.
    let other = mesh.path("other-state");
    let other = web(&mesh, other.to_str().context("path")?, &kept_token).await?;
    assert_eq!(other.get("http://api/").await?.status, 200);

    let old = old.as_str().context("a text")?;
    let early = ca(&mesh, &["retire", &old[..12]]);
    assert_eq!(early.code, Some(70), "a sidecar may be away: {early:?}");
    assert!(early.stderr.contains("--force"), "{early:?}");
    let retired = ca(&mesh, &["retire", &old[..12], "--force"]);
    assert_eq!(retired.code, Some(0), "{retired:?}");
    assert_eq!(root(&status(&mesh)?, "Retiring"), &Value::Null);
    eventually("sidecars trust one root", async || {
        let admin = api.state().join("identity.json");
        let kept: Value = serde_json::from_slice(&std::fs::read(admin).ok()?).ok()?;
        (kept["roots"].as_array()?.len() == 1).then_some(())
    })
    .await;
    traffic.all_went_well().await?;

    // A restart, with what it was started with.
    caller.process.stop().await;
    let caller = web(&mesh, state, &kept_token).await?;
    assert_eq!(caller.get("http://api/").await?.status, 200);
    let printed = caller.process.printed();
    assert!(!printed.contains("another mesh"), "{printed}");

    let new_token = mesh.token("web")?;
    let third = mesh.path("third-state");
    let third = web(
        &mesh,
        third.to_str().context("path")?,
        new_token.to_str().context("path")?,
    )
    .await?;
    assert_eq!(third.get("http://api/").await?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_sidecars_show_is_not_retired_and_rotation_survives_a_restart() -> Result<()> {
    let mut mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let application = Application::echo().await?;
    let _api = mesh
        .sidecar("api")
        .application(&application)
        .start()
        .await?;
    let caller = mesh.sidecar("web").start().await?;
    let active = root(&status(&mesh)?, "Active")["sha256"].clone();
    let active = active.as_str().context("a text")?;
    let refused = ca(&mesh, &["retire", active, "--force"]);
    assert_eq!(refused.code, Some(70), "{refused:?}");
    assert!(refused.stderr.contains("usher ca rotate"), "{refused:?}");
    let unknown = ca(&mesh, &["retire", "zzzz"]);
    assert!(
        unknown.stderr.contains(&active[..12]),
        "says which there are: {unknown:?}"
    );

    let traffic = Traffic::through(&caller).await?;
    assert_eq!(ca(&mesh, &["rotate"]).code, Some(0));
    let metrics = Client::direct(mesh.http()).get("/metrics").await?.text();
    assert!(
        metrics.contains("usher_ca_issuer_expiry_timestamp_seconds 1"),
        "{metrics}"
    );
    mesh.kill_server();
    mesh.start_server().await?;
    eventually_for(
        Duration::from_secs(30),
        "both are back, under the new root",
        async || {
            let status = status(&mesh).ok()?;
            (root(&status, "Active")["sidecars"] == 2).then_some(())
        },
    )
    .await;
    let retiring = status(&mesh)?;
    assert_eq!(root(&retiring, "Retiring")["sha256"], active, "kept");
    traffic.all_went_well().await
}
