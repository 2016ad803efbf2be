//! A bad edit never replaces good configuration, and says where it is bad.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use usher_tests::{Application, Client, Mesh, eventually, reply, yaml};

use crate::{gateway::route, pair};

#[path = "../../control-plane/tests/bad/edits.rs"]
mod edits;

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

#[tokio::test]
async fn a_route_opens_nothing_while_a_file_that_may_hold_its_guard_cannot_be_read() -> Result<()> {
    let application = Application::echo().await?;
    let own = "{ group: \"\", kind: Service, name: api }";
    let narrow = route("way", own, &[], &[("/v1", "api")]);
    let (mesh, _api, web) = pair(&application, &[narrow]).await?;
    let status = async |path: &str| anyhow::Ok(web.get(&format!("http://api{path}")).await?.status);
    assert_eq!((status("/v1").await?, status("/admin").await?), (200, 404));
    let rules = "  rules:\n  - to: { paths: [\"/v1/*\"] }\n";
    let guard = yaml::access_policy("api", rules);
    mesh.write("guard.yaml", &format!("{guard}  - [\n"))?;
    mesh.write("01.yaml", &route("way", own, &[], &[("/", "api")]))?;
    eventually("it is told what the route waits for", async || {
        let told = mesh.ask(&["status"]).ok()?["rejected"].to_string();
        (told.contains("HTTPRoute default/way") && told.contains("while guard.yaml cannot be read"))
            .then_some(())
    })
    .await;
    assert_eq!((status("/v1").await?, status("/admin").await?), (200, 404));
    let seen = application.received().len();
    mesh.write("guard.yaml", &guard)?;
    eventually("the route is in force with its guard", async || {
        (status("/admin").await.ok()? == 403).then_some(())
    })
    .await;
    assert_eq!(application.received().len(), seen, "never without it");
    assert_eq!(status("/v1").await?, 200);
    Ok(())
}

/// How many calls went through, and what became of the others.
struct Traffic {
    stop: Arc<AtomicBool>,
    calls: tokio::task::JoinHandle<(u32, Vec<String>)>,
}

impl Traffic {
    fn start(client: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let calls = tokio::spawn(async move {
            let (mut done, mut failed) = (0, Vec::new());
            while !until.load(Ordering::Relaxed) {
                match client.get("http://api:8080/").await {
                    Ok(answer) if answer.status == 200 => done += 1,
                    Ok(answer) => failed.push(answer.status.to_string()),
                    Err(error) => failed.push(error.to_string()),
                }
            }
            (done, failed)
        });
        Self { stop, calls }
    }

    async fn end(self) -> Result<(u32, Vec<String>)> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.calls.await?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_bad_edits_of_each_kind_are_told_at_their_lines_and_disturb_no_request() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/bad");
    let kinds = edits::all(&folder);
    let application = Application::answering(|_, _| reply(200, "fine")).await?;
    let others = std::fs::read_to_string(folder.join("others.yaml"))?;
    let mesh = Mesh::start(&[others]).await?;
    for kind in &kinds {
        mesh.write(&format!("{}.yaml", kind.name), &kind.good)?;
    }
    let is_whole = async || {
        let status = mesh.ask(&["status"]).ok()?;
        let written = status["objects"]["total"].as_u64()? > 14;
        let rejected = status["rejected"].as_array()?;
        (written && rejected.is_empty()).then_some(status)
    };
    eventually("the good objects are in force", is_whole).await;
    let api = mesh.sidecar("api").port(8080).application(&application);
    let _api = api.start().await?;
    let web = mesh.sidecar("web").start().await?;
    eventually("calls go through", async || {
        (web.get("http://api:8080/").await.ok()?.status == 200).then_some(())
    })
    .await;
    let before = mesh.ask(&["status"])?["revision"]["number"].clone();
    let traffic = Traffic::start(web.client());
    for kind in &kinds {
        for (number, edit) in kind.edits.iter().enumerate() {
            let file = format!("{}.yaml", kind.name);
            mesh.write(&file, &edit.text)?;
            let at = format!("\"{file}:{}:", edit.line);
            eventually(
                &format!("{at} of edit {} is told", number + 1),
                async || {
                    let status = mesh.ask(&["status"]).ok()?;
                    let told = status["rejected"].to_string();
                    let says = edit.says.iter().all(|words| told.contains(words));
                    (told.contains(&at) && says).then_some(())
                },
            )
            .await;
        }
        // What was refused goes on as it was, and says both.
        let word = kind
            .good
            .lines()
            .find_map(|line| line.strip_prefix("kind: "));
        let objects = mesh.ask(&["get", word.unwrap()])?;
        let refused = objects.as_array().unwrap().iter().find(|object| {
            // Of a text with a mistake in its name nobody can say whose it is: the whole file is in doubt.
            let reason = &object["conditions"][0]["reason"];
            reason == "Invalid" || reason == "FileUnreadable"
        });
        let refused = refused.unwrap_or_else(|| panic!("{}: {objects}", kind.name));
        assert!(refused["revision"].as_u64().unwrap() > 0, "{refused}");
        assert_eq!(refused["programmed"], refused["of"], "{refused}");
        mesh.write(&format!("{}.yaml", kind.name), &kind.good)?;
        eventually("it is mended", is_whole).await;
    }
    let (done, failed) = traffic.end().await?;
    assert!(done > 100, "{done} calls");
    assert_eq!(failed, [""; 0], "of {done} calls");
    let after = mesh.ask(&["status"])?["revision"]["number"].clone();
    assert_eq!(before, after, "nothing was accepted");
    Ok(())
}
