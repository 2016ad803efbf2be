//! A service and its endpoints as the request path sees them: model, and state that outlives a snapshot.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use usher_config::model::{Endpoint, Service};

/// A service, ready to be called.
#[derive(Debug)]
pub struct ServiceEntry {
    /// What the control plane said.
    pub model: Arc<Service>,
    /// In the order of their names.
    pub endpoints: Vec<EndpointEntry>,
    /// Outlives the snapshot: see [`ServiceEntry::mark_used`].
    pub used: Arc<AtomicBool>,
}

impl ServiceEntry {
    /// The application has dialled it: keeps it from being dropped as idle. Writes only where nobody has since the
    /// control thread last looked, so that workers do not fight for the cache line.
    pub fn mark_used(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was used since the last look.
    pub fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

/// One endpoint, ready to be chosen.
#[derive(Debug, Clone)]
pub struct EndpointEntry {
    /// What the control plane said.
    pub model: Arc<Endpoint>,
}
