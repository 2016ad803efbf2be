//! The way to etcd: one connection to one of its members, to the next one when that does not do.
//!
//! Connections are made here and not by the client's own balancer: with our TLS, and with a word on which member failed
//! and why. Every call has a deadline and may be made twice, so callers must be able to bear that: they compare, or read.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use etcd_client::{Channel, Client, ConnectOptions, Error};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use tonic::{
    Code,
    transport::{Endpoint, Uri},
};
use tower::service_fn;
use tracing::{info, warn};

use crate::registry::{
    instances::LEASE,
    shared::{Health, SharedError},
};

/// One member's time to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// One attempt. etcd answers within milliseconds, or after an election of a second or two with another attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// All attempts of one call: shorter than a sidecar waits for us, so that it learns why.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// Asks a silent connection whether it is still there. etcd ends connections that ask more often than every 5 s.
const KEEPALIVE: Duration = Duration::from_secs(8);

/// Silence of a third of a lease: since sidecars renew that often, one with an end that is nearer may end in it.
const SILENCE_MIN: Duration = Duration::from_secs(LEASE.as_secs() / 3);

/// Largest answer read. Pages are counted in keys, and a key's value is 1 MiB at most.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// Whom to talk to, and as whom.
#[derive(Clone)]
pub struct EtcdOptions {
    /// `host:port` of its members, at least one.
    pub members: Vec<String>,
    /// What all keys begin with; no slash at the end.
    pub prefix: String,
    /// `None`: plaintext.
    pub tls: Option<Arc<ClientConfig>>,
    /// Name and password.
    pub user: Option<(String, String)>,
}

impl fmt::Debug for EtcdOptions {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("members", &self.members)
            .field("prefix", &self.prefix)
            .field("tls", &self.tls.is_some())
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish()
    }
}

/// etcd, as far as it can be reached.
pub(super) struct Connection {
    options: EtcdOptions,
    client: ArcSwap<Client>,
    /// Which member the next connection goes to.
    next: Arc<AtomicUsize>,
    health: watch::Sender<Health>,
    silences: Mutex<Silences>,
}

/// How often etcd was not heard of for [`SILENCE_MIN`]. It is asked every 2 s.
#[derive(Debug)]
struct Silences {
    last_heard: Instant,
    number: u64,
}

impl Silences {
    /// With the one that has not ended yet.
    fn number(&self, now: Instant) -> u64 {
        let is_silent = now.saturating_duration_since(self.last_heard) >= SILENCE_MIN;
        self.number + u64::from(is_silent)
    }

    fn heard(&mut self, now: Instant) {
        self.number = self.number(now);
        self.last_heard = now;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

impl Connection {
    /// Connects, with the first member that answers.
    pub(super) async fn open(options: EtcdOptions) -> Result<Self, SharedError> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut failed = None;
        for _ in &options.members {
            match timeout(ATTEMPT_TIMEOUT, client(&options, &next)).await {
                Ok(Ok(client)) => {
                    let health = watch::Sender::new(Health::Reachable);
                    let client = ArcSwap::from_pointee(client);
                    return Ok(Self {
                        options,
                        client,
                        next,
                        health,
                        silences: Mutex::new(Silences {
                            last_heard: Instant::now(),
                            number: 0,
                        }),
                    });
                }
                Ok(Err(error)) if !is_unreachable(&error) => return Err(refused(&error)),
                Ok(Err(error)) => failed = Some(said(&error)),
                Err(_) => failed = Some(no_answer()),
            }
            next.fetch_add(1, Ordering::Relaxed);
        }
        let why = failed.unwrap_or_else(|| "no member is named".to_owned());
        Err(SharedError::Unreachable { why })
    }

    /// A key's full name.
    pub(super) fn key(&self, rest: &str) -> String {
        format!("{}/{rest}", self.options.prefix)
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// A client for a stream that outlives a call.
    pub(super) fn client(&self) -> Client {
        Client::clone(&self.client.load())
    }

    /// Makes a call, at least twice before it counts as failed: a connection that has just broken costs the first
    /// attempt, and one of its members not more than that.
    pub(super) async fn call<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, SharedError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let mut why = no_answer();
        for _ in 0..self.options.members.len().max(2) {
            let used = self.client.load_full();
            let attempt = (Instant::now() + ATTEMPT_TIMEOUT).min(deadline);
            match timeout_at(attempt, call(Client::clone(&used))).await {
                Ok(Ok(answer)) => {
                    self.heard();
                    return Ok(answer);
                }
                Ok(Err(error)) if !is_unreachable(&error) => {
                    self.heard();
                    return Err(refused(&error));
                }
                Ok(Err(error)) => why = said(&error),
                Err(_) => why = no_answer(),
            }
            self.elsewhere(&used, deadline).await;
            if Instant::now() >= deadline {
                break;
            }
        }
        self.lost(&why);
        Err(SharedError::Unreachable { why })
    }

    /// The next call goes to the next member, over a new connection. Whoever else failed on the old one did so first.
    async fn elsewhere(&self, used: &Arc<Client>, deadline: Instant) {
        self.next.fetch_add(1, Ordering::Relaxed);
        if let Ok(Ok(client)) = timeout_at(deadline, client(&self.options, &self.next)).await {
            self.client.compare_and_swap(used, Arc::new(client));
        }
    }

    /// How often etcd was silent for so long that leases may have ended which somebody would have renewed.
    pub(super) fn silences(&self) -> u64 {
        let silences = self.silences.lock();
        let silences = silences.unwrap_or_else(PoisonError::into_inner);
        silences.number(Instant::now())
    }

    fn heard(&self) {
        let silences = self.silences.lock();
        let mut silences = silences.unwrap_or_else(PoisonError::into_inner);
        silences.heard(Instant::now());
        drop(silences);
        let changed = self.health.send_if_modified(|health| {
            let was = std::mem::take(health);
            was != Health::Reachable
        });
        if changed {
            info!("the store is there again");
        }
    }

    fn lost(&self, reason: &str) {
        let changed = self.health.send_if_modified(|health| match health {
            Health::Unreachable { why, .. } => {
                reason.clone_into(why);
                false
            }
            Health::Reachable => {
                let (since, why) = (SystemTime::now(), reason.to_owned());
                *health = Health::Unreachable { since, why };
                true
            }
        });
        if changed {
            warn!(
                reason,
                "the store cannot be reached; serving what was known, taking no changes"
            );
        }
    }
}

async fn client(options: &EtcdOptions, next: &Arc<AtomicUsize>) -> Result<Client, Error> {
    let (members, tls, next) = (options.members.clone(), options.tls.clone(), next.clone());
    // The authority is for gRPC; whom a connection reaches is the connector's business.
    let channel = Endpoint::from_static("http://etcd")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(ATTEMPT_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (members, tls, next) = (members.clone(), tls.clone(), next.clone());
            async move { dial(&members, tls, &next).await.map(TokioIo::new) }
        }));
    let mut connect = ConnectOptions::new().with_require_leader(true);
    if let Some((name, password)) = &options.user {
        connect = connect
            .with_user(name, password)
            .with_auto_token_refresh(true);
    }
    Client::from_channel(Channel::Tonic(channel), Some(connect)).await
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// To the member whose turn it is; the next one comes first the next time if this one takes no connection.
async fn dial(
    members: &[String],
    tls: Option<Arc<ClientConfig>>,
    next: &AtomicUsize,
) -> io::Result<Box<dyn Stream>> {
    let turn = next.load(Ordering::Relaxed);
    let Some(member) = members.get(turn % members.len().max(1)) else {
        return Err(io::Error::other("no member is named"));
    };
    let connected = timeout(CONNECT_TIMEOUT, connect(member, tls)).await;
    connected
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| io::Error::new(error.kind(), format!("{member}: {error}")))
}

async fn connect(member: &str, tls: Option<Arc<ClientConfig>>) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(member).await?;
    stream.set_nodelay(true)?;
    let Some(config) = tls else {
        return Ok(Box::new(stream));
    };
    let host = member.rsplit_once(':').map_or(member, |(host, _)| host);
    let host = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    Ok(Box::new(stream))
}

/// Whether another attempt, later, elsewhere or with a new login, may do.
fn is_unreachable(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => match status.code() {
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Cancelled
            | Code::Aborted
            | Code::Internal
            | Code::Unauthenticated => true,
            // Somebody has changed etcd's users; ours is known all the same when it logs in again.
            Code::InvalidArgument => status.message().contains("auth store is old"),
            _ => false,
        },
        Error::TransportError(_)
        | Error::IoError(_)
        | Error::WatchError(_)
        | Error::LeaseKeepAliveError(_) => true,
        _ => false,
    }
}

fn refused(error: &Error) -> SharedError {
    SharedError::Refused { why: said(error) }
}

/// The status' own words, and what lies behind them: "tcp connect error" alone says nothing.
fn said(error: &Error) -> String {
    let Error::GRpcStatus(status) = error else {
        return error.to_string();
    };
    let mut words = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

fn no_answer() -> String {
    format!("no answer within {ATTEMPT_TIMEOUT:?}")
}

/// For answers with many keys.
pub(super) fn reading(client: &Client) -> etcd_client::KvClient {
    client
        .kv_client()
        .max_decoding_message_size(ANSWER_BYTES_MAX)
}
