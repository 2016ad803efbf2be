//! Tells at start which `--tcp` listeners lead nowhere: their connections would only be closed, as bytes cannot say why.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::{sleep, timeout};
use tracing::warn;

use usher_config::{
    model::{Protocol, Service, ServiceTarget},
    parse::nearest_qualified,
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
        // Asked for once, whatever the answer.
        let mut names: Option<Vec<ServiceName>> = None;
        for TcpForward { local, target } in &self.forwards {
            let resolution = match self.store.load().service(&target.service) {
                Some(_) => Resolution::Found,
                None => self.discovery.resolve(&target.service).await,
            };
            if resolution == Resolution::Unknown && names.is_none() {
                names = Some(self.names.all().await);
            }
            let known = names.as_deref().unwrap_or_default();
            let snapshot = self.store.load();
            let service = snapshot.service(&target.service).map(|entry| &*entry.model);
            if let Some(reason) = problem(target, (resolution, known), service) {
                warn!(%local, reason, "tcp forward leads nowhere");
                let notice = format!("--tcp {local}: {reason}");
                self.standing.tell(|facts| facts.notices.push(notice));
            }
        }
        self.standing.tell(|facts| facts.checking = false);
    }
}

impl Names {
    /// Every service's; none: nobody answers in time.
    async fn all(&self) -> Vec<ServiceName> {
        let line = self.control_plane.line(self.material.clone());
        let mut client = RegistryClient::new(line.channel());
        // A timeout of the request's own would not bound connecting.
        let listed = timeout(NAMES_WITHIN, client.list_services(ListServicesRequest {})).await;
        let Ok(Ok(answer)) = listed else {
            return Vec::new();
        };
        let named = answer.into_inner().services.into_iter();
        named
            .filter_map(|service| {
                format!("{}/{}", service.namespace, service.name)
                    .parse()
                    .ok()
            })
            .collect()
    }
}

/// The Service may be written later than the sidecar starts.
const UNTIL_THEN: &str = "; its connections are closed until there is";

/// What is wrong with a target; pure. `known`: the names of all services, where they were asked for.
fn problem(
    target: &ServiceTarget,
    (resolution, known): (Resolution, &[ServiceName]),
    service: Option<&Service>,
) -> Option<String> {
    let ServiceTarget {
        service: name,
        port,
    } = target;
    match (resolution, service) {
        (Resolution::Unknown, _) => {
            let known = known
                .iter()
                .map(|known| (known.namespace.as_str(), known.name.as_str()));
            let meant = nearest_qualified((name.namespace.as_str(), name.name.as_str()), known);
            let meant =
                meant.map(|(namespace, name)| format!(" (did you mean {namespace}/{name}?)"));
            let meant = meant.unwrap_or_default();
            Some(format!("there is no service {name}{meant}{UNTIL_THEN}"))
        }
        (Resolution::Found, Some(service)) => {
            if let Some(known) = service.ports.iter().find(|known| known.port == *port) {
                return for_requests(known.protocol, target);
            }
            let known: Vec<String> = service
                .ports
                .iter()
                .map(|known| known.port.to_string())
                .collect();
            Some(format!(
                "service {name} has no port {port} (known: {}){UNTIL_THEN}",
                known.join(", ")
            ))
        }
        // Nobody answered: that is said elsewhere.
        (Resolution::Found | Resolution::TimedOut, _) => None,
    }
}

/// What a port that declares HTTP does to bytes.
fn for_requests(protocol: Protocol, target: &ServiceTarget) -> Option<String> {
    let ServiceTarget { service, port } = target;
    match protocol {
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => Some(format!(
            "port {port} of service {service} takes requests only, as it declares HTTP (appProtocol): connections are reset \
             there; call http://{}.{}:{port}/ through the sidecar instead, or let the port declare tcp, or nothing",
            service.name, service.namespace
        )),
        Protocol::Tcp | Protocol::Detect => None,
    }
}

#[cfg(test)]
mod tests;
