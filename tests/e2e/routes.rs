//! Routes choose by path, header, method, query and weight; a broken backend costs only its share.

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use usher_tests::{Application, Mesh, Sidecar, reply, yaml};

fn named(
    name: &'static str,
) -> impl Fn(&usher_tests::Received, usize) -> usher_tests::Reply + Send + Sync {
    move |_, _| reply(200, name)
}

struct Split {
    _mesh: Mesh,
    _applications: Vec<Application>,
    _sidecars: Vec<Sidecar>,
    web: Sidecar,
}

/// Services `api`, `v1` and `v2`, each answering its own name, under a route on `api`.
async fn split(rules: &str) -> Result<Split> {
    let route = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: split }}
spec:
  parentRefs:
  - {{ group: \"\", kind: Service, name: api, port: 8080 }}
  rules:
{rules}"
    );
    let names = ["api", "v1", "v2"];
    let mut documents = vec![route];
    documents.extend(names.map(|name| yaml::service(name, 8080, "http")));
    let mesh = Mesh::start(&documents).await?;
    let (mut applications, mut sidecars) = (Vec::new(), Vec::new());
    for name in names {
        let application = Application::answering(named(name)).await?;
        sidecars.push(mesh.sidecar(name).application(&application).start().await?);
        applications.push(application);
    }
    let web = mesh.sidecar("web").start().await?;
    Ok(Split {
        _mesh: mesh,
        _applications: applications,
        _sidecars: sidecars,
        web,
    })
}

#[tokio::test]
async fn the_most_specific_match_wins_whatever_its_place() -> Result<()> {
    let split = split(
        "  - matches: [{ path: { type: PathPrefix, value: / } }]
    backendRefs: [{ name: api, port: 8080 }]
  - matches: [{ path: { type: PathPrefix, value: /v1 } }]
    backendRefs: [{ name: v1, port: 8080 }]
  - matches:
    - path: { type: Exact, value: /v1/two }
    - headers: [{ name: x-version, value: \"2\" }]
    - queryParams: [{ name: version, value: \"2\" }]
    - method: PUT
    backendRefs: [{ name: v2, port: 8080 }]
",
    )
    .await?;
    let expected = [
        ("/", "api"),
        ("/v1", "v1"),
        ("/v1/one", "v1"),
        ("/v11", "api"),
        ("/v1/two", "v2"),
        ("/?version=2", "v2"),
        ("/a/../v1/x", "v1"),
    ];
    for (path, service) in expected {
        assert_eq!(
            split.web.get(&format!("http://api{path}")).await?.text(),
            service,
            "{path}"
        );
    }
    let mut headers = HeaderMap::new();
    headers.insert("x-version", HeaderValue::from_static("2"));
    let answer = split
        .web
        .client()
        .send(Method::GET, "http://api/", headers, Bytes::new())
        .await?;
    assert_eq!(answer.text(), "v2");
    let answer = split
        .web
        .client()
        .send(Method::PUT, "http://api/", HeaderMap::new(), Bytes::new())
        .await?;
    assert_eq!(answer.text(), "v2");
    Ok(())
}

#[tokio::test]
async fn what_no_rule_takes_is_refused_where_there_are_routes() -> Result<()> {
    let rule = "  - matches: [{ path: { value: /public } }]
    backendRefs: [{ name: api, port: 8080 }]
";
    let split = split(rule).await?;
    assert_eq!(split.web.get("http://api/public/x").await?.text(), "api");
    let answer = split.web.get("http://api/admin").await?;
    assert_eq!(
        (answer.status, answer.header("x-usher-reason")),
        (404, "NR no-route".to_owned())
    );
    assert!(
        answer.text().contains("a rule without matches"),
        "{}",
        answer.text()
    );
    // Other services have no routes and go on as they do.
    assert_eq!(split.web.get("http://v1/admin").await?.text(), "v1");
    let client = split.web.client().http2();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    let answer = client
        .send(
            Method::POST,
            "http://api/bank.Admin/Close",
            headers,
            Bytes::new(),
        )
        .await?;
    assert_eq!(
        (answer.status, answer.header("grpc-status")),
        (200, "14".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn weights_share_and_a_broken_backend_costs_only_its_share() -> Result<()> {
    let split = split(
        "  - backendRefs:
    - { name: v1, port: 8080, weight: 8 }
    - { name: v2, port: 8080, weight: 2 }
    - { name: missing, port: 8080, weight: 2 }
    - { name: api, port: 8080, weight: 0 }
",
    )
    .await?;
    let (mut v1, mut v2, mut broken) = (0, 0, 0);
    for _ in 0..600 {
        let answer = split.web.client().post("http://api/", "x").await?;
        match (answer.status, answer.text().as_str()) {
            (200, "v1") => v1 += 1,
            (200, "v2") => v2 += 1,
            (500, _) => broken += 1,
            other => panic!("{other:?}"),
        }
    }
    // Binomial with n = 600: six standard deviations are 69 around 400 and 55 around 100.
    assert!(
        (331..=469).contains(&v1),
        "v1 {v1}, v2 {v2}, broken {broken}"
    );
    assert!(
        (45..=155).contains(&v2) && (45..=155).contains(&broken),
        "v1 {v1}, v2 {v2}, broken {broken}"
    );
    Ok(())
}
