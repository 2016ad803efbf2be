//! Routes for connections to a Service: by weight, or by the name that TLS asks for; what is open stays where it is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use usher_tests::{Mesh, Sidecar, eventually, yaml};

use crate::gateway::roots::{Root, acceptor};

/// Says its one-letter name, then echoes.
async fn name_and_echo(name: char, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    stream.write_all(&[name as u8]).await?;
    let mut seen = [0; 1024];
    loop {
        let count = stream.read(&mut seen).await?;
        if count == 0 {
            return Ok(stream.shutdown().await?);
        }
        stream.write_all(&seen[..count]).await?;
    }
}

/// Such a server, in TLS or without: its port.
async fn server(name: char, tls: Option<TlsAcceptor>) -> Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    Some(tls) => name_and_echo(name, tls.accept(stream).await?).await,
                    None => name_and_echo(name, stream).await,
                }
            });
        }
    });
    Ok((port, task))
}

/// The name of who answers.
async fn who(stream: &mut (impl AsyncRead + Unpin)) -> Result<char> {
    let mut name = [0; 1];
    stream.read_exact(&mut name).await?;
    Ok(name[0].into())
}

/// Who answers a further byte: nobody says a name twice.
async fn still_echoes(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<bool> {
    stream.write_all(b"?").await?;
    Ok(who(stream).await? == '?')
}

/// `web` with a listener for the port of `front`.
async fn caller(mesh: &Mesh, port: u16) -> Result<(Sidecar, String)> {
    caller_of(mesh, &format!("front.default:{port}")).await
}

async fn caller_of(mesh: &Mesh, target: &str) -> Result<(Sidecar, String)> {
    let web = mesh
        .sidecar("web")
        .argument("--tcp")
        .argument(format!("127.0.0.1:0={target}"))
        .start()
        .await?;
    let address = web.tcp.first().context("no address for --tcp")?.clone();
    Ok((web, address))
}

fn tcp_route(backends: &[(&str, u32)]) -> String {
    let backends = backends
        .iter()
        .map(|(name, weight)| format!("    - {{ name: {name}, port: 5432, weight: {weight} }}\n"));
    format!(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {{ name: split }}\nspec:\n  \
         parentRefs: [{{ group: \"\", kind: Service, name: front, port: 5432 }}]\n  rules:\n  - backendRefs:\n{}",
        backends.collect::<String>()
    )
}

#[tokio::test]
async fn a_tcp_route_splits_new_connections_and_leaves_open_ones_where_they_are() -> Result<()> {
    let mesh = Mesh::start(&[
        yaml::service("front", 5432, "tcp"),
        yaml::service("one", 5432, "tcp"),
        yaml::service("two", 5432, "tcp"),
        tcp_route(&[("one", 100), ("two", 0)]),
    ])
    .await?;
    let ((one, _one), (two, _two)) = (server('1', None).await?, server('2', None).await?);
    let _sidecars = [
        mesh.sidecar("one").port(one).start().await?,
        mesh.sidecar("two").port(two).start().await?,
    ];
    let (web, address) = caller(&mesh, 5432).await?;
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(&address).await?;
        assert_eq!(who(&mut stream).await?, '1');
        open.push(stream);
    }
    mesh.write("03.yaml", &tcp_route(&[("one", 0), ("two", 100)]))?;
    eventually("new connections go to the other one", async || {
        let mut stream = TcpStream::connect(&address).await.ok()?;
        (who(&mut stream).await.ok()? == '2').then_some(())
    })
    .await;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(&address).await?;
        assert_eq!(who(&mut stream).await?, '2');
    }
    for stream in &mut open {
        assert!(still_echoes(stream).await?, "those that were open stay");
    }
    drop(open);
    // Both at once, and a share that leads nowhere.
    mesh.write(
        "03.yaml",
        &tcp_route(&[("one", 1), ("two", 1), ("gone", 1)]),
    )?;
    let mut seen = [0; 3];
    eventually("each has its share, and nobody's is reset", async || {
        let mut stream = TcpStream::connect(&address).await.ok()?;
        let place = match who(&mut stream).await {
            Ok('1') => 0,
            Ok('2') => 1,
            _ => 2,
        };
        seen[place] += 1;
        seen.iter().all(|count| *count > 0).then_some(())
    })
    .await;
    let refused = eventually("it is counted", async || {
        let labels = ["service=\"default/front\"", "flag=\"NC\""];
        let count = web.metric("usher_requests_total", &labels).await.ok()?;
        (count >= 1.0).then_some(count)
    })
    .await;
    assert!(refused >= 1.0);
    eventually("the log says which way they went", async || {
        let log = web.access_log();
        let route = |line: &&serde_json::Value| line["route"] == "TCPRoute/default/split/0";
        let led: Vec<_> = log.iter().filter(route).collect();
        let any = |field: &str, value: &str| led.iter().any(|line| line[field] == value);
        let both =
            any("destination_service", "default/two") && any("reason", "backend-unresolvable");
        both.then_some(())
    })
    .await;
    Ok(())
}

fn tls_route(name: &str, hostnames: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\nmetadata: {{ name: {name} }}\nspec:\n  \
         parentRefs: [{{ group: \"\", kind: Service, name: front }}]\n  hostnames: [{hostnames}]\n  \
         rules:\n  - backendRefs: [{{ name: {name}, port: 8443 }}]\n"
    )
}

async fn asks(client: &TlsConnector, address: &str, host: &str) -> Result<char> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(host.to_owned())?;
    let mut stream = client.connect(name, stream).await?;
    let name = who(&mut stream).await?;
    anyhow::ensure!(still_echoes(&mut stream).await?, "{host} says no more");
    Ok(name)
}

#[tokio::test]
async fn tls_routes_choose_by_the_name_asked_for_and_refuse_all_others() -> Result<()> {
    let mesh = Mesh::start(&[
        yaml::service("front", 8443, "tls"),
        yaml::service("one", 8443, "tls"),
        yaml::service("two", 8443, "tls"),
        tls_route("one", "a.v.test, \"*.v.test\""),
        tls_route("two", "b.v.test, \"*.b.v.test\""),
    ])
    .await?;
    let root = Root::new()?;
    let of_one = acceptor(&root.leaf(&["a.v.test", "*.v.test"])?)?;
    let of_two = acceptor(&root.leaf(&["b.v.test", "*.b.v.test"])?)?;
    let (one, _one) = server('1', Some(of_one)).await?;
    let (two, _two) = server('2', Some(of_two)).await?;
    let _sidecars = [
        mesh.sidecar("one").port(one).start().await?,
        mesh.sidecar("two").port(two).start().await?,
    ];
    let (web, address) = caller(&mesh, 8443).await?;
    let client = root.client(&[], false)?;
    for (host, answers) in [
        ("a.v.test", '1'),
        ("b.v.test", '2'),
        ("c.v.test", '1'),
        ("x.b.v.test", '2'),
    ] {
        assert_eq!(asks(&client, &address, host).await?, answers, "{host}");
    }
    let refused = asks(&client, &address, "c.example").await;
    let refused = format!("{:?}", refused.err().context("nobody has that name")?);
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    let mut plain = TcpStream::connect(&address).await?;
    plain.write_all(b"\0not TLS at all").await?;
    let ended = plain.read(&mut [0; 16]).await;
    assert!(ended.is_err(), "reset, as bytes cannot say why: {ended:?}");
    let reasons = eventually("both are in the log", async || {
        let log = web.access_log();
        let refused = log
            .iter()
            .filter(|line| line["destination_service"] == "default/front");
        let said = refused.map(|line| (line["reason"].clone(), line["authority"].clone()));
        let said: Vec<_> = said.collect();
        (said.len() == 2).then_some(said)
    })
    .await;
    assert_eq!(reasons[0].0, "no-route");
    assert_eq!(reasons[0].1, "c.example", "which name was asked for");
    assert_eq!(reasons[1].0, "not-tls");
    let labels = ["service=\"default/front\"", "flag=\"NR\""];
    let counted = web.metric("usher_requests_total", &labels).await?;
    assert!((counted - 2.0).abs() < 0.1, "{counted}");
    Ok(())
}

/// A service of another namespace that has two ports, and its owner's route for the first of them.
const ELSEWHERE: &str = "apiVersion: v1
kind: Service
metadata: { name: front, namespace: other }
spec:
  selector: { app: front }
  ports:
  - { name: sql, port: 5432, appProtocol: tcp }
  - { name: vault, port: 8443, appProtocol: tls }
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: { name: owners, namespace: other }
spec:
  parentRefs: [{ group: \"\", kind: Service, name: front, port: 5432 }]
  rules:
  - backendRefs: [{ name: one, namespace: default, port: 5432 }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: other, namespace: default }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: TCPRoute, namespace: other }]
  to: [{ group: \"\", kind: Service, name: one }]
";

/// Ours, for the other one.
const OURS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: ours }
spec:
  parentRefs: [{ group: \"\", kind: Service, name: front, namespace: other, port: 8443 }]
  hostnames: [a.v.test]
  rules:
  - backendRefs: [{ name: two, port: 8443 }]
";

#[tokio::test]
async fn a_consumer_route_for_one_port_leaves_the_owners_route_for_another_one() -> Result<()> {
    let mesh = Mesh::start(&[
        yaml::service("one", 5432, "tcp"),
        yaml::service("two", 8443, "tls"),
        ELSEWHERE.to_owned(),
        OURS.to_owned(),
    ])
    .await?;
    let root = Root::new()?;
    let (one, _one) = server('1', None).await?;
    let (two, _two) = server('2', Some(acceptor(&root.leaf(&["a.v.test"])?)?)).await?;
    let _sidecars = [
        mesh.sidecar("one").port(one).start().await?,
        mesh.sidecar("two").port(two).start().await?,
    ];
    let (_vaults, vault) = caller_of(&mesh, "front.other:8443").await?;
    let client = root.client(&[], false)?;
    assert_eq!(asks(&client, &vault, "a.v.test").await?, '2');
    let (_sqls, sql) = caller_of(&mesh, "front.other:5432").await?;
    let mut stream = TcpStream::connect(&sql).await?;
    assert_eq!(
        who(&mut stream).await?,
        '1',
        "the owner's route still leads"
    );
    // Still open, it would be waited for when the sidecars end.
    stream.shutdown().await?;
    assert_eq!(stream.read(&mut [0; 1]).await?, 0);
    Ok(())
}

/// What a caller of TLS says first.
fn client_hello(client: &TlsConnector, host: &str) -> Result<Vec<u8>> {
    let name = ServerName::try_from(host.to_owned())?;
    let mut connection = rustls::ClientConnection::new(client.config().clone(), name)?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello)?;
    Ok(hello)
}

#[tokio::test]
async fn a_client_hello_may_come_in_pieces_but_not_without_end() -> Result<()> {
    const HANDSHAKE: u8 = 22;
    let mesh = Mesh::start(&[
        yaml::service("front", 8443, "tls"),
        yaml::service("one", 8443, "tls"),
        tls_route("one", "a.v.test"),
    ])
    .await?;
    let root = Root::new()?;
    let (one, _one) = server('1', Some(acceptor(&root.leaf(&["a.v.test"])?)?)).await?;
    let _one_sidecar = mesh.sidecar("one").port(one).start().await?;
    let (web, address) = caller(&mesh, 8443).await?;
    let mut pieces = TcpStream::connect(&address).await?;
    pieces.set_nodelay(true)?;
    for piece in client_hello(&root.client(&[], false)?, "a.v.test")?.chunks(40) {
        pieces.write_all(piece).await?;
        // Long enough for the proxy to have a look: else all of them are one to it.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let mut first = [0; 1];
    pieces.read_exact(&mut first).await?;
    assert_eq!(first, [HANDSHAKE], "the server's own hello");
    // A hello of 60,000 bytes, in records of the largest size.
    let mut endless = TcpStream::connect(&address).await?;
    let mut record = vec![HANDSHAKE, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60, 3, 3];
    record.resize(5 + 0x4000, 0);
    for _ in 0..3 {
        let _ = endless.write_all(&record).await;
    }
    let mut heard = Vec::new();
    let _ = endless.read_to_end(&mut heard).await;
    assert_ne!(heard.first(), Some(&HANDSHAKE), "nobody answers it");
    eventually("it is in the log, with why", async || {
        let log = web.access_log();
        let unread = |line: &&serde_json::Value| line["reason"] == "client-hello-unreadable";
        log.iter().find(unread).map(drop)
    })
    .await;
    Ok(())
}
