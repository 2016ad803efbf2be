//! In a cluster, a pod is known by the token that Kubernetes projects into it, and shows it to nobody but its mesh.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use usher_tests::{
    Application, Client, Mesh, Process, Received, Reply, binary, eventually, reply, reply_after,
    run, skip, yaml,
};

use crate::replicas::MESH;

/// As long as a test may take.
const WATCH: Duration = Duration::from_secs(300);

/// A token of `account`; whether it is good, only the API server says.
fn token(account: &str) -> String {
    let claims =
        json!({"aud": ["usher"], "sub": format!("system:serviceaccount:default:{account}")});
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let (head, claims) = (part(r#"{"alg":"RS256"}"#), part(&claims.to_string()));
    format!("{head}.{claims}.{}", part("signature"))
}

/// What of an API server a control plane asks for: two namespaces, ConfigMaps that are written, and one token that is good.
fn api_server(asked: &Received) -> Reply {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    if query.contains("watch=true") {
        return reply_after(WATCH, 200, "");
    }
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let list = |items: &[Value]| json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items});
    let answer = match (asked.method.as_str(), path) {
        ("GET", "/api/v1/namespaces") => list(&["default", "kube-system"].map(
            |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        )),
        ("PATCH", path) if path.ends_with("/configmaps/usher-trust") => body,
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews") => {
            let is_good = body["spec"]["token"] == token("web").as_str();
            let user = json!({
                "username": "system:serviceaccount:default:web",
                "extra": {"authentication.kubernetes.io/pod-name": ["web-7d4b"]},
            });
            let status = match is_good {
                true => {
                    json!({"authenticated": true, "audiences": body["spec"]["audiences"], "user": user})
                }
                false => json!({"authenticated": false, "error": "signature is invalid"}),
            };
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": body["spec"], "status": status})
        }
        ("GET", path) if path.contains("webhookconfigurations/") => {
            let gone = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 404, "reason": "NotFound", "message": "none"});
            return reply(404, gone.to_string());
        }
        _ => list(&[]),
    };
    reply(200, answer.to_string())
}

/// A mesh in that cluster; `None`: this `usher` was built without it.
async fn cluster(api: &Application) -> Result<Option<(Mesh, tempfile::TempDir)>> {
    let server = format!("http://127.0.0.1:{}", api.port());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {"token": "of-a-test"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string())?;
    let data = folder.path().join("data");
    let arguments = [
        "serve",
        "--kubernetes",
        "--kubeconfig",
        "/nonexistent",
        "--data",
    ];
    let arguments = arguments.map(Path::new).into_iter().chain([&*data]);
    let nowhere = run(&binary("usher"), arguments);
    if nowhere.stderr.contains("built without kubernetes") {
        skip("service accounts of Kubernetes: usher was built without that feature");
        return Ok(None);
    }
    let file = file.to_str().context("UTF-8")?;
    let config = folder.path().join("mesh");
    std::fs::create_dir(&config)?;
    std::fs::write(config.join("mesh.yaml"), MESH)?;
    std::fs::write(config.join("web.yaml"), yaml::workload("web"))?;
    let arguments = [
        "--config",
        config.to_str().context("UTF-8")?,
        "--kubernetes",
        "--kubeconfig",
        file,
        "--webhook-listen",
        "127.0.0.1:0",
    ];
    let mesh = Mesh::start_on_store(&arguments.map(str::to_owned), |_| Ok(())).await?;
    Ok(Some((mesh, folder)))
}

/// The roots as a pod of the namespace has them mounted.
async fn mounted(api: &Application, namespace: &str) -> String {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/usher-trust");
    eventually("usher-trust is written", async || {
        let received = api.received().into_iter();
        let mut writes =
            received.filter(|one| one.method == "PATCH" && one.path.starts_with(&path));
        let map: Value = serde_json::from_slice(&writes.next()?.body).ok()?;
        map["data"]["root.pem"].as_str().map(str::to_owned)
    })
    .await
}

fn pod(mesh: &Mesh, name: &str, token: &str, roots: &str) -> Result<(Process, PathBuf)> {
    let folder = mesh.path(name);
    std::fs::create_dir(&folder)?;
    // As kubelet writes it: without a line's end.
    std::fs::write(folder.join("token"), token)?;
    std::fs::write(folder.join("root.pem"), roots)?;
    let file = |name: &str| folder.join(name);
    let mut command = Command::new(binary("usher-proxy"));
    command
        .env("USHER_PROXY_SERVICE", "web")
        .env("USHER_PROXY_NAMESPACE", "default")
        .env("USHER_PROXY_SERVICE_ACCOUNT", "web")
        .env("USHER_PROXY_CONTROL_PLANE", mesh.grpc())
        .env("USHER_PROXY_TOKEN_FILE", file("token"))
        .env("USHER_PROXY_ROOT_FILE", file("root.pem"))
        .env("USHER_PROXY_STATE_DIR", file("state"))
        .env("USHER_PROXY_INBOUND", "127.0.0.1:0")
        .env("USHER_PROXY_OUTBOUND", "127.0.0.1:0")
        .env("USHER_PROXY_METRICS", "127.0.0.1:0");
    Ok((Process::start(command, file("log")), file("state")))
}

async fn is_ready(state: &Path) {
    let metrics = eventually("it listens", async || {
        let text = std::fs::read(state.join("addresses.json")).ok()?;
        let addresses: Value = serde_json::from_slice(&text).ok()?;
        addresses["metrics"].as_str().map(str::to_owned)
    })
    .await;
    eventually("it is ready", async || {
        let answer = Client::direct(&metrics).get("/ready").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_known_by_its_service_accounts_token() -> Result<()> {
    let api = Application::answering(|asked, _| api_server(asked)).await?;
    let Some((mesh, _folder)) = cluster(&api).await? else {
        return Ok(());
    };
    let roots = mounted(&api, "default").await;
    let (_web, state) = pod(&mesh, "web-7d4b", &token("web"), &roots)?;
    is_ready(&state).await;
    let issued = std::fs::read_to_string(mesh.data().join("ca/issued.jsonl"))?;
    let line = issued
        .lines()
        .find(|line| line.contains("/ns/default/sa/web"));
    let line = line.with_context(|| issued.clone())?;
    for part in [r#""proof":"service_account""#, r#""pod":"web-7d4b""#] {
        ensure!(line.contains(part), "{part}: {line}");
    }
    let system = api.received().into_iter();
    let mut system =
        system.filter(|one| one.method == "PATCH" && one.path.contains("/kube-system/"));
    ensure!(system.next().is_none(), "nothing of ours runs there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_gets_nothing_and_goes_to_no_other_mesh() -> Result<()> {
    let api = Application::answering(|asked, _| api_server(asked)).await?;
    let Some((mesh, _folder)) = cluster(&api).await? else {
        return Ok(());
    };
    let roots = mounted(&api, "default").await;
    let (mut forged, _) = pod(&mesh, "forged", &token("teller"), &roots)?;
    let said = eventually("it gives up", async || {
        forged.ended().map(|_| forged.printed())
    })
    .await;
    ensure!(said.contains("signature is invalid"), "{said}");

    // A control plane of another mesh asks for nothing that it could use.
    let other = Mesh::start(&[]).await?;
    let foreign = std::fs::read_to_string(other.data().join("ca/root.crt"))?;
    let asked = || {
        api.received()
            .iter()
            .filter(|one| one.method == "POST")
            .count()
    };
    let before = asked();
    let (mut lost, _) = pod(&mesh, "lost", &token("web"), &foreign)?;
    let said = eventually("it gives up", async || lost.ended().map(|_| lost.printed())).await;
    ensure!(said.contains("usher-trust"), "{said}");
    ensure!(asked() == before, "its token was sent");
    Ok(())
}
