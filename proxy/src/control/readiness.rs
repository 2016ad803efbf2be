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
}

impl Readiness {
    /// Not yet.
    pub fn new(store: Arc<Store>) -> Self {
        Self {
            store,
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
        self.serving.load(Ordering::Relaxed) && self.store.load().revision().is_some()
    }
}
