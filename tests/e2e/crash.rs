//! An application that crashes beside its sidecar costs nobody a request: what it has not seen goes to its twin.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use nix::sys::signal::Signal;
use tokio::{sync::RwLock, task::JoinSet};
use usher_tests::{Client, Mesh, Process, binary, eventually, yaml};

/// Asking at the same time.
const CALLERS: usize = 4;
/// Requests before the crash, and after it.
const REQUESTS: u64 = 200;

#[tokio::test]
async fn an_application_that_crashes_costs_no_post() -> Result<()> {
    crash(Kind::Post).await
}

#[tokio::test]
async fn an_application_that_crashes_costs_no_grpc_call() -> Result<()> {
    crash(Kind::Grpc).await
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Post,
    Grpc,
}

/// A process that writes the number of each request into the ledger before it answers.
struct Application {
    process: Process,
    port: u16,
}

impl Application {
    async fn start(mesh: &Mesh, kind: Kind, name: &str) -> Result<Self> {
        let mut command = Command::new(binary("usher-load"));
        let protocol = match kind {
            Kind::Post => "http1",
            Kind::Grpc => "grpc",
        };
        command.args(["application", protocol]);
        command.arg(mesh.path("ledger")).args(["--port", "0"]);
        let process = Process::start(command, mesh.path(name));
        let port = eventually("the application listens", async || {
            let printed = process.printed();
            let (address, _) = printed.split_once('\n')?;
            address
                .parse()
                .ok()
                .map(|address: std::net::SocketAddr| address.port())
        })
        .await;
        Ok(Self { process, port })
    }
}

/// What the callers share.
#[derive(Default)]
struct Load {
    /// Written to by whoever wants no request to be under way: what is in flight in a crash may have been done, and
    /// nobody may do it again.
    quiet: RwLock<()>,
    number: AtomicU64,
    done: AtomicBool,
}

impl Load {
    fn sent(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }

    /// Returns when so many requests have been sent, or a caller has failed.
    async fn reaches(&self, number: u64, callers: &mut JoinSet<Result<()>>) -> Result<()> {
        let what = format!("{number} requests");
        tokio::select! {
            Some(ended) = callers.join_next() => ended?,
            () = eventually(&what, async || (self.sent() >= number).then_some(())) => Ok(()),
        }
    }

    async fn keep_asking(self: Arc<Self>, client: Client, kind: Kind) -> Result<()> {
        while !self.done.load(Ordering::SeqCst) {
            let _under_way = self.quiet.read().await;
            let number = self.number.fetch_add(1, Ordering::SeqCst);
            ask(&client, kind, number)
                .await
                .with_context(|| format!("request {number}"))?;
        }
        Ok(())
    }
}

async fn ask(client: &Client, kind: Kind, number: u64) -> Result<()> {
    let mut headers = HeaderMap::new();
    headers.insert("x-number", HeaderValue::from(number));
    let (client, path) = match kind {
        Kind::Post => (client.clone(), "http://api/pay"),
        Kind::Grpc => {
            headers.insert("content-type", HeaderValue::from_static("application/grpc"));
            headers.insert("te", HeaderValue::from_static("trailers"));
            (client.clone().http2(), "http://api/test.Pay/Do")
        }
    };
    let body = Bytes::from_static(b"\0\0\0\0\x01a");
    let answer = client.send(Method::POST, path, headers, body).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    if let Kind::Grpc = kind {
        let trailers = answer.trailers.as_ref().unwrap_or(&answer.headers);
        let ended = trailers.get("grpc-status");
        ensure!(ended.is_some_and(|status| status == "0"), "{answer:?}");
    }
    Ok(())
}

async fn crash(kind: Kind) -> Result<()> {
    let protocol = match kind {
        Kind::Post => "http",
        Kind::Grpc => "grpc",
    };
    // Nobody but its callers finds out who has crashed; each endpoint has its turn until they have, so that retries are few.
    let service = yaml::service("api", 8080, protocol).replace("100ms", "60s");
    let in_turn = yaml::traffic_policy(
        "api",
        "  loadBalancer: { algorithm: RoundRobin }\n  ejection: {}\n",
    );
    let mesh = Mesh::start(&[service, in_turn]).await?;
    let mut doomed = Application::start(&mesh, kind, "doomed.log").await?;
    let twin = Application::start(&mesh, kind, "twin.log").await?;
    let bereft = mesh.sidecar("api").port(doomed.port).start().await?;
    let _other = mesh.sidecar("api").port(twin.port).start().await?;
    let web = mesh.sidecar("web").start().await?;
    let load = Arc::new(Load::default());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(load.clone().keep_asking(web.client(), kind));
    }
    load.reaches(REQUESTS, &mut callers).await?;
    {
        let _quiet = load.quiet.write().await;
        doomed.process.signal(Signal::SIGKILL);
        doomed.process.end(Duration::from_secs(10)).await;
    }
    let at_crash = load.sent();
    load.reaches(at_crash + REQUESTS, &mut callers).await?;
    eventually("somebody has asked who had crashed", async || {
        let mut asked = bereft.access_log().into_iter();
        asked.find(|line| line["flags"].as_str() == Some("UF"))
    })
    .await;
    load.done.store(true, Ordering::SeqCst);
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    each_once(&mesh.path("ledger"), load.sent())
}

fn each_once(ledger: &Path, sent: u64) -> Result<()> {
    let text = std::fs::read_to_string(ledger)?;
    let done = text.lines().map(str::parse);
    let done: Vec<u64> = done.collect::<Result<_, _>>()?;
    let different: BTreeSet<_> = done.iter().copied().collect();
    assert_eq!(done.len(), different.len(), "something was done twice");
    assert_eq!(different, (0..sent).collect());
    Ok(())
}
