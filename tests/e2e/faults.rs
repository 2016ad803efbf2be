//! Faults made on purpose: of those who asked for them, for a time, and without setting off the real thing.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use usher_tests::{Answer, Application, Sidecar, eventually, reply, yaml};

use crate::pair;

async fn tester(web: &Sidecar) -> Result<Answer> {
    let mut headers = HeaderMap::new();
    headers.insert("x-tester", HeaderValue::from_static("yes"));
    web.client()
        .send(Method::GET, "http://api/", headers, Bytes::new())
        .await
}

#[tokio::test]
async fn an_abort_hits_whom_it_names_and_no_breaker_or_fallback_hears_of_it() -> Result<()> {
    let application = Application::answering(|_, _| reply(200, "done")).await?;
    let fault = yaml::fault_policy(
        "api",
        "  expireAfter: 1h\n  headers: [{ name: x-tester, value: 'yes' }]\n  abort: { percent: 100, status: 418 }\n",
    );
    let policy = yaml::traffic_policy(
        "api",
        "  breaker: { minRequests: 2 }\n  fallback: { when: [Open, Exhausted], response: { body: cached } }\n",
    );
    let (_mesh, _api, web) = pair(&application, &[fault, policy]).await?;
    for _ in 0..10 {
        let answer = tester(&web).await?;
        assert_eq!(answer.status, 418, "{}", answer.text());
        assert_eq!(answer.header("x-usher-reason"), "FI fault-injected");
        assert_eq!(answer.header("x-usher-fallback"), "");
    }
    assert!(application.received().is_empty());
    assert_eq!(web.get("http://api/").await?.text(), "done");
    let injected = web
        .metric("usher_faults_injected_total", &["fault=\"abort\""])
        .await?;
    assert_eq!(injected, 10.0);
    assert_eq!(
        web.metric("usher_breaker_transitions_total", &[]).await?,
        0.0
    );
    Ok(())
}

#[tokio::test]
async fn a_delay_comes_before_the_call_and_the_deadline_still_holds() -> Result<()> {
    let application = Application::echo().await?;
    let fault = yaml::fault_policy(
        "api",
        "  expireAfter: 1h\n  delay: { percent: 100, duration: 600ms }\n",
    );
    let policy = yaml::traffic_policy(
        "api",
        "  breaker: { minRequests: 1, slowCallDuration: 300ms }\n",
    );
    let (mesh, _api, web) = pair(&application, &[fault, policy]).await?;
    let began = Instant::now();
    assert_eq!(web.get("http://api/").await?.status, 200);
    assert!(began.elapsed() >= Duration::from_millis(600));
    // Slow on purpose is not slow: the breaker, which opens on one slow call, lets the next one pass.
    assert_eq!(web.get("http://api/").await?.status, 200);
    mesh.write(
        "02.yaml",
        &yaml::traffic_policy("api", "  timeouts: { request: 200ms }\n"),
    )?;
    eventually("the deadline is in force", async || {
        let answer = web.get("http://api/").await.ok()?;
        let reason = answer.header("x-usher-reason");
        (answer.status == 504 && reason.starts_with("UT")).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn an_expired_fault_has_no_effect_says_so_and_begins_anew_when_it_is_edited() -> Result<()> {
    let application = Application::echo().await?;
    let fault = |expiry: &str| {
        let spec = format!("  expireAfter: {expiry}\n  abort: {{ percent: 100, status: 503 }}\n");
        yaml::fault_policy("api", &spec)
    };
    let (mesh, _api, web) = pair(&application, &[fault("1s")]).await?;
    eventually("it expires", async || {
        (web.get("http://api/").await.ok()?.status == 200).then_some(())
    })
    .await;
    let status = mesh.ask(&["status"])?;
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    assert!(
        conditions
            .iter()
            .any(|condition| condition["object"] == "FaultPolicy default/api"
                && condition["reason"] == "Expired"),
        "{status:#}"
    );
    mesh.write("01.yaml", &fault("1h"))?;
    eventually("it acts again", async || {
        (web.get("http://api/").await.ok()?.status == 503).then_some(())
    })
    .await;
    Ok(())
}
