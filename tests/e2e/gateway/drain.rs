//! A gateway that is told to end finishes what it has begun.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use usher_tests::{Application, Client, Gateway, Mesh, eventually, reply_after, yaml};

use super::{gateway, http_listener, route};

#[tokio::test]
async fn what_is_under_way_finishes_and_readiness_ends_first() -> Result<()> {
    let mesh = Mesh::start(&[
        yaml::service("shop", 8080, "http"),
        yaml::workload("edge"),
        gateway(&http_listener("web", 80, None)),
        route("shop", "{ name: edge }", &[], &[("/", "shop")]),
    ])
    .await?;
    let slow =
        Application::answering(|_, _| reply_after(Duration::from_secs(2), 200, "late")).await?;
    let _sidecar = mesh.sidecar("shop").application(&slow).start().await?;
    let mut edge = Gateway::start(&mesh, "edge", &[80], &[]).await?;
    let client = edge.client(80);
    let under_way = tokio::spawn(async move { client.get("http://a/slow").await });
    eventually("the application has it", async || {
        (!slow.received().is_empty()).then_some(())
    })
    .await;
    edge.process.signal(Signal::SIGTERM);
    let metrics = edge.metrics.clone();
    eventually("not ready", async || {
        let answer = Client::direct(&metrics).get("/ready").await.ok()?;
        (answer.status == 503).then_some(())
    })
    .await;
    let answer = under_way.await??;
    assert_eq!((answer.status, answer.text()), (200, "late".to_owned()));
    let code = eventually("it ends", async || edge.process.ended()).await;
    assert_eq!(code.code(), Some(0), "{}", edge.process.printed());
    Ok(())
}
