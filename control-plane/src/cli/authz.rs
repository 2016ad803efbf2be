//! `usher authz check`: may this caller do this, and by which rule, from files.

use std::borrow::Cow;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;
use usher_config::{
    decide::{
        access::{Access, Claims, HttpAccess},
        route::path,
    },
    model::Protocol,
    value::{PathReading, Port, ServiceName},
};

use super::{
    Failure, Outcome, exit,
    offline::{Files, Offline},
    paint::{BAD, DIM, GOOD, HEAD, WARN, paint},
};
use crate::{
    compile::Compiled,
    whatif::{
        Caller, Places,
        access::{Permission, known_claims, permission, with_refused_path},
        find,
    },
};

/// Try access policies without sending anything
#[derive(Debug, Args)]
pub(super) struct Authz {
    #[command(subcommand)]
    verb: AuthzVerb,
}

#[derive(Debug, Subcommand)]
enum AuthzVerb {
    Check(Check),
}

/// Show whether a caller may do something to a service, and which policy and rule decide
///
/// Answered from files, by the code that the service's sidecars run. Routes have no part in it: what a caller's request
/// becomes on its way, usher route test shows. A path that sidecars refuse before any policy is asked (400) is refused here, too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher authz check --config mesh/ --from web --to orders --method POST --path /v1/orders
  usher authz check --config mesh/ --from spiffe://usher.local/ns/shop/sa/web --to shop/orders --port 8080
  usher authz check --config mesh/ --from outside --to orders        # without a sidecar
  usher authz check --config mesh/ --from web --to ledger --opaque   # a connection, not a request
  usher authz check --config mesh/ --from edge --to orders --claim groups=admin --claim groups=staff --claim sub=ada

Exit codes: 0 allowed, 1 refused, 64 usage, 70 a path cannot be read.")]
struct Check {
    #[command(flatten)]
    files: Files,
    /// Who asks: a workload (or a service's), [NAMESPACE/]NAME; a SPIFFE ID; or outside, for a caller without sidecar
    #[arg(long, value_name = "WHO")]
    from: String,
    /// The service that is called, [NAMESPACE/]NAME
    #[arg(long, value_name = "SERVICE")]
    to: String,
    /// Its port [default: its only one]
    #[arg(long, value_name = "PORT")]
    port: Option<Port>,
    /// The request's method
    #[arg(
        long,
        value_name = "METHOD",
        default_value = "GET",
        conflicts_with = "opaque"
    )]
    method: Method,
    /// The request's path, as it is sent; a query is left out
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/",
        conflicts_with = "opaque"
    )]
    path: String,
    /// What the request's token says, verified by an AuthenticationPolicy; of one name several times: a list
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim, conflicts_with = "opaque")]
    claims: Vec<(String, String)>,
    /// An opaque connection instead of a request
    #[arg(long)]
    opaque: bool,
    /// Print {"allowed","because","mtls","policies":[…]}, with "provided" and "ignored" where there is anything of it
    #[arg(long)]
    json: bool,
}

impl Authz {
    pub(super) fn execute(self) -> Outcome {
        let AuthzVerb::Check(check) = self.verb;
        check.execute()
    }
}

impl Check {
    fn execute(self) -> Outcome {
        let usage = |message| Failure::new(exit::USAGE, message);
        let Offline {
            parsed, compiled, ..
        } = self.files.read()?;
        let sent = Sent::new(&self.path, compiled.path_reading)?;
        let caller = self.caller(&compiled)?;
        let service = find(compiled.services.keys(), &self.to, "service");
        let service = service.map_err(|why| usage(format!("--to: {why}")))?;
        let (port, protocol) = port(&compiled, service, self.port)?;
        let opaque = self.opaque || protocol == Protocol::Tcp;
        let workload = compiled.inbound.get(service);
        let workload = workload.ok_or_else(|| usage(format!("--to: {service} is no service")))?;
        let claims = claims(&self.claims);
        let (claims, unknown) = known_claims(workload, claims.as_ref());
        let http = HttpAccess {
            method: &self.method,
            path: &sent.path,
            claims,
        };
        let asked = Access {
            caller: caller.as_ref().map(|caller| &caller.identity),
            port,
            http: (!opaque).then_some(http),
        };
        let mut answer = match sent.refused.filter(|_| !opaque) {
            Some(error) => with_refused_path(workload, asked.caller, error),
            None => permission(workload, &asked, &Places::new(&parsed)),
        };
        answer
            .ignored
            .extend(sent.ignored.into_iter().chain(unknown));
        if self.json {
            super::print_json(&answer)?;
        } else {
            let what = match opaque {
                true => format!("a connection to {service}:{port}"),
                false => format!("{} {} at {service}:{port}", self.method, sent.path),
            };
            let whose = caller.map_or("outside".to_owned(), |caller| caller.identity.to_string());
            anstream::println!("{}", render(&answer, &what, &whose).join("\n"));
        }
        Ok(if answer.allowed {
            exit::OK
        } else {
            exit::MISTAKES
        })
    }

    /// `None`: somebody without a sidecar.
    fn caller(&self, compiled: &Compiled) -> Result<Option<Caller>, Failure> {
        if self.from == "outside" {
            return Ok(None);
        }
        let named = Caller::named(compiled, &self.from);
        let usage = |why| Failure::new(exit::USAGE, format!("--from: {why}"));
        named.map(Some).map_err(usage)
    }
}

/// `--path` as a sidecar reads it.
struct Sent<'p> {
    /// Normal; as it is given, where it is refused.
    path: Cow<'p, str>,
    refused: Option<path::PathError>,
    ignored: Option<String>,
}

impl<'p> Sent<'p> {
    fn new(given: &'p str, reading: PathReading) -> Result<Self, Failure> {
        let (path, query) = match given.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (given, None),
        };
        let (path, refused) = match path::normalize(path, reading) {
            Ok(normal) => (normal, None),
            Err(path::PathError::NotAbsolute) => {
                let message = format!("--path: found `{given}`, allowed: /, or such as /v1/orders");
                return Err(Failure::new(exit::USAGE, message));
            }
            Err(error) => (Cow::Borrowed(path), Some(error)),
        };
        let ignored = query.map(|query| format!("?{query}: no policy looks at a query"));
        Ok(Self {
            path,
            refused,
            ignored,
        })
    }
}

pub(super) fn claim(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("allowed: NAME=VALUE, such as groups=admin".to_owned()),
    }
}

/// As a token has them; `None`: there is no token.
pub(super) fn claims(given: &[(String, String)]) -> Option<Claims> {
    let mut claims = Claims::new();
    for (name, value) in given {
        let value = Value::from(value.as_str());
        match claims.get_mut(name) {
            None => drop(claims.insert(name.clone(), value)),
            Some(Value::Array(all)) => all.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }
    (!claims.is_empty()).then_some(claims)
}

/// The port that is meant, and what is spoken there.
fn port(
    compiled: &Compiled,
    service: &ServiceName,
    asked: Option<Port>,
) -> Result<(Port, Protocol), Failure> {
    let ports = compiled
        .services
        .get(service)
        .map(|service| service.ports.as_slice());
    let ports = ports.unwrap_or_default();
    let found = match (asked, ports) {
        (Some(asked), _) => ports.iter().find(|port| port.port == asked),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    found.map(|port| (port.port, port.protocol)).ok_or_else(|| {
        let numbers: Vec<String> = ports.iter().map(|port| port.port.to_string()).collect();
        let found = asked.map_or("nothing".to_owned(), |port| port.to_string());
        let message = format!("--port: found {found}, allowed: {}", numbers.join(", "));
        Failure::new(exit::USAGE, message)
    })
}

fn render(answer: &Permission, what: &str, whose: &str) -> Vec<String> {
    let verdict = match answer.allowed {
        true => paint(GOOD, "allowed"),
        false => paint(BAD, "refused"),
    };
    let mut lines = vec![
        format!(
            "{verdict}: {} {}",
            paint(HEAD, what),
            paint(DIM, format!("from {whose}"))
        ),
        format!("  {}", answer.because),
    ];
    let ignored = answer.ignored.iter();
    lines.extend(ignored.map(|one| format!("  {} {one}", paint(WARN, "left out:"))));
    // What decided is said above.
    let decided = format!("  {}", answer.because);
    lines.extend(rules(answer).into_iter().filter(|line| *line != decided));
    lines
}

/// What each policy says, a line each, and why rules do not take the request.
pub(super) fn rules(answer: &Permission) -> Vec<String> {
    let mut lines = vec![format!("  mtls.mode {}", answer.mtls)];
    for policy in &answer.policies {
        let at = policy
            .at
            .as_ref()
            .map(|at| format!(" ({at})"))
            .unwrap_or_default();
        let trial = if policy.dry_run {
            ", dryRun: refuses nothing"
        } else {
            ""
        };
        lines.push(format!("  {}{at} {}{trial}", policy.object, policy.because));
        lines.extend(policy.rules.iter().map(|rule| format!("    {rule}")));
    }
    lines.extend(provided(&answer.provided));
    lines
}

/// What else has to hold.
pub(super) fn provided(all: &[String]) -> impl Iterator<Item = String> {
    all.iter().map(|line| format!("  provided: {line}"))
}
