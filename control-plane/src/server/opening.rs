//! What everything else stands on, opened in the order of trust: the store, the root, the tokens.

#[cfg(feature = "etcd")]
use std::time::Duration;
use std::{path::Path, sync::Arc};

#[cfg(feature = "etcd")]
use time::OffsetDateTime;

use usher_config::value::TrustDomain;

use super::{Options, StartError};
#[cfg(feature = "etcd")]
use crate::ca::{roots::RootSet, trust::TrustError};
use crate::{
    admin::operator::Source,
    backup::{self, Missing},
    ca::{
        Authority,
        steward::{Count, Steward},
        token::{self, TokenStore, pins_of},
        trust::{Census, TrustStore},
    },
    state::State,
    status::{MistakeReport, RejectedObject},
};
#[cfg(feature = "kubernetes")]
use crate::{source::kubernetes::Feed, webhook::client};

/// How long a control plane that starts waits for another one to sign its intermediate: that one looks every two seconds.
#[cfg(feature = "etcd")]
const ISSUER_WAIT: Duration = Duration::from_secs(30);

#[cfg(feature = "etcd")]
const ISSUER_LOOK: Duration = Duration::from_millis(500);

/// Where accepted configuration is kept.
#[derive(Debug, Clone)]
pub enum StoreChoice {
    /// A file in the data directory, of this control plane alone.
    Embedded,
    /// etcd, for several control planes.
    #[cfg(feature = "etcd")]
    Etcd(crate::registry::etcd::EtcdOptions),
}

impl StoreChoice {
    /// Of etcd, as `host:port`.
    pub(super) fn members(&self) -> Vec<String> {
        match self {
            Self::Embedded => Vec::new(),
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => etcd.members.clone(),
        }
    }
}

/// Open.
pub(super) struct Opened {
    pub(super) state: State,
    pub(super) authority: Arc<Authority>,
    pub(super) steward: Arc<Steward>,
    pub(super) tokens: Arc<TokenStore>,
    /// The cluster that says what the mesh is, if one does.
    #[cfg(feature = "kubernetes")]
    pub(super) feed: Option<Feed>,
}

/// # Errors
/// What cannot be opened.
pub(super) async fn open(options: &Options) -> Result<Opened, StartError> {
    match &options.store {
        StoreChoice::Embedded => embedded(options).await,
        #[cfg(feature = "etcd")]
        StoreChoice::Etcd(etcd) => shared(options, etcd).await,
    }
}

async fn embedded(options: &Options) -> Result<Opened, StartError> {
    let data = &options.data;
    if let Some(missing) = backup::missing_keys(data)? {
        let data = data.clone();
        return Err(match missing {
            Missing::All => StartError::KeysMissing { data },
            Missing::Newer { wanted, found } => StartError::OldKeys {
                data,
                wanted,
                found,
            },
            Missing::NewerRoots { wanted, found } => StartError::OldRoots {
                data,
                wanted,
                found,
            },
        });
    }
    let state = match &options.source {
        Source::Directory(config) => State::open(config, data).await?,
        Source::Cluster | Source::Store => State::restored(data)?,
    };
    #[cfg(feature = "kubernetes")]
    let feed = feed(&state, options).await?;
    let domain = trust_domain(&state, options)?;
    let (authority, trust) = Authority::alone(&data.join("ca"), &domain, options.issuer.clone())?;
    let authority = Arc::new(authority);
    state.set_trust_bundle(authority.trust_bundle()).await;
    let path = data.join(token::FILE);
    let tokens = TokenStore::open(&path, pins_of(&authority))
        .map_err(|source| StartError::Tokens { path, source })?;
    Ok(Opened {
        steward: steward(&state, &authority, Arc::new(trust)),
        state,
        authority,
        tokens: Arc::new(tokens),
        #[cfg(feature = "kubernetes")]
        feed,
    })
}

/// Follows the cluster, if it says what the mesh is. A mesh that never ran begins with what is there: the trust domain is in it.
#[cfg(feature = "kubernetes")]
async fn feed(state: &State, options: &Options) -> Result<Option<Feed>, StartError> {
    let cluster = options.webhook.as_ref();
    let cluster = cluster.and_then(|webhook| webhook.cluster.as_ref());
    let Some(cluster) = cluster.filter(|_| options.source == Source::Cluster) else {
        return Ok(None);
    };
    state.await_cluster();
    let mut feed = Feed::start(&client(cluster).await?);
    if state.fixed_trust_domain().is_none() {
        state.begin_with(&mut feed).await?;
    }
    Ok(Some(feed))
}

/// Keeps `authority` fresh, for the sidecars of `state`.
fn steward(state: &State, authority: &Arc<Authority>, store: Arc<dyn TrustStore>) -> Arc<Steward> {
    let mesh = state.clone();
    let count = move || {
        let (version, by_root, behind) = mesh.trust_census();
        (version, Census { by_root, behind })
    };
    // Linux's word for it; on another system nobody needs to know.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let who = (Arc::new(count) as Count, name.trim().to_owned());
    Arc::new(Steward::new(authority.clone(), store, who))
}

#[cfg(feature = "etcd")]
async fn shared(
    options: &Options,
    etcd: &crate::registry::etcd::EtcdOptions,
) -> Result<Opened, StartError> {
    use crate::registry::{StoreError, etcd::EtcdStore};

    let data = &options.data;
    let store = Arc::new(EtcdStore::connect(etcd.clone()).await?);
    let trust: Arc<dyn TrustStore> = Arc::new(store.trust());
    let oldest = store.root().await.map_err(StoreError::from)?;
    let state = State::of_replica(Box::new(Arc::clone(&store)), store.clone()).await?;
    let domain = trust_domain(&state, options)?;
    let roots = mesh_roots(&*trust, (options, &domain), oldest).await?;
    let from = (options.issuer.clone(), roots);
    let authority = Arc::new(Authority::with_roots(&data.join("ca"), &domain, from)?);
    let steward = steward(&state, &authority, trust);
    wait_for_issuer(&steward, &authority).await?;
    state.set_trust_bundle(authority.trust_bundle()).await;
    let tokens = TokenStore::on(Box::new(store.tokens()), pins_of(&authority));
    Ok(Opened {
        steward,
        state,
        authority,
        tokens: Arc::new(tokens),
        #[cfg(feature = "kubernetes")]
        feed: None,
    })
}

/// The roots that the mesh in the store has; ours, if it has none and nobody is faster.
#[cfg(feature = "etcd")]
async fn mesh_roots(
    trust: &dyn TrustStore,
    (options, domain): (&Options, &TrustDomain),
    oldest: Option<String>,
) -> Result<RootSet, StartError> {
    let ca = options.data.join("ca");
    if let Some(roots) = trust.read().await?.roots {
        return Ok(roots);
    }
    let is_new = !ca.join("root.key").exists();
    // Else one would be made here, for which nobody in the mesh would have a good word.
    if let Some(pin) = oldest.clone().filter(|_| is_new) {
        let data = options.data.clone();
        return Err(StartError::NoRoot { pin, data });
    }
    let first = Authority::first_roots(&ca, domain, options.issuer.as_ref())?;
    if let Some((stored, own)) = oldest.zip(first.active().map(|root| root.pin.clone()))
        && stored != own
    {
        return Err(StartError::OtherRoot { stored, own });
    }
    if trust.write_roots(first.clone()).await? {
        return Ok(first);
    }
    if is_new && options.issuer.is_none() {
        Authority::set_aside_first(&ca)?;
    }
    let roots = trust.read().await?.roots;
    roots.ok_or_else(|| StartError::Trust(TrustError("its roots have gone".into())))
}

/// Without an intermediate nobody could be let in.
#[cfg(feature = "etcd")]
async fn wait_for_issuer(steward: &Steward, authority: &Authority) -> Result<(), StartError> {
    let deadline = tokio::time::Instant::now() + ISSUER_WAIT;
    loop {
        steward.turn(OffsetDateTime::now_utc()).await?;
        if authority.issuer().is_some() {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(StartError::NoIssuer {
                root: authority.pin(),
            });
        }
        tokio::time::sleep(ISSUER_LOOK).await;
    }
}

/// The trust domain, unless it would be a default in place of one that was written with a mistake.
fn trust_domain(state: &State, options: &Options) -> Result<TrustDomain, StartError> {
    let is_broken =
        |rejected: &&RejectedObject| !rejected.last_good && rejected.object.starts_with("Mesh ");
    match state.status().rejected.iter().find(is_broken) {
        Some(rejected) if is_first_start(&options.data) => {
            let line = |mistake: &MistakeReport| {
                format!("{}: {}: {}", mistake.at, mistake.path, mistake.message)
            };
            Err(StartError::Mesh {
                mistakes: rejected.mistakes.iter().map(line).collect(),
            })
        }
        _ => match (state.fixed_trust_domain(), &options.trust_domain) {
            (Some(found), Some(asked)) if found != *asked => {
                let asked = asked.clone();
                Err(StartError::OtherTrustDomain { found, asked })
            }
            (None, Some(asked)) => Ok(asked.clone()),
            (Some(_) | None, _) => Ok(state.trust_domain()),
        },
    }
}

fn is_first_start(data: &Path) -> bool {
    !data.join("ca").exists()
}
