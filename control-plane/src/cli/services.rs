//! `usher services`: every service, and who answers as it.

use clap::Args;

use super::{
    Outcome, block_on, exit,
    instances::{HEADING, row},
    locate::ServerAddress,
    paint::table,
    registered::Narrowed,
    status::fetch,
};
use crate::status::{EndpointReport, InstanceReport, ServiceReport};

/// List services and their instances, and the workloads that only call
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher services
  usher services --instances --namespace bank
  usher services --unhealthy                             only those with instances that are not well
  usher services --json | jq '.[] | select(.endpoints == [])'

READY is healthy/registered, of the instances that --zone, --healthy and --unhealthy leave; a workload behind no Service
only calls: nobody can call it, so it has no instances.
REVISION, with --instances, is the configuration that the instance's sidecar last said it runs. One that changes nothing
for a sidecar is not sent to it, so an older number than that of `usher status` is no fault; who is behind stands there.

Exit codes: 0 shown, 64 usage or no such namespace or zone, 69 no control plane answers.")]
pub(super) struct Services {
    #[command(flatten)]
    narrowed: Narrowed,
    /// One line for each instance
    #[arg(long)]
    instances: bool,
    #[command(flatten)]
    server: ServerAddress,
    /// Print the services as a JSON array
    #[arg(long)]
    json: bool,
}

impl Services {
    pub(super) fn execute(self) -> Outcome {
        let mut services: Vec<ServiceReport> =
            block_on(fetch(&self.server.authority()?, "/v1/services"))?;
        let filter = self.narrowed.filter(&services)?;
        services.retain(|service| filter.takes(service));
        if filter.zone.is_some() || filter.healthy.is_some() {
            for service in &mut services {
                service
                    .endpoints
                    .retain(|instance| filter.takes_instance(instance));
            }
            services.retain(|service| !service.endpoints.is_empty());
        }
        if self.json {
            return super::print_json(&services);
        }
        let text = if self.instances {
            instances(&services)
        } else {
            overview(&services)
        };
        anstream::println!("{text}");
        Ok(exit::OK)
    }
}

fn overview(services: &[ServiceReport]) -> String {
    let rows: Vec<Vec<String>> = services
        .iter()
        .map(|service| {
            let ready = service
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.healthy)
                .count();
            let ready = if service.only_calls {
                "only calls".to_owned()
            } else {
                format!("{ready}/{}", service.endpoints.len())
            };
            let identities = service.identities.iter().map(|id| account(id));
            vec![
                service.namespace.clone(),
                service.name.clone(),
                ready,
                list(service.ports.iter().map(ToString::to_string)),
                list(service.virtual_addresses.iter().map(ToString::to_string)),
                list(identities),
            ]
        })
        .collect();
    table(
        &[
            "NAMESPACE",
            "SERVICE",
            "READY",
            "PORTS",
            "ADDRESS",
            "RUNS AS",
        ],
        &rows,
    )
}

fn instances(services: &[ServiceReport]) -> String {
    let all = services.iter().flat_map(|service| {
        let of = |endpoint: &EndpointReport| InstanceReport {
            namespace: service.namespace.clone(),
            service: service.name.clone(),
            endpoint: endpoint.clone(),
        };
        service.endpoints.iter().map(of)
    });
    let rows: Vec<Vec<String>> = all.map(|instance| row(&instance)).collect();
    table(&HEADING, &rows)
}

/// `ns/account` of a SPIFFE ID: the trust domain is the same for all.
fn account(id: &str) -> String {
    id.parse::<usher_config::value::SpiffeId>().map_or_else(
        |_| id.to_owned(),
        |id| format!("{}/{}", id.namespace, id.service_account),
    )
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        "-".to_owned()
    } else {
        items.join(",")
    }
}
