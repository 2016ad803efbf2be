//! A bad day's way back: what would change, whether it has, what it was, and going back to before it.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use usher_tests::{Application, Mesh, Output, binary, eventually, reply, run, yaml};

const CLOSED: &str = "
  defaultAction: Deny
  rules: [{ from: { serviceAccounts: [nobody-yet] } }]
";

/// An operator's command on the machine of the control plane.
fn usher(mesh: &Mesh, arguments: &[&str]) -> Output {
    let data = mesh.data();
    let data = ["--data", data.to_str().unwrap()];
    run(&binary("usher"), [arguments, &data].concat())
}

fn json(mesh: &Mesh, arguments: &[&str]) -> Result<Value> {
    let said = usher(mesh, &[arguments, &["--json"]].concat());
    anyhow::ensure!(!said.stdout.is_empty(), "{arguments:?}: {}", said.stderr);
    Ok(serde_json::from_str(&said.stdout)?)
}

#[tokio::test]
async fn a_bad_edit_is_seen_before_waited_for_and_taken_back() -> Result<()> {
    let application = Application::answering(|_, _| reply(200, "fine")).await?;
    let documents = [yaml::service("api", 8080, "http")];
    let mesh = Mesh::start(&documents).await?;
    let _api = mesh
        .sidecar("api")
        .application(&application)
        .start()
        .await?;
    let web = mesh.sidecar("web").start().await?;
    assert_eq!(web.get("http://api/").await?.status, 200);

    // Beside the directory that is watched: what would it do?
    let next = mesh.path("next");
    std::fs::create_dir(&next)?;
    for entry in std::fs::read_dir(mesh.config())? {
        let entry = entry?;
        std::fs::copy(entry.path(), next.join(entry.file_name()))?;
    }
    let next = next.to_str().unwrap();
    assert_eq!(usher(&mesh, &["diff", next]).code, Some(0), "nothing yet");
    let closed = yaml::access_policy("api", CLOSED);
    std::fs::write(format!("{next}/closed.yaml"), &closed)?;
    let diff = usher(&mesh, &["diff", next]);
    assert_eq!(diff.code, Some(1), "{}", diff.stderr);
    let seen = json(&mesh, &["diff", next])?;
    assert_eq!(
        seen["objects"][0]["object"], "AccessPolicy default/api",
        "{seen:#}"
    );
    let effect = &seen["effects"][0];
    assert_eq!(effect["of"], "instances of default/api", "{seen:#}");
    assert!(
        effect["proxies"][0]
            .as_str()
            .unwrap()
            .starts_with("default/api/"),
        "{seen:#}"
    );
    assert_eq!(
        web.get("http://api/").await?.status,
        200,
        "a question changes nothing"
    );

    // It is saved all the same.
    mesh.write("closed.yaml", &closed)?;
    let waited = usher(&mesh, &["wait"]);
    assert_eq!(waited.code, Some(0), "{}", waited.stderr);
    assert_eq!(web.get("http://api/").await?.status, 403);
    let history = json(&mesh, &["history"])?;
    let number = history[0]["number"].as_u64().unwrap();
    assert_eq!(history[0]["changed"][0], "AccessPolicy default/api");
    let what = usher(&mesh, &["history", &number.to_string()]).stdout;
    assert!(
        what.contains("+ AccessPolicy default/api") && what.contains("nobody-yet"),
        "{what}"
    );

    // Back, whatever the directory says, and over a restart.
    let to = (number - 1).to_string();
    let back = usher(&mesh, &["rollback", &to, "-m", "nobody may call api"]);
    assert_eq!(back.code, Some(0), "{}", back.stderr);
    assert_eq!(usher(&mesh, &["wait"]).code, Some(0));
    assert_eq!(web.get("http://api/").await?.status, 200);
    let mut mesh = mesh;
    mesh.kill_server();
    mesh.start_server().await?;
    let status = json(&mesh, &["status"])?;
    assert_eq!(status["pinned"], number - 1, "{status:#}");
    assert_eq!(status["waiting"][0], "AccessPolicy default/api");
    assert_eq!(web.get("http://api/").await?.status, 200);
    let held = usher(&mesh, &["wait", "--timeout", "10s"]);
    assert_eq!(held.code, Some(1), "edits wait: {}", held.stdout);
    assert!(held.stderr.contains("is held"), "{}", held.stderr);

    // Mended, and let go.
    mesh.write(
        "closed.yaml",
        &yaml::access_policy("api", "\n  defaultAction: Allow\n"),
    )?;
    eventually("the mended policy waits", async || {
        let status = json(&mesh, &["status"]).ok()?;
        (status["waiting"][0] == "AccessPolicy default/api").then_some(())
    })
    .await;
    let released = usher(&mesh, &["rollback", "--release"]);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
    let done = eventually("what waited is in force", async || {
        let history = json(&mesh, &["history"]).ok()?;
        (history[0]["origin"] == "directory").then_some(history)
    });
    let history = tokio::time::timeout(Duration::from_secs(20), done).await?;
    let origins: Vec<&str> = history
        .as_array()
        .unwrap()
        .iter()
        .take(3)
        .map(|one| one["origin"].as_str().unwrap())
        .collect();
    assert_eq!(
        origins,
        [
            "directory",
            "release",
            &format!("rollback to {}", number - 1)
        ]
    );
    assert_eq!(history[2]["message"], "nobody may call api");
    assert_eq!(web.get("http://api/").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_mistake_ends_the_waiting_at_once() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    mesh.write(
        "wrong.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: { name: B }\n",
    )?;
    let waited = usher(&mesh, &["wait", "--timeout", "5m"]);
    assert_eq!(waited.code, Some(1), "{}", waited.stdout);
    assert!(waited.stderr.contains("wrong.yaml:1"), "{}", waited.stderr);
    Ok(())
}
