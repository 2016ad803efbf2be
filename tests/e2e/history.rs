//! A bad day's way back: what would change, whether it has, what it was, and going back to before it.

use anyhow::Result;
use serde_json::Value;
use usher_tests::{Application, Mesh, Output, Sidecar, binary, eventually, reply, run, yaml};

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

struct World {
    mesh: Mesh,
    web: Sidecar,
    _api: (Application, Sidecar),
}

async fn world() -> Result<World> {
    let application = Application::answering(|_, _| reply(200, "fine")).await?;
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let api = mesh.sidecar("api").application(&application);
    let api = api.start().await?;
    let web = mesh.sidecar("web").start().await?;
    let world = World {
        mesh,
        web,
        _api: (application, api),
    };
    assert_eq!(world.status().await?, 200);
    Ok(world)
}

impl World {
    async fn status(&self) -> Result<u16> {
        Ok(self.web.get("http://api/").await?.status)
    }

    /// Closes `api`, and says which revision that was.
    async fn close(&self) -> Result<u64> {
        let closed = yaml::access_policy("api", CLOSED);
        self.mesh.write("closed.yaml", &closed)?;
        let waited = usher(&self.mesh, &["wait"]);
        assert_eq!(waited.code, Some(0), "{}", waited.stderr);
        assert_eq!(self.status().await?, 403);
        let history = json(&self.mesh, &["history"])?;
        assert_eq!(history[0]["changed"][0], "AccessPolicy default/api");
        Ok(history[0]["number"].as_u64().unwrap())
    }
}

#[tokio::test]
async fn what_an_edit_would_do_is_seen_before_it_is_made() -> Result<()> {
    let world = world().await?;
    let mesh = &world.mesh;
    // Beside the directory that is watched.
    let next = mesh.path("next");
    std::fs::create_dir(&next)?;
    for entry in std::fs::read_dir(mesh.config())? {
        let entry = entry?;
        std::fs::copy(entry.path(), next.join(entry.file_name()))?;
    }
    let next = next.to_str().unwrap();
    assert_eq!(usher(mesh, &["diff", next]).code, Some(0), "nothing yet");
    let closed = yaml::access_policy("api", CLOSED);
    std::fs::write(format!("{next}/closed.yaml"), &closed)?;
    let diff = usher(mesh, &["diff", next]);
    assert_eq!(diff.code, Some(1), "{}", diff.stderr);
    let seen = json(mesh, &["diff", next])?;
    assert_eq!(
        seen["objects"][0]["object"], "AccessPolicy default/api",
        "{seen:#}"
    );
    let effect = &seen["effects"][0];
    assert_eq!(effect["of"], "instances of default/api", "{seen:#}");
    let told = effect["proxies"][0].as_str().unwrap();
    assert!(told.starts_with("default/api/"), "{seen:#}");
    assert_eq!(world.status().await?, 200, "a question changes nothing");

    let number = world.close().await?;
    let what = usher(mesh, &["history", &number.to_string()]).stdout;
    assert!(
        what.contains("+ AccessPolicy default/api") && what.contains("nobody-yet"),
        "{what}"
    );
    Ok(())
}

#[tokio::test]
async fn a_rollback_holds_whatever_the_directory_says_until_it_is_released() -> Result<()> {
    let mut world = world().await?;
    let before = world.close().await? - 1;
    let back = ["rollback", &before.to_string(), "-m", "nobody may call api"];
    let back = usher(&world.mesh, &back);
    assert_eq!(back.code, Some(0), "{}", back.stderr);
    // Held, and what was asked for.
    let number = (before + 2).to_string();
    let asked = usher(&world.mesh, &["wait", "--revision", &number]);
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    eventually("api is open again", async || {
        (world.status().await.ok()? == 200).then_some(())
    })
    .await;

    // Over a restart.
    world.mesh.kill_server();
    world.mesh.start_server().await?;
    let status = json(&world.mesh, &["status"])?;
    assert_eq!(status["pinned"], before, "{status:#}");
    assert_eq!(status["waiting"][0], "AccessPolicy default/api");
    assert_eq!(world.status().await?, 200);
    let held = usher(&world.mesh, &["wait", "--timeout", "10s"]);
    assert_eq!(held.code, Some(1), "edits wait: {}", held.stdout);
    let why = format!("revision {before} is held: 1 changed object waits");
    assert!(held.stderr.contains(&why), "{}", held.stderr);
    assert!(!held.stderr.contains("refused"), "{}", held.stderr);
    let get = usher(&world.mesh, &["get", "--not-ready"]);
    assert!(get.stdout.contains("RevisionHeld"), "{}", get.stdout);
    assert!(
        get.stderr.contains("usher rollback --release"),
        "{}",
        get.stderr
    );

    // Mended, and let go.
    let mended = yaml::access_policy("api", "\n  defaultAction: Allow\n");
    world.mesh.write("closed.yaml", &mended)?;
    let released = usher(&world.mesh, &["rollback", "--release"]);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
    let history = eventually("what waited is in force", async || {
        let history = json(&world.mesh, &["history"]).ok()?;
        (history[0]["origin"] == "directory").then_some(history)
    })
    .await;
    let origins: Vec<&Value> = (1..3).map(|place| &history[place]["origin"]).collect();
    assert_eq!(origins[0], "release", "{history:#}");
    assert_eq!(origins[1], &format!("rollback to {before}"));
    assert_eq!(history[2]["message"], "nobody may call api");
    assert_eq!(world.status().await?, 200);
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
