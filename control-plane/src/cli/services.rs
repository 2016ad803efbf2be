//! `usher services`: every service, and who answers as it.

use clap::Args;

use usher_config::parse::nearest;

use super::{Failure, Outcome, block_on, exit, locate::ServerAddress, paint::table, status::fetch};
use crate::status::ServiceReport;

/// List services and their instances, and the workloads that only call
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher services
  usher services --instances --namespace bank
  usher services --json | jq '.[] | select(.endpoints == [])'

READY is healthy/registered; a workload behind no Service only calls: nobody can call it, so it has no instances.
REVISION, with --instances, is the configuration that the instance's sidecar last said it runs. One that changes nothing
for a sidecar is not sent to it, so an older number than that of `usher status` is no fault; who is behind stands there.

Exit codes: 0 shown, 64 usage or no such namespace, 69 no control plane answers.")]
pub(super) struct Services {
    /// Only this namespace
    #[arg(long, value_name = "NS")]
    namespace: Option<String>,
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
        if let Some(namespace) = &self.namespace {
            known(&services, namespace)?;
            services.retain(|service| &service.namespace == namespace);
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

/// A namespace that nothing is in is most likely misspelt: an empty table would hide that.
fn known(services: &[ServiceReport], namespace: &str) -> Result<(), Failure> {
    let mut names: Vec<&str> = services
        .iter()
        .map(|service| service.namespace.as_str())
        .collect();
    names.dedup();
    if names.contains(&namespace) {
        return Ok(());
    }
    let meant = nearest(namespace, names.iter().copied());
    let meant = meant.map(|name| format!("; did you mean {name}?"));
    let known = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    let message = format!(
        "--namespace: there is nothing in {namespace}, known namespaces: {known}{}",
        meant.unwrap_or_default()
    );
    Err(Failure::new(exit::USAGE, message))
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
    let rows: Vec<Vec<String>> = services
        .iter()
        .flat_map(|service| {
            service
                .endpoints
                .iter()
                .map(move |endpoint| (service, endpoint))
        })
        .map(|(service, endpoint)| {
            vec![
                service.namespace.clone(),
                service.name.clone(),
                endpoint.instance.clone(),
                if endpoint.healthy { "yes" } else { "no" }.to_owned(),
                endpoint.address.to_string(),
                if endpoint.zone.is_empty() {
                    "-".to_owned()
                } else {
                    endpoint.zone.clone()
                },
                endpoint.revision.to_string(),
                if endpoint.health_reason.is_empty() {
                    "-".to_owned()
                } else {
                    endpoint.health_reason.clone()
                },
            ]
        })
        .collect();
    table(
        &[
            "NAMESPACE",
            "SERVICE",
            "INSTANCE",
            "HEALTHY",
            "ADDRESS",
            "ZONE",
            "REVISION",
            "WHY NOT",
        ],
        &rows,
    )
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
