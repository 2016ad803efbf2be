//! Kubernetes admission: pods get their sidecars, and configuration is checked before it is stored.
//!
//! ```text
//! door      TLS connections of API servers, bounded        tls      our certificate, signed by the mesh's authority
//!  └ desk   one request: path, method, size, time
//!     ├ review     AdmissionReview ↔ question and verdict (pure)
//!     ├ inject     /inject: `inject::patch` of a new pod (pure)
//!     └ validate   /validate: `State::judge` of an object
//! keep      caBundle of the configurations in the API server is what the mesh trusts; bundle decides (pure)
//! objects   the configurations themselves, for whoever installs (pure)
//! ```
//!
//! Whatever is asked, nothing changes by the answer: a dry run is like any other. See ARCHITECTURE.md for why there is no
//! certificate authority of the webhook's own.

pub mod review;
pub mod inject;
mod validate;
pub mod objects;
mod tls;
mod desk;
mod door;
mod bundle;
mod keep;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    ca::Authority, inject::Settings, listener::tls::TlsError, state::State,
    telemetry::metrics::AdmissionMetrics,
};

use desk::Desk;
use keep::Keeper;
use tls::WebhookTls;

/// Where API servers find the webhook, unless they are told otherwise.
pub const PORT: u16 = 15017;

/// What `usher serve` is told of Kubernetes.
#[derive(Debug, Clone)]
pub struct Options {
    /// For API servers; port 0: any.
    pub listen: SocketAddr,
    /// By which they know us: DNS names, or addresses.
    pub names: Vec<String>,
    /// What pods get.
    pub settings: Settings,
    /// Whose configurations get our `caBundle`; `None`: somebody else writes it.
    pub cluster: Option<Cluster>,
}

/// Where the API server is, and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// The one whose pod we are.
    Own,
    /// As this file says.
    Kubeconfig(PathBuf),
}

/// Why there is no webhook.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Nobody can be told where.
    #[error("--webhook-listen: cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No certificate.
    #[error("the webhook has no certificate")]
    Tls(#[from] TlsError),
    /// No way to the API server.
    #[error(
        "--kubernetes: found no way to the API server, allowed: a pod with a service account, or --kubeconfig FILE"
    )]
    Cluster(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Bound, but not open yet.
pub struct Webhook {
    listener: TcpListener,
    address: SocketAddr,
    tls: Arc<WebhookTls>,
    desk: Arc<Desk>,
    keeper: Option<Keeper>,
    client: Option<Client>,
}

impl Webhook {
    /// Binds the address and has a certificate signed. The API server is not asked yet: it may start later than we do.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn bind(
        options: Options,
        mesh: State,
        (authority, metrics): (Arc<Authority>, Arc<AdmissionMetrics>),
    ) -> Result<Self, WebhookError> {
        let asked = options.listen;
        let failed = |source| WebhookError::Listen {
            address: asked,
            source,
        };
        let listener = TcpListener::bind(asked).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let tls = WebhookTls::new(Arc::clone(&authority), options.names)?;
        let client = match options.cluster {
            None => None,
            Some(cluster) => Some(client(&cluster).await?),
        };
        let keeper = client
            .clone()
            .map(|client| Keeper::new(client, authority, Arc::clone(&metrics)));
        Ok(Self {
            listener,
            address,
            tls: Arc::new(tls),
            desk: Arc::new(Desk::new(mesh, options.settings, metrics)),
            keeper,
            client,
        })
    }

    /// The API server of the cluster that is served, if one is.
    pub fn client(&self) -> Option<Client> {
        self.client.clone()
    }

    /// Where it will answer.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stopping`; what is under way then ends.
    pub async fn serve(self, stopping: watch::Receiver<bool>) {
        let mut kept = JoinSet::new();
        kept.spawn(keep_fresh(Arc::clone(&self.tls)));
        if let Some(keeper) = self.keeper {
            kept.spawn(keeper.run());
        }
        door::serve(self.listener, (self.tls, self.desk), stopping).await;
        kept.shutdown().await;
    }
}

async fn keep_fresh(tls: Arc<WebhookTls>) {
    tls.keep_fresh().await;
}

/// Of its API server, which is not asked yet.
///
/// # Errors
/// [`WebhookError::Cluster`].
pub async fn client(cluster: &Cluster) -> Result<Client, WebhookError> {
    let client = try_client(cluster).await;
    client.map_err(WebhookError::Cluster)
}

async fn try_client(cluster: &Cluster) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let mut config = match cluster {
        Cluster::Own => Config::incluster()?,
        Cluster::Kubeconfig(path) => {
            let file = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
    };
    config.connect_timeout = Some(keep::CONNECT_TIMEOUT);
    Ok(Client::try_from(config)?)
}
