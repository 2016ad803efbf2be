//! Bytes that are carried as they are: whole, half-closed and broken off as they would be without us.

use anyhow::Result;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use usher_tests::{Host, Mesh, Network, eventually, yaml};

use crate::gateway::roots::{Root, acceptor};

use super::pair::{Sidecar, get, greeter, greeting, intercept, registered, virtual_address};

const MIB: usize = 1024 * 1024;

/// Reads to the end and then sends all of it back; one that begins with `!` is answered by half and reset.
fn echo(host: &Host, address: &str) -> Result<()> {
    let listener = TcpListener::from_std(host.listen(address)?)?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all).await;
                if all.first() == Some(&b'!') {
                    let _ = stream
                        .write_all(all.get(..all.len() / 2).unwrap_or_default())
                        .await;
                    let _ = stream.set_zero_linger();
                } else {
                    let _ = stream.write_all(&all).await;
                }
            });
        }
    });
    Ok(())
}

/// What comes back of `sent`, and whether it came to a clean end.
async fn said(host: &Host, address: &str, sent: &[u8]) -> Result<(Vec<u8>, bool)> {
    let stream = TcpStream::from_std(host.connect(address)?)?;
    let (mut reader, mut writer) = stream.into_split();
    let mut heard = Vec::new();
    let send = async {
        writer.write_all(sent).await?;
        writer.shutdown().await
    };
    let (sent, ended) = tokio::join!(send, reader.read_to_end(&mut heard));
    sent?;
    Ok((heard, ended.is_ok()))
}

#[tokio::test]
async fn streams_arrive_whole_or_visibly_broken() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let mesh = Mesh::start_on("10.77.0.1:0", &[yaml::service("store", 5432, "tcp")]).await?;
    let (web, store, outside) = (network.host()?, network.host()?, network.host()?);
    for host in [&web, &store] {
        assert_eq!(intercept(host, &["install"]).code, Some(0));
    }
    echo(&store, "127.0.0.1:5432")?;
    echo(&outside, "0.0.0.0:5432")?;
    let more = ["--application-port", "5432"];
    let _store_sidecar = Sidecar::start(&mesh, &store, "store", &more).await?;
    let _web_sidecar = Sidecar::start(&mesh, &web, "web", &[]).await?;
    registered(&mesh, &format!("{}:15006", store.ipv4)).await;
    let ways = [
        ("passed through", format!("{}:5432", outside.ipv4)),
        (
            "through the mesh",
            format!("{}:5432", virtual_address(&mesh, "store")?),
        ),
    ];
    let sent: Vec<u8> = (0..=255).cycle().take(8 * MIB).collect();
    for (way, address) in ways {
        let (heard, whole) = said(&web, &address, &sent).await?;
        assert!(whole && heard == sent, "{way}: {} bytes", heard.len());
        let mut broken = sent.clone();
        broken[0] = b'!';
        let (heard, whole) = said(&web, &address, &broken).await?;
        assert!(!whole, "{way}: half an answer ended as a whole one");
        assert!(heard.len() <= sent.len() / 2);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_at_once_on_a_port_that_declares_nothing() -> Result<()>
{
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let undeclared = yaml::service("mail", 25, "x").replace(", appProtocol: x", "");
    let mesh = Mesh::start_on("10.77.0.1:0", &[undeclared]).await?;
    let (web, mail) = (network.host()?, network.host()?);
    for host in [&web, &mail] {
        assert_eq!(intercept(host, &["install"]).code, Some(0));
    }
    greeter(&mail, "127.0.0.1:25")?;
    let more = ["--application-port", "25"];
    let _mail_sidecar = Sidecar::start(&mesh, &mail, "mail", &more).await?;
    let _web_sidecar = Sidecar::start(&mesh, &web, "web", &[]).await?;
    registered(&mesh, &format!("{}:15006", mail.ipv4)).await;
    let address = format!("{}:25", virtual_address(&mesh, "mail")?);
    assert_eq!(greeting(&web, &address).await?, "hello\n");
    eventually("the greeting ended the wait", async || {
        let metrics = get(&web, "127.0.0.1:15020", "x", "/metrics").await.ok()?;
        let heard = "usher_detect_total{outcome=\"server_first\"} 1";
        metrics.contains(heard).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn an_applications_own_tls_is_carried_unopened() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let mesh = Mesh::start_on("10.77.0.1:0", &[yaml::service("vault", 8443, "tls")]).await?;
    let (web, vault) = (network.host()?, network.host()?);
    for host in [&web, &vault] {
        assert_eq!(intercept(host, &["install"]).code, Some(0));
    }
    let root = Root::new()?;
    let server = acceptor(&root.leaf(&["vault.example.com"])?)?;
    let listener = TcpListener::from_std(vault.listen("127.0.0.1:8443")?)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let mut stream = server.accept(stream).await?;
                stream.write_all(b"hello\n").await?;
                stream.shutdown().await
            });
        }
    });
    let more = ["--application-port", "8443"];
    let vault_sidecar = Sidecar::start(&mesh, &vault, "vault", &more).await?;
    let _web_sidecar = Sidecar::start(&mesh, &web, "web", &[]).await?;
    registered(&mesh, &format!("{}:15006", vault.ipv4)).await;
    for address in [virtual_address(&mesh, "vault")?, vault.ipv4.clone()] {
        let stream = TcpStream::from_std(web.connect(&format!("{address}:8443"))?)?;
        let name = ServerName::try_from("vault.example.com")?;
        // It trusts no one but the test's own root.
        let mut stream = root.client(&[], false)?.connect(name, stream).await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await?;
        assert_eq!(heard, "hello\n");
    }
    eventually("both came from a known caller", async || {
        let log = vault_sidecar.access_log();
        let calls = log.lines().filter(|line| line.contains("sa/web"));
        (calls.count() == 2).then_some(())
    })
    .await;
    Ok(())
}
