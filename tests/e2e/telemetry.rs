//! Every request can be found in the log and in the metrics, and the metrics are well-formed.

use anyhow::Result;
use std::{
    io::Write as _,
    process::{Command, Stdio},
};
use usher_tests::{Application, Client, eventually, skip};

use crate::pair;

#[tokio::test]
async fn both_sidecars_log_a_request_under_one_id() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, api, web) = pair(&application, &[]).await?;
    web.get("http://api/some/path?secret=1").await?;
    let find = async |sidecar: &usher_tests::Sidecar, direction: &str| {
        eventually(&format!("the {direction} line"), async || {
            sidecar
                .access_log()
                .into_iter()
                .find(|line| line["direction"] == direction && line["path"] == "/some/path")
        })
        .await
    };
    let outbound = find(&web, "outbound").await;
    let inbound = find(&api, "inbound").await;
    assert_eq!(outbound["request_id"], inbound["request_id"]);
    assert_eq!(outbound["trace_id"], inbound["trace_id"]);
    assert_eq!(outbound["status"], 200);
    assert!(
        !outbound.to_string().contains("secret"),
        "the query may hold secrets: {outbound}"
    );
    assert!(
        inbound
            .to_string()
            .contains("spiffe://test.mesh/ns/default/sa/web"),
        "{inbound}"
    );
    Ok(())
}

#[tokio::test]
async fn metrics_pass_prometheus_own_check() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, api, web) = pair(&application, &[]).await?;
    web.get("http://api/").await?;
    eventually("the request is counted", async || {
        let counted = api
            .metric(
                "usher_requests_total",
                &["direction=\"inbound\"", "code=\"200\""],
            )
            .await
            .ok()?;
        (counted >= 1.0).then_some(())
    })
    .await;
    let text = Client::direct(&web.metrics).get("/metrics").await?.text();
    for name in [
        "usher_requests_total",
        "usher_request_duration_seconds_bucket",
        "usher_svid_expiry_timestamp_seconds",
    ] {
        assert!(text.contains(name), "{name} is missing");
    }
    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut checker) = checker else {
        skip("promtool is not installed (Debian: prometheus)");
        return Ok(());
    };
    checker
        .stdin
        .take()
        .expect("stdin")
        .write_all(text.as_bytes())?;
    let output = checker.wait_with_output()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
