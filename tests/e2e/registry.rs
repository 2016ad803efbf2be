//! What is registered can be asked for and followed, and who leaves is told when nobody calls them any more.

mod json;

use std::process::Command;

use anyhow::Result;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use usher_tests::{Application, Client, Mesh, Process, Sidecar, binary, eventually, run, yaml};

use crate::pair;

fn watch(mesh: &Mesh, arguments: &[&str]) -> Process {
    let mut command = Command::new(binary("usher"));
    command.args(["watch", "--json", "--server"]);
    command
        .arg(format!("http://{}", mesh.http()))
        .args(arguments);
    let log = format!("watch-{}.log", arguments.join("-").replace('/', "-"));
    Process::start(command, mesh.path(&log))
}

/// The changes that were printed so far.
fn changes(watch: &Process) -> Vec<Value> {
    let printed = watch.printed();
    let changes = printed.lines().map(serde_json::from_str);
    changes.filter_map(Result::ok).collect()
}

#[tokio::test]
async fn instances_are_followed_as_they_come_and_go() -> Result<()> {
    let application = Application::echo().await?;
    let documents = [
        yaml::service("api", 8080, "http"),
        yaml::service("other", 8081, "http"),
    ];
    let mut mesh = Mesh::start(&documents).await?;
    let mut watch_api = watch(&mesh, &["default/api"]);
    let watch_ill = watch(&mesh, &["api", "--unhealthy", "--only-changes"]);
    eventually("the service is told at first", async || {
        let first = changes(&watch_api).into_iter().next()?;
        assert_eq!(
            (&first["service"], &first["change"]),
            (&"api".into(), &"added".into())
        );
        assert!(first["instance"].is_null(), "{first}");
        Some(())
    })
    .await;
    let mut api = mesh
        .sidecar("api")
        .application(&application)
        .start()
        .await?;
    let _other = mesh
        .sidecar("other")
        .application(&application)
        .start()
        .await?;
    eventually("its instance comes, and is well", async || {
        let last = changes(&watch_api).pop()?;
        let instance = &last["instance"];
        (instance["healthy"] == true && instance["address"] == *api.inbound).then_some(())
    })
    .await;
    let instances = mesh.ask(&["instances", "api"])?;
    assert_eq!(instances[0]["address"], *api.inbound, "{instances}");
    assert_eq!(
        mesh.ask(&["instances", "api", "--unhealthy"])?,
        Value::Array(vec![])
    );
    let rest = Client::direct(mesh.http());
    let listed = rest.get("/v1/instances?service=api&healthy=true").await?;
    assert_eq!(serde_json::from_str::<Value>(&listed.text())?, instances);
    drop(application);
    eventually("it falls ill", async || {
        let last = changes(&watch_ill).pop()?;
        (last["change"] == "added" && last["instance"]["healthy"] == false).then_some(())
    })
    .await;
    api.process.stop().await;
    eventually("it is gone", async || {
        let last = changes(&watch_api).pop()?;
        (last["change"] == "removed" && last["instance"]["instance"].is_string()).then_some(())
    })
    .await;
    let services: Vec<Value> = changes(&watch_api)
        .into_iter()
        .map(|one| one["service"].clone())
        .collect();
    assert!(services.iter().all(|name| name == "api"), "{services:?}");
    mesh.kill_server();
    let status = watch_api.end(std::time::Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(69));
    assert!(
        watch_api.printed().contains("watch again"),
        "{}",
        watch_api.printed()
    );
    Ok(())
}

#[tokio::test]
async fn what_is_asked_wrongly_is_said_and_described() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let server = format!("http://{}", mesh.http());
    for (arguments, words) in [
        (&["instances", "apj"][..], "did you mean api?"),
        (&["instances", "web"], "only calls"),
        (&["watch", "defualt/api"], "did you mean default?"),
        (&["watch", "--zone", "west"], "known zones: none"),
    ] {
        let said = run(
            &binary("usher"),
            [arguments, &["--server", &server]].concat(),
        );
        assert_eq!(said.code, Some(64), "{said:?}");
        assert!(said.stderr.contains(words), "{said:?}");
    }
    let rest = Client::direct(mesh.http());
    for (path, status, words) in [
        ("/v1/services/default/api", 200, "\"virtualAddresses\""),
        (
            "/v1/services/default/apj",
            404,
            "there is no service default/apj",
        ),
        (
            "/v1/instances?servcie=api",
            400,
            "allowed: namespace, service, zone",
        ),
        (
            "/v1/watch?healthy=maybe",
            400,
            "allowed: namespace, service, zone",
        ),
        ("/openapi.json", 200, "\"openapi\": \"3.1.0\""),
    ] {
        let answer = rest.get(path).await?;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
    let write = rest.post("/v1/instances", "{}").await?;
    assert_eq!(write.status, 405, "reading only");
    Ok(())
}

/// The sidecar of a `usher run`.
fn proxy_of(sidecar: &Sidecar) -> Result<Pid> {
    let pid = sidecar.process.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let is_proxy = |child: &&str| {
        let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("usher-proxy")
    };
    let proxy = children.split_whitespace().find(is_proxy);
    Ok(Pid::from_raw(proxy.expect("a sidecar").parse()?))
}

#[tokio::test]
async fn who_leaves_waits_until_every_caller_has_dropped_it() -> Result<()> {
    let application = Application::echo().await?;
    let (mesh, _other, web) = pair(&application, &[]).await?;
    let batch = mesh.sidecar("web").start().await?;
    let leaving = mesh.sidecar("api").application(&application);
    let leaving = leaving.environment("USHER_LOG", "info").start().await?;
    for caller in [&web, &batch] {
        assert_eq!(caller.get("http://api/").await?.status, 200);
    }
    // It still calls the instance, for all that anybody knows.
    let silent = proxy_of(&batch)?;
    kill(silent, Signal::SIGSTOP)?;
    leaving.process.signal(Signal::SIGTERM);
    eventually("nobody is told of it any more", async || {
        let instances = mesh.ask(&["instances", "api"]).ok()?;
        (instances.as_array()?.len() == 1).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(web.get("http://api/").await?.status, 200);
    }
    let dropped = "every caller has dropped this instance";
    let said = leaving.process.printed();
    assert!(said.contains("inbound drain begins"), "{said}");
    assert!(
        !said.contains(dropped) && !said.contains("not every caller"),
        "{said}"
    );
    kill(silent, Signal::SIGCONT)?;
    eventually("the last one has dropped it", async || {
        let said = leaving.process.printed();
        assert!(!said.contains("not every caller"), "{said}");
        said.contains(dropped).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn who_leaves_does_not_wait_for_a_caller_that_never_answers() -> Result<()> {
    let application = Application::echo().await?;
    let (mesh, _other, web) = pair(&application, &[]).await?;
    let leaving = mesh.sidecar("api").application(&application);
    let leaving = leaving.argument("--drain-grace").argument("2s");
    let mut leaving = leaving.environment("USHER_LOG", "info").start().await?;
    assert_eq!(web.get("http://api/").await?.status, 200);
    let silent = proxy_of(&web)?;
    kill(silent, Signal::SIGSTOP)?;
    leaving.process.stop().await;
    let said = leaving.process.printed();
    kill(silent, Signal::SIGCONT)?;
    assert!(
        said.contains("not every caller is known to have dropped this instance"),
        "{said}"
    );
    Ok(())
}
