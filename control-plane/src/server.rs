//! `usher serve`: everything started in order, one constructor per task, and ended in order.
//!
//! The order is one of trust: configuration first (the trust domain is in it), then the root that signs for that
//! domain, then the doors, each open only once what stands behind it is complete. `addresses.json` comes last:
//! who reads it finds all of it answering.

mod descriptors;
mod doors;
mod following;

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
use tracing::info;
use usher_config::value::TrustDomain;

mod error;
mod opening;

use opening::Opened;

pub use error::StartError;
pub use opening::StoreChoice;

use crate::{
    addresses::Addresses,
    admin::{
        operator::{self, Source},
        rest,
    },
    ca::{
        Authority, attest::AuthorityService, issuer::GivenFiles, steward::Steward,
        token::TokenStore,
    },
    dns::{self, Dns},
    keys::Fetcher,
    listener::{self, Listener, tls::MeshTls},
    private_files::{private_directory, write_shared},
    registry::RegistryService,
    state::{KEYS_FOLDER, OpenError, STORE_FILE, State},
    telemetry::metrics::Metrics,
    watch::Watchers,
    xds::AdsService,
};

#[cfg(feature = "kubernetes")]
use crate::source::kubernetes::{Client, Feed, TokenReviews, TrustMaps};
use doors::{serve_http, serve_operator, serve_sidecars};
#[cfg(feature = "kubernetes")]
use following::follow_cluster;
use following::{follow_directory, follow_keys, renew_own_identity, tell_roots};

/// How long open streams may take to end; sidecars hold theirs for ever, and come back to another replica.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What `usher serve` is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where configuration comes from.
    pub source: Source,
    /// Where it is kept.
    pub store: StoreChoice,
    /// The mesh's, where neither the store nor a directory says it; `None`: the default.
    pub trust_domain: Option<TrustDomain>,
    /// Directory with the root key, tokens and accepted configuration.
    pub data: PathBuf,
    /// For sidecars; port 0: any.
    pub listen: SocketAddr,
    /// For readers; port 0: any.
    pub http: SocketAddr,
    /// For whoever looks up names, over UDP and TCP; port 0: any; `None`: nobody.
    pub dns: Option<SocketAddr>,
    /// Whom to ask about names that are not of the mesh.
    pub dns_forward: dns::Source,
    /// An intermediate to sign with that somebody else keeps fresh.
    pub issuer: Option<GivenFiles>,
    /// What is done for Kubernetes, if anything.
    #[cfg(feature = "kubernetes")]
    pub webhook: Option<crate::webhook::Options>,
    /// Certificates, in PEM, of whom else to believe than the web's roots when token issuers' keys are fetched.
    pub jwks_ca: Option<PathBuf>,
}

/// A control plane whose doors are bound, but not open yet.
pub struct Server {
    options: Options,
    addresses: Addresses,
    state: State,
    authority: Arc<Authority>,
    tokens: Arc<TokenStore>,
    steward: Arc<Steward>,
    tls: Arc<MeshTls>,
    fetcher: Fetcher,
    metrics: Arc<Metrics>,
    grpc: TcpListener,
    http: TcpListener,
    dns: Option<Dns>,
    #[cfg(feature = "kubernetes")]
    webhook: Option<crate::webhook::Webhook>,
    #[cfg(feature = "kubernetes")]
    feed: Option<Feed>,
    operator: UnixListener,
    /// Of sidecars.
    connections_max: usize,
}

impl Server {
    /// Reads, makes and binds everything; nothing is answered yet.
    ///
    /// # Errors
    /// Whatever makes it impossible to start; mistakes in single objects do not.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let connections_max = descriptors::raise();
        let data = &options.data;
        private_directory(data).map_err(|source| StartError::Data {
            path: data.clone(),
            source,
        })?;
        let Opened {
            state,
            authority,
            steward,
            tokens,
            #[cfg(feature = "kubernetes")]
            feed,
        } = opening::open(&options).await?;
        let keys = state.restore_keys(&data.join(KEYS_FOLDER)).await;
        keys.map_err(OpenError::from)?;
        let tls = Arc::new(MeshTls::new(Arc::clone(&authority))?);
        let metrics = Arc::new(Metrics::new()?);
        let fetcher = Fetcher::new(options.jwks_ca.as_deref(), metrics.keys.clone())?;
        let grpc = listener::bind(options.listen);
        let grpc = grpc.map_err(listen_error(&options.listen.to_string()))?;
        let http = bind(options.http).await?;
        let dns = match options.dns {
            Some(address) => Some(bind_dns(address, &options.dns_forward).await?),
            None => None,
        };
        #[cfg(feature = "kubernetes")]
        let webhook = bind_webhook(&options, &state, (&authority, &metrics)).await?;
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
            dns: dns.as_ref().map(Dns::address),
            #[cfg(feature = "kubernetes")]
            webhook: webhook.as_ref().map(crate::webhook::Webhook::address),
            #[cfg(not(feature = "kubernetes"))]
            webhook: None,
            operator: operator_path,
        };
        Ok(Self {
            options,
            addresses,
            state,
            authority,
            tokens,
            steward,
            tls,
            fetcher,
            metrics,
            grpc,
            http,
            dns,
            #[cfg(feature = "kubernetes")]
            webhook,
            #[cfg(feature = "kubernetes")]
            feed,
            operator,
            connections_max,
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

    /// Signs for whom configuration declares.
    fn authority_service(&self) -> AuthorityService {
        let mesh = self.state.clone();
        let service = AuthorityService::new(
            Arc::new(move |namespace, account| mesh.declares(namespace, account)),
            Arc::clone(&self.authority),
            Arc::clone(&self.tokens),
            Arc::clone(&self.metrics.ca),
        );
        #[cfg(feature = "kubernetes")]
        if let Some(client) = self.cluster() {
            return service.with_reviews(Arc::new(TokenReviews::new(client)));
        }
        service
    }

    /// The API server of the cluster that we serve, if we do.
    #[cfg(feature = "kubernetes")]
    fn cluster(&self) -> Option<Client> {
        self.webhook.as_ref()?.client()
    }

    fn keep_authority(&self, tasks: &mut JoinSet<()>) {
        tasks.spawn(renew_own_identity(Arc::clone(&self.tls)));
        tasks.spawn(Arc::clone(&self.steward).run());
        tasks.spawn(tell_roots(self.state.clone(), Arc::clone(&self.authority)));
        #[cfg(feature = "kubernetes")]
        if let Some(client) = self.cluster() {
            tasks.spawn(TrustMaps::new(client, Arc::clone(&self.authority)).run());
        }
    }

    fn follow_source(&mut self, tasks: &mut JoinSet<()>) {
        if let Source::Directory(directory) = self.options.source.clone() {
            tasks.spawn(follow_directory(self.state.clone(), directory));
        }
        #[cfg(feature = "kubernetes")]
        if let Some(feed) = self.feed.take() {
            tasks.spawn(follow_cluster(self.state.clone(), feed));
        }
    }

    /// What readers see.
    fn rest(&self, watchers: &Watchers) -> rest::Rest {
        rest::Rest {
            mesh: self.state.clone(),
            metrics: Arc::clone(&self.metrics),
            authority: Arc::clone(&self.authority),
            watchers: watchers.clone(),
        }
    }

    /// Answers until `stop` is done, then ends in order.
    ///
    /// # Errors
    /// The address file cannot be written.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let data = self.options.data.clone();
        let authority_service = self.authority_service();
        let (sender, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        self.keep_authority(&mut tasks);
        self.follow_source(&mut tasks);
        let mut doors = JoinSet::new();
        let watchers = Watchers::new(self.state.clone(), stopping.clone());
        let rest = self.rest(&watchers);
        let keys = data.join(KEYS_FOLDER);
        tasks.spawn(follow_keys(self.state.clone(), keys, self.fetcher));
        doors.spawn(serve_http(
            self.http,
            rest::router(rest, self.addresses.http),
            stopping.clone(),
        ));
        let operator = operator::Operator {
            mesh: self.state.clone(),
            tokens: Arc::clone(&self.tokens),
            source: self.options.source.clone(),
            steward: Arc::clone(&self.steward),
            kept: Arc::new(operator::backup::Kept {
                data: data.clone(),
                etcd_members: self.options.store.members(),
            }),
        };
        doors.spawn(serve_operator(
            self.operator,
            operator::router(operator),
            stopping.clone(),
        ));
        if let Some(dns) = self.dns {
            let metrics = Arc::clone(&self.metrics.dns);
            doors.spawn(dns.serve(self.state.clone(), metrics, stopping.clone()));
        }
        #[cfg(feature = "kubernetes")]
        if let Some(webhook) = self.webhook {
            doors.spawn(webhook.serve(stopping.clone()));
        }
        let listener = Listener::new(
            (self.grpc, self.connections_max),
            self.tls,
            self.authority.trust_domain().clone(),
            Arc::clone(&self.metrics.listener),
        );
        let impostors = self.metrics.registry_impostors.clone();
        let registry = RegistryService::new(self.state.clone(), watchers, impostors);
        let state = self.state.clone();
        let discovery = AdsService::new(self.state, Arc::clone(&self.metrics.streams));
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
        close(doors).await;
        tasks.shutdown().await;
        state.depart().await;
        Ok(())
    }
}

/// Whether a control plane with a store of its own has started on this data directory before.
pub fn has_store(data: &Path) -> bool {
    data.join(STORE_FILE).exists()
}

/// Lets what is under way at the doors end, for a while.
async fn close(mut doors: JoinSet<()>) {
    let closed = async { while doors.join_next().await.is_some() {} };
    if timeout(STOP_GRACE, closed).await.is_err() {
        info!("sidecars still connected; they keep their configuration and reconnect");
    }
    doors.shutdown().await;
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(listen_error(&address.to_string()))
}

#[cfg(feature = "kubernetes")]
async fn bind_webhook(
    options: &Options,
    state: &State,
    (authority, metrics): (&Arc<Authority>, &Metrics),
) -> Result<Option<crate::webhook::Webhook>, StartError> {
    let Some(asked) = options.webhook.clone() else {
        return Ok(None);
    };
    let signs = (Arc::clone(authority), Arc::clone(&metrics.admission));
    let bound = crate::webhook::Webhook::bind(asked, state.clone(), signs).await?;
    Ok(Some(bound))
}

async fn bind_dns(address: SocketAddr, source: &dns::Source) -> Result<Dns, StartError> {
    Dns::bind(address, source)
        .await
        .map_err(listen_error(&format!("{address}, UDP and TCP")))
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
