//! What goes on for as long as a control plane runs, a function for each task.

use std::{path::PathBuf, sync::Arc};

#[cfg(feature = "kubernetes")]
use crate::source::kubernetes::Feed;
use crate::{ca::Authority, keys::Fetcher, listener::tls::MeshTls, state::State};

pub(super) async fn renew_own_identity(tls: Arc<MeshTls>) {
    tls.keep_fresh().await;
}

/// Sidecars hear of the mesh's roots whenever they change.
pub(super) async fn tell_roots(state: State, authority: Arc<Authority>) {
    let (mut changes, mut told) = (authority.changes(), authority.roots().version);
    while changes.changed().await.is_ok() {
        let bundle = authority.trust_bundle();
        if std::mem::replace(&mut told, bundle.version) != bundle.version {
            state.set_trust_bundle(bundle).await;
        }
    }
}

pub(super) async fn follow_directory(state: State, directory: PathBuf) {
    state.run_directory(directory).await;
}

#[cfg(feature = "kubernetes")]
pub(super) async fn follow_cluster(state: State, feed: Feed) {
    state.run_cluster(feed).await;
}

pub(super) async fn follow_keys(state: State, folder: PathBuf, fetcher: Fetcher) {
    state.run_keys(folder, fetcher).await;
}
