//! What follows the control plane for as long as we run: the stream, and the identity that its trust bundle is for.

use tokio::sync::{mpsc, watch};

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

impl Start {
    /// From now on.
    pub(super) fn follow_control_plane(
        &self,
        keeper: Keeper,
        questions: mpsc::Receiver<xds::Question>,
    ) {
        let Bootstrap {
            service,
            tcp,
            token_file,
            ..
        } = &self.bootstrap;
        let pinned = tcp.iter().map(|forward| forward.target.service.clone());
        let mut subscription = Subscription::new(service.clone(), self.instance.as_str(), pinned);
        if self.bootstrap.gateway.is_some() {
            subscription = subscription.of_gateway();
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
            contact: self.metrics.control_plane_contact(),
        };
        tokio::spawn(Xds::new(parts, subscription).run());
        tokio::spawn(keep_identity::watch_expiry(
            self.metrics.clone(),
            keeper.material(),
        ));
        tokio::spawn(keep_identity::keep(
            keeper,
            self.control_plane.clone(),
            token_file.clone(),
            trusted,
            self.metrics.svid_renewals(),
        ));
    }
}
