//! What follows the control plane for as long as we run: the stream, and the identity that its trust bundle is for.
//!
//! It ends after everything else: until then requests ask for services. What was heard last is on disk before the
//! process ends, since a command that runs for less than a second is a good user of the mesh too.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::warn;

use super::{Start, keep_identity};
use crate::{
    bootstrap::Bootstrap,
    identity::Keeper,
    xds::{
        self,
        stream::{Parts, Xds},
        subscription::Subscription,
    },
};

/// For the last known good configuration to be on disk at the end: one that hangs must not keep the process, and
/// `usher run` waits 5 s for all of it.
const SAVED_WITHIN: Duration = Duration::from_secs(2);

/// The running stream.
#[derive(Debug)]
pub(super) struct Following {
    stream: JoinHandle<()>,
    leave: oneshot::Sender<()>,
}

impl Following {
    /// Hears nothing any more, and keeps what it has heard for the next start.
    pub(super) async fn end(self) {
        // Its end is the message.
        drop(self.leave);
        if timeout(SAVED_WITHIN, self.stream).await.is_err() {
            warn!(
                limit = ?SAVED_WITHIN,
                "the disk is slow: the next start may know an older configuration"
            );
        }
    }
}

impl Start {
    /// From now on, until [`Following::end`].
    pub(super) fn follow_control_plane(
        &self,
        keeper: Keeper,
        questions: mpsc::Receiver<xds::Question>,
    ) -> Following {
        let Bootstrap { service, tcp, .. } = &self.bootstrap;
        let pinned = tcp.iter().map(|forward| forward.target.service.clone());
        let mut subscription = Subscription::new(service.clone(), self.instance.as_str(), pinned);
        if self.bootstrap.gateway.is_some() {
            subscription = subscription.of_gateway();
        } else if self.bootstrap.application_port.is_none() {
            subscription = subscription.that_only_calls();
        }
        let (trust, trusted) = watch::channel(None);
        let parts = Parts {
            control_plane: self.control_plane.clone(),
            material: keeper.material(),
            store: self.store.clone(),
            questions,
            trust,
            opened: self.greeted.clone(),
            directory: self.directory.clone(),
            roots: keeper.roots().to_vec(),
            contact: self.metrics.control_plane_contact(),
        };
        let (leave, left) = oneshot::channel();
        let stream = tokio::spawn(Xds::new(parts, subscription).run(left));
        tokio::spawn(keep_identity::watch_expiry(
            self.metrics.clone(),
            keeper.material(),
        ));
        tokio::spawn(keep_identity::keep(
            keeper,
            self.control_plane.clone(),
            self.bootstrap.token_files(),
            trusted,
            self.metrics.svid_renewals(),
        ));
        Following { stream, leave }
    }
}
