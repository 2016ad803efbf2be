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

#[tokio::test]
async fn new_connections_are_served_while_the_balancer_has_not_heard() -> Result<()> {
    let mesh = Mesh::start(&[
        yaml::service("shop", 8080, "http"),
        yaml::workload("edge"),
        gateway(&http_listener("web", 80, None)),
        route("shop", "{ name: edge }", &[], &[("/", "shop")]),
    ])
    .await?;
    let shop = Application::echo().await?;
    let _sidecar = mesh.sidecar("shop").application(&shop).start().await?;
    let notice = ["--drain-notice".to_owned(), "2s".to_owned()];
    let mut edge = Gateway::start(&mesh, "edge", &[80], &notice).await?;
    eventually("its starter has let go", async || {
        let printed = edge.process.printed();
        printed.contains("has configuration").then_some(())
    })
    .await;
    edge.process.signal(Signal::SIGTERM);
    let metrics = edge.metrics.clone();
    eventually("not ready", async || {
        let answer = Client::direct(&metrics).get("/ready").await.ok()?;
        (answer.status == 503).then_some(())
    })
    .await;
    // Longer than a drain without callers takes, were it not for the notice.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(1_500) {
        let answer = edge.client(80).get("http://a/fresh").await?;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), "", "nobody is sent away yet");
    }
    let code = eventually("it ends", async || edge.process.ended()).await;
    assert_eq!(code.code(), Some(0), "{}", edge.process.printed());
    Ok(())
}
