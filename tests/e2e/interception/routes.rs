//! Connections that an application dials by a Service's address follow that Service's routes.

use anyhow::{Context as _, Result};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use usher_tests::{Mesh, Network, eventually, yaml};

use crate::gateway::roots::{Root, acceptor};

use super::pair::{Sidecar, get, greeter, greeting, intercept, registered, virtual_address};

fn undeclared(name: &str, port: u16) -> String {
    yaml::service(name, port, "x").replace(", appProtocol: x", "")
}

fn route(kind: &str, hostnames: &str, (backend, port): (&str, u16)) -> String {
    let version = match kind {
        "TLSRoute" => "v1",
        _ => "v1alpha2",
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{ name: front }}\nspec:\n  \
         parentRefs: [{{ group: \"\", kind: Service, name: front }}]\n{hostnames}  \
         rules:\n  - backendRefs: [{{ name: {backend}, port: {port} }}]\n"
    )
}

/// `front` has nobody behind it: whoever is answered was led elsewhere.
#[tokio::test]
async fn on_a_port_that_declares_nothing_all_but_http_follows_routes_for_connections() -> Result<()>
{
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let documents = [
        undeclared("front", 9000),
        undeclared("mail", 25),
        yaml::service("vault", 8443, "tls"),
        route("TCPRoute", "", ("mail", 25)),
    ];
    let mesh = Mesh::start_on("10.77.0.1:0", &documents).await?;
    let (web, mail, vault) = (network.host()?, network.host()?, network.host()?);
    for host in [&web, &mail, &vault] {
        assert_eq!(intercept(host, &["install"]).code, Some(0));
    }
    greeter(&mail, "127.0.0.1:25")?;
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
    let (of_mail, of_vault) = (["--application-port", "25"], ["--application-port", "8443"]);
    let _mail = Sidecar::start(&mesh, &mail, "mail", &of_mail).await?;
    let _vault = Sidecar::start(&mesh, &vault, "vault", &of_vault).await?;
    let sidecar = Sidecar::start(&mesh, &web, "web", &[]).await?;
    registered(&mesh, &format!("{}:15006", mail.ipv4)).await;
    registered(&mesh, &format!("{}:15006", vault.ipv4)).await;
    let address = format!("{}:9000", virtual_address(&mesh, "front")?);
    assert_eq!(
        greeting(&web, &address).await?,
        "hello\n",
        "its backend speaks first"
    );
    let answer = get(&web, &address, "front", "/").await?;
    assert!(
        answer.contains("no healthy endpoint"),
        "requests are not connections: {answer}"
    );

    let names = "  hostnames: [vault.example.com]\n";
    let by_name = route("TLSRoute", names, ("vault", 8443));
    mesh.write("03.yaml", &by_name)?;
    let client = root.client(&[], false)?;
    let ask = async |host: &'static str| -> Result<String> {
        let stream = TcpStream::from_std(web.connect(&address)?)?;
        let mut stream = client.connect(ServerName::try_from(host)?, stream).await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await?;
        Ok(heard)
    };
    let heard = eventually("TLS is led by its name", async || {
        ask("vault.example.com").await.ok()
    })
    .await;
    assert_eq!(heard, "hello\n");
    let refused = ask("else.example.com").await.err();
    let refused = format!("{:?}", refused.context("nobody has that name")?);
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    let answer = get(&web, &address, "front", "/").await?;
    assert!(answer.contains("no healthy endpoint"), "still: {answer}");
    logged(&sidecar, "TLSRoute/default/front/0").await;
    Ok(())
}

/// Lines are written a moment after what they are about.
async fn logged(sidecar: &Sidecar, text: &str) {
    let what = format!("{text} is in the access log");
    eventually(&what, async || {
        sidecar.access_log().contains(text).then_some(())
    })
    .await;
}
