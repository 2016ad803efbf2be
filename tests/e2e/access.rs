//! Who may call what is written once and enforced by the callee's sidecar.

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Method};
use usher_tests::{Application, eventually, yaml};

use crate::pair;

const ONLY_READING: &str = "  rules:
  - from: { serviceAccounts: [web] }
    to: { methods: [GET], paths: [\"/v1/*\"] }
";

#[tokio::test]
async fn what_no_rule_allows_is_refused_before_the_application_sees_it() -> Result<()> {
    let application = Application::echo().await?;
    let (mesh, api, web) = pair(
        &application,
        &[
            yaml::access_policy("api", ONLY_READING),
            yaml::workload("other"),
        ],
    )
    .await?;
    assert_eq!(web.get("http://api/v1/a").await?.status, 200);
    for (method, path) in [
        (Method::POST, "/v1/a"),
        (Method::GET, "/v2"),
        (Method::GET, "/v1/../v2"),
    ] {
        let url = format!("http://api{path}");
        let answer = web
            .client()
            .send(method.clone(), &url, HeaderMap::new(), Bytes::new())
            .await?;
        assert_eq!(answer.status, 403, "{method} {path}");
        assert!(
            answer.header("x-usher-reason").starts_with("AZ"),
            "{:?}",
            answer.headers
        );
    }
    let other = mesh.sidecar("other").start().await?;
    assert_eq!(
        other.get("http://api/v1/a").await?.status,
        403,
        "another identity"
    );
    assert_eq!(application.received().len(), 1);
    eventually("refusals are counted", async || {
        let refused = api
            .metric("usher_requests_total", &["flag=\"AZ\""])
            .await
            .ok()?;
        (refused >= 4.0).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_dry_run_counts_and_refuses_nothing() -> Result<()> {
    let application = Application::echo().await?;
    let policy = yaml::access_policy("api", &format!("  dryRun: true\n{ONLY_READING}"));
    let (_mesh, _api, web) = pair(&application, &[policy]).await?;
    assert_eq!(web.client().post("http://api/v2", "x").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn an_encoded_slash_is_refused_not_guessed() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, _api, web) =
        pair(&application, &[yaml::access_policy("api", ONLY_READING)]).await?;
    for path in ["/v1/%2e%2e/v2", "/v1/..%2fv2", "/v1/a%00b", "/v1/a%5cb"] {
        let status = web.get(&format!("http://api{path}")).await?.status;
        assert!(status == 400 || status == 403, "{path}: {status}");
    }
    assert!(application.received().is_empty());
    Ok(())
}
