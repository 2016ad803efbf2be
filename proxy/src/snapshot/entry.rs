//! A service and its endpoints as the request path sees them: model, and state that outlives a snapshot.

use std::sync::Arc;

use usher_config::model::{Endpoint, Service};

/// A service, ready to be called.
#[derive(Debug)]
pub struct ServiceEntry {
    /// What the control plane said.
    pub model: Arc<Service>,
    /// In the order of their names.
    pub endpoints: Vec<EndpointEntry>,
}

/// One endpoint, ready to be chosen.
#[derive(Debug, Clone)]
pub struct EndpointEntry {
    /// What the control plane said.
    pub model: Arc<Endpoint>,
}
