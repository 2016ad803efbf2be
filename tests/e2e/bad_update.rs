//! A bad edit never replaces good configuration, and says where it is bad.

use anyhow::Result;
use usher_tests::{Application, eventually, yaml};

use crate::pair;

#[tokio::test]
async fn a_broken_policy_keeps_the_last_good_one_until_it_is_mended() -> Result<()> {
    let application = Application::echo().await?;
    let deny = yaml::access_policy("api", "  rules:\n  - from: { serviceAccounts: [nobody] }\n");
    let (mesh, _api, web) = pair(&application, &[]).await?;
    mesh.write("access.yaml", &deny)?;
    eventually("the policy is enforced", async || {
        (web.get("http://api/").await.ok()?.status == 403).then_some(())
    })
    .await;
    let before = mesh.ask(&["status"])?;
    mesh.write("access.yaml", &deny.replace("rules:", "rulez:"))?;
    eventually("the mistake is reported with its place", async || {
        let status = mesh.ask(&["status"]).ok()?.to_string();
        (status.contains("rulez") && status.contains("access.yaml")).then_some(())
    })
    .await;
    assert_eq!(
        web.get("http://api/").await?.status,
        403,
        "the last good version stays"
    );
    let during = mesh.ask(&["status"])?;
    assert_eq!(
        before["revision"]["number"], during["revision"]["number"],
        "nothing was accepted: {during}"
    );
    mesh.write("access.yaml", &deny.replace("nobody", "web"))?;
    eventually("the mended policy is enforced", async || {
        (web.get("http://api/").await.ok()?.status == 200).then_some(())
    })
    .await;
    let after = mesh.ask(&["status"])?;
    assert_ne!(before["revision"]["number"], after["revision"]["number"]);
    Ok(())
}
