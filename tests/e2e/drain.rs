//! A rolling restart loses no request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use usher_tests::{Application, Client};

use crate::pair;

#[tokio::test]
async fn a_replica_that_is_stopped_finishes_what_it_has_and_gets_nothing_new() -> Result<()> {
    let first = Application::echo().await?;
    let second = Application::echo().await?;
    let (mesh, mut api, web) = pair(&first, &[]).await?;
    let _other = mesh.sidecar("api").application(&second).start().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(post_until(stop.clone(), web.client()));
    let status = api.process.stop().await;
    stop.store(true, Ordering::Relaxed);
    let (sent, failed) = load.await?;
    assert!(status.code().is_some(), "{status:?}");
    assert!(sent > 10, "only {sent} requests were sent meanwhile");
    assert!(
        failed.is_empty(),
        "{} of {sent} failed: {:?}",
        failed.len(),
        failed.first()
    );
    Ok(())
}

async fn post_until(stop: Arc<AtomicBool>, client: Client) -> (usize, Vec<String>) {
    let (mut sent, mut failed) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        sent += 1;
        match client.post("http://api/pay", "10").await {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => failed.push(format!(
                "{} {:?} {}",
                answer.status,
                answer.headers,
                answer.text()
            )),
            Err(error) => failed.push(error.to_string()),
        }
    }
    (sent, failed)
}
