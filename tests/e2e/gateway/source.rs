//! Whom a gateway keeps apart: its callers, by where they come from.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};
use usher_tests::{Application, Gateway, Mesh, eventually, reply, yaml};

use super::{gateway, http_listener, route};

/// Who answers a caller that comes from `127.0.0.number`.
async fn answerer(edge: &str, number: u8) -> Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, number], 0).into())?;
    let mut stream = socket.connect(edge.parse()?).await?;
    let request = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let body = answer.rsplit("\r\n").next().unwrap_or_default();
    Ok(body.to_owned())
}

#[tokio::test]
async fn callers_from_outside_are_spread_over_a_ring_and_each_stays_where_it_is() -> Result<()> {
    let mesh = Mesh::start(&[
        yaml::service("shop", 8080, "http"),
        yaml::workload("edge"),
        gateway(&http_listener("web", 80, None)),
        route("shop", "{ name: edge }", &[], &[("/", "shop")]),
        yaml::traffic_policy("shop", "  loadBalancer: { algorithm: RingHash }\n"),
    ])
    .await?;
    let named = |name: &'static str| Application::answering(move |_, _| reply(200, name));
    let (one, two) = (named("one").await?, named("two").await?);
    let _one = mesh.sidecar("shop").application(&one).start().await?;
    let _two = mesh.sidecar("shop").application(&two).start().await?;
    let mut edge = Gateway::start(&mesh, "edge", &[80], &[]).await?;
    let address = edge.bound(80).await;
    let ask = async || {
        let mut answers = BTreeMap::new();
        for number in 1..=32 {
            answers.insert(number, answerer(&address, number).await?);
        }
        anyhow::Ok(answers)
    };
    let homes = eventually("both answer somebody", async || {
        let homes = ask().await.ok()?;
        let seen: BTreeSet<&String> = homes.values().collect();
        (seen.len() == 2).then_some(homes)
    })
    .await;
    assert_eq!(ask().await?, homes);
    Ok(())
}
