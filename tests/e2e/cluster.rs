//! In a cluster, what is applied to its API server is in force, and its pods call each other: no directory, no command.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use usher_tests::{Application, Mesh, Sidecar, binary, eventually, run, skip};

use crate::api_server::{ApiServer, Key};

/// A mesh of whatever is in the cluster; `None`: this `usher` was built without it.
async fn mesh(api: &ApiServer) -> Result<Option<Mesh>> {
    for (kind, plural) in [
        ("Mesh", "meshes"),
        ("Workload", "workloads"),
        ("AccessPolicy", "accesspolicies"),
    ] {
        api.install("usher.dev/v1alpha1", kind, plural);
    }
    let nowhere = [
        "serve",
        "--kubernetes",
        "--kubeconfig",
        "/dev/null/nothing",
        "--data",
        "/dev/null/nothing",
    ];
    let nowhere = run(&binary("usher"), nowhere.map(Path::new));
    if nowhere.stderr.contains("built without kubernetes") {
        skip("clusters: usher was built without that feature");
        return Ok(None);
    }
    let kubeconfig = api.kubeconfig();
    let arguments = [
        "--kubernetes",
        "--kubeconfig",
        kubeconfig.to_str().context("UTF-8")?,
        "--webhook-listen",
        "127.0.0.1:0",
    ];
    let mesh = Mesh::start_on_store(&arguments.map(str::to_owned), |_| Ok(())).await?;
    Ok(Some(mesh))
}

/// `serves`: its sidecar takes calls.
fn pod(name: &str, service: &str, (address, serves): (&str, bool)) -> Value {
    let mut told = vec![json!({"name": "USHER_PROXY_SERVICE", "value": service})];
    if serves {
        told.push(json!({"name": "USHER_PROXY_APPLICATION_PORT", "value": "8080"}));
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": service}},
        "spec": {"serviceAccountName": service, "containers": [{"name": "usher-proxy", "env": told}]},
        "status": {"phase": "Running", "podIP": address},
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "appProtocol": "http"}]},
    })
}

fn slice(service: &str, port: u16, endpoints: &Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": service, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": port}], "endpoints": endpoints,
    })
}

fn of_pod(name: &str, address: &str) -> Value {
    json!([{"addresses": [address], "targetRef": {"kind": "Pod", "name": name}}])
}

fn key(version: &str, plural: &str, name: &str) -> Key {
    Key {
        namespace: "default".to_owned(),
        ..Key::of_cluster(version, plural, name)
    }
}

/// A loopback address that only this test has, for the fixed port of pods.
fn address(last: u8) -> String {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    format!("127.{}.{}.{last}", high ^ middle | 0x80, low)
}

async fn answers(web: &Sidecar, url: &str, status: u16) {
    eventually(&format!("{url} is answered by {status}"), async || {
        let answer = web.get(url).await.ok()?;
        (answer.status == status).then_some(())
    })
    .await;
}

/// A cluster with the pods `api-1` and `web-1`, and both running.
async fn pair(
    api: &ApiServer,
    application: &Application,
) -> Result<Option<(Mesh, Sidecar, Sidecar)>> {
    let there = address(1);
    api.put(pod("api-1", "api", (&there, true)));
    api.put(pod("web-1", "web", (&address(2), false)));
    api.put(service("api"));
    api.put(slice("api", 8080, &of_pod("api-1", &there)));
    let Some(mesh) = mesh(api).await? else {
        return Ok(None);
    };
    let callee = mesh.sidecar("api").application(application);
    let callee = callee.environment("USHER_PROXY_INSTANCE", "api-1");
    let callee = callee
        .argument("--inbound")
        .argument(format!("{there}:15006"));
    let callee = callee.start().await?;
    let web = mesh.sidecar("web").start().await?;
    Ok(Some((mesh, callee, web)))
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_call_each_other_by_what_is_applied_and_go_on_without_the_api_server() -> Result<()> {
    let mut api = ApiServer::start().await;
    let application = Application::echo().await?;
    let Some((_mesh, callee, web)) = pair(&api, &application).await? else {
        return Ok(());
    };
    answers(&web, "http://api/hello", 200).await;
    let received = application.received();
    let proof = &received.last().context("a request")?.headers;
    let certificate = proof.get("x-forwarded-client-cert").context("mutual TLS")?;
    ensure!(
        certificate.to_str()?.contains("/ns/default/sa/web"),
        "{certificate:?}"
    );

    // kubectl apply
    let policy = json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": "api", "namespace": "default"},
        "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "api"}], "rules": []},
    });
    api.put(policy);
    answers(&web, "http://api/hello", 403).await;
    // While nobody can be asked, what was forbidden stays so.
    api.stop().await;
    api.delete(&key("usher.dev/v1alpha1", "accesspolicies", "api"));
    for _ in 0..20 {
        ensure!(web.get("http://api/hello").await?.status == 403);
    }
    api.restart().await;
    answers(&web, "http://api/hello", 200).await;

    // A pod that is asked to end gets nothing more, and its sidecar is told.
    api.edit(&key("v1", "pods", "api-1"), |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-30T15:00:00Z");
    });
    answers(&web, "http://api/hello", 503).await;
    eventually("its sidecar drains", async || {
        callee
            .process
            .printed()
            .contains("inbound drained")
            .then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_sidecar_is_called_in_plaintext_while_it_is_ready() -> Result<()> {
    let api = ApiServer::start().await;
    let application = Application::echo().await?;
    api.put(pod("web-1", "web", (&address(3), false)));
    api.put(service("old"));
    let mut old = pod("old-1", "old", ("127.0.0.1", true));
    old["spec"]["containers"] = json!([{"name": "application"}]);
    api.put(old);
    api.put(slice(
        "old",
        application.port(),
        &of_pod("old-1", "127.0.0.1"),
    ));
    let Some(mesh) = mesh(&api).await? else {
        return Ok(());
    };
    let web = mesh.sidecar("web").start().await?;
    answers(&web, "http://old/hello", 200).await;
    api.edit(
        &key("discovery.k8s.io/v1", "endpointslices", "old"),
        |slice| {
            slice["endpoints"][0]["conditions"] = json!({"ready": false});
        },
    );
    answers(&web, "http://old/hello", 503).await;
    Ok(())
}
