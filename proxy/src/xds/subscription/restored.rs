//! What an earlier run knew, taken in.

use std::time::Instant;

use usher_config::model::Gateway;

use super::Subscription;
use crate::{
    snapshot::Change,
    xds::known::{Staged, Versioned},
};

impl Subscription {
    /// Its services are wanted again: most likely they will be dialled. It may have been the run of another service, whose
    /// callers are nothing to us.
    pub(in crate::xds) fn restore(&mut self, mut staged: Staged, now: Instant) -> Change {
        let own = &self.own;
        staged.inbound = staged.inbound.filter(|held| held.model.service == *own);
        let is_ours = |held: &Versioned<Gateway>| self.gateway && held.model.name == *own;
        staged.gateway = staged
            .gateway
            .filter(|held| held.as_ref().is_some_and(is_ours));
        for name in staged.services.keys() {
            self.interest.used(name, now);
        }
        self.known.commit(staged)
    }
}
