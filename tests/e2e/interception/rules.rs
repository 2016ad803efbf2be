//! What the rules do to connections, whoever runs or does not run behind them.

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use usher_tests::{Host, Network};

use super::pair::{api, intercept};

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
