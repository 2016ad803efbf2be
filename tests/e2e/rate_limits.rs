//! So many in a time: what is too much is refused where it arrives, before the application sees it.

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use usher_tests::{Answer, Application, Gateway, Mesh, Sidecar, eventually, reply, yaml};

use crate::{
    gateway::{gateway, http_listener, route},
    pair,
};

async fn passed(answers: usize, ask: impl AsyncFn() -> Result<Answer>) -> Result<usize> {
    let mut passed = 0;
    for _ in 0..answers {
        let answer = ask().await?;
        assert!([200, 429].contains(&answer.status), "{}", answer.text());
        passed += usize::from(answer.status == 200);
    }
    Ok(passed)
}

#[tokio::test]
async fn what_is_beyond_a_limit_is_refused_before_the_application_and_the_caller_learns_for_how_long()
-> Result<()> {
    let application = Application::echo().await?;
    let limits = yaml::rate_limit_policy("api", "[{ name: all, requests: 3, per: 1h }]");
    let (_mesh, api, web) = pair(&application, &[limits]).await?;
    assert_eq!(passed(5, async || web.get("http://api/").await).await?, 3);
    assert_eq!(application.received().len(), 3);
    let answer = web.get("http://api/").await?;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("x-usher-reason"), "RL rate-limited");
    assert_eq!(answer.header("ratelimit-limit"), "3");
    assert_eq!(answer.header("ratelimit-remaining"), "0");
    let whole: u64 = answer.header("ratelimit-reset").parse()?;
    let wait: u64 = answer.header("retry-after").parse()?;
    assert!((1100..=1200).contains(&wait), "{wait}");
    assert!((3500..=3600).contains(&whole), "{whole}");
    assert!(
        answer
            .text()
            .contains("limit all of rate limit policy default/api (3 in 1h)")
    );
    let refused = api
        .metric(
            "usher_rate_limited_total",
            &[
                "policy=\"default/api\"",
                "limit=\"all\"",
                "outcome=\"refused\"",
            ],
        )
        .await?;
    assert_eq!(refused, 3.0);
    eventually("the log names the policy", async || {
        let lines = api.access_log();
        let line = lines.iter().find(|line| line["status"] == 429)?;
        (line["policy"] == "default/api" && line["flags"].to_string().contains("RL")).then_some(())
    })
    .await;
    Ok(())
}

async fn with_header(web: &Sidecar, value: &'static str) -> Result<Answer> {
    let mut headers = HeaderMap::new();
    headers.insert("x-customer", HeaderValue::from_static(value));
    let client = web.client();
    client
        .send(Method::GET, "http://api/", headers, Bytes::new())
        .await
}

#[tokio::test]
async fn keys_are_counted_apart_and_only_what_the_limit_is_about() -> Result<()> {
    let application = Application::echo().await?;
    let limits = yaml::rate_limit_policy(
        "api",
        "[{ name: l, requests: 2, per: 1h, key: [{ identity: {} }, { header: x-customer }], when: { methods: [GET] } }]",
    );
    let (mesh, _api, web) = pair(&application, &[limits, yaml::workload("other")]).await?;
    let other = mesh.sidecar("other").start().await?;
    for caller in [&web, &other] {
        for customer in ["a", "b"] {
            let ask = async || with_header(caller, customer).await;
            assert_eq!(passed(4, ask).await?, 2, "{customer}");
        }
        assert_eq!(
            passed(4, async || caller.get("http://api/").await).await?,
            2
        );
    }
    let post = async || web.client().post("http://api/", "x").await;
    assert_eq!(passed(4, post).await?, 4);
    Ok(())
}

#[tokio::test]
async fn a_dry_run_counts_and_a_changed_policy_holds_at_once() -> Result<()> {
    let application = Application::echo().await?;
    let limits = yaml::rate_limit_policy("api", "[{ name: l, requests: 1, per: 1h }]");
    let trial = format!("{limits}  dryRun: true\n");
    let (mesh, api, web) = pair(&application, &[trial]).await?;
    assert_eq!(passed(3, async || web.get("http://api/").await).await?, 3);
    let labels = ["outcome=\"dry_run\""];
    assert_eq!(api.metric("usher_rate_limited_total", &labels).await?, 2.0);
    mesh.write("01.yaml", &limits)?;
    eventually(
        "it is enforced, and its bucket is as empty as it was",
        async || (web.get("http://api/").await.ok()?.status == 429).then_some(()),
    )
    .await;
    Ok(())
}

#[tokio::test]
async fn a_grpc_caller_is_told_that_resources_are_exhausted_and_no_breaker_opens() -> Result<()> {
    let application = Application::echo().await?;
    let limits = yaml::rate_limit_policy("api", "[{ name: l, requests: 1, per: 1h }]");
    let breaker = yaml::traffic_policy("api", "  breaker: { minRequests: 2 }\n");
    let (_mesh, _api, web) = pair(&application, &[limits, breaker]).await?;
    let call = async || {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        let client = web.client().http2();
        client
            .send(Method::POST, "http://api/a.B/C", headers, Bytes::new())
            .await
    };
    // The one that there is.
    web.get("http://api/").await?;
    for _ in 0..8 {
        let answer = call().await?;
        assert_eq!(
            (answer.status, answer.header("grpc-status").as_str()),
            (200, "8")
        );
        assert_eq!(answer.header("x-usher-reason"), "RL rate-limited");
    }
    Ok(())
}

#[tokio::test]
async fn a_gateway_counts_its_callers_and_each_rule_beside_all_of_it() -> Result<()> {
    let policy = |name: &str, target: &str, requests: u32| {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {{ name: {name} }}\nspec:\n  \
             targetRefs: [{target}]\n  limits: [{{ name: l, requests: {requests}, per: 1h, key: [{{ source: {{}} }}] }}]\n"
        )
    };
    let mesh = Mesh::start(&[
        yaml::service("shop", 8080, "http"),
        yaml::workload("edge"),
        gateway(&http_listener("web", 80, None)),
        route("shop", "{ name: edge }", &[], &[("/", "shop")]),
        route("login", "{ name: edge }", &[], &[("/login", "shop")]),
        policy("edge", "{ kind: Gateway, name: edge }", 5),
        policy("login", "{ kind: HTTPRoute, name: login }", 2),
    ])
    .await?;
    let shop = Application::answering(|_, _| reply(200, "shop")).await?;
    let _shop = mesh.sidecar("shop").application(&shop).start().await?;
    let edge = Gateway::start(&mesh, "edge", &[80], &[]).await?;
    let client = edge.client(80);
    let ask = async |path: &str| client.get(&format!("http://shop.example.com{path}")).await;
    eventually("the shop is reached", async || {
        (ask("/none-of-them").await.ok()?.status != 503).then_some(())
    })
    .await;
    let used = shop.received().len();
    assert_eq!(used, 1);
    assert_eq!(passed(3, async || ask("/login").await).await?, 2);
    let answer = ask("/login").await?;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.text(), "usher: too many requests\n");
    assert_eq!(
        answer.header("x-usher-reason"),
        "",
        "outsiders learn no policy's name"
    );
    assert_eq!(answer.header("ratelimit-limit"), "2");
    // One and two of five are used: what the rule refused took nothing of the gateway's.
    assert_eq!(passed(4, async || ask("/").await).await?, 2);
    assert_eq!(ask("/login").await?.status, 429);
    Ok(())
}
