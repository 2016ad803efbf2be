//! TLS from outside: the certificate for the name asked for, renewed without a restart; connections that are passed on
//! unopened, and opaque ones.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use usher_tests::{Gateway, Mesh, eventually, yaml};

use super::{
    gateway,
    roots::{Root, acceptor, certificate, connect, files, get, leaf_of, mesh, tls_listener, write},
    route,
};

fn two_hosts() -> [String; 2] {
    let listeners = [
        tls_listener(
            "one",
            (443, "HTTPS"),
            "one.example.com",
            "{ certificateRefs: [{ name: one }] }",
        ),
        tls_listener(
            "many",
            (443, "HTTPS"),
            "*.many.example.com",
            "{ certificateRefs: [{ name: one }, { name: many }] }",
        ),
    ];
    [
        gateway(&listeners.concat()),
        route("shop", "{ name: edge }", &[], &[("/", "shop")]),
    ]
}

#[tokio::test]
async fn each_name_is_shown_its_certificate_and_served_by_its_listener_only() -> Result<()> {
    let (mesh, _shop, _sidecar) = mesh(&two_hosts()).await?;
    let root = Root::new()?;
    let one = root.leaf(&["one.example.com"])?;
    let many = root.leaf(&["*.many.example.com"])?;
    let more = [
        certificate(&mesh, "one", &one)?,
        certificate(&mesh, "many", &many)?,
    ]
    .concat();
    let edge = Gateway::start(&mesh, "edge", &[443], &more).await?;
    let address = edge.address(443).context("bound")?;
    let http1 = root.client(&[b"http/1.1"], false)?;
    for host in ["one.example.com", "a.many.example.com"] {
        let mut stream = connect(&http1, &address, host).await?;
        let answer = get(&mut stream, host, "/x").await?;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("shop /x https"),
            "{answer}"
        );
    }
    let old = root.client(&[], true)?;
    let mut stream = connect(&old, &address, "one.example.com").await?;
    let answer = get(&mut stream, "one.example.com", "/old").await?;
    assert!(
        answer.ends_with("shop /old https"),
        "TLS 1.2 without ALPN: {answer}"
    );
    let mut stream = connect(&http1, &address, "one.example.com").await?;
    let answer = get(&mut stream, "a.many.example.com", "/").await?;
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    let refused = connect(&http1, &address, "unknown.example.com").await;
    let refused = format!("{:?}", refused.err().context("nobody serves it")?);
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    let h2 = root.client(&[b"h2", b"http/1.1"], false)?;
    let stream = connect(&h2, &address, "one.example.com").await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    for (host, status) in [("one.example.com", 200), ("a.many.example.com", 421)] {
        let mut send = send.clone().ready().await?;
        let request = http::Request::get(format!("https://{host}/h2")).body(())?;
        let (answer, _) = send.send_request(request, true)?;
        assert_eq!(answer.await?.status(), status, "{host}");
    }
    Ok(())
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() -> Result<()> {
    let (mesh, _shop, _sidecar) = mesh(&two_hosts()).await?;
    let root = Root::new()?;
    let more = [
        certificate(&mesh, "one", &root.leaf(&["one.example.com"])?)?,
        certificate(&mesh, "many", &root.leaf(&["*.many.example.com"])?)?,
    ]
    .concat();
    let edge = Gateway::start(&mesh, "edge", &[443], &more).await?;
    let address = edge.address(443).context("bound")?;
    let client = root.client(&[b"http/1.1"], false)?;
    let mut long = connect(&client, &address, "one.example.com").await?;
    let before = leaf_of(&long);
    let (chain, key) = root.leaf(&["one.example.com"])?;
    let (certificate, secret) = files(&mesh, "one");
    // One after the other: in between they do not belong together, and the old pair stays.
    write(&certificate, &chain, 0o644)?;
    eventually("the odd pair is refused", async || {
        edge.process
            .printed()
            .contains("do not belong together")
            .then_some(())
    })
    .await;
    let stream = connect(&client, &address, "one.example.com").await?;
    assert_eq!(leaf_of(&stream), before, "the one before stays");
    let remarked = || {
        let status = mesh.ask(&["status"]).ok()?;
        let remarks = status["proxies"].to_string();
        Some(remarks.contains("certificate one: ") && remarks.contains("; the one before stays"))
    };
    eventually("operators hear of it", async || remarked()?.then_some(())).await;
    write(&secret, &key, 0o600)?;
    eventually("the new one is shown", async || {
        let stream = connect(&client, &address, "one.example.com").await.ok()?;
        (leaf_of(&stream) != before).then_some(())
    })
    .await;
    let printed = edge.process.printed();
    assert!(
        printed.contains("renewed certificate is shown"),
        "{printed}"
    );
    let taken = async || remarked().filter(|remarked| !remarked).map(drop);
    eventually("there is nothing more to hear", taken).await;
    let answer = get(&mut long, "one.example.com", "/long").await?;
    assert!(
        answer.ends_with("shop /long https"),
        "no connection ended: {answer}"
    );
    Ok(())
}

#[tokio::test]
async fn a_key_that_others_can_read_stops_the_start() -> Result<()> {
    let (mesh, _shop, _sidecar) = mesh(&two_hosts()).await?;
    let more = certificate(&mesh, "one", &Root::new()?.leaf(&["one.example.com"])?)?;
    let (_, secret) = files(&mesh, "one");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644))?;
    let mut edge = Gateway::spawn(&mesh, "edge", &[443], &more).await?;
    let code = eventually("it ends", async || edge.process.ended()).await;
    let said = edge.process.printed();
    assert!(
        said.contains("others can read or change it") && said.contains("chmod 600"),
        "{said}"
    );
    assert_eq!(code.code(), Some(71), "{said}");
    Ok(())
}

/// Says hello, then echoes.
async fn greet(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
) -> Result<()> {
    stream.write_all(b"hello\n").await?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    stream.write_all(&all).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn talk(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
) -> Result<String> {
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting).await?;
    stream.write_all(b"and back").await?;
    stream.shutdown().await?;
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await?;
    Ok(format!("{}{rest}", String::from_utf8_lossy(&greeting)))
}

fn stream_route(kind: &str, version: &str, parent: &str, service: &str, hosts: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{ name: {service} }}\nspec:\n  \
         parentRefs: [{{ name: edge, sectionName: {parent} }}]\n{hosts}  rules:\n  - backendRefs: [{{ name: {service}, port: 9000 }}]\n"
    )
}

fn streams() -> [String; 7] {
    let listeners = [
        tls_listener(
            "vault",
            (8443, "TLS"),
            "*.vault.example.com",
            "{ mode: Passthrough }",
        ),
        tls_listener(
            "opened",
            (8443, "TLS"),
            "sql.example.com",
            "{ certificateRefs: [{ name: sql }] }",
        ),
        "  - { name: sql, port: 5432, protocol: TCP }\n".to_owned(),
    ];
    [
        yaml::service("vault", 9000, "tls"),
        yaml::service("sql", 9000, "tcp"),
        yaml::workload("edge"),
        gateway(&listeners.concat()),
        stream_route(
            "TLSRoute",
            "v1",
            "vault",
            "vault",
            "  hostnames: [a.vault.example.com]\n",
        ),
        stream_route(
            "TLSRoute",
            "v1",
            "opened",
            "sql",
            "  hostnames: [sql.example.com]\n",
        ),
        stream_route("TCPRoute", "v1alpha2", "sql", "sql", ""),
    ]
}

/// The vault, which opens TLS itself, and the database, which does not: their ports.
async fn servers(root: &Root) -> Result<((u16, u16), [tokio::task::JoinHandle<()>; 2])> {
    let (vault, sql) = (
        TcpListener::bind("127.0.0.1:0").await?,
        TcpListener::bind("127.0.0.1:0").await?,
    );
    let ports = (vault.local_addr()?.port(), sql.local_addr()?.port());
    let secret = acceptor(&root.leaf(&["a.vault.example.com"])?)?;
    let vault = tokio::spawn(async move {
        while let Ok((stream, _)) = vault.accept().await {
            let secret = secret.clone();
            tokio::spawn(async move { greet(secret.accept(stream).await?).await });
        }
    });
    let sql = tokio::spawn(async move {
        while let Ok((stream, _)) = sql.accept().await {
            tokio::spawn(greet(stream));
        }
    });
    Ok((ports, [vault, sql]))
}

#[tokio::test]
async fn tls_is_passed_on_unopened_by_name_and_opaque_bytes_by_port() -> Result<()> {
    let mesh = Mesh::start(&streams()).await?;
    let root = Root::new()?;
    let (ports, servers) = servers(&root).await?;
    let _sidecars = [
        mesh.sidecar("vault").port(ports.0).start().await?,
        mesh.sidecar("sql").port(ports.1).start().await?,
    ];
    let more = certificate(&mesh, "sql", &root.leaf(&["sql.example.com"])?)?;
    let edge = Gateway::start(&mesh, "edge", &[8443, 5432], &more).await?;
    let (tls, tcp) = (
        edge.address(8443).context("tls")?,
        edge.address(5432).context("tcp")?,
    );
    let client = root.client(&[], false)?;
    let passed = connect(&client, &tls, "a.vault.example.com").await?;
    assert_eq!(
        talk(passed).await?,
        "hello\nand back",
        "the vault's own TLS"
    );
    let opened = connect(&client, &tls, "sql.example.com").await?;
    assert_eq!(
        talk(opened).await?,
        "hello\nand back",
        "TLS ends at the gateway"
    );
    let plain = TcpStream::connect(&tcp).await?;
    assert_eq!(talk(plain).await?, "hello\nand back");
    for host in [
        "b.vault.example.com",
        "vault.example.com",
        "else.example.com",
    ] {
        let refused = connect(&client, &tls, host).await;
        let refused = format!("{:?}", refused.err().context("nobody serves it")?);
        assert!(refused.contains("UnrecognisedName"), "{host}: {refused}");
    }
    servers.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}
