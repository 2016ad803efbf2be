//! A control plane that takes connections and says nothing is passed over like one that is gone.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::*;

/// Stopped, and let go on when dropped: what is stopped cannot be ended in order.
struct Hung(Pid);

impl Hung {
    fn stop(plane: &Mesh) -> Result<Self> {
        let pid = Pid::from_raw(i32::try_from(plane.server_pid().context("runs")?)?);
        kill(pid, Signal::SIGSTOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_loses_nobody() -> Result<()> {
    let Some(replicas) = Replicas::start().await? else {
        return Ok(());
    };
    let application = Application::echo().await?;
    let mut servers = Vec::new();
    // Several, so that one of them talks to the one that will hang, most likely.
    for _ in 0..4 {
        servers.push(replicas.sidecar("api", Some(&application)).await?);
    }
    let web = replicas.sidecar("web", None).await?;
    let traffic = Traffic::through(&web).await?;
    let hung = Hung::stop(&replicas.planes[0])?;
    let late = [yaml::service("late", 8080, "http")];
    assert_eq!(replicas.planes[1].apply(&documents(&late))?.code, Some(0));
    // Its place in the list may be the first that this one tries.
    let _late = replicas.sidecar("late", Some(&application)).await?;
    let over = Instant::now() + LEASE + Duration::from_secs(3);
    eventually_for(2 * LEASE, "a lease's life passes", async || {
        for plane in &replicas.planes[1..] {
            assert_eq!(instances(plane).expect("answers").len(), servers.len());
        }
        (Instant::now() > over).then_some(())
    })
    .await;
    eventually_for(
        2 * LEASE,
        "its proxies learn what is new elsewhere",
        async || (web.get("http://late/").await.ok()?.status == 200).then_some(()),
    )
    .await;
    traffic.all_went_well().await?;
    drop(hung);
    eventually("it learns what it missed", async || {
        let status = replicas.planes[0].ask(&["status"]).ok()?;
        (status["revision"]["number"] == 2).then_some(())
    })
    .await;
    Ok(())
}
