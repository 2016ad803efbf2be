//! `usher status`: is everything that was written also running?

use clap::Args;

use super::{
    Failure, Outcome, block_on,
    client::{ClientError, Server},
    exit,
    locate::ServerAddress,
    paint::{BAD, DIM, GOOD, HEAD, WARN, paint},
};
use crate::{
    registry::store::CHANGED_MAX,
    status::{
        CallersSummary, ObjectsSummary, ProxyReport, RejectedObject, ServiceReport, StatusReport,
        StoreReport,
    },
};

/// Show which configuration is in force, what was refused, and which sidecars run it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher status
  usher status --json | jq '.rejected'

Exit codes: 0 shown, 64 usage, 69 no control plane answers.")]
pub(super) struct Status {
    #[command(flatten)]
    server: ServerAddress,
    /// Print everything the control plane knows as one JSON document
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn execute(self) -> Outcome {
        let authority = self.server.authority()?;
        if self.json {
            let document: serde_json::Value = block_on(fetch(&authority, "/v1/status"))?;
            return super::print_json(&document);
        }
        let status: StatusReport = block_on(fetch(&authority, "/v1/status"))?;
        anstream::println!("{}", render(&status).join("\n"));
        Ok(exit::OK)
    }
}

/// Reads from the control plane; says how to get one if none answers.
pub(super) async fn fetch<T: serde::de::DeserializeOwned>(
    authority: &str,
    path: &str,
) -> Result<T, Failure> {
    Server::Tcp(authority.to_owned())
        .fetch(path)
        .await
        .map_err(|error| unanswered(authority, path, error))
}

/// Why there is no answer, and what to do.
pub(super) fn unanswered(authority: &str, path: &str, error: ClientError) -> Failure {
    match error {
        // Its words are for browsers, or for the callers of whoever it is.
        ClientError::Refused { status, .. } => {
            foreign(authority, &format!("it answers {path} with {status}"))
        }
        ClientError::Decode(error) if error.is_syntax() || error.is_eof() => {
            foreign(authority, &format!("its answer to {path} is no JSON"))
        }
        ClientError::Decode(_) => Failure::of(exit::UNAVAILABLE, &error).advise(format!(
            "is http://{authority} a control plane of this version?"
        )),
        error => {
            let cause = Failure::of(exit::UNAVAILABLE, &error).message;
            let message = format!("no control plane answers on http://{authority}: {cause}");
            let failure = Failure::new(exit::UNAVAILABLE, message);
            let failure = match error {
                    ClientError::Http(_) => failure.advise(
                        "is that the port for sidecars (usher serve --listen, 15012)? This one is asked on the port of \
                         --http, 15010",
                    ),
                    _ => failure,
                };
            failure
                .advise("start one: usher serve --config DIR")
                .advise("one with another address: --server http://HOST:PORT, or USHER_SERVER")
        }
    }
}

fn foreign(authority: &str, why: &str) -> Failure {
    let message = format!("http://{authority} is not an usher control plane: {why}");
    Failure::new(exit::UNAVAILABLE, message)
        .advise("which address is it? `usher serve` prints it (--http, by default port 15010)")
        .advise("another one: --server http://HOST:PORT, or USHER_SERVER")
}

/// How many services are named on one line.
const NAMED_MAX: usize = 10;

fn render(status: &StatusReport) -> Vec<String> {
    let mut lines = Vec::new();
    let revision = &status.revision;
    let digest: String = revision.digest.chars().take(12).collect();
    lines.push(match revision.number {
        0 => format!(
            "{}     {}",
            paint(HEAD, "revision"),
            paint(WARN, "none accepted yet")
        ),
        number => format!(
            "{}     {number}  {}",
            paint(HEAD, "revision"),
            paint(DIM, format!("{digest}, accepted {}", revision.accepted_at))
        ),
    });
    lines.push(format!(
        "{} {}",
        paint(HEAD, "trust domain"),
        status.trust_domain
    ));
    lines.extend(status.store.as_ref().and_then(store_line));
    lines.extend(
        status
            .pinned
            .map(|pinned| held_line(pinned, &status.waiting)),
    );
    lines.extend(objects_line(status));
    lines.push(services_line(&status.services));
    lines.extend(callers_line(&status.plaintext_callers));
    lines.push(proxies_line(&status.proxies));
    lines.extend(status.proxies.iter().filter_map(nack_line));
    lines.extend(status.proxies.iter().flat_map(remark_lines));
    lines.extend(status.rejected.iter().flat_map(rejected_lines));
    for condition in &status.conditions {
        let head = format!("{}: {}", condition.reason, condition.object);
        lines.push(format!("\n{}\n  {}", paint(WARN, head), condition.message));
    }
    lines
}

fn held_line(pinned: u64, waiting: &[String]) -> String {
    let held = paint(WARN, format!("revision {pinned}, whatever the source says"));
    let waits = match waiting {
        [] => String::new(),
        some => format!("; {}", self::waiting(some)),
    };
    format!(
        "{}         {held}{waits} (usher rollback --release)",
        paint(HEAD, "held")
    )
}

/// That so many objects wait; at least one does.
pub(super) fn waiting(objects: &[String]) -> String {
    match objects.len() {
        CHANGED_MAX => format!("at least {CHANGED_MAX} changed objects wait"),
        1 => "1 changed object waits".to_owned(),
        number => format!("{number} changed objects wait"),
    }
}

/// `None`: there are none, or the control plane is older than this.
fn objects_line(status: &StatusReport) -> Option<String> {
    let ObjectsSummary {
        total,
        accepted,
        unresolved,
        programmed,
        not_programmed,
    } = status.objects;
    let style = if accepted == total { GOOD } else { WARN };
    let count = paint(style, format!("{accepted}/{total} accepted"));
    let loose = match unresolved {
        0 => String::new(),
        number => paint(WARN, format!(", {number} with unresolved references")),
    };
    let of = programmed + not_programmed;
    let style = if not_programmed == 0 { GOOD } else { WARN };
    let programmed = paint(style, format!("{programmed}/{of} programmed"));
    // The same that `usher get` would list: also what is refused here and accepted in an earlier version.
    let all_well = accepted == total
        && (unresolved, not_programmed) == (0, 0)
        && status.rejected.is_empty()
        && status.conditions.is_empty();
    let look = match all_well {
        true => String::new(),
        false => paint(DIM, "  (which and why: usher get --not-ready)"),
    };
    let head = paint(HEAD, "objects");
    (total > 0).then(|| format!("{head}      {count}{loose}, {programmed}{look}"))
}

/// Only when it is not as it should be.
fn store_line(store: &StoreReport) -> Option<String> {
    let since = paint(
        BAD,
        format!("unreachable since {}", store.unreachable_since),
    );
    let told = || {
        format!(
            "{}        {since}, serving what was known; nothing can be changed\n             {}",
            paint(HEAD, "store"),
            paint(DIM, &store.why)
        )
    };
    (!store.reachable).then(told)
}

/// `None`: there are none.
fn callers_line(summary: &CallersSummary) -> Option<String> {
    let services = &summary.services;
    let count = match summary.callers {
        0 => return None,
        1 => "1 caller".to_owned(),
        number => format!("{number} callers"),
    };
    let named: Vec<&str> = services
        .iter()
        .take(NAMED_MAX)
        .map(String::as_str)
        .collect();
    let more = match services.len().saturating_sub(NAMED_MAX) {
        0 => "",
        _ => ", ...",
    };
    let of = format!("  of {}{more}  (who: usher callers)", named.join(", "));
    let head = paint(HEAD, "plaintext");
    Some(format!(
        "{head}    {}{}",
        paint(WARN, count),
        paint(DIM, of)
    ))
}

fn services_line(services: &[ServiceReport]) -> String {
    let is_ready = |service: &&ServiceReport| service.endpoints.iter().any(|one| one.healthy);
    let (callers, services): (Vec<&ServiceReport>, Vec<&ServiceReport>) =
        services.iter().partition(|service| service.only_calls);
    let (names, services): (Vec<&ServiceReport>, Vec<&ServiceReport>) = services
        .into_iter()
        .partition(|service| !service.leads_to.is_empty());
    let ready = services.iter().copied().filter(is_ready).count();
    let style = if ready == services.len() { GOOD } else { WARN };
    let count = paint(style, format!("{ready}/{} ready", services.len()));
    let down: Vec<String> = services
        .iter()
        .copied()
        .filter(|service| !is_ready(service))
        .take(NAMED_MAX)
        .map(|service| {
            let why = if service.without_port {
                " (its sidecars were started without --port)"
            } else {
                ""
            };
            format!("{}/{}{why}", service.namespace, service.name)
        })
        .collect();
    let down = if down.is_empty() {
        String::new()
    } else {
        paint(DIM, format!("  no healthy instance: {}", down.join(", ")))
    };
    let callers = match callers.len() {
        0 => String::new(),
        1 => paint(DIM, "  and 1 that only calls"),
        number => paint(DIM, format!("  and {number} that only call")),
    };
    let led = led(&names);
    format!(
        "{}     {count}{callers}{led}{down}",
        paint(HEAD, "services")
    )
}

/// Services without instances, whose routes lead elsewhere. Whether somebody is there is said of those.
fn led(names: &[&ServiceReport]) -> String {
    let named: Vec<String> = names
        .iter()
        .take(NAMED_MAX)
        .map(|service| {
            let to = service.leads_to.join(", ");
            format!("{}/{} (to {to})", service.namespace, service.name)
        })
        .collect();
    match named.as_slice() {
        [] => String::new(),
        named => paint(
            DIM,
            format!("  without instances, led elsewhere: {}", named.join(", ")),
        ),
    }
}

fn proxies_line(proxies: &[ProxyReport]) -> String {
    let current = proxies.iter().filter(|proxy| proxy.up_to_date).count();
    let style = if current == proxies.len() { GOOD } else { WARN };
    let count = paint(style, format!("{current}/{} up to date", proxies.len()));
    let behind: Vec<String> = proxies
        .iter()
        .filter(|proxy| !proxy.up_to_date)
        .take(10)
        .map(|proxy| format!("{} at {}", proxy.node, proxy.revision))
        .collect();
    let behind = if behind.is_empty() {
        String::new()
    } else {
        paint(DIM, format!("  behind: {}", behind.join(", ")))
    };
    format!("{}      {count}{behind}", paint(HEAD, "proxies"))
}

fn nack_line(proxy: &ProxyReport) -> Option<String> {
    let nack = proxy.last_nack.as_ref()?;
    let head = format!("{} refused revision {}", proxy.node, nack.revision);
    Some(format!(
        "\n{}  {}\n  {}",
        paint(BAD, head),
        paint(DIM, &nack.at),
        nack.message
    ))
}

/// What a proxy does otherwise than configured.
fn remark_lines(proxy: &ProxyReport) -> Vec<String> {
    if proxy.remarks.is_empty() {
        return Vec::new();
    }
    let head = format!("{} runs otherwise than configured", proxy.node);
    let remarks = proxy.remarks.iter().map(|remark| format!("  {remark}"));
    std::iter::once(format!("\n{}", paint(WARN, head)))
        .chain(remarks)
        .collect()
}

/// A refused object: its fate, and each mistake with its place.
pub(super) fn rejected_lines(rejected: &RejectedObject) -> Vec<String> {
    let fate = if rejected.last_good {
        "(its last good version keeps running)"
    } else {
        "(it never ran)"
    };
    let head = format!(
        "\n{} {}",
        paint(BAD, format!("rejected: {}", rejected.object)),
        paint(DIM, fate)
    );
    let mistakes = rejected.mistakes.iter().map(|mistake| {
        let path = if mistake.path.is_empty() {
            String::new()
        } else {
            format!("{}: ", mistake.path)
        };
        format!("  {} {path}{}", paint(DIM, &mistake.at), mistake.message)
    });
    std::iter::once(head).chain(mistakes).collect()
}

#[cfg(test)]
mod tests;
