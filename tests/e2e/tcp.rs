//! A declared local listener carries any bytes to a service over mutual TLS.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use usher_tests::{Mesh, eventually, yaml};

/// Greets first, echoes until the caller has said all, then says goodbye.
async fn greeter() -> Result<(u16, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(b"hello\n").await;
                let mut all = Vec::new();
                if stream.read_to_end(&mut all).await.is_ok() {
                    let _ = stream.write_all(&all).await;
                    let _ = stream.write_all(b"bye\n").await;
                }
            });
        }
    });
    Ok((port, task))
}

#[tokio::test]
async fn bytes_pass_both_ways_with_half_close_and_the_server_speaking_first() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("postgres", 5432, "tcp")]).await?;
    let (port, task) = greeter().await?;
    let _postgres = mesh.sidecar("postgres").port(port).start().await?;
    let web = mesh
        .sidecar("web")
        .argument("--tcp")
        .argument("127.0.0.1:0=postgres.default:5432")
        .start()
        .await?;
    let local = web.tcp.first().context("no address for --tcp")?;
    let mut stream = eventually("the local listener accepts", async || {
        TcpStream::connect(local).await.ok()
    })
    .await;
    let mut greeting = [0_u8; 6];
    stream.read_exact(&mut greeting).await?;
    assert_eq!(&greeting, b"hello\n", "the server speaks first");
    let sent = vec![7_u8; 3_000_000];
    stream.write_all(&sent).await?;
    stream.shutdown().await?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    assert_eq!(
        rest.len(),
        sent.len() + 4,
        "everything comes back after our half was closed"
    );
    assert!(rest.ends_with(b"bye\n"));
    task.abort();
    Ok(())
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_at_once_by_a_plaintext_caller() -> Result<()> {
    let (port, task) = greeter().await?;
    let permissive = "  mtls: { mode: Permissive }\n  defaultAction: Allow\n";
    for undeclared in [false, true] {
        let mut service = yaml::service("mail", 25, "tcp");
        if undeclared {
            service = service.replace(", appProtocol: tcp", "");
        }
        let mesh = Mesh::start(&[service]).await?;
        mesh.write(
            "mesh.yaml",
            "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: { name: mesh }\nspec: { trustDomain: test.mesh, allowLoosening: true }\n",
        )?;
        mesh.write("access.yaml", &yaml::access_policy("mail", permissive))?;
        let mail = mesh.sidecar("mail").port(port).start().await?;
        // The first ones may come before the policy does, and wait for nothing else.
        let greeted = eventually("a greeting", async || {
            let began = Instant::now();
            let mut stream = TcpStream::connect(&mail.inbound).await.ok()?;
            let mut greeting = [0_u8; 6];
            stream.read_exact(&mut greeting).await.ok()?;
            (began.elapsed() < Duration::from_millis(500)).then_some(greeting)
        })
        .await;
        assert_eq!(&greeted, b"hello\n");
        let first = mail
            .metric("usher_detect_total", &["outcome=\"server_first\""])
            .await?;
        assert!(first >= 1.0, "{first}");
    }
    task.abort();
    Ok(())
}
