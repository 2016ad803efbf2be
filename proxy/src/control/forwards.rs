//! Tells at start which `--tcp` listeners lead nowhere: their connections would only be closed, as bytes cannot say why.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::warn;

use usher_config::model::{Service, ServiceTarget};

use super::standing::Standing;
use crate::{
    bootstrap::TcpForward,
    snapshot::Store,
    xds::{Discovery, Resolution},
};

/// Until the first revision is in there is nothing to compare with.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks at each forward once, as soon as there is a configuration.
pub(super) async fn check(
    forwards: Vec<TcpForward>,
    store: Arc<Store>,
    discovery: Discovery,
    standing: Standing,
) {
    while store.load().revision().is_none() {
        sleep(LOOK_EVERY).await;
    }
    for TcpForward { local, target } in forwards {
        let resolution = match store.load().service(&target.service) {
            Some(_) => Resolution::Found,
            None => discovery.resolve(&target.service).await,
        };
        let snapshot = store.load();
        let service = snapshot.service(&target.service).map(|entry| &*entry.model);
        if let Some(reason) = problem(&target, resolution, service) {
            warn!(%local, reason, "tcp forward leads nowhere");
            let notice =
                format!("--tcp {local}: {reason}; its connections are closed until there is");
            standing.tell(|facts| facts.notices.push(notice));
        }
    }
}

/// What is wrong with a target; pure.
fn problem(
    target: &ServiceTarget,
    resolution: Resolution,
    service: Option<&Service>,
) -> Option<String> {
    let ServiceTarget {
        service: name,
        port,
    } = target;
    match (resolution, service) {
        (Resolution::Unknown, _) => Some(format!("there is no service {name}")),
        (Resolution::Found, Some(service)) => {
            let mut ports = service.ports.iter().map(|known| known.port);
            if ports.any(|known| known == *port) {
                return None;
            }
            let known: Vec<String> = service
                .ports
                .iter()
                .map(|known| known.port.to_string())
                .collect();
            Some(format!(
                "service {name} has no port {port} (known: {})",
                known.join(", ")
            ))
        }
        // Nobody answered: that is said elsewhere.
        (Resolution::Found | Resolution::TimedOut, _) => None,
    }
}

#[cfg(test)]
mod tests;
