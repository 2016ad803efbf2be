//! `usher serve`: everything started in order, one constructor per task, and ended in order.
//!
//! The order is one of trust: configuration first (the trust domain is in it), then the root that signs for that
//! domain, then the doors, each open only once what stands behind it is complete. `addresses.json` comes last:
//! who reads it finds all of it answering.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tonic::transport::Server as Grpc;
use tracing::{info, warn};
use usher_config::{
    value::TrustDomain,
    wire::{
        discovery::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer,
        v1::{authority_server::AuthorityServer, registry_server::RegistryServer},
    },
};

use crate::{
    addresses::Addresses,
    admin::{operator, rest},
    ca::{
        Authority,
        attest::{self, AuthorityService},
        authority::AuthorityError,
        token::TokenStore,
    },
    keys::{Fetcher, RootsError},
    listener::{
        Listener,
        tls::{self, OwnIdentity, TlsError},
    },
    private_files::{private_directory, write_shared},
    registry::RegistryService,
    state::{KEYS_FOLDER, State},
    status::{MistakeReport, RejectedObject},
    telemetry::metrics::Metrics,
    xds::AdsService,
};

/// How long open streams may take to end; sidecars hold theirs for ever, and come back to another replica.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A connection is replaced gracefully well within the life of the SVID that opened it: renewed at half of 24 h,
/// one is never younger than 11 h from its end when used.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(10 * 3600);

/// How often a silent sidecar is asked whether it is still there; a dead one is noticed within twice that.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Streams of one sidecar at once: it needs one for configuration, and a call now and then.
const STREAMS_MAX: u32 = 32;

/// Largest header block of a call, in bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// What `usher serve` is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory with the configuration; watched.
    pub config: PathBuf,
    /// Directory with the root key, tokens and accepted configuration.
    pub data: PathBuf,
    /// For sidecars; port 0: any.
    pub listen: SocketAddr,
    /// For readers; port 0: any.
    pub http: SocketAddr,
    /// Certificates, in PEM, of whom else to believe than the web's roots when token issuers' keys are fetched.
    pub jwks_ca: Option<PathBuf>,
}

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    Data {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration or the store cannot be used.
    #[error(transparent)]
    State(#[from] crate::state::OpenError),
    /// The Mesh object, which names the trust domain, is broken, and none was ever accepted.
    #[error("the Mesh object has mistakes, and everything is named by its trust domain:\n  {}", mistakes.join("\n  "))]
    Mesh {
        /// Each with its place.
        mistakes: Vec<String>,
    },
    /// No root.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No tokens.
    #[error("cannot open the token file {}", path.display())]
    Tokens {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: redb::Error,
    },
    /// The roots for fetching keys.
    #[error("--jwks-ca")]
    Roots(#[from] RootsError),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// An address, or a socket's path.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The metrics contradict each other.
    #[error("cannot set metrics up")]
    Metrics(#[from] prometheus::Error),
}

/// A control plane whose doors are bound, but not open yet.
pub struct Server {
    options: Options,
    addresses: Addresses,
    state: State,
    authority: Arc<Authority>,
    tokens: Arc<TokenStore>,
    own: Arc<OwnIdentity>,
    fetcher: Fetcher,
    metrics: Arc<Metrics>,
    grpc: TcpListener,
    http: TcpListener,
    operator: UnixListener,
}

impl Server {
    /// Reads, makes and binds everything; nothing is answered yet.
    ///
    /// # Errors
    /// Whatever makes it impossible to start; mistakes in single objects do not.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let data = &options.data;
        private_directory(data).map_err(|source| StartError::Data {
            path: data.clone(),
            source,
        })?;
        let state = State::open(&options.config, data).await?;
        let trust_domain = trust_domain_of(&state, data)?;
        let authority = Arc::new(Authority::open(&data.join("ca"), &trust_domain)?);
        state.set_trust_bundle(authority.trust_bundle()).await;
        let tokens_path = data.join("tokens.redb");
        let tokens = TokenStore::open(&tokens_path, authority.pin()).map_err(|source| {
            StartError::Tokens {
                path: tokens_path,
                source,
            }
        })?;
        let own = Arc::new(OwnIdentity::new(&authority)?);
        let metrics = Arc::new(Metrics::new()?);
        let fetcher = Fetcher::new(options.jwks_ca.as_deref(), metrics.keys.clone())?;
        let grpc = bind(options.listen).await?;
        let http = bind(options.http).await?;
        let operator_path = data.join("operator.sock");
        let operator = operator::bind(&operator_path)
            .map_err(listen_error(&operator_path.display().to_string()))?;
        let local = |listener: &TcpListener, asked: SocketAddr| {
            listener
                .local_addr()
                .map_err(listen_error(&asked.to_string()))
        };
        let addresses = Addresses {
            grpc: local(&grpc, options.listen)?,
            http: local(&http, options.http)?,
            operator: operator_path,
        };
        let tokens = Arc::new(tokens);
        Ok(Self {
            options,
            addresses,
            state,
            authority,
            tokens,
            own,
            fetcher,
            metrics,
            grpc,
            http,
            operator,
        })
    }

    /// Where it will answer.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What it knows.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whose identities it signs.
    pub fn trust_domain(&self) -> &TrustDomain {
        self.authority.trust_domain()
    }

    /// Answers until `stop` is done, then ends in order.
    ///
    /// # Errors
    /// The address file cannot be written.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let data = self.options.data.clone();
        let (sender, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(renew_own_identity(
            Arc::clone(&self.own),
            Arc::clone(&self.authority),
        ));
        tasks.spawn(follow_directory(
            self.state.clone(),
            self.options.config.clone(),
        ));
        let keys = data.join(KEYS_FOLDER);
        tasks.spawn(follow_keys(self.state.clone(), keys, self.fetcher));
        let mut doors = JoinSet::new();
        let rest = rest::Rest {
            mesh: self.state.clone(),
            metrics: Arc::clone(&self.metrics),
            authority: Arc::clone(&self.authority),
        };
        doors.spawn(serve_http(
            self.http,
            rest::router(rest, self.addresses.http),
            stopping.clone(),
        ));
        let operator = operator::Operator {
            mesh: self.state.clone(),
            tokens: Arc::clone(&self.tokens),
        };
        doors.spawn(serve_http(
            self.operator,
            operator::router(operator),
            stopping.clone(),
        ));
        let tls = tls::server_config(&self.authority, Arc::clone(&self.own))?;
        let listener = Listener::new(
            self.grpc,
            tls,
            self.authority.trust_domain().clone(),
            Arc::clone(&self.metrics.listener),
        );
        let mesh = self.state.clone();
        let authority_service = AuthorityService::new(
            Arc::new(move |namespace, account| mesh.declares(namespace, account)),
            Arc::clone(&self.authority),
            Arc::clone(&self.tokens),
            Arc::clone(&self.metrics.ca),
        );
        let registry =
            RegistryService::new(self.state.clone(), self.metrics.registry_impostors.clone());
        let discovery = AdsService::new(self.state);
        doors.spawn(serve_sidecars(
            listener,
            (authority_service, registry, discovery),
            stopping,
        ));
        publish(&data, &self.addresses)?;
        info!(grpc = %self.addresses.grpc, http = %self.addresses.http, "control plane answers");

        stop.await;
        info!("stopping");
        withdraw(&data, &self.addresses);
        // Fails only when every door is closed already.
        let _ = sender.send(true);
        let closed = async { while doors.join_next().await.is_some() {} };
        if timeout(STOP_GRACE, closed).await.is_err() {
            info!("sidecars still connected; they keep their configuration and reconnect");
        }
        tasks.shutdown().await;
        doors.shutdown().await;
        Ok(())
    }
}

/// The trust domain, unless it would be a default in place of one that was written with a mistake.
fn trust_domain_of(state: &State, data: &Path) -> Result<TrustDomain, StartError> {
    let is_first_start = !data.join("ca").exists();
    let is_broken =
        |rejected: &&RejectedObject| !rejected.last_good && rejected.object.starts_with("Mesh ");
    match state.status().rejected.iter().find(is_broken) {
        Some(rejected) if is_first_start => {
            let line = |mistake: &MistakeReport| {
                format!("{}: {}: {}", mistake.at, mistake.path, mistake.message)
            };
            Err(StartError::Mesh {
                mistakes: rejected.mistakes.iter().map(line).collect(),
            })
        }
        _ => Ok(state.trust_domain()),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(listen_error(&address.to_string()))
}

fn listen_error(address: &str) -> impl FnOnce(io::Error) -> StartError {
    let address = address.to_owned();
    |source| StartError::Listen { address, source }
}

fn publish(data: &Path, addresses: &Addresses) -> Result<(), StartError> {
    let path = Addresses::file(data);
    let text = serde_json::to_vec_pretty(addresses).map_err(io::Error::from);
    text.and_then(|text| write_shared(&path, &text))
        .map_err(|source| StartError::Data { path, source })
}

/// What no longer answers is not announced; each may be gone already.
fn withdraw(data: &Path, addresses: &Addresses) {
    let _ = fs::remove_file(Addresses::file(data));
    let _ = fs::remove_file(&addresses.operator);
}

async fn renew_own_identity(own: Arc<OwnIdentity>, authority: Arc<Authority>) {
    own.keep_fresh(&authority).await;
}

async fn follow_directory(state: State, directory: PathBuf) {
    state.run_directory(directory).await;
}

async fn follow_keys(state: State, folder: PathBuf, fetcher: Fetcher) {
    state.run_keys(folder, fetcher).await;
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone: the server is, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn serve_http<L>(listener: L, router: axum::Router, stopping: watch::Receiver<bool>)
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(stopped(stopping))
        .await;
    if let Err(error) = served {
        warn!(%error, "http interface ended");
    }
}

async fn serve_sidecars(
    listener: Listener,
    (authority, registry, discovery): (AuthorityService, RegistryService, AdsService),
    stopping: watch::Receiver<bool>,
) {
    let authority =
        AuthorityServer::new(authority).max_decoding_message_size(attest::REQUEST_BYTES_MAX);
    let served = Grpc::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_connection_age(CONNECTION_AGE_MAX)
        .add_service(authority)
        .add_service(RegistryServer::new(registry))
        .add_service(AggregatedDiscoveryServiceServer::new(discovery))
        .serve_with_incoming_shutdown(listener.connections(), stopped(stopping))
        .await;
    if let Err(error) = served {
        warn!(%error, "sidecar interface ended");
    }
}
