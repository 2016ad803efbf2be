//! What the rules do to connections, whoever runs or does not run behind them.

use std::time::Duration;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use usher_tests::{Host, Mesh, Network, eventually, yaml};

use super::pair::{Sidecar, api, get, intercept};

#[tokio::test]
async fn connections_that_were_there_before_the_rules_stay() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let (host, outside) = (network.host()?, network.host()?);
    // An operator's own session, which is never intercepted; one to an application; and one of an application.
    let mut connections = [
        connection(&outside, (&host, 22)).await?,
        connection(&outside, (&host, 8080)).await?,
        connection(&host, (&outside, 5432)).await?,
    ];
    for arguments in [
        &["install"][..],
        &["remove"],
        &["install"],
        &["install", "--inbound", "tproxy"],
    ] {
        assert_eq!(intercept(&host, arguments).code, Some(0));
        for (called, caller) in &mut connections {
            say(called, caller).await?;
            say(caller, called).await?;
        }
    }
    Ok(())
}

async fn say(from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
    from.write_all(b"still here").await?;
    to.read_exact(&mut [0; 10]).await?;
    Ok(())
}

/// Both its ends, the called one first.
async fn connection(caller: &Host, (called, port): (&Host, u16)) -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::from_std(called.listen(&format!("0.0.0.0:{port}"))?)?;
    let caller = TcpStream::from_std(caller.connect(&format!("{}:{port}", called.ipv4))?)?;
    Ok((listener.accept().await?.0, caller))
}

#[tokio::test]
async fn removing_nothing_is_no_mistake_and_says_so() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let host = network.host()?;
    let output = intercept(&host, &["remove"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.starts_with("nothing to remove"), "{output:?}");
    assert_eq!(intercept(&host, &["install"]).code, Some(0));
    let output = intercept(&host, &["remove"]);
    assert!(output.stdout.starts_with("removed"), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn without_a_sidecar_nobody_reaches_the_application() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let (host, outside) = (network.host()?, network.host()?);
    let application = api(&host, "0.0.0.0:8080")?;
    let address = format!("{}:8080", host.ipv4);
    let reach = || outside.connect(&address).map(drop);
    reach()?;
    assert_eq!(intercept(&host, &["install"]).code, Some(0));
    assert!(reach().is_err(), "redirected to nobody");
    let tproxy = ["install", "--inbound", "tproxy"];
    assert_eq!(intercept(&host, &tproxy).code, Some(0));
    // As of a sidecar that was started with --transparent redirect.
    let _not_transparent = host.listen("0.0.0.0:15006")?;
    assert!(reach().is_err(), "handed over to nobody");
    assert!(application.received().is_empty());
    Ok(())
}

#[tokio::test]
async fn who_is_reachable_around_its_sidecar_is_not_served() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let rules: [(&str, &[&str]); 3] = [
        ("after-a-reboot", &["remove"]),
        ("only-calls", &["install", "--inbound", "off"]),
        ("left-out", &["install", "--exclude-inbound-ports", "8080"]),
    ];
    let services = rules.map(|(name, _)| yaml::service(name, 8080, "http"));
    let mesh = Mesh::start_on("10.77.0.1:0", &services).await?;
    for (name, rules) in rules {
        let host = network.host()?;
        assert_eq!(intercept(&host, rules).code, Some(0));
        let application = api(&host, "0.0.0.0:8080")?;
        let more = ["--application-port", "8080"];
        let mut sidecar = Sidecar::spawn(&mesh, &host, name, 1337, &more)?;
        let status = sidecar.process.end(Duration::from_secs(20)).await;
        let said = sidecar.process.printed();
        assert_eq!(status.code(), Some(78), "{name}: {said}");
        assert!(
            said.contains("usher-proxy intercept install"),
            "{name}: {said}"
        );
        drop(application);
    }
    Ok(())
}

#[tokio::test]
async fn rules_that_do_not_exclude_the_sidecar_end_it_whatever_else_they_say() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let mesh = Mesh::start_on("10.77.0.1:0", &[]).await?;
    let only_some = ["install", "--include-outbound-ports", "80"];
    let (before, after) = (network.host()?, network.host()?);
    assert_eq!(intercept(&before, &only_some).code, Some(0));
    let mut first = Sidecar::spawn(&mesh, &before, "web", 0, &[])?;
    let status = first.process.end(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(78));
    let mut second = Sidecar::spawn(&mesh, &after, "web", 4711, &[])?;
    eventually("it serves", async || {
        let answer = get(&after, "127.0.0.1:15020", "x", "/ready").await.ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    assert_eq!(intercept(&after, &only_some).code, Some(0));
    let status = second.process.end(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(78));
    assert!(second.process.printed().contains("--exclude-uid 4711"));
    Ok(())
}
