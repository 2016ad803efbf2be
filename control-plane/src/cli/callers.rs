//! `usher callers`: who calls services without the mesh's TLS, and would be locked out by `Strict`.

use clap::Args;

use super::{
    Outcome, block_on, exit,
    locate::ServerAddress,
    paint::{BAD, WARN, paint, table},
    registered::Wanted,
    status::fetch,
};
use crate::status::{CallerReport, ServiceReport};

/// List who calls services in plaintext, past the mesh
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher callers                    before mtls.mode becomes Strict: whom would that lock out?
  usher callers bank/account
  usher callers --json | jq -r '.[] | select(.mode == \"Permissive\") | .address'

A caller is the address its connection comes from; WORKLOAD, where exactly one workload of the mesh is registered there, says
past whose sidecar it calls. Under Permissive such calls are let in, under Strict they are REFUSED. TLS that is not the mesh's
own counts as plaintext; connections without a word (TCP probes) do not count. LAST SEEN is at most 5 min behind, and a caller
is forgotten a day after it: what runs once a week has to be known otherwise.

Exit codes: 0 shown, 64 usage or no such service, 69 no control plane answers.")]
pub(super) struct Callers {
    /// Only of this service: `NAME`, or `NAMESPACE/NAME`
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    #[command(flatten)]
    server: ServerAddress,
    /// Print the callers as a JSON array
    #[arg(long)]
    json: bool,
}

impl Callers {
    pub(super) fn execute(self) -> Outcome {
        let authority = self.server.authority()?;
        let mut callers: Vec<CallerReport> = block_on(fetch(&authority, "/v1/callers"))?;
        if let Some(service) = self.service {
            let services: Vec<ServiceReport> = block_on(fetch(&authority, "/v1/services"))?;
            let filter = Wanted::service(service).filter(&services)?;
            let is = |wanted: &Option<String>, found: &str| {
                wanted.as_deref().is_none_or(|wanted| wanted == found)
            };
            callers.retain(|one| {
                is(&filter.namespace, &one.namespace) && is(&filter.service, &one.service)
            });
        }
        if self.json {
            return super::print_json(&callers);
        }
        anstream::println!("{}", rendered(&callers));
        Ok(exit::OK)
    }
}

fn rendered(callers: &[CallerReport]) -> String {
    if callers.is_empty() {
        return "nobody has called without the mesh's TLS within a day, as far as sidecars have said".to_owned();
    }
    let rows: Vec<Vec<String>> = callers.iter().map(row).collect();
    let heading = [
        "NAMESPACE",
        "SERVICE",
        "PORT",
        "MODE",
        "CALLER",
        "WORKLOAD",
        "LAST SEEN",
        "REFUSED",
    ];
    table(&heading, &rows)
}

fn row(caller: &CallerReport) -> Vec<String> {
    let or_none = |text: &str| match text {
        "" => "-".to_owned(),
        text => text.to_owned(),
    };
    let port = match caller.port {
        0 => "-".to_owned(),
        port => port.to_string(),
    };
    vec![
        caller.namespace.clone(),
        caller.service.clone(),
        port,
        match caller.mode.as_str() {
            "Permissive" => paint(WARN, &caller.mode),
            mode => or_none(mode),
        },
        caller.address.to_string(),
        or_none(&caller.workload),
        caller.last_seen.clone(),
        match caller.last_refused.as_str() {
            "" => "-".to_owned(),
            at => paint(BAD, at),
        },
    ]
}
