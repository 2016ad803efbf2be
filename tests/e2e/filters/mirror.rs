//! Mirrors get copies, and whoever asked never notices.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use tokio::time::{Instant, timeout};
use usher_tests::{Application, Mesh, Sidecar, eventually, reply, reply_after, yaml};

use super::{header, route};

/// `api` with a route that mirrors to `one` and `two`, each answering from its application.
async fn mirrored(
    share: &str,
    one: &Application,
    two: &Application,
) -> Result<(Mesh, Vec<Sidecar>, Sidecar, Application)> {
    let api = Application::echo().await?;
    let mirror = |name: &str| {
        format!(
            "    - {{ type: RequestMirror, requestMirror: {{ backendRef: {{ name: {name}, port: 8080 }}{share} }} }}\n"
        )
    };
    let rules = format!(
        "  - filters:\n{}{}    backendRefs: [{{ name: api, port: 8080 }}]\n",
        mirror("one"),
        mirror("two")
    );
    let mut documents = vec![route(&rules)];
    documents.extend(["api", "one", "two"].map(|name| yaml::service(name, 8080, "http")));
    let mesh = Mesh::start(&documents).await?;
    let mut sidecars = Vec::new();
    for (name, application) in [("api", &api), ("one", one), ("two", two)] {
        sidecars.push(mesh.sidecar(name).application(application).start().await?);
    }
    let web = mesh.sidecar("web").start().await?;
    Ok((mesh, sidecars, web, api))
}

#[tokio::test]
async fn mirrors_get_the_whole_request_and_their_answers_are_dropped() -> Result<()> {
    let one = Application::answering(|_, _| reply(500, "one")).await?;
    let two = Application::answering(|_, _| reply(200, "two")).await?;
    let (_mesh, _sidecars, web, _api) = mirrored("", &one, &two).await?;
    let body = vec![b'x'; 50_000];
    let answer = web
        .client()
        .post("http://api/pay?x=y", body.clone())
        .await?;
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    for application in [&one, &two] {
        let received = eventually("the copy is there", async || application.received().pop()).await;
        assert_eq!(
            (received.method, received.path.as_str()),
            (Method::POST, "/pay?x=y")
        );
        assert!(received.body == body, "{} bytes", received.body.len());
        assert_eq!(header(&application.received()[0], "host"), Some("api"));
    }
    for (mirror, outcome) in [("default/one", "5xx"), ("default/two", "ok")] {
        let labels = [
            format!("mirror=\"{mirror}\""),
            format!("outcome=\"{outcome}\""),
        ];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        eventually("the copy is counted", async || {
            let count = web
                .metric("usher_mirrored_requests_total", &labels)
                .await
                .ok()?;
            (count == 1.0).then_some(())
        })
        .await;
    }
    // One request, whatever became of its copies.
    assert_eq!((one.received().len(), two.received().len()), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_mirror_that_is_slow_or_full_never_holds_up_the_request() -> Result<()> {
    let slow = || Application::answering(|_, _| reply_after(Duration::from_secs(60), 200, "late"));
    let (one, two) = (slow().await?, slow().await?);
    let (_mesh, mut sidecars, web, _api) = mirrored("", &one, &two).await?;
    // One mirror is slow, the other has nobody behind it at all.
    drop(sidecars.pop());
    let began = Instant::now();
    let large = vec![b'x'; 4_000_000];
    for _ in 0..3 {
        let client = web.client();
        let answer = client.post("http://api/", large.clone());
        let answer = timeout(Duration::from_secs(20), answer).await??;
        assert_eq!((answer.status, answer.body.len()), (200, large.len()));
    }
    assert!(began.elapsed() < Duration::from_secs(30));
    Ok(())
}

#[tokio::test]
async fn a_share_of_requests_is_mirrored() -> Result<()> {
    let (one, two) = (Application::echo().await?, Application::echo().await?);
    let share = ", fraction: { numerator: 1, denominator: 4 }";
    let (_mesh, _sidecars, web, api) = mirrored(share, &one, &two).await?;
    for _ in 0..400 {
        web.get("http://api/").await?;
    }
    assert_eq!(api.received().len(), 400);
    // Binomial with n = 400, p = 1/4: six standard deviations are 52 around 100.
    for application in [&one, &two] {
        let copies = application.received().len();
        assert!((48..=152).contains(&copies), "{copies}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_refused_here_is_not_copied() -> Result<()> {
    let [api, copied] = [Application::echo().await?, Application::echo().await?];
    let rules = "  - filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: copied, port: 8080 } } }]
    backendRefs: [{ name: api, port: 8080 }]
";
    let fault = yaml::fault_policy(
        "api",
        "  expireAfter: 1h\n  headers: [{ name: x-refuse, value: 'yes' }]\n  abort: { percent: 100, status: 503 }\n",
    );
    let mesh = Mesh::start(&[
        route(rules),
        fault,
        yaml::service("api", 8080, "http"),
        yaml::service("copied", 8080, "http"),
    ])
    .await?;
    let _api = mesh.sidecar("api").application(&api).start().await?;
    let _copied = mesh.sidecar("copied").application(&copied).start().await?;
    let web = mesh.sidecar("web").start().await?;
    for _ in 0..5 {
        let refused = super::send(
            &web,
            Method::GET,
            "http://api/refused",
            &[("x-refuse", "yes")],
        )
        .await?;
        assert_eq!(refused.status, 503);
    }
    assert_eq!(web.get("http://api/sent").await?.status, 200);
    let first = eventually("a copy is there", async || {
        copied.received().into_iter().next()
    })
    .await;
    assert_eq!(
        first.path, "/sent",
        "no copy of what was refused came before"
    );
    Ok(())
}
