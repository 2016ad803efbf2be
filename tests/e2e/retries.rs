//! A request is repeated only where that is provably safe, and never more than the budget allows.

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use usher_tests::{
    Application, Mesh,
    raw::{Act, RawOrigin},
    reply, yaml,
};

use crate::pair;

/// 503 to the first request for each path, 200 to every later one.
async fn failing_once() -> Result<Application> {
    Application::answering(|_, number| {
        if number == 0 {
            reply(503, "busy")
        } else {
            reply(200, "done")
        }
    })
    .await
}

#[tokio::test]
async fn a_get_that_failed_is_asked_again() -> Result<()> {
    let application = failing_once().await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    assert_eq!(web.get("http://api/").await?.status, 200);
    assert_eq!(application.received().len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_post_that_failed_is_never_asked_again() -> Result<()> {
    let application = failing_once().await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    assert_eq!(web.client().post("http://api/pay", "10").await?.status, 503);
    assert_eq!(application.received().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_post_with_the_named_idempotency_header_is_asked_again_with_its_body() -> Result<()> {
    let application = failing_once().await?;
    let policy = yaml::traffic_policy("api", "  retry: { idempotencyHeader: Idempotency-Key }\n");
    let (_mesh, _api, web) = pair(&application, &[policy]).await?;
    let mut headers = HeaderMap::new();
    headers.insert("idempotency-key", HeaderValue::from_static("k1"));
    let answer = web
        .client()
        .send(Method::POST, "http://api/pay", headers, Bytes::from("10"))
        .await?;
    assert_eq!(answer.status, 200);
    let received = application.received();
    assert_eq!(received.len(), 2);
    assert!(
        received.iter().all(|request| request.body == "10"),
        "{received:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_post_moves_on_when_an_endpoint_does_not_even_connect() -> Result<()> {
    let application = Application::echo().await?;
    let (mesh, _api, web) = pair(&application, &[]).await?;
    let second = Application::echo().await?;
    let dead = mesh.sidecar("api").application(&second).start().await?;
    // Its listener is gone, its lease is not: the registry still believes in it.
    dead.process.signal(nix::sys::signal::Signal::SIGSTOP);
    let proxy = i32::try_from(dead.proxy_pid()?)?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(proxy),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    for number in 0..40 {
        let answer = web
            .client()
            .post("http://api/pay", format!("{number}"))
            .await?;
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
    }
    dead.process.signal(nix::sys::signal::Signal::SIGCONT);
    Ok(())
}

#[tokio::test]
async fn retries_stop_where_the_budget_ends() -> Result<()> {
    let application = Application::answering(|_, _| reply(503, "always")).await?;
    let policy = yaml::traffic_policy(
        "api",
        "  retry: { budget: { percent: 0, interval: 10s }, minRetryRate: { count: 3, interval: 60s } }\n  ejection: { enabled: false }\n",
    );
    let (_mesh, _api, web) = pair(&application, &[policy]).await?;
    for _ in 0..20 {
        assert_eq!(web.get("http://api/").await?.status, 503);
    }
    assert_eq!(
        application.received().len(),
        23,
        "20 requests and the 3 retries that the budget grants"
    );
    Ok(())
}

/// Answers the first request of each connection and closes under the second.
async fn hasty_origin() -> Result<RawOrigin> {
    let requests = |bytes: &[u8]| {
        bytes
            .windows(9)
            .filter(|window| window == b" HTTP/1.1")
            .count()
    };
    RawOrigin::start(move |all, before| {
        let began = requests(&all[..before]);
        let write = if began == 0 {
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone".to_vec()
        } else {
            Vec::new()
        };
        let close = began > 0 && requests(all) > began;
        Act { write, close }
    })
    .await
}

#[tokio::test]
async fn a_connection_closed_under_a_request_costs_a_get_nothing_and_a_post_an_explanation()
-> Result<()> {
    let origin = hasty_origin().await?;
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let _api = mesh.sidecar("api").port(origin.port()).start().await?;
    let web = mesh.sidecar("web").start().await?;
    for _ in 0..20 {
        assert_eq!(web.get("http://api/").await?.status, 200);
    }
    origin.forget();
    let mut raced = 0;
    for number in 0..20 {
        let answer = web
            .client()
            .post(&format!("http://api/{number}/"), "x")
            .await?;
        if answer.status != 200 {
            assert!(
                answer.header("x-usher-reason").starts_with("CR "),
                "{:?}",
                answer.headers
            );
            raced += 1;
        }
    }
    assert!(raced > 0, "connections are reused");
    let all = String::from_utf8(origin.recorded().concat())?;
    for number in 0..20 {
        let sent = all.matches(&format!("POST /{number}/ ")).count();
        assert_eq!(sent, 1, "request {number} in {all}");
    }
    Ok(())
}
