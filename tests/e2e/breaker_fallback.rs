//! A dependency that fails is given a rest, and somebody else answers meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use http::{HeaderMap, HeaderValue, Method};
use usher_tests::{Application, Mesh, eventually, reply, reply_after, yaml};

use crate::pair;

const BREAKER: &str = "  retry: { attempts: 0 }
  ejection: { enabled: false }
  breaker: { minRequests: 5, openFor: 500ms, maxOpenFor: 1s }
";

#[tokio::test]
async fn an_open_breaker_answers_with_the_static_response_and_closes_by_itself() -> Result<()> {
    let well = Arc::new(AtomicBool::new(false));
    let application = {
        let well = well.clone();
        Application::answering(move |_, _| {
            if well.load(Ordering::Relaxed) {
                reply(200, "primary")
            } else {
                reply(500, "broken")
            }
        })
        .await?
    };
    let policy = format!(
        "{BREAKER}  fallback:
    when: [Open]
    response: {{ status: 200, headers: [{{ name: content-type, value: text/plain }}], body: cached }}
"
    );
    let (_mesh, _api, web) = pair(&application, &[yaml::traffic_policy("api", &policy)]).await?;
    for _ in 0..5 {
        assert_eq!(web.get("http://api/").await?.status, 500);
    }
    let answer = web.get("http://api/").await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "cached"));
    assert_eq!(answer.header("x-usher-fallback"), "default/api");
    let asked = application.received().len();
    assert_eq!(web.get("http://api/").await?.text(), "cached");
    assert_eq!(
        application.received().len(),
        asked,
        "an open breaker leaves the application alone"
    );
    well.store(true, Ordering::Relaxed);
    eventually("the breaker closes", async || {
        let answer = web.get("http://api/").await.ok()?;
        (answer.text() == "primary").then_some(())
    })
    .await;
    eventually("the breaker is counted as opened and closed", async || {
        let opened = web
            .metric("usher_breaker_transitions_total", &["open"])
            .await
            .ok()?;
        (opened >= 1.0).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_service_without_endpoints_is_answered_by_its_fallback_service() -> Result<()> {
    let policy = yaml::traffic_policy(
        "api",
        "  fallback: { when: [NoEndpoint], backendRef: { name: spare, port: 8080 } }\n",
    );
    let documents = [
        yaml::service("api", 8080, "http"),
        yaml::service("spare", 8080, "http"),
        policy,
    ];
    let mesh = Mesh::start(&documents).await?;
    let spare = Application::answering(|_, _| reply(200, "spare")).await?;
    let _spare = mesh.sidecar("spare").application(&spare).start().await?;
    let web = mesh.sidecar("web").start().await?;
    let answer = web.client().post("http://api/", "x").await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "spare"));
    assert_eq!(answer.header("x-usher-fallback"), "default/api");
    Ok(())
}

#[tokio::test]
async fn nobody_is_asked_to_stand_in_when_no_time_is_left() -> Result<()> {
    let hangs = Application::answering(|_, _| reply_after(Duration::from_secs(30), 200, "late"));
    let hangs = hangs.await?;
    let policy = "  timeouts: { request: 300ms }
  fallback: { when: [Exhausted], repeatable: true, backendRef: { name: spare, port: 8080 } }
";
    let documents = [
        yaml::service("api", 8080, "http"),
        yaml::service("spare", 8080, "http"),
        yaml::traffic_policy("api", policy),
    ];
    let mesh = Mesh::start(&documents).await?;
    let spare = Application::answering(|_, _| reply(200, "spare")).await?;
    let _spare = mesh.sidecar("spare").application(&spare).start().await?;
    let _api = mesh.sidecar("api").application(&hangs).start().await?;
    let web = mesh.sidecar("web").start().await?;
    // A connection to the spare is there: nothing but time is missing.
    assert_eq!(web.get("http://spare/").await?.status, 200);
    let answer = web.get("http://api/").await?;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.header("x-usher-fallback"), "");
    assert_eq!(spare.received().len(), 1);
    let fallbacks = web.metric("usher_fallbacks_total", &[]).await?;
    assert_eq!(fallbacks, 0.0, "nobody has stood in");
    Ok(())
}

#[tokio::test]
async fn a_stand_in_is_sent_nothing_twice_that_only_the_primary_vouches_for() -> Result<()> {
    let retry = "  retry: { idempotencyHeader: Idempotency-Key }\n";
    let fallback = "  fallback: { when: [NoEndpoint], backendRef: { name: spare, port: 8080 } }\n";
    let documents = [
        yaml::service("api", 8080, "http"),
        yaml::service("spare", 8080, "http"),
        yaml::traffic_policy("api", &format!("{retry}{fallback}")),
    ];
    let mesh = Mesh::start(&documents).await?;
    let spare = Application::answering(|_, _| reply(503, "busy")).await?;
    let _spare = mesh.sidecar("spare").application(&spare).start().await?;
    let web = mesh.sidecar("web").start().await?;
    let mut headers = HeaderMap::new();
    headers.insert("idempotency-key", HeaderValue::from_static("17"));
    let client = web.client();
    let answer = client
        .send(Method::POST, "http://api/", headers, "100".into())
        .await?;
    assert_eq!((answer.status, answer.text().as_str()), (503, "busy"));
    assert_eq!(spare.received().len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_open_breaker_without_fallback_says_so_at_once() -> Result<()> {
    let application = Application::answering(|_, _| reply(500, "broken")).await?;
    let policy = yaml::traffic_policy(
        "api",
        "  retry: { attempts: 0 }\n  ejection: { enabled: false }\n  breaker: { minRequests: 5, openFor: 60s }\n",
    );
    let (_mesh, _api, web) = pair(&application, &[policy]).await?;
    for _ in 0..5 {
        web.get("http://api/").await?;
    }
    let answer = web.get("http://api/").await?;
    assert_eq!(answer.status, 503);
    assert!(
        answer.header("x-usher-reason").starts_with("BO"),
        "{:?}",
        answer.headers
    );
    assert_eq!(application.received().len(), 5);
    Ok(())
}

#[tokio::test]
async fn a_breaker_that_observes_refuses_nobody_and_says_what_it_would_have_done() -> Result<()> {
    let application = Application::answering(|_, _| reply(500, "broken")).await?;
    let policy = yaml::traffic_policy(
        "api",
        "  retry: { attempts: 0 }\n  ejection: { enabled: false }\n  breaker: { mode: Observe, minRequests: 5, openFor: 60s }\n",
    );
    let (_mesh, _api, web) = pair(&application, &[policy]).await?;
    for _ in 0..12 {
        let answer = web.get("http://api/").await?;
        assert_eq!((answer.status, answer.text().as_str()), (500, "broken"));
    }
    assert_eq!(application.received().len(), 12);
    let observed = web
        .metric("usher_breaker_observed_total", &["instead=\"refused\""])
        .await?;
    assert_eq!(observed, 7.0, "all after the five that opened it");
    Ok(())
}

#[tokio::test]
async fn an_operator_holds_a_breaker_open_and_lets_go_again() -> Result<()> {
    let application = Application::echo().await?;
    let held = |forced: &str| {
        let fallback = "  fallback: { when: [Open], response: { body: cached } }\n";
        yaml::traffic_policy("api", &format!("  breaker: {{ {forced} }}\n{fallback}"))
    };
    let (mesh, _api, web) = pair(&application, &[held("forced: Open")]).await?;
    assert_eq!(web.get("http://api/").await?.text(), "cached");
    assert_eq!(web.metric("usher_breaker_state", &[]).await?, 2.0);
    assert_eq!(application.received().len(), 0);
    mesh.write("01.yaml", &held("minRequests: 20"))?;
    eventually("the breaker is let go", async || {
        let answer = web.get("http://api/here").await.ok()?;
        (answer.text() == "/here").then_some(())
    })
    .await;
    assert_eq!(web.metric("usher_breaker_state", &[]).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn a_breaker_of_a_route_leaves_the_others_alone() -> Result<()> {
    let application = Application::answering(|request, _| {
        if request.path.starts_with("/sick") {
            reply(500, "broken")
        } else {
            reply(200, "well")
        }
    })
    .await?;
    let route = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: api }
spec:
  parentRefs: [{ group: '', kind: Service, name: api }]
  rules:
    - { name: sick, matches: [{ path: { value: /sick } }], backendRefs: [{ name: api, port: 8080 }] }
    - { name: well, backendRefs: [{ name: api, port: 8080 }] }
";
    let policy = yaml::traffic_policy(
        "api",
        "  retry: { attempts: 0 }\n  ejection: { enabled: false }\n  breaker: { scope: Route, minRequests: 5, openFor: 60s }\n",
    );
    let (_mesh, _api, web) = pair(&application, &[route.to_owned(), policy]).await?;
    for _ in 0..5 {
        assert_eq!(web.get("http://api/sick").await?.status, 500);
    }
    let refused = web.get("http://api/sick").await?;
    assert!(refused.header("x-usher-reason").starts_with("BO"));
    for _ in 0..5 {
        assert_eq!(web.get("http://api/well").await?.status, 200);
    }
    Ok(())
}
