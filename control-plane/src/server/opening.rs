//! What everything else stands on, opened in the order of trust: the store, the root, the tokens.

use std::{path::Path, sync::Arc};

use usher_config::value::TrustDomain;

use super::{Options, StartError};
use crate::{
    admin::operator::Source,
    backup,
    ca::{
        Authority,
        token::{self, TokenStore},
    },
    state::State,
    status::{MistakeReport, RejectedObject},
};

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
    pub(super) tokens: Arc<TokenStore>,
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
    let lacks_keys = backup::lacks_keys(data).map_err(|source| {
        let path = data.clone();
        StartError::Data { path, source }
    })?;
    if lacks_keys {
        let data = data.clone();
        return Err(StartError::KeysMissing { data });
    }
    let state = match &options.source {
        Source::Directory(config) => State::open(config, data).await?,
        Source::Store => State::restored(data)?,
    };
    let authority = Authority::open(&data.join("ca"), &trust_domain(&state, options)?)?;
    state.set_trust_bundle(authority.trust_bundle()).await;
    let path = data.join(token::FILE);
    let tokens = TokenStore::open(&path, authority.pin())
        .map_err(|source| StartError::Tokens { path, source })?;
    Ok(Opened {
        state,
        authority: Arc::new(authority),
        tokens: Arc::new(tokens),
    })
}

#[cfg(feature = "etcd")]
async fn shared(
    options: &Options,
    etcd: &crate::registry::etcd::EtcdOptions,
) -> Result<Opened, StartError> {
    use crate::registry::{StoreError, etcd::EtcdStore};

    let data = &options.data;
    let store = Arc::new(EtcdStore::connect(etcd.clone()).await?);
    let root = store.root().await.map_err(StoreError::from)?;
    // Else one would be made here, for which nobody in the mesh would have a good word.
    if let Some(pin) = root.filter(|_| !data.join("ca/root.key").exists()) {
        let data = data.clone();
        return Err(StartError::NoRoot { pin, data });
    }
    let state = State::of_replica(Box::new(Arc::clone(&store)), store.clone()).await?;
    let authority = Authority::open(&data.join("ca"), &trust_domain(&state, options)?)?;
    let claimed = store.claim_root(authority.pin()).await;
    claimed
        .map_err(StoreError::from)?
        .map_err(|error| StartError::OtherRoot(Box::new(error)))?;
    state.set_trust_bundle(authority.trust_bundle()).await;
    let tokens = TokenStore::on(Box::new(store.tokens()), authority.pin());
    Ok(Opened {
        state,
        authority: Arc::new(authority),
        tokens: Arc::new(tokens),
    })
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
