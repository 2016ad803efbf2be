//! What other control planes commit comes into force here.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};
use usher_config::model::Revision;

use crate::{
    registry::StoreError,
    state::{Inner, State},
};

/// Between attempts to load what others committed.
const AGAIN: Duration = Duration::from_secs(1);

/// For ever.
pub(super) async fn follow_configuration(
    state: Weak<Inner>,
    mut committed: watch::Receiver<Revision>,
) {
    loop {
        let newest = committed.borrow_and_update().clone();
        let Some(current) = state.upgrade().map(State) else {
            return;
        };
        let pause = match current.catch_up(&newest).await {
            Ok(()) => None,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(
                    error,
                    revision = newest.number,
                    "cannot load what another control plane committed"
                );
                Some(AGAIN)
            }
        };
        drop(current);
        match pause {
            Some(pause) => sleep(pause).await,
            None if committed.changed().await.is_err() => return,
            None => {}
        }
    }
}

impl State {
    pub(super) async fn catch_up(&self, newest: &Revision) -> Result<(), StoreError> {
        let _writing = self.0.writer.lock().await;
        let current = self.0.configuration.load_full();
        if current.configured.revision == *newest {
            return Ok(());
        }
        if newest.number == 0 {
            warn!(
                serving = current.configured.revision.number,
                "the store was emptied; serving what was known until something is applied"
            );
            return Ok(());
        }
        let next = self.stored_configuration(&current).await?;
        let revision = next.configured.revision.number;
        self.0.configuration.store(Arc::new(next));
        self.changed();
        info!(revision, "configuration of another control plane in force");
        Ok(())
    }
}
