//! A gateway is ready when it can serve what it is told to, and says what keeps it from that.

use std::net::TcpListener;

use anyhow::{Context as _, Result};
use usher_tests::{Client, Gateway, Mesh, eventually, yaml};

use super::{gateway, http_listener};

async fn status(edge: &Gateway) -> Option<u16> {
    let metrics = edge.metrics_address()?;
    let answer = Client::direct(&metrics).get("/ready").await.ok()?;
    Some(answer.status)
}

/// What keeps it from being ready.
async fn lack(edge: &Gateway) -> Result<String> {
    let metrics = edge.metrics_address().context("it has one")?;
    let answer = Client::direct(&metrics).get("/ready").await?;
    anyhow::ensure!(answer.status == 503, "{}", answer.text());
    Ok(answer.text())
}

#[tokio::test]
async fn a_port_that_is_taken_keeps_a_gateway_from_being_ready() -> Result<()> {
    let mesh = Mesh::start(&[
        yaml::workload("edge"),
        gateway(&http_listener("web", 80, None)),
    ])
    .await?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let listen = format!("80={}", taken.local_addr()?);
    let edge = Gateway::spawn(&mesh, "edge", &[], &["--listen".to_owned(), listen]).await?;
    eventually("people are told", async || {
        edge.process
            .printed()
            .contains("cannot listen on")
            .then_some(())
    })
    .await;
    let why = lack(&edge).await?;
    assert!(
        why.starts_with("not ready: port 80 of the Gateway: cannot listen on"),
        "{why}"
    );
    let address = taken.local_addr()?;
    drop(taken);
    eventually("it is ready", async || {
        (status(&edge).await == Some(200)).then_some(())
    })
    .await;
    // Its Gateway goes and comes back, and the port is somebody else's by then.
    let file = mesh.config().join("01.yaml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    let _taken = eventually("it has closed the port", async || {
        TcpListener::bind(address).ok()
    })
    .await;
    std::fs::write(&file, text)?;
    eventually("it is not ready again", async || {
        let why = lack(&edge).await.ok()?;
        why.contains("cannot listen on").then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_certificate_without_files_keeps_a_gateway_from_being_ready() -> Result<()> {
    let secure = "  - { name: web, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: web }] } }\n";
    let mesh = Mesh::start(&[yaml::workload("edge"), gateway(secure)]).await?;
    let mut edge = Gateway::spawn(&mesh, "edge", &[443], &[]).await?;
    edge.bound(443).await;
    eventually("people are told", async || {
        let printed = edge.process.printed();
        printed
            .contains("no files for certificate web")
            .then_some(())
    })
    .await;
    let why = lack(&edge).await?;
    assert_eq!(
        why,
        "not ready: listener web of the Gateway: no files for certificate web (--certificate web=CERT,KEY)\n"
    );
    let printed = edge.process.printed();
    assert!(printed.contains("and /ready answers 503"), "{printed}");
    // Its ports are closed: whoever sends callers here has to hear it.
    std::fs::remove_file(mesh.config().join("01.yaml"))?;
    eventually("it says that there is no Gateway", async || {
        let why = lack(&edge).await.ok()?;
        why.contains("there is no Gateway default/edge")
            .then_some(())
    })
    .await;
    let status = mesh.ask(&["status"])?.to_string();
    assert!(status.contains("NoGateway"), "{status}");
    Ok(())
}

#[tokio::test]
async fn an_address_for_a_port_that_the_gateway_lacks_opens_nothing() -> Result<()> {
    let mesh = Mesh::start(&[
        yaml::workload("edge"),
        gateway(&http_listener("web", 80, None)),
    ])
    .await?;
    let typo = ["--listen".to_owned(), "81=127.0.0.1:0".to_owned()];
    let mut edge = Gateway::spawn(&mesh, "edge", &[], &typo).await?;
    let status = edge.process.end(std::time::Duration::from_secs(20)).await;
    let printed = edge.process.printed();
    assert_eq!(status.code(), Some(64), "{printed}");
    assert!(
        printed.contains("the Gateway default/edge has no port 81, allowed: 80"),
        "{printed}"
    );
    assert!(edge.address(80).is_none(), "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_nobody_wrote_is_spoken_of_while_it_is_waited_for() -> Result<()> {
    let mesh = Mesh::start(&[yaml::workload("edge")]).await?;
    let mut edge = Gateway::spawn(&mesh, "edge", &[80], &[]).await?;
    eventually("people are told", async || {
        let printed = edge.process.printed();
        let words = "there is no Gateway default/edge, so nothing is listened on until there is";
        printed.contains(words).then_some(())
    })
    .await;
    mesh.write("09.yaml", &gateway(&http_listener("web", 80, None)))?;
    edge.bound(80).await;
    Ok(())
}
