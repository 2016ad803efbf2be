//! Leaving the mesh without a failed request: callers first learn to go elsewhere, then are asked to, then are
//! waited for; the application may call others until the very end.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{readiness::Readiness, registration::Deregister, traffic::Traffic};
use crate::{
    telemetry::metrics::Direction,
    worker::{DrainTrigger, Phase},
};

/// Everything that leaving touches.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) readiness: Readiness,
    /// `None`: this workload only calls.
    pub(super) registration: Option<mpsc::Sender<Deregister>>,
    /// Of a gateway: callers come through a balancer, which confirms nothing and sees `/ready` at its next probe.
    pub(super) notice: Option<Duration>,
    pub(super) trigger: DrainTrigger,
    pub(super) traffic: Traffic,
}

impl Leaving {
    /// Callers go elsewhere and their streams finish, within `grace`. Half of it may pass until the control plane
    /// confirms that nobody calls us any more; all that time we accept: refusing would fail whoever has not heard.
    pub(super) async fn inbound(&self, grace: Duration) {
        info!(?grace, "inbound drain begins");
        self.readiness.leave();
        let begun = tokio::time::Instant::now();
        if let Some(registration) = &self.registration {
            let wait = grace / 2;
            let (confirmed, confirmation) = oneshot::channel();
            let told = registration
                .send(Deregister { wait, confirmed })
                .await
                .is_ok();
            match timeout(wait, confirmation).await {
                Ok(Ok(true)) => info!("every caller has dropped this instance"),
                _ if !told => {}
                _ => {
                    warn!(waited = ?wait, "not every caller is known to have dropped this instance")
                }
            }
        }
        if let Some(notice) = self.notice {
            sleep(notice.min(grace)).await;
        }
        self.trigger.advance(Phase::InboundDraining);
        let left = grace.saturating_sub(begun.elapsed());
        if timeout(left, self.traffic.idle(Direction::Inbound))
            .await
            .is_err()
        {
            let streams = self.traffic.streams(Direction::Inbound);
            warn!(streams, "inbound streams outlived the grace");
        }
        info!("inbound drained");
    }

    /// The application has ended, or is about to: its calls finish, within `grace`.
    pub(super) async fn outbound(&self, grace: Duration) {
        let grace = grace.saturating_sub(self.notice.unwrap_or_default());
        self.trigger.advance(Phase::OutboundDraining);
        if timeout(grace, self.traffic.idle(Direction::Outbound))
            .await
            .is_err()
        {
            let streams = self.traffic.streams(Direction::Outbound);
            warn!(streams, "outbound streams outlived the grace");
        }
        info!("drained");
    }

    /// Closes what is left.
    pub(super) fn stop(self) {
        self.traffic.stop();
    }
}
