//! The load, on a thread of its own: callers that never stop, each with one request at a time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use usher_tests::Sidecar;

use super::application::NUMBER;
use crate::upstream::message;

/// After each request: the machine is shared with twenty processes.
const PAUSE: Duration = Duration::from_millis(10);
/// An exchange that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(30);
/// What is sent through a stream and has to come back.
const STREAM_BYTES: usize = 256 * 1024;

/// What a caller does all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// May be repeated whatever happened to it.
    Get,
    /// May be repeated only if nobody has seen it.
    Post,
    /// As POST.
    Grpc,
    /// Is never repeated: a stream has begun.
    Tcp,
}

const CALLERS: [(Kind, u64); 4] = [
    (Kind::Get, 6),
    (Kind::Post, 4),
    (Kind::Grpc, 4),
    (Kind::Tcp, 2),
];

/// Reasons of a sidecar (`x-usher-reason`) for which no application has seen the request: no connection to it, no
/// endpoint to ask, a limit of its own.
const UNPROCESSED: [&str; 5] = ["UF", "UH", "UO", "NC", "NR"];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Grpc => "gRPC",
            Self::Tcp => "TCP",
        }
    }

    /// Whether a failure with that reason should have been mended by another attempt.
    fn was_safe_to_repeat(self, reason: &str) -> bool {
        match self {
            Self::Get => true,
            Self::Post | Self::Grpc => UNPROCESSED.contains(&flag(reason)),
            Self::Tcp => false,
        }
    }
}

fn flag(reason: &str) -> &str {
    reason.split(' ').next().unwrap_or_default()
}

/// What came of the load.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    kinds: BTreeMap<Kind, KindCounts>,
    acknowledged: Vec<u64>,
    /// Streams that returned other bytes than were sent.
    changed: u64,
}

#[derive(Debug, Default)]
struct KindCounts {
    answered: u64,
    failed: BTreeMap<String, u64>,
    lost: u64,
}

/// How one exchange ended.
enum Ending {
    Answered,
    /// With what was said about it.
    Failed(String),
    /// Other bytes came back than were sent.
    Changed,
}

impl Tally {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, kind: Kind, number: u64, ending: Ending) {
        let mut counts = self.counts();
        match ending {
            Ending::Answered => {
                counts.kinds.entry(kind).or_default().answered += 1;
                if matches!(kind, Kind::Post | Kind::Grpc) {
                    counts.acknowledged.push(number);
                }
            }
            Ending::Failed(reason) => {
                let counts = counts.kinds.entry(kind).or_default();
                counts.lost += u64::from(kind.was_safe_to_repeat(&reason));
                *counts.failed.entry(reason).or_default() += 1;
            }
            Ending::Changed => counts.changed += 1,
        }
    }

    pub(super) fn acknowledged(&self) -> Vec<u64> {
        self.counts().acknowledged.clone()
    }

    /// For people who watch.
    pub(super) fn line(&self) -> String {
        let counts = self.counts();
        let each = counts.kinds.iter().map(|(kind, counts)| {
            let failed: u64 = counts.failed.values().sum();
            let (name, answered, lost) = (kind.name(), counts.answered, counts.lost);
            format!("{name}: {answered} answered, {failed} failed, {lost} lost")
        });
        each.collect::<Vec<_>>().join(" · ")
    }

    pub(super) fn broken_promises(&self) -> Vec<String> {
        let counts = self.counts();
        let lost = counts.kinds.iter().filter(|(_, counts)| counts.lost > 0);
        let mut broken: Vec<_> = lost
            .map(|(kind, counts)| {
                let (name, lost) = (kind.name(), counts.lost);
                format!("{lost} {name} requests failed that were safe to repeat")
            })
            .collect();
        if counts.changed > 0 {
            broken.push(format!("{} streams were changed", counts.changed));
        }
        for (kind, _) in CALLERS {
            let answered = counts.kinds.get(&kind).map_or(0, |counts| counts.answered);
            if answered == 0 {
                broken.push(format!("no {} was answered", kind.name()));
            }
        }
        broken
    }

    pub(super) fn json(&self) -> Value {
        let counts = self.counts();
        let each = counts.kinds.iter().map(|(kind, counts)| {
            let KindCounts {
                answered,
                failed,
                lost,
            } = counts;
            let counts = json!({ "answered": answered, "failed": failed, "lost": lost });
            (kind.name().to_owned(), counts)
        });
        Value::Object(each.collect())
    }
}

/// Until `stop` is set and what is under way has ended.
pub(super) fn start(
    web: &Sidecar,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
) -> Result<JoinHandle<Result<()>>> {
    ensure!(
        web.tcp.len() == 1,
        "the caller's sidecar has no TCP listener"
    );
    let addresses = [web.outbound.clone(), web.tcp.concat()];
    Ok(std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut callers = tokio::task::JoinSet::new();
        let [outbound, stream] = &addresses;
        for (kind, count) in CALLERS {
            let address = if kind == Kind::Tcp { stream } else { outbound };
            for _ in 0..count {
                let number = callers.len() as u64;
                let (tally, stop) = (tally.clone(), stop.clone());
                let caller = caller(kind, number, address.clone(), (tally, stop));
                callers.spawn_on(caller, runtime.handle());
            }
        }
        runtime.block_on(callers.join_all());
        Ok(())
    }))
}

async fn caller(
    kind: Kind,
    caller: u64,
    address: String,
    (tally, stop): (Arc<Tally>, Arc<AtomicBool>),
) {
    let mut connection = None;
    let mut number = caller << 40;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let exchange = async {
            match kind {
                Kind::Tcp => stream(&address).await,
                Kind::Get | Kind::Post | Kind::Grpc => {
                    request(kind, number, &address, &mut connection).await
                }
            }
        };
        let ending = match tokio::time::timeout(LIMIT, exchange).await {
            Ok(Ok(ending)) => ending,
            Ok(Err(error)) => Ending::Failed(format!("connection: {error}")),
            Err(_) => Ending::Failed(format!("no answer within {LIMIT:?}")),
        };
        if matches!(ending, Ending::Failed(_)) {
            connection = None;
        }
        tally.record(kind, number, ending);
        tokio::time::sleep(PAUSE).await;
    }
}

/// A kept connection to the caller's own sidecar.
enum Connection {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    async fn new(kind: Kind, address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        if kind == Kind::Grpc {
            let executor = TokioExecutor::new();
            let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await?;
            tokio::spawn(connection);
            return Ok(Self::Http2(sender));
        }
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    /// Whether the sidecar would still take a request on it.
    async fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<http::Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

async fn request(
    kind: Kind,
    number: u64,
    address: &str,
    kept: &mut Option<Connection>,
) -> Result<Ending> {
    if let Some(connection) = kept
        && !connection.is_ready().await
    {
        *kept = None;
    }
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(Connection::new(kind, address).await?),
    };
    let builder = Request::builder().header(NUMBER, number);
    let request = match kind {
        Kind::Grpc => builder
            .method(Method::POST)
            .uri("http://rpc/soak.Soak/Unary")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(message(&[b'u'; 256])))?,
        Kind::Post => builder
            .method(Method::POST)
            .uri("/")
            .header("host", "api")
            .body(Full::new(Bytes::from_static(&[b'u'; 256])))?,
        Kind::Get | Kind::Tcp => builder
            .uri("/")
            .header("host", "api")
            .body(Full::default())?,
    };
    let (head, body) = connection.send(request).await?.into_parts();
    let body = body.collect().await?;
    Ok(judge(
        kind,
        head.status.as_u16(),
        &head.headers,
        body.trailers(),
    ))
}

fn judge(kind: Kind, status: u16, headers: &HeaderMap, trailers: Option<&HeaderMap>) -> Ending {
    let text = |headers: &HeaderMap, name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let grpc_status = || {
        let late = trailers.and_then(|trailers| text(trailers, "grpc-status"));
        late.or_else(|| text(headers, "grpc-status"))
    };
    let good = status == 200 && (kind != Kind::Grpc || grpc_status().as_deref() == Some("0"));
    if good {
        return Ending::Answered;
    }
    let reason = text(headers, "x-usher-reason");
    Ending::Failed(reason.unwrap_or_else(|| format!("status {status} without a reason")))
}

/// A connection of its own each time; what is sent has to come back whole, and nothing else.
async fn stream(address: &str) -> Result<Ending> {
    let mut stream = TcpStream::connect(address).await?;
    let sent = vec![b'u'; STREAM_BYTES];
    let mut returned = Vec::with_capacity(STREAM_BYTES);
    let (mut read, mut write) = stream.split();
    let both = tokio::try_join!(read.read_to_end(&mut returned), async {
        write.write_all(&sent).await?;
        write.shutdown().await
    });
    if !sent.starts_with(&returned) {
        return Ok(Ending::Changed);
    }
    both?;
    if returned.len() < sent.len() {
        return Ok(Ending::Failed("closed within a stream".to_owned()));
    }
    Ok(Ending::Answered)
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn only_what_nobody_has_seen_was_safe_to_repeat() {
        let seen = "UC upstream-broke-off";
        let unseen = "UF connect-failed";
        for (kind, reason, safe) in [
            (Kind::Get, seen, true),
            (Kind::Get, unseen, true),
            (Kind::Post, seen, false),
            (Kind::Post, unseen, true),
            (Kind::Grpc, seen, false),
            (Kind::Grpc, unseen, true),
            (Kind::Tcp, unseen, false),
        ] {
            assert_eq!(kind.was_safe_to_repeat(reason), safe, "{kind:?} {reason}");
        }
    }
}
