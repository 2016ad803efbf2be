//! What operators and orchestrators ask this sidecar: whether it is ready, what it counts, what it knows.
//!
//! Two doors. The metrics port answers anybody who reaches it and tells nothing secret; the Unix socket (0600)
//! also changes things. Neither shares a thread with traffic.

mod dump;
mod metrics_port;
mod serve;
mod socket;

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::{
    callers::Lists,
    control::{LogFilter, Readiness, Standing},
    probe::Door,
    snapshot::Store,
};

pub use metrics_port::serve_metrics;
pub use socket::serve_socket;

/// Asked by operators, done by the control thread.
#[derive(Debug)]
pub enum Command {
    /// Leave the mesh: callers go elsewhere, their streams finish. Outbound stays open.
    Drain {
        /// The longest to wait; `None`: as configured.
        grace: Option<Duration>,
        /// Answered when inbound is drained.
        done: oneshot::Sender<()>,
    },
    /// Drain what is left and exit.
    Quit,
}

/// What both doors look at.
#[derive(Debug, Clone)]
pub struct Admin {
    /// What requests see.
    pub store: Arc<Store>,
    /// Whether traffic is welcome.
    pub readiness: Readiness,
    /// What people are told.
    pub standing: Standing,
    /// All metrics.
    pub metrics: prometheus::Registry,
    /// The operational log.
    pub log: LogFilter,
    /// What the kubelet may have asked.
    pub probes: Door,
    /// Who calls us without the mesh's TLS.
    pub callers: Lists,
    /// To the control thread.
    pub commands: mpsc::Sender<Command>,
}

#[cfg(test)]
mod tests;
