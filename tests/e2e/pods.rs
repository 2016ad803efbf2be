//! What `usher inject` writes into pods runs: its containers, started as processes with the words and variables that it
//! wrote, and only paths and addresses changed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use usher_tests::{Application, Client, Mesh, Output, Process, binary, eventually, run, yaml};

/// A pod, injected: in JSON both ways.
fn injected(mesh: &Mesh, pod: &Value, flags: &[&str]) -> Result<Value> {
    let file = mesh.path("pod.json");
    std::fs::write(&file, pod.to_string())?;
    let mut arguments = vec![
        "inject",
        "-f",
        file.to_str().context("path")?,
        "--control-plane",
        mesh.grpc(),
    ];
    arguments.extend(["--namespace", "default", "--mode", "explicit"]);
    arguments.extend(flags);
    let output = run(&binary("usher"), arguments);
    anyhow::ensure!(output.code == Some(0), "{output:?}");
    Ok(serde_json::from_str(&output.stdout)?)
}

fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let all = ["initContainers", "containers"].into_iter();
    let mut all = all.flat_map(|kind| pod["spec"][kind].as_array().into_iter().flatten());
    all.find(|one| one["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {pod:#}"))
}

/// A container's sidecar as a process.
struct Sidecar {
    process: Process,
    state: PathBuf,
    environment: Vec<(String, String)>,
}

impl Sidecar {
    fn start(mesh: &Mesh, pod: &Value, folder: &Path) -> Result<Self> {
        let state = folder.join("state");
        let token = mesh.token("api")?;
        let mut environment: Vec<(String, String)> = Vec::new();
        for variable in container(pod, "usher-proxy")["env"]
            .as_array()
            .context("env")?
        {
            let name = variable["name"].as_str().context("name")?;
            let value = match name {
                "USHER_PROXY_STATE_DIR" => state.to_string_lossy().into_owned(),
                "USHER_PROXY_TOKEN_FILE" => token.to_string_lossy().into_owned(),
                "USHER_PROXY_METRICS" => "127.0.0.1:0".to_owned(),
                // Kubernetes would say.
                "USHER_PROXY_INSTANCE" => "api-0".to_owned(),
                _ => moved(variable["value"].as_str().context("value")?, folder),
            };
            environment.push((name.to_owned(), value));
        }
        for listener in ["INBOUND", "OUTBOUND"] {
            environment.push((format!("USHER_PROXY_{listener}"), "127.0.0.1:0".to_owned()));
        }
        let mut command = Command::new(binary("usher-proxy"));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let process = Process::start(command, folder.join("proxy.log"));
        Ok(Self {
            process,
            state,
            environment,
        })
    }

    async fn address(&mut self, of: &str) -> String {
        let file = self.state.join("addresses.json");
        let process = &mut self.process;
        let addresses = eventually("the sidecar says where it listens", async || {
            assert!(process.ended().is_none(), "it ended: {}", process.printed());
            serde_json::from_slice::<Value>(&std::fs::read(&file).ok()?).ok()
        })
        .await;
        addresses[of].as_str().unwrap_or_default().to_owned()
    }

    /// A hook of the sidecar's container, to its end.
    fn hook(&self, pod: &Value, hook: &str, metrics: &str) -> Output {
        let words = &container(pod, "usher-proxy")["lifecycle"][hook]["exec"]["command"];
        let words: Vec<&str> = words
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let output = Command::new(binary("usher-proxy"))
            .args(&words[1..])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("USHER_PROXY_METRICS", metrics)
            .output()
            .unwrap();
        Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A pod's path, in a folder of the test.
fn moved(text: &str, folder: &Path) -> String {
    text.replace("/usher/", &format!("{}/", folder.display()))
}

#[tokio::test]
async fn the_kubelets_probes_pass_under_strict_and_a_drain_begins_before_sigterm() -> Result<()> {
    let application = Application::echo().await?;
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let port = application.port();
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "api", "labels": {"app": "api"}},
        "spec": {"serviceAccountName": "api", "containers": [{
            "name": "app",
            "image": "app",
            "ports": [{"name": "http", "containerPort": port}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
            "livenessProbe": {"tcpSocket": {"port": port}},
        }]},
    });
    let pod = injected(&mesh, &pod, &["--no-native-sidecar"])?;
    let folder = tempfile::tempdir()?;
    let mut sidecar = Sidecar::start(&mesh, &pod, folder.path())?;
    let metrics = sidecar.address("metrics").await;
    let waited = sidecar.hook(&pod, "postStart", &metrics);
    assert_eq!(waited.code, Some(0), "{waited:?}");
    let client = Client::direct(&metrics);
    assert_eq!(client.get("/ready").await?.status, 200);

    let app = container(&pod, "app");
    for probe in ["readinessProbe", "livenessProbe"] {
        let path = app[probe]["httpGet"]["path"].as_str().context("path")?;
        let answer = client.get(path).await?;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "passed\n"),
            "{path}"
        );
    }
    assert_eq!(
        application
            .received()
            .iter()
            .filter(|one| one.path == "/healthz")
            .count(),
        1
    );
    let direct = Client::direct(&sidecar.address("inbound").await)
        .get("/healthz")
        .await;
    assert!(
        direct.is_err() || direct.is_ok_and(|answer| answer.status == 403),
        "plaintext passes"
    );

    let drained = sidecar.hook(&pod, "preStop", &metrics);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert_eq!(
        client.get("/ready").await?.status,
        503,
        "{}",
        sidecar.process.printed()
    );
    let status = sidecar.process.stop().await;
    assert_eq!(status.code(), Some(0), "{}", sidecar.process.printed());
    let late = sidecar.hook(&pod, "preStop", &metrics);
    assert_eq!(late.code, Some(69), "{late:?}");
    Ok(())
}

#[tokio::test]
async fn a_job_ends_its_ordinary_sidecar_when_its_last_container_has_succeeded() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let folder = tempfile::tempdir()?;
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "api", "labels": {"app": "api"}},
        "spec": {"serviceAccountName": "api", "restartPolicy": "OnFailure", "containers": [
            {"name": "pay", "image": "pay", "command": ["sh", "-c"], "args": ["exit $CODE"]},
            {"name": "tell", "image": "tell", "command": ["sh", "-c", "[ $CODE = 0 ] || exec sleep 60"]},
        ]},
    });
    let pod = injected(&mesh, &pod, &["--no-native-sidecar"])?;
    for of in ["program", "notes"] {
        std::fs::create_dir(folder.path().join(of))?;
    }
    let words = |name: &str| -> Vec<String> {
        let one = container(&pod, name);
        let all = ["command", "args"]
            .into_iter()
            .flat_map(|field| one[field].as_array().into_iter().flatten());
        all.map(|word| moved(word.as_str().unwrap_or_default(), folder.path()))
            .collect()
    };
    let copied = run(&binary("usher-proxy"), &words("usher-copy")[1..]);
    assert_eq!(copied.code, Some(0), "{copied:?}");

    let mut sidecar = Sidecar::start(&mesh, &pod, folder.path())?;
    let metrics = sidecar.address("metrics").await;
    assert_eq!(sidecar.hook(&pod, "postStart", &metrics).code, Some(0));
    let start = |name: &str, code: &str| {
        let words = words(name);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env("CODE", code);
        Process::start(command, folder.path().join(format!("{name}-{code}.log")))
    };
    let limit = Duration::from_secs(30);
    let mut tell = start("tell", "1");
    let mut failing = start("pay", "3");
    assert_eq!(
        failing.end(limit).await.code(),
        Some(3),
        "{}",
        failing.printed()
    );
    let mut paying = start("pay", "0");
    assert_eq!(
        paying.end(limit).await.code(),
        Some(0),
        "{}",
        paying.printed()
    );
    eventually("the other one runs", async || {
        let note = std::fs::read_to_string(folder.path().join("notes/tell")).ok()?;
        (note == "begun\n").then_some(())
    })
    .await;
    assert!(sidecar.process.ended().is_none(), "one is still running");
    // Signals reach the command, whose end is told as if it were the container's own.
    assert_eq!(tell.stop().await.code(), Some(143));
    assert!(sidecar.process.ended().is_none(), "it starts again");
    let mut telling = start("tell", "0");
    assert_eq!(telling.end(limit).await.code(), Some(0));
    let status = sidecar.process.end(limit).await;
    assert_eq!(status.code(), Some(0), "{}", sidecar.process.printed());
    Ok(())
}
