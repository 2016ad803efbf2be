//! What one control plane applied another one takes back, and all of them hold it.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_one_control_plane_applied_another_takes_back() -> Result<()> {
    let Some(replicas) = Replicas::start().await? else {
        return Ok(());
    };
    let late = [yaml::service("late", 8080, "http")];
    assert_eq!(replicas.planes[0].apply(&documents(&late))?.code, Some(0));
    let revision = async |number: u64| {
        for plane in &replicas.planes {
            eventually(&format!("revision {number}"), async || {
                let status = plane.ask(&["status"]).ok()?;
                (status["revision"]["number"] == number).then_some(())
            })
            .await;
        }
    };
    revision(2).await;
    let other = &replicas.planes[1];
    let data = other.data();
    let data = data.to_str().context("path")?;
    let back = run(&binary("usher"), ["rollback", "1", "--data", data]);
    assert_eq!(back.code, Some(0), "{back:?}");
    revision(3).await;
    for plane in &replicas.planes {
        let status = plane.ask(&["status"])?;
        assert_eq!(status["pinned"], 1, "{status:#}");
        let services = status["services"].as_array().context("services")?;
        assert!(services.iter().all(|service| service["name"] != "late"));
    }
    let released = run(&binary("usher"), ["rollback", "--release", "--data", data]);
    assert_eq!(released.code, Some(0), "{released:?}");
    revision(4).await;
    // Where the store is the source, nothing waits: who wants it applies it again.
    let applied = replicas.planes[2].apply(&documents(&late))?;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    revision(5).await;
    Ok(())
}
