//! `usher route test` and `usher authz check` tell, without sending anything, what sidecars do.

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use usher_tests::{Application, Gateway, Mesh, Sidecar, binary, reply, run, yaml};

const ROUTES: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: split }
spec:
  parentRefs:
  - { group: '', kind: Service, name: api, port: 8080 }
  - { kind: Gateway, name: edge }
  rules:
  - matches:
    - { path: { type: PathPrefix, value: /v1 }, method: GET }
    backendRefs: [{ name: v1, port: 8080 }]
  - matches:
    - path: { type: Exact, value: /v1/two }
    - headers: [{ name: x-version, value: '2' }]
    backendRefs: [{ name: v2, port: 8080 }]
  - matches: [{ path: { type: PathPrefix, value: /old } }]
    filters:
    - { type: RequestRedirect, requestRedirect: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /v1 } } }
  - matches: [{ path: { type: PathPrefix, value: /renamed } }]
    filters:
    - { type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /closed } } }
    backendRefs: [{ name: v2, port: 8080 }]
  - matches: [{ path: { type: PathPrefix, value: /nobody } }]
    backendRefs: [{ name: missing, port: 8080 }]
";

const EDGE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: usher
  listeners:
  - { name: http, port: 80, protocol: HTTP, hostname: '*.example' }
";

const RULES: &str = "
  defaultAction: Deny
  rules:
  - from: { serviceAccounts: [web, edge] }
    to: { paths: [/, /v1/*], methods: [GET, PUT] }
";

struct World {
    mesh: Mesh,
    web: Sidecar,
    edge: Gateway,
    _rest: (Vec<Application>, Vec<Sidecar>),
}

async fn world() -> Result<World> {
    let names = ["api", "v1", "v2", "plain"];
    let mut documents = vec![ROUTES.to_owned(), EDGE.to_owned(), yaml::workload("edge")];
    documents.extend(names.map(|name| yaml::service(name, 8080, "http")));
    documents.push(yaml::service("bytes", 9000, "tcp"));
    documents.push(yaml::access_policy("v2", RULES));
    let mesh = Mesh::start(&documents).await?;
    let (mut applications, mut sidecars) = (Vec::new(), Vec::new());
    for name in names {
        let application = Application::answering(move |_, _| reply(200, name)).await?;
        sidecars.push(mesh.sidecar(name).application(&application).start().await?);
        applications.push(application);
    }
    let web = mesh.sidecar("web").start().await?;
    let edge = Gateway::start(&mesh, "edge", &[80], &[]).await?;
    Ok(World {
        mesh,
        web,
        edge,
        _rest: (applications, sidecars),
    })
}

impl World {
    /// What `usher` says about the mesh's own files, and its exit code.
    fn told(&self, verb: &[&str], rest: &[&str]) -> Result<(Value, i32)> {
        let config = self.mesh.config();
        let config = ["--config", config.to_str().unwrap(), "--json"];
        let said = run(&binary("usher"), [verb, &config, rest].concat());
        let code = said.code.unwrap_or(-1);
        anyhow::ensure!(!said.stdout.is_empty(), "{rest:?}: {}", said.stderr);
        Ok((serde_json::from_str(&said.stdout)?, code))
    }
}

/// The status that a caller gets, and who answers if an application does.
fn expected(journey: &Value) -> (u16, Option<String>) {
    let status = |value: &Value| u16::try_from(value["status"].as_u64().unwrap()).unwrap();
    match journey["outcome"].as_str().unwrap() {
        "refused" | "answered" => (status(journey), None),
        "forwarded" => {
            let backend = &journey["backends"][0];
            if let Some(instead) = backend.get("instead") {
                return (status(instead), None);
            }
            if backend["access"]["allowed"] == false {
                return (403, None);
            }
            let service = backend["service"].as_str().unwrap();
            let name = service.trim_start_matches("default/");
            (200, Some(name.trim_end_matches(":8080").to_owned()))
        }
        other => panic!("{other}"),
    }
}

const REQUESTS: [(&str, &str, &str); 17] = [
    ("GET", "api/", ""),
    ("GET", "api/v1", ""),
    ("PUT", "api/v1", ""),
    ("PUT", "api/v1", "x-version: 2"),
    ("GET", "api/v1/two", ""),
    ("GET", "api/v1/../v1/two", ""),
    ("POST", "api/v1/two", ""),
    ("GET", "api/old/x?y=1", ""),
    ("GET", "api/renamed/x", ""),
    ("GET", "api/nobody", ""),
    ("GET", "api.default.mesh:8080/v11", ""),
    ("GET", "api:9/", ""),
    ("GET", "plain/anything", ""),
    ("GET", "bytes:9000/", ""),
    ("GET", "nowhere/", ""),
    ("GET", "one.two.three/", ""),
    ("GET", "api/v1/%2e%2e%2f/", ""),
];

#[tokio::test]
async fn what_is_told_of_a_request_is_what_a_sidecar_does() -> Result<()> {
    let world = world().await?;
    for (method, url, header) in REQUESTS {
        let url = format!("http://{url}");
        let mut rest = vec!["--from", "web", method, &url];
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header.split_once(": ") {
            rest.extend(["-H", header]);
            headers.insert(name.parse::<HeaderName>()?, HeaderValue::from_str(value)?);
        }
        let (journey, code) = world.told(&["route", "test"], &rest)?;
        let method: Method = method.parse()?;
        let client = world.web.client();
        let done = client
            .send(method.clone(), &url, headers, Bytes::new())
            .await?;
        let (status, by) = expected(&journey);
        let answer = (done.status, done.text(), done.header("x-usher-reason"));
        assert_eq!(
            done.status, status,
            "{method} {url}: {journey:#} {answer:?}"
        );
        if let Some(by) = by {
            assert_eq!(done.text(), by, "{method} {url}");
        }
        let of_share = &journey["backends"][0]["instead"]["flag"];
        if let Some(flag) = journey["flag"].as_str().or(of_share.as_str()) {
            let reason = done.header("x-usher-reason");
            assert!(reason.starts_with(flag), "{method} {url}: {flag}, {reason}");
        }
        assert_eq!(code, i32::from(status >= 400), "{method} {url}: exit code");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_told_of_a_request_is_what_a_gateway_does() -> Result<()> {
    let world = world().await?;
    for url in [
        "http://shop.example/v1",
        "http://shop.example/v1/two",
        "http://shop.example/renamed",
        "http://shop.example/old/x",
        "http://shop.example/nobody",
        "http://shop.example/else",
        "http://elsewhere.test/v1",
    ] {
        let (journey, _) = world.told(&["route", "test"], &["--gateway", "edge", url])?;
        let done = world.edge.client(80).get(url).await?;
        let (status, by) = expected(&journey);
        assert_eq!(done.status, status, "{url}: {journey:#} {}", done.text());
        if let Some(by) = by {
            assert_eq!(done.text(), by, "{url}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_told_of_access_is_what_the_service_enforces() -> Result<()> {
    let world = world().await?;
    let stranger = world.mesh.sidecar("plain").start().await?;
    for (from, sidecar) in [("web", &world.web), ("plain", &stranger)] {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/v1/x"),
            ("POST", "/v1/x"),
            ("PUT", "/else"),
            ("GET", "/v1/x;y"),
        ] {
            let asked = [
                "--from", from, "--to", "v2", "--method", method, "--path", path,
            ];
            let (told, code) = world.told(&["authz", "check"], &asked)?;
            let url = format!("http://v2{path}");
            let client = sidecar.client();
            let done = client
                .send(method.parse()?, &url, HeaderMap::new(), Bytes::new())
                .await?;
            let allowed = told["allowed"] == true;
            assert_eq!(
                done.status == 200,
                allowed,
                "{from} {method} {path}: {told:#}"
            );
            assert_eq!(code, i32::from(!allowed));
            let reason = done.header("x-usher-reason");
            let flag = reason.split(' ').next().unwrap_or_default();
            let said = format!("flag {flag}");
            let because = told["because"].as_str().unwrap_or_default();
            assert!(allowed || because.contains(&said), "{said}: {because}");
        }
    }
    Ok(())
}
