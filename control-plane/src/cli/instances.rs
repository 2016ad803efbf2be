//! `usher instances`: who answers as a service, where, and how they are.

use clap::Args;

use super::{
    Outcome, block_on, exit,
    locate::ServerAddress,
    paint::{BAD, GOOD, paint, table},
    registered::Wanted,
    status::fetch,
};
use crate::status::{EndpointReport, InstanceReport, ServiceReport};

/// List the instances of a service, or of all
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher instances account
  usher instances bank/account --unhealthy
  usher instances --namespace bank --zone west
  usher instances account --json | jq -r '.[] | select(.healthy) | .address'

HEALTHY is what the instance's own sidecar sees of its application (HTTP, gRPC or TCP, as its Workload says); WHY NOT is
what the failing check got. An instance is gone when its sidecar has not renewed its lease for 15 s. One without a REVISION
has no sidecar: an EndpointSlice says that it is there, and whether it is ready.

Exit codes: 0 shown, 64 usage or no such service, namespace or zone, 69 no control plane answers.")]
pub(super) struct Instances {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    server: ServerAddress,
    /// Print the instances as a JSON array
    #[arg(long)]
    json: bool,
}

impl Instances {
    pub(super) fn execute(self) -> Outcome {
        let authority = self.server.authority()?;
        let services: Vec<ServiceReport> = block_on(fetch(&authority, "/v1/services"))?;
        let filter = self.wanted.filter(&services)?;
        let services = services.into_iter().filter(|service| filter.takes(service));
        let all = services.flat_map(|service| {
            let of = move |endpoint| InstanceReport {
                namespace: service.namespace.clone(),
                service: service.name.clone(),
                endpoint,
            };
            service.endpoints.into_iter().map(of)
        });
        let instances: Vec<InstanceReport> = all
            .filter(|instance| filter.takes_instance(&instance.endpoint))
            .collect();
        if self.json {
            return super::print_json(&instances);
        }
        let rows: Vec<Vec<String>> = instances.iter().map(row).collect();
        anstream::println!("{}", table(&HEADING, &rows));
        Ok(exit::OK)
    }
}

/// Of [`row`]s.
pub(super) const HEADING: [&str; 8] = [
    "NAMESPACE",
    "SERVICE",
    "INSTANCE",
    "HEALTHY",
    "ADDRESS",
    "ZONE",
    "REVISION",
    "WHY NOT",
];

/// One instance.
pub(super) fn row(instance: &InstanceReport) -> Vec<String> {
    let EndpointReport {
        instance: name,
        address,
        healthy,
        health_reason,
        zone,
        revision,
        listed,
    } = &instance.endpoint;
    vec![
        instance.namespace.clone(),
        instance.service.clone(),
        name.clone(),
        if *healthy { "yes" } else { "no" }.to_owned(),
        address.to_string(),
        or_dash(zone),
        match listed {
            true => "-".to_owned(),
            false => revision.to_string(),
        },
        or_dash(health_reason),
    ]
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

/// `healthy`, or why not, in its colour.
pub(super) fn health(instance: &EndpointReport) -> String {
    match (instance.healthy, instance.health_reason.as_str()) {
        (true, _) => paint(GOOD, "healthy"),
        (false, "") => paint(BAD, "unhealthy"),
        (false, why) => paint(BAD, format!("unhealthy: {why}")),
    }
}
