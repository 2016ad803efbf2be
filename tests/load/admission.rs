//! The webhook: how long answers to API servers take, over one HTTP/2 connection with several questions under way.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use usher_tests::{Process, binary, eventually, yaml};

use crate::{process::rss_kib, statistics::percentile};

/// By which API servers know the webhook.
const NAME: &str = "usher.usher-system.svc";

/// How many.
#[derive(Debug, clap::Args)]
pub(crate) struct Admission {
    /// Services in the mesh, each with a Workload, a route and a policy: an object is judged beside all of them
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    services: usize,
    /// Pods that are made
    #[arg(long, value_name = "COUNT", default_value_t = 5_000)]
    pods: usize,
    /// Objects of the configuration that are changed
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    objects: usize,
    /// Questions under way at once
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    at_once: usize,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
}

/// From the command line.
pub(crate) async fn run(arguments: &Admission) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (config, data) = (folder.path().join("config"), folder.path().join("data"));
    std::fs::create_dir(&config)?;
    let documents = (0..arguments.services).map(service);
    let documents: Vec<String> = documents.collect();
    std::fs::write(config.join("mesh.yaml"), documents.join("---\n"))?;
    let any = "127.0.0.1:0";
    let mut command = Command::new(binary("usher"));
    command
        .args(["serve", "--listen", any, "--http", any, "--dns", "off"])
        .args(["--webhook-listen", any, "--config"])
        .arg(&config)
        .arg("--data")
        .arg(&data);
    let server = Process::start(command, folder.path().join("log"));
    let addresses: Value = eventually("the control plane answers", async || {
        let text = std::fs::read(data.join("addresses.json")).ok()?;
        serde_json::from_slice(&text).ok()
    })
    .await;
    let address = addresses.get("webhook").and_then(Value::as_str);
    let address = address.context("this usher was built without kubernetes")?;
    let root = CertificateDer::from_pem_file(data.join("ca/root.crt"))?;
    let sender = connect(address, root).await?;
    let mut told = Vec::new();
    for (what, path, count) in [
        ("pods", "/inject", arguments.pods),
        ("objects", "/validate", arguments.objects),
    ] {
        let body = |number: usize| match what {
            "pods" => pod(number),
            _ => policy(number % arguments.services.max(1)),
        };
        // The first one makes what later ones find.
        ask(sender.clone(), path, body(0)).await?;
        let figures = measure((&sender, path), (count, arguments.at_once), body).await?;
        println!(
            "{what:8} {count:>6} at {} at once: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
            arguments.at_once, figures.rate, figures.p50, figures.p99, figures.longest
        );
        told.push(json!({
            "what": what, "count": count, "atOnce": arguments.at_once, "services": arguments.services,
            "rate": figures.rate, "p50Ms": figures.p50, "p99Ms": figures.p99, "longestMs": figures.longest,
        }));
    }
    println!("control plane: {} KiB", rss_kib(&[server.pid()])?);
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&told)?)?;
    }
    Ok(())
}

struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
    longest: f64,
}

async fn measure(
    (sender, path): (&SendRequest<Full<Bytes>>, &'static str),
    (count, at_once): (usize, usize),
    body: impl Fn(usize) -> String,
) -> Result<Figures> {
    let bodies: Arc<Vec<String>> = Arc::new((0..count).map(body).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let askers = (0..at_once).map(|_| {
        let (sender, bodies, next) = (sender.clone(), Arc::clone(&bodies), Arc::clone(&next));
        tokio::spawn(async move {
            let mut took = Vec::new();
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let begun = Instant::now();
                ask(sender.clone(), path, body.clone()).await?;
                took.push(begun.elapsed());
            }
            anyhow::Ok(took)
        })
    });
    let mut took = Vec::new();
    for asker in askers.collect::<Vec<_>>() {
        took.extend(asker.await??);
    }
    let whole = begun.elapsed();
    took.sort();
    let at = |percent| {
        let found = percentile(&took, percent).unwrap_or_default();
        found.as_secs_f64() * 1_000.0
    };
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let rate = count as f64 / whole.as_secs_f64().max(f64::EPSILON);
    Ok(Figures {
        rate,
        p50: at(50.0),
        p99: at(99.0),
        longest: took.last().copied().unwrap_or(Duration::ZERO).as_secs_f64() * 1_000.0,
    })
}

async fn connect(address: &str, root: CertificateDer<'static>) -> Result<SendRequest<Full<Bytes>>> {
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(NAME)?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?;
    let io = TokioIo::new(stream);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Asks, and sees that it is let in.
async fn ask(mut sender: SendRequest<Full<Bytes>>, path: &str, body: String) -> Result<()> {
    let request = Request::post(format!("https://{NAME}{path}?timeout=5s"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let text = answer.into_body().collect().await?.to_bytes();
    let is_allowed = text.windows(14).any(|part| part == b"\"allowed\":true");
    ensure!(
        status.is_success() && is_allowed,
        "{status}: {}",
        String::from_utf8_lossy(&text)
    );
    Ok(())
}

fn service(number: usize) -> String {
    let name = format!("service-{number}");
    let spec = format!("  timeouts: {{ request: {}s }}\n", number % 10 + 1);
    let route = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: {name} }}\nspec:\n  parentRefs: \
         [{{ group: \"\", kind: Service, name: {name} }}]\n  rules: [{{ backendRefs: [{{ name: {name}, port: 80 }}] }}]\n"
    );
    let all = [
        yaml::service(&name, 80, "http"),
        yaml::traffic_policy(&name, &spec),
        route,
    ];
    all.join("---\n")
}

fn review(operation: &str, object: &Value) -> String {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": operation, "namespace": "default",
            "object": object, "oldObject": null, "dryRun": false,
        },
    });
    review.to_string()
}

/// As a Deployment's pods are: probes, volumes, environment, what API servers fill in.
fn pod(number: usize) -> String {
    let env: Vec<Value> = (0..20)
        .map(|at| json!({"name": format!("SETTING_{at}"), "value": "x".repeat(40)}))
        .collect();
    let probe = json!({"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10});
    review(
        "CREATE",
        &json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "generateName": format!("service-{number}-5d8f7c-"), "namespace": "default",
                "labels": {"app": format!("service-{number}"), "pod-template-hash": "5d8f7c"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("service-{number}-5d8f7c"), "uid": "u", "controller": true}],
            },
            "spec": {
                "containers": [{
                    "name": "app", "image": "registry.example/app:1.2.3", "env": env,
                    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                    "readinessProbe": probe, "livenessProbe": probe,
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}],
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                }],
                "volumes": [{"name": "data", "emptyDir": {}}, {"name": "kube-api-access", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]}}],
                "serviceAccountName": "default", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            },
        }),
    )
}

fn policy(number: usize) -> String {
    review(
        "UPDATE",
        &json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "TrafficPolicy",
            "metadata": {"name": format!("service-{number}"), "namespace": "default"},
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": format!("service-{number}")}],
                "timeouts": {"request": "3s"},
            },
        }),
    )
}
