//! No request outlives its deadline, and everybody on the way knows the deadline.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use usher_tests::{Application, reply, reply_after, yaml};

use crate::pair;

#[tokio::test]
async fn a_request_ends_at_its_timeout_with_an_explanation() -> Result<()> {
    let application =
        Application::answering(|_, _| reply_after(Duration::from_secs(30), 200, "late")).await?;
    let policy = yaml::traffic_policy("api", "  timeouts: { request: 300ms }\n");
    let (_mesh, _api, web) = pair(&application, &[policy]).await?;
    let began = Instant::now();
    let answer = web.client().post("http://api/slow", "x").await?;
    assert_eq!(answer.status, 504);
    assert!(
        answer.header("x-usher-reason").starts_with("UT")
            || answer.header("x-usher-reason").starts_with("DE")
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(application.received().len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_application_is_told_how_long_it_has() -> Result<()> {
    let application = Application::answering(|_, _| reply(200, "ok")).await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    let mut headers = HeaderMap::new();
    headers.insert("x-usher-deadline-ms", HeaderValue::from_static("2000"));
    web.client()
        .send(Method::GET, "http://api/", headers, Bytes::new())
        .await?;
    let received = application.received();
    let left: u64 = received[0].headers["x-usher-deadline-ms"]
        .to_str()?
        .parse()?;
    assert!((1000..2000).contains(&left), "{left}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_arrives_too_late_never_reaches_the_application() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    let mut headers = HeaderMap::new();
    headers.insert("x-usher-deadline-ms", HeaderValue::from_static("0"));
    let answer = web
        .client()
        .send(Method::GET, "http://api/", headers, Bytes::new())
        .await?;
    assert_eq!(answer.status, 504);
    assert!(
        answer.header("x-usher-reason").starts_with("DE"),
        "{:?}",
        answer.headers
    );
    assert!(application.received().is_empty());
    Ok(())
}
