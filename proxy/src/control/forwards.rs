//! Tells at start which `--tcp` listeners lead nowhere: their connections would only be closed, as bytes cannot say why.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::sleep;
use tracing::warn;

use usher_config::{
    model::{Service, ServiceTarget},
    parse::nearest,
    value::ServiceName,
    wire::v1::{ListServicesRequest, registry_client::RegistryClient},
};

use super::standing::Standing;
use crate::{
    bootstrap::TcpForward,
    control_plane::ControlPlane,
    snapshot::Store,
    tls::Material,
    xds::{Discovery, Resolution},
};

/// Until the first revision is in there is nothing to compare with.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// For the list of names, which is only for a better message.
const NAMES_WITHIN: Duration = Duration::from_secs(1);

/// What to look at, and whom to ask.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) forwards: Vec<TcpForward>,
    pub(super) store: Arc<Store>,
    pub(super) discovery: Discovery,
    pub(super) names: Names,
    pub(super) standing: Standing,
}

/// Where to ask for the names that there are.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) control_plane: ControlPlane,
    pub(super) material: Arc<ArcSwap<Material>>,
}

impl Check {
    /// Looks at each forward once, as soon as there is a configuration.
    pub(super) async fn run(self) {
        while self.store.load().revision().is_none() {
            sleep(LOOK_EVERY).await;
        }
        for TcpForward { local, target } in &self.forwards {
            let resolution = match self.store.load().service(&target.service) {
                Some(_) => Resolution::Found,
                None => self.discovery.resolve(&target.service).await,
            };
            let known = match resolution {
                Resolution::Unknown => self.names.all().await,
                Resolution::Found | Resolution::TimedOut => Vec::new(),
            };
            let snapshot = self.store.load();
            let service = snapshot.service(&target.service).map(|entry| &*entry.model);
            if let Some(reason) = problem(target, (resolution, &known), service) {
                warn!(%local, reason, "tcp forward leads nowhere");
                let notice =
                    format!("--tcp {local}: {reason}; its connections are closed until there is");
                self.standing.tell(|facts| facts.notices.push(notice));
            }
        }
        self.standing.tell(|facts| facts.checking = false);
    }
}

impl Names {
    /// Every service's, as callers write it; none: nobody answers in time.
    async fn all(&self) -> Vec<String> {
        let mut request = tonic::Request::new(ListServicesRequest {});
        request.set_timeout(NAMES_WITHIN);
        let channel = self.control_plane.channel(self.material.clone());
        let listed = RegistryClient::new(channel).list_services(request).await;
        let services = listed.map(|answer| answer.into_inner().services);
        let named = services.unwrap_or_default().into_iter();
        named
            .map(|service| format!("{}.{}", service.name, service.namespace))
            .collect()
    }
}

/// What is wrong with a target; pure. `known`: the names of all services, where they were asked for.
fn problem(
    target: &ServiceTarget,
    (resolution, known): (Resolution, &[String]),
    service: Option<&Service>,
) -> Option<String> {
    let ServiceTarget {
        service: name,
        port,
    } = target;
    match (resolution, service) {
        (Resolution::Unknown, _) => {
            let ServiceName { namespace, name } = name;
            let written = format!("{name}.{namespace}");
            let meant = nearest(&written, known.iter().map(String::as_str));
            let meant = meant.map(|name| format!(" (did you mean {name}?)"));
            let meant = meant.unwrap_or_default();
            Some(format!("there is no service {namespace}/{name}{meant}"))
        }
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
