//! Requests from outside find their listener by host and port, their route by precedence, and their service; nothing
//! that they claim is believed, nothing of the mesh's own goes out.

use anyhow::Result;
use http::{HeaderMap, Method};
use usher_tests::{Application, Client, Gateway, Mesh, Sidecar, eventually, reply, yaml};

use super::{gateway, http_listener, route};

/// Two services, `shop` and `admin`, each with its application and sidecar, and a gateway `edge`.
struct Town {
    mesh: Mesh,
    shop: Application,
    _admin: Application,
    _sidecars: [Sidecar; 2],
}

async fn town(documents: &[String]) -> Result<Town> {
    let mut all = vec![
        yaml::service("shop", 8080, "http"),
        yaml::service("admin", 8080, "http"),
        yaml::workload("edge"),
    ];
    all.extend_from_slice(documents);
    let mesh = Mesh::start(&all).await?;
    let named = |name: &'static str| {
        Application::answering(move |request, _| reply(200, format!("{name} {}", request.path)))
    };
    let (shop, admin) = (named("shop").await?, named("admin").await?);
    let sidecars = [
        mesh.sidecar("shop").application(&shop).start().await?,
        mesh.sidecar("admin").application(&admin).start().await?,
    ];
    Ok(Town {
        mesh,
        shop,
        _admin: admin,
        _sidecars: sidecars,
    })
}

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
async fn nothing_that_an_outsider_claims_is_believed_and_nothing_of_ours_goes_out() -> Result<()> {
    let documents = [
        gateway(&http_listener("web", 80, None)),
        route(
            "shop",
            "{name: edge}",
            &[],
            &[("/", "shop"), ("/nowhere", "missing")],
        ),
        yaml::access_policy(
            "shop",
            "  rules:\n  - from: { serviceAccounts: [edge] }\n    to: { paths: [/open/*] }",
        ),
    ];
    let town = town(&documents).await?;
    let edge = Gateway::start(&town.mesh, "edge", &[80], &[]).await?;
    let web = edge.client(80);
    let mut claims = HeaderMap::new();
    for (name, value) in [
        ("x-usher-attempt", "7"),
        ("x-usher-deadline-ms", "1"),
        ("x-usher-anything", "yes"),
        (
            "x-forwarded-client-cert",
            "URI=spiffe://test.mesh/ns/default/sa/root",
        ),
        ("x-forwarded-for", "10.9.9.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "bank.example.com"),
        ("x-forwarded-prefix", "/evil"),
        ("x-real-ip", "10.9.9.9"),
        ("forwarded", "for=10.9.9.9;proto=https"),
        ("x-envoy-expected-rq-timeout-ms", "1"),
        ("x-request-id", "chosen-by-the-caller"),
        ("x-own", "kept"),
    ] {
        claims.insert(name, value.parse()?);
    }
    let url = "http://www.example.com/open/door";
    let answer = web
        .send(Method::GET, url, claims, Default::default())
        .await?;
    assert_eq!(
        answer.status,
        200,
        "the gateway's own identity opens: {}",
        answer.text()
    );
    let received = town.shop.received();
    let seen = |name: &str| {
        let value = received[0].headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(seen("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen("x-forwarded-host").as_deref(), Some("www.example.com"));
    assert_eq!(seen("host").as_deref(), Some("www.example.com"));
    assert_eq!(seen("x-own").as_deref(), Some("kept"));
    let certificate = seen("x-forwarded-client-cert").expect("written by the callee's sidecar");
    assert!(certificate.contains("sa/edge") && !certificate.contains("sa/root"));
    assert_ne!(
        seen("x-request-id").as_deref(),
        Some("chosen-by-the-caller")
    );
    for name in [
        "x-forwarded-prefix",
        "x-real-ip",
        "forwarded",
        "x-usher-anything",
    ] {
        assert_eq!(seen(name), None, "{name}");
    }
    for (path, status) in [("/closed", 403), ("/nowhere", 500), ("/a/../../b", 400)] {
        let answer = web.get(&format!("http://www.example.com{path}")).await?;
        assert_eq!(answer.status, status, "{path}");
        for header in answer.headers.keys() {
            assert!(!header.as_str().starts_with("x-usher"), "{path}: {header}");
        }
        let text = answer.text();
        for ours in ["default", "shop", "127.0.0.1", "policy", "missing"] {
            assert!(!text.contains(ours), "{path} says {ours}: {text}");
        }
    }
    let logged = eventually("the refusal is in the gateway's log", async || {
        let lines = edge.access_log();
        lines.into_iter().find(|line| line["path"] == "/nowhere")
    })
    .await;
    assert_eq!(logged["reason"], "backend-unresolvable", "{logged}");
    assert_eq!(logged["route"], "HTTPRoute/default/shop/1", "{logged}");
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
