//! `usher callers`: who calls services without the mesh's TLS, and would be locked out by `Strict`.

use clap::Args;

use super::{
    Failure, Outcome, block_on, exit,
    locate::ServerAddress,
    operator::{author, command},
    paint::{BAD, WARN, paint, table},
    registered::Wanted,
    status::fetch,
};
use crate::{
    admin::operator::callers::{Dismiss, Dismissed},
    status::{CallerReport, ServiceReport},
};

/// List who calls services in plaintext, past the mesh
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher callers                    before mtls.mode becomes Strict: whom would that lock out?
  usher callers bank/account
  usher callers account --dismiss  # let account become Strict all the same
  usher callers --json | jq -r '.[] | select(.mode == \"Permissive\") | .address'

A caller is the address its connection comes from; WORKLOAD, where exactly one workload of the mesh is registered there, says
past whose sidecar it calls. Under Permissive such calls are let in, under Strict they are REFUSED. TLS that is not the mesh's
own counts as plaintext; connections without a word (TCP probes) do not count. LAST SEEN is at most 5 min behind, and a caller
is forgotten a day after it: what runs once a week has to be known otherwise.

Where a change of configuration makes a service Strict that lets somebody in, all of it is in force but the mode: that waits until
nobody is listed any more who was let in (usher status). Whoever reaches the port can hold it up like that, on purpose too. With
--dismiss nobody holds a mode up for 10 min: what waits is in force at once, and so is what is edited then; they are refused from
then on. usher apply --force and usher rollback --force let nothing wait either, whoever's change it was. Nothing else waits, and a mode
does not where ports, rules for callers without identity, tokens or workloads change with it. For a day after its start a control plane
ends by itself no wait for callers that were known before.

Exit codes: 0 shown, or dismissed; 64 usage or no such service, 69 no control plane answers.")]
pub(super) struct Callers {
    /// Only of this service: `NAME`, or `NAMESPACE/NAME`
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    /// Let the service become Strict in spite of them; on the control plane's machine
    #[arg(long, conflicts_with = "server")]
    dismiss: bool,
    /// With --dismiss: any service
    #[arg(long, requires = "dismiss", conflicts_with = "service")]
    all: bool,
    #[command(flatten)]
    server: ServerAddress,
    /// Print the callers as a JSON array
    #[arg(long)]
    json: bool,
}

impl Callers {
    pub(super) fn execute(self) -> Outcome {
        let authority = self.server.authority()?;
        let meant = match &self.service {
            Some(service) => Some(meant(&authority, service)?),
            None => None,
        };
        if self.dismiss {
            if meant.is_none() && !self.all {
                let message = "--dismiss: whose callers? Name the service, or say --all";
                return Err(Failure::new(exit::USAGE, message.to_owned()));
            }
            return self.dismiss(meant);
        }
        let mut callers: Vec<CallerReport> = block_on(fetch(&authority, "/v1/callers"))?;
        let is_meant = |one: &CallerReport| {
            let meant = meant.as_deref();
            meant.is_none_or(|meant| meant == format!("{}/{}", one.namespace, one.service))
        };
        callers.retain(is_meant);
        if self.json {
            return super::print_json(&callers);
        }
        anstream::println!("{}", rendered(&callers));
        Ok(exit::OK)
    }

    fn dismiss(&self, service: Option<String>) -> Outcome {
        let path = "/v1/callers/dismiss";
        let of = match &service {
            Some(service) => service.clone(),
            None => "all services".to_owned(),
        };
        let wanted = Dismiss {
            service,
            author: author(),
        };
        let dismissed: Dismissed = block_on(command(self.server.data(), path, &wanted))?;
        if self.json {
            return super::print_json(&dismissed);
        }
        if !dismissed.callers.is_empty() {
            anstream::println!("{}", rendered(&dismissed.callers));
        }
        let until = paint(WARN, format!("until {}", dismissed.until));
        anstream::println!("callers of {of} hold up no change to Strict {until}");
        Ok(exit::OK)
    }
}

/// `namespace/service` of the only one that is meant.
fn meant(authority: &str, service: &str) -> Result<String, Failure> {
    let services: Vec<ServiceReport> = block_on(fetch(authority, "/v1/services"))?;
    let filter = Wanted::service(service.to_owned()).filter(&services)?;
    let found = services.iter().filter(|one| filter.takes(one));
    let found: Vec<String> = found
        .map(|one| format!("{}/{}", one.namespace, one.name))
        .collect();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        several => {
            let message = format!("{service} may be {}: say which", several.join(", "));
            Err(Failure::new(exit::USAGE, message))
        }
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
