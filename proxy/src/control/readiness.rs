//! Ready: identity and a first revision are in, workers run, and we are not leaving.

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
    /// There is nothing to serve before the Gateway is known.
    gateway: bool,
}

impl Readiness {
    /// Not yet. `gateway`: a Gateway has to be known too.
    pub fn new(store: Arc<Store>, gateway: bool) -> Self {
        Self {
            store,
            gateway,
            serving: Arc::default(),
        }
    }

    /// Workers run.
    pub fn serve(&self) {
        self.serving.store(true, Ordering::Relaxed);
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
            && (!self.gateway || snapshot.gateway().is_some())
    }
}
