//! `usher services`: every service, and who answers as it.

use clap::Args;

use super::{Outcome, block_on, exit, locate::ServerAddress, paint::table, status::fetch};
use crate::status::ServiceReport;

/// List services and their instances
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher services
  usher services --instances --namespace bank
  usher services --json | jq '.[] | select(.endpoints == [])'

Exit codes: 0 shown, 69 no control plane answers.")]
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

fn overview(services: &[ServiceReport]) -> String {
    let rows: Vec<Vec<String>> = services
        .iter()
        .map(|service| {
            let ready = service
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.healthy)
                .count();
            let identities = service.identities.iter().map(|id| account(id));
            vec![
                service.namespace.clone(),
                service.name.clone(),
                format!("{ready}/{}", service.endpoints.len()),
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
