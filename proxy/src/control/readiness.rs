//! Ready: identity, a first revision and our own policy are in, workers run, and we are not leaving.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::snapshot::Store;

/// Asked by the metrics port, set by the control thread.
#[derive(Debug, Clone)]
pub struct Readiness {
    store: Arc<Store>,
    serving: Arc<AtomicBool>,
    /// Of a gateway: whether all that it was first told to serve is served.
    complete: Option<Arc<AtomicBool>>,
}

impl Readiness {
    /// Not yet. `gateway`: a Gateway has to be known too, and served ([`Self::complete`]).
    pub fn new(store: Arc<Store>, gateway: bool) -> Self {
        Self {
            store,
            complete: gateway.then(Arc::default),
            serving: Arc::default(),
        }
    }

    /// Workers run.
    pub fn serve(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// A gateway's listeners are all there, once: what later changes leave unserved is said (`/standing`), but ends
    /// nothing for the others.
    pub fn complete(&self) {
        if let Some(complete) = &self.complete {
            complete.store(true, Ordering::Relaxed);
        }
    }

    /// Whoever sends us traffic should stop.
    pub fn leave(&self) {
        self.serving.store(false, Ordering::Relaxed);
    }

    /// Whether traffic is welcome.
    pub fn is_ready(&self) -> bool {
        let snapshot = self.store.load();
        self.serving.load(Ordering::Relaxed)
            && snapshot.revision().is_some()
            // Without it nobody is let in, and no intercepted connection out.
            && snapshot.inbound().is_some()
            && self
                .complete
                .as_ref()
                .is_none_or(|complete| complete.load(Ordering::Relaxed))
    }
}
