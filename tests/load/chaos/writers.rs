//! Who writes all the time, wherever somebody answers, and remembers what was acknowledged: configurations by
//! `usher apply`, registrations as JSON over mutual TLS.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use fastrand::Rng;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::RwLock, time::timeout};
use tokio_rustls::TlsConnector;
use usher_tests::{binary, yaml};

use super::{ledger::Ledger, stage::Door};
use crate::tls::{Caller, KeyExchange};

/// Who writes configurations at the same time.
pub(super) const APPLIERS: u64 = 2;
/// Whose registrations are made, renewed and ended by the writer.
pub(super) const GHOSTS: u64 = 5;

/// A frozen control plane answers nobody; whoever asks goes elsewhere, and does not know what becomes of it.
const APPLY_MAX: Duration = Duration::from_secs(15);
const CALL_MAX: Duration = Duration::from_secs(5);

/// Between configurations of one writer, milliseconds.
const BETWEEN: std::ops::Range<u64> = 300..1_500;
/// Between renewals: a third of a lease, as sidecars do.
const RENEWAL: Duration = Duration::from_secs(5);
/// Of so many renewals one is a departure.
const DEPARTURE: u64 = 12;

/// What all writers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) doors: Vec<Door>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Written to by whoever wants no configuration to be under way.
    pub(super) quiet: Arc<RwLock<()>>,
    pub(super) folder: PathBuf,
}

impl Shared {
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The mesh, with a policy that is another one for each number: callers of `api` are told of each.
pub(super) fn documents(number: u64) -> Vec<String> {
    let mesh = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: { name: mesh }\nspec:\n  trustDomain: chaos.test\n";
    let spec = format!(
        "  timeouts: {{ request: {}ms }}\n  retry: {{ attempts: 3, budget: {{ percent: 100 }}, minRetryRate: {{ count: 100 }} }}\n",
        30_000 + number % 60_000
    );
    vec![
        mesh.to_owned(),
        yaml::workload("web"),
        yaml::service("api", 8080, "http"),
        yaml::service("ghost", 8080, "http"),
        yaml::traffic_policy("api", &spec),
    ]
}

/// For ever: configurations with numbers of its own.
pub(super) async fn apply_for_ever(shared: Shared, writer: u64, seed: u64) -> Result<()> {
    let mut rng = Rng::with_seed(seed ^ writer.rotate_left(17));
    let mut number = writer;
    loop {
        {
            let _under_way = shared.quiet.read().await;
            number += APPLIERS;
            let door = shared.doors.get(rng.usize(..shared.doors.len()));
            apply(&shared, door.context("no control plane")?, (writer, number)).await?;
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(BETWEEN))).await;
    }
}

async fn apply(shared: &Shared, door: &Door, (writer, number): (u64, u64)) -> Result<()> {
    let folder = shared.folder.join(format!("writer-{writer}"));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("mesh.yaml"), documents(number).join("---\n"))?;
    let applying = tokio::process::Command::new(binary("usher"))
        .arg("apply")
        .arg(&folder)
        .args(["--json", "--message", &number.to_string(), "--data"])
        .arg(&door.data)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let Ok(output) = timeout(APPLY_MAX, applying).await else {
        shared.ledger().counts.configurations_unanswered += 1;
        return Ok(());
    };
    let output = output?;
    if !output.status.success() {
        shared.ledger().counts.configurations_refused += 1;
        let said = String::from_utf8_lossy(&output.stderr);
        // Nothing else may be wrong with it: 69 is "nobody answers, or the store cannot be reached".
        let is_lawful = output.status.code() == Some(69) || said.contains("store");
        ensure!(
            is_lawful,
            "apply {number}: {:?} {said}",
            output.status.code()
        );
        return Ok(());
    }
    let applied: Value = serde_json::from_slice(&output.stdout)?;
    let revision = applied.pointer("/revision/number").and_then(Value::as_u64);
    let revision = revision.context("usher apply --json names no revision")?;
    if applied.get("isNew") == Some(&true.into()) {
        shared.ledger().applied(revision, number);
    }
    Ok(())
}

/// For ever: registrations, each by a name of its own, so that a request which somebody answers late is about no other.
pub(super) async fn haunt_for_ever(
    shared: Shared,
    (ghost, seed): (u64, u64),
    identity: PathBuf,
) -> Result<()> {
    let mut rng = Rng::with_seed(seed ^ ghost.rotate_left(29));
    let caller = Caller::at_a_control_plane(&identity)?;
    let mut client = Ghost {
        connector: caller.connector(KeyExchange::X25519)?,
        caller,
        shared,
        turn: rng.usize(..3),
    };
    for life in 0_u64.. {
        let name = format!("ghost-{ghost}-{life}");
        let Some(lease) = client.register(&name).await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        loop {
            tokio::time::sleep(RENEWAL).await;
            if rng.u64(..DEPARTURE) == 0 {
                client.leave(&name, &lease).await;
                break;
            }
            if !client.renew(&name, &lease).await {
                break;
            }
        }
    }
    Ok(())
}

struct Ghost {
    caller: Caller,
    connector: TlsConnector,
    shared: Shared,
    /// At which control plane it begins.
    turn: usize,
}

/// What a control plane said.
struct Answer {
    status: u16,
    body: Value,
    /// When it was asked.
    asked: Instant,
}

impl Ghost {
    /// Its lease. Asked once: an attempt that somebody makes late must be about no other registration.
    async fn register(&mut self, name: &str) -> Option<String> {
        let body = json!({ "namespace": "default", "service": "ghost", "instance": name,
            "address": "127.0.0.1:9", "healthy": true });
        let answer = self.ask((Method::POST, "/v1/instances"), None, &body).await;
        let mut ledger = self.shared.ledger();
        match answer {
            Some(answer) if answer.status == 201 => {
                ledger.counts.registrations_acknowledged += 1;
                ledger.registered(name, answer.asked);
                let lease = answer.body.get("lease").and_then(Value::as_str);
                lease.map(str::to_owned)
            }
            _ => {
                ledger.counts.registrations_unanswered += 1;
                ledger.unanswered(name, Instant::now());
                None
            }
        }
    }

    /// `false`: there is nothing to renew.
    async fn renew(&mut self, name: &str, lease: &str) -> bool {
        let path = format!("/v1/instances/default/ghost/{name}");
        let body = json!({ "healthy": true });
        for _ in 0..self.shared.doors.len() {
            let answer = self.ask((Method::PUT, &path), Some(lease), &body).await;
            let mut ledger = self.shared.ledger();
            match answer {
                Some(answer) if answer.status == 200 => {
                    ledger.counts.renewals_acknowledged += 1;
                    ledger.registered(name, answer.asked);
                    return true;
                }
                Some(answer) if answer.status == 404 => {
                    ledger.gone(name, Instant::now());
                    return false;
                }
                _ => ledger.counts.renewals_unanswered += 1,
            }
        }
        true
    }

    async fn leave(&mut self, name: &str, lease: &str) {
        let path = format!("/v1/instances/default/ghost/{name}?waitMs=1000");
        let answer = self
            .ask((Method::DELETE, &path), Some(lease), &json!({}))
            .await;
        let mut ledger = self.shared.ledger();
        match answer.map(|answer| answer.status) {
            Some(200) => ledger.left(name),
            // Also 404: etcd may have made a first attempt late, and refused the second. It wanted to be gone.
            _ => ledger.unanswered(name, Instant::now()),
        }
    }

    /// The control plane whose turn it is; the next one comes next if this one does not do.
    async fn ask(
        &mut self,
        (method, path): (Method, &str),
        lease: Option<&str>,
        body: &Value,
    ) -> Option<Answer> {
        let doors = &self.shared.doors;
        let door = doors.get(self.turn % doors.len())?;
        let asked = Instant::now();
        let answer = timeout(CALL_MAX, self.exchange(door, (method, path), lease, body)).await;
        let answer = answer
            .ok()
            .and_then(Result::ok)
            .map(|(status, body)| Answer {
                status,
                body,
                asked,
            });
        let is_answered = answer.as_ref().is_some_and(|answer| answer.status < 500);
        if !is_answered {
            self.turn += 1;
        }
        answer
    }

    async fn exchange(
        &self,
        door: &Door,
        (method, path): (Method, &str),
        lease: Option<&str>,
        body: &Value,
    ) -> Result<(u16, Value)> {
        let stream = TcpStream::connect(&door.grpc).await?;
        let stream = self
            .connector
            .connect(self.caller.server_name()?, stream)
            .await?;
        let executor = TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://control-plane{path}"))
            .header("content-type", "application/json");
        if let Some(lease) = lease {
            request = request.header("x-usher-lease", lease);
        }
        let request = request.body(Full::new(Bytes::from(body.to_string())))?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok((head.status.as_u16(), body))
    }
}
