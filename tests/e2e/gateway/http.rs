//! Requests from outside find their listener by host and port, their route by precedence, and their service.

use anyhow::Result;
use usher_tests::{Client, Gateway, eventually};

use super::{gateway, http_listener, route, town};

async fn body(client: &Client, url: &str) -> Result<(u16, String)> {
    let answer = client.get(url).await?;
    Ok((answer.status, answer.text()))
}

fn three_listeners() -> [String; 5] {
    let listeners = [
        http_listener("any", 80, None),
        http_listener("shops", 80, Some("*.shops.example.com")),
        http_listener("other", 8080, Some("admin.example.com")),
    ];
    [
        gateway(&listeners.concat()),
        route(
            "wide",
            "{name: edge, sectionName: any}",
            &[],
            &[("/", "shop")],
        ),
        route(
            "narrow",
            "{name: edge, sectionName: any}",
            &["www.example.com"],
            &[("/admin", "admin"), ("/", "shop")],
        ),
        route(
            "shops",
            "{name: edge, sectionName: shops}",
            &[],
            &[("/s", "shop")],
        ),
        route(
            "admin",
            "{name: edge, port: 8080}",
            &["admin.example.com", "no.example.com"],
            &[("/", "admin")],
        ),
    ]
}

#[tokio::test]
async fn a_request_finds_its_listener_route_and_service() -> Result<()> {
    let town = town(&three_listeners()).await?;
    let edge = Gateway::start(&town.mesh, "edge", &[80, 8080], &[]).await?;
    let (web, other) = (edge.client(80), edge.client(8080));
    let shop = |path: &str| (200, format!("shop {path}"));
    assert_eq!(body(&web, "http://www.example.com/a").await?, shop("/a"));
    assert_eq!(
        body(&web, "http://WWW.example.com:8080/admin/x").await?,
        (200, "admin /admin/x".to_owned()),
        "the longer prefix, whatever the host's letters and port"
    );
    assert_eq!(
        body(&web, "http://elsewhere.example.org/admin").await?,
        shop("/admin"),
        "the route without a host has no other rule"
    );
    assert_eq!(
        body(&web, "http://a.shops.example.com/s/1").await?,
        shop("/s/1")
    );
    let (status, text) = body(&web, "http://a.shops.example.com/else").await?;
    assert_eq!(
        (status, text.contains("nothing is served at this path")),
        (404, true),
        "a request belongs to one listener, and `any` is not its own: {text}"
    );
    assert_eq!(
        body(&other, "http://admin.example.com/").await?,
        (200, "admin /".to_owned())
    );
    for host in ["www.example.com", "no.example.com", "127.0.0.1"] {
        let answer = other.get(&format!("http://{host}/")).await?;
        assert_eq!(answer.status, 404, "{host} is no host of the listener");
        assert_eq!(answer.header("x-usher-reason"), "", "not for outsiders");
    }
    assert_eq!(
        body(&web.clone().http2(), "http://www.example.com/h2").await?,
        shop("/h2"),
        "HTTP/2 with prior knowledge"
    );
    Ok(())
}

#[tokio::test]
async fn listeners_and_routes_follow_the_configuration_without_a_restart() -> Result<()> {
    let documents = [
        gateway(&http_listener("web", 80, None)),
        route("shop", "{name: edge}", &[], &[("/", "shop")]),
    ];
    let town = town(&documents).await?;
    let mut edge = Gateway::start(
        &town.mesh,
        "edge",
        &[80],
        &["--listen".into(), "81=127.0.0.1:0".into()],
    )
    .await?;
    assert_eq!(edge.client(80).get("http://a/").await?.status, 200);
    let more = [
        http_listener("web", 80, None),
        http_listener("more", 81, None),
    ];
    // The harness numbers documents after its three own and the two services.
    town.mesh.write("03.yaml", &gateway(&more.concat()))?;
    let _ = edge.bound(81).await;
    assert_eq!(edge.client(81).get("http://a/").await?.status, 200);
    town.mesh
        .write("03.yaml", &gateway(&http_listener("more", 81, None)))?;
    eventually("port 80 is closed", async || {
        edge.address(80).is_none().then_some(())
    })
    .await;
    assert_eq!(edge.client(81).get("http://a/").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_gateway_whose_identity_is_no_workload_of_its_name_is_told_so() -> Result<()> {
    let town = town(&[gateway(&http_listener("web", 80, None))]).await?;
    let token = town.mesh.token("shop")?;
    let more = ["--token-file".to_owned(), token.display().to_string()];
    let mut edge = Gateway::spawn(&town.mesh, "edge", &[80], &more).await?;
    eventually("it ends", async || edge.process.ended()).await;
    let said = edge.process.printed();
    assert!(
        said.contains("a gateway is run by the Workload of its name"),
        "{said}"
    );
    Ok(())
}
